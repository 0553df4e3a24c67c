//! The functions of expressions.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::evaluate::{At, Evaluation};
use super::number::parse;
use super::{Expression, Value, date};

/// `URLEncoder`: letters, digits and these stay; a blank becomes a plus.
const URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b' ');

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    Boolean,
    Not,
    True,
    False,
    String,
    Concat,
    Contains,
    StartsWith,
    EndsWith,
    Substring,
    SubstringBefore,
    SubstringAfter,
    StringLength,
    NormalizeSpace,
    Translate,
    UpperCase,
    LowerCase,
    Number,
    Count,
    Sum,
    Floor,
    Ceiling,
    Round,
    Position,
    Last,
    LocalName,
    Name,
    NamespaceUri,
    Base64Encode,
    Base64Decode,
    UrlEncode,
    VaultLookup,
    SystemDate,
}

/// Names with the least and the largest number of arguments.
const NAMES: [(&str, Function, usize, usize); 32] = [
    ("boolean", Function::Boolean, 1, 1),
    ("not", Function::Not, 1, 1),
    ("true", Function::True, 0, 0),
    ("false", Function::False, 0, 0),
    ("string", Function::String, 0, 1),
    ("concat", Function::Concat, 2, usize::MAX),
    ("contains", Function::Contains, 2, 2),
    ("starts-with", Function::StartsWith, 2, 2),
    ("ends-with", Function::EndsWith, 2, 2),
    ("substring", Function::Substring, 2, 3),
    ("substring-before", Function::SubstringBefore, 2, 2),
    ("substring-after", Function::SubstringAfter, 2, 2),
    ("string-length", Function::StringLength, 0, 1),
    ("normalize-space", Function::NormalizeSpace, 0, 1),
    ("translate", Function::Translate, 3, 3),
    ("upper-case", Function::UpperCase, 1, 1),
    ("lower-case", Function::LowerCase, 1, 1),
    ("number", Function::Number, 0, 1),
    ("count", Function::Count, 1, 1),
    ("sum", Function::Sum, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("ceiling", Function::Ceiling, 1, 1),
    ("round", Function::Round, 1, 1),
    ("position", Function::Position, 0, 0),
    ("last", Function::Last, 0, 0),
    ("local-name", Function::LocalName, 0, 1),
    ("name", Function::Name, 0, 1),
    ("namespace-uri", Function::NamespaceUri, 0, 1),
    ("base64Encode", Function::Base64Encode, 1, 2),
    ("base64Decode", Function::Base64Decode, 1, 2),
    ("url-encode", Function::UrlEncode, 1, 2),
    ("vault-lookup", Function::VaultLookup, 1, 1),
];

impl Function {
    pub(super) fn find(name: &str, arguments: usize) -> Option<Self> {
        NAMES
            .iter()
            .find(|(own, ..)| *own == name)
            .filter(|(_, _, least, most)| (*least..=*most).contains(&arguments))
            .map(|(_, function, ..)| *function)
    }

    /// Whether it is about the context node where it has no argument.
    pub(super) fn is_of_context(self) -> bool {
        matches!(
            self,
            Self::String
                | Self::StringLength
                | Self::NormalizeSpace
                | Self::Number
                | Self::LocalName
                | Self::Name
                | Self::NamespaceUri
        )
    }
}

impl Evaluation<'_> {
    pub(super) fn call(
        &self,
        function: Function,
        arguments: &[Expression],
        at: Option<&At>,
    ) -> Value {
        let value = |index: usize| {
            let argument = arguments.get(index);
            argument.map_or(Value::Null, |argument| self.value(argument, at))
        };
        let text = |index: usize| self.text(&value(index));
        let number = |index: usize| self.number(&value(index));
        match function {
            Function::True => Value::Boolean(true),
            Function::False => Value::Boolean(false),
            Function::Boolean => Value::Boolean(value(0).truth()),
            Function::Not => Value::Boolean(!value(0).truth()),
            Function::String => Value::Text(text(0)),
            Function::Concat => Value::Text((0..arguments.len()).map(text).collect()),
            Function::Contains => Value::Boolean(text(0).contains(&text(1))),
            Function::StartsWith => Value::Boolean(text(0).starts_with(&text(1))),
            Function::EndsWith => Value::Boolean(text(0).ends_with(&text(1))),
            Function::Substring => {
                let length = arguments.get(2).map(|_| number(2));
                Value::Text(substring(&text(0), number(1), length))
            }
            Function::SubstringBefore => {
                let whole = text(0);
                let found = whole.split_once(&text(1)).map(|(before, _)| before);
                Value::Text(found.unwrap_or_default().to_owned())
            }
            Function::SubstringAfter => {
                let whole = text(0);
                let found = whole.split_once(&text(1)).map(|(_, after)| after);
                Value::Text(found.unwrap_or_default().to_owned())
            }
            Function::StringLength => Value::Number(text(0).chars().count() as f64),
            Function::NormalizeSpace => {
                let words: Vec<String> = text(0)
                    .split_ascii_whitespace()
                    .map(str::to_owned)
                    .collect();
                Value::Text(words.join(" "))
            }
            Function::Translate => Value::Text(translate(&text(0), &text(1), &text(2))),
            Function::UpperCase => Value::Text(text(0).to_uppercase()),
            Function::LowerCase => Value::Text(text(0).to_lowercase()),
            Function::Number => Value::Number(number(0)),
            Function::Count => Value::Number(match value(0) {
                Value::Nodes(_, nodes) => nodes.len() as f64,
                _ => 0.0,
            }),
            Function::Sum => Value::Number(match value(0) {
                Value::Nodes(envelope, nodes) => nodes
                    .into_iter()
                    .map(|node| parse(&self.text_of(&envelope, node)))
                    .sum(),
                other => self.number(&other),
            }),
            Function::Floor => Value::Number(number(0).floor()),
            Function::Ceiling => Value::Number(number(0).ceil()),
            Function::Round => Value::Number((number(0) + 0.5).floor()),
            Function::Position => Value::Number(at.map_or(1.0, |at| at.position as f64)),
            Function::Last => Value::Number(at.map_or(1.0, |at| at.size as f64)),
            Function::LocalName | Function::Name | Function::NamespaceUri => {
                Value::Text(name(function, &value(0)))
            }
            Function::Base64Encode => Value::Text(STANDARD.encode(text(0))),
            Function::Base64Decode => match STANDARD.decode(text(0).trim()) {
                Ok(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
                Err(_) => {
                    self.context.fail("base64Decode() of what is no base64");
                    Value::Null
                }
            },
            Function::UrlEncode => {
                let encoded = utf8_percent_encode(&text(0), URL).to_string();
                Value::Text(encoded.replace(' ', "+"))
            }
            Function::VaultLookup => {
                let alias = text(0);
                let found = self.context.secret(&alias);
                if found.is_none() {
                    self.context
                        .fail("vault-lookup() of an alias that is not known");
                }
                found.map_or(Value::Null, Value::Text)
            }
            Function::SystemDate => {
                let pattern = arguments.first().map(|_| text(0));
                match date::format(self.context.now(), pattern.as_deref()) {
                    Some(text) => Value::Text(text),
                    None => {
                        self.context
                            .fail("SYSTEM_DATE with a pattern that is not executed");
                        Value::Null
                    }
                }
            }
        }
    }
}

/// XPath 1.0, section 4.2: positions are rounded, from 1.
fn substring(text: &str, start: f64, length: Option<f64>) -> String {
    let round = |number: f64| (number + 0.5).floor();
    let first = round(start);
    let end = length.map_or(f64::INFINITY, |length| first + round(length));
    text.chars()
        .enumerate()
        .filter(|(index, _)| {
            let position = (index + 1) as f64;
            position >= first && position < end
        })
        .map(|(_, character)| character)
        .collect()
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let mut to = to.chars();
    let mut into: HashMap<char, Option<char>> = HashMap::new();
    for character in from.chars() {
        let other = to.next();
        // The first of equal ones counts.
        into.entry(character).or_insert(other);
    }
    text.chars()
        .filter_map(|character| into.get(&character).copied().unwrap_or(Some(character)))
        .collect()
}

/// The name of the first node of a set.
fn name(function: Function, value: &Value) -> String {
    let Value::Nodes(envelope, nodes) = value else {
        return String::new();
    };
    let document = &envelope.document;
    let name = nodes.first().and_then(|node| match node.attribute {
        None => document.name(node.node),
        Some(index) => Some(&document.attributes(node.node).get(index)?.0),
    });
    match (name, function) {
        (None, _) => String::new(),
        (Some(name), Function::NamespaceUri) => name.namespace.clone(),
        (Some(name), Function::Name) if !name.prefix.is_empty() => {
            format!("{}:{}", name.prefix, name.local)
        }
        (Some(name), _) => name.local.clone(),
    }
}
