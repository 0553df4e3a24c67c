//! Expansion of URI templates into addresses: RFC 6570 over text variables, and the address rules
//! of HTTP endpoints on top of it.
//!
//! Source of the endpoint rules: `HTTPEndpoint.processUrlTemplate`.

use std::borrow::Cow;

use super::percent::{self, Plus};

/// Why a text is not a template that can be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriExpressionError {
    /// `{` inside an expression, `}` outside of one, or an expression that does not end.
    #[error("unbalanced brace at byte {at} of URI template {template:?}")]
    UnbalancedBrace {
        /// The template.
        template: String,
        /// Byte offset of the brace.
        at: usize,
    },
    /// The text between the braces is not a list of variables.
    #[error("invalid expression {{{expression}}} in a URI template")]
    Expression {
        /// The text between the braces.
        expression: String,
    },
}

/// A parsed template such as `http://host/{uri.var.id}{?query.param.q}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriExpression {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expression {
        operator: Operator,
        variables: Vec<Variable>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: String,
    /// `{v:n}`: only the first n characters.
    prefix: Option<usize>,
}

/// One row of the table in RFC 6570, appendix A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operator {
    /// What goes before the first value that is defined.
    first: &'static str,
    separator: char,
    /// Whether values appear as `name=value`; the text is what follows the name of an empty value.
    named: Option<&'static str>,
    /// Whether reserved characters and percent escapes stay as they are.
    allow_reserved: bool,
}

impl Operator {
    const SIMPLE: Self = Self::new("", ',', None, false);
    const RESERVED: Self = Self::new("", ',', None, true);

    const fn new(
        first: &'static str,
        separator: char,
        named: Option<&'static str>,
        allow_reserved: bool,
    ) -> Self {
        Self {
            first,
            separator,
            named,
            allow_reserved,
        }
    }

    fn from_character(character: char) -> Option<Self> {
        match character {
            '+' => Some(Self::RESERVED),
            '#' => Some(Self::new("#", ',', None, true)),
            '.' => Some(Self::new(".", '.', None, false)),
            '/' => Some(Self::new("/", '/', None, false)),
            ';' => Some(Self::new(";", ';', Some(""), false)),
            '?' => Some(Self::new("?", '&', Some("="), false)),
            '&' => Some(Self::new("&", '&', Some("="), false)),
            _ => None,
        }
    }
}

impl UriExpression {
    /// Reads a template. All operators of RFC 6570 are known; the explode modifier `*` changes
    /// nothing, since every value is one text.
    pub fn parse(template: &str) -> Result<Self, UriExpressionError> {
        let unbalanced = |at| UriExpressionError::UnbalancedBrace {
            template: template.to_owned(),
            at,
        };
        let mut parts = Vec::new();
        let mut opened = None;
        let mut start = 0;
        for (at, byte) in template.bytes().enumerate() {
            let text = template.get(start..at).unwrap_or_default();
            match (byte, opened) {
                (b'{', None) => {
                    if !text.is_empty() {
                        parts.push(Part::Literal(text.to_owned()));
                    }
                    opened = Some(at);
                    start = at + 1;
                }
                (b'}', Some(_)) => {
                    parts.push(parse_expression(text)?);
                    opened = None;
                    start = at + 1;
                }
                (b'{', Some(_)) | (b'}', None) => return Err(unbalanced(at)),
                _ => {}
            }
        }
        if let Some(at) = opened {
            return Err(unbalanced(at));
        }
        match template.get(start..) {
            Some(text) if !text.is_empty() => parts.push(Part::Literal(text.to_owned())),
            _ => {}
        }
        Ok(Self { parts })
    }

    /// The address the template gives for the variables `lookup` knows. A variable it does not
    /// know is left out, with its operator if no variable of the expression is known.
    pub fn expand(&self, lookup: &dyn Fn(&str) -> Option<String>) -> String {
        let mut address = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => address.push_str(text),
                Part::Expression {
                    operator,
                    variables,
                } => expand_expression(*operator, variables, lookup, &mut address),
            }
        }
        address
    }
}

fn expand_expression(
    operator: Operator,
    variables: &[Variable],
    lookup: &dyn Fn(&str) -> Option<String>,
    address: &mut String,
) {
    let mut is_first = true;
    for variable in variables {
        let Some(value) = lookup(&variable.name) else {
            continue;
        };
        if is_first {
            address.push_str(operator.first);
        } else {
            address.push(operator.separator);
        }
        is_first = false;
        if let Some(when_empty) = operator.named {
            address.push_str(&variable.name);
            address.push_str(if value.is_empty() { when_empty } else { "=" });
        }
        let end = variable
            .prefix
            .and_then(|length| value.char_indices().nth(length))
            .map_or(value.len(), |(end, _)| end);
        let value = value.get(..end).unwrap_or(&value);
        encode(value, operator.allow_reserved, address);
    }
}

fn parse_expression(text: &str) -> Result<Part, UriExpressionError> {
    let invalid = || UriExpressionError::Expression {
        expression: text.to_owned(),
    };
    let (operator, list) = match text.chars().next().and_then(Operator::from_character) {
        Some(operator) => (operator, text.get(1..).unwrap_or_default()),
        None => (Operator::SIMPLE, text),
    };
    let variables = list
        .split(',')
        .map(|variable| parse_variable(variable).ok_or_else(invalid))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Part::Expression {
        operator,
        variables,
    })
}

fn parse_variable(text: &str) -> Option<Variable> {
    let text = text.strip_suffix('*').unwrap_or(text);
    let (name, prefix) = match text.split_once(':') {
        Some((name, digits)) => {
            let length = digits.parse::<usize>().ok().filter(|length| *length > 0)?;
            (name, Some(length))
        }
        None => (text, None),
    };
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'%');
    (!name.is_empty() && name.bytes().all(is_valid)).then(|| Variable {
        name: name.to_owned(),
        prefix,
    })
}

/// Appends `value`, percent-encoding what is not unreserved, or with `allow_reserved` what is
/// neither reserved nor a percent escape already.
fn encode(value: &str, allow_reserved: bool, address: &mut String) {
    let bytes = value.as_bytes();
    for (at, character) in value.char_indices() {
        let stays = match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' => true,
            '%' => allow_reserved && is_escape(bytes, at),
            _ => allow_reserved && ":/?#[]@!$&'()*+,;=".contains(character),
        };
        if stays {
            address.push(character);
        } else {
            push_escaped(character, address);
        }
    }
}

fn push_escaped(character: char, address: &mut String) {
    let mut buffer = [0; 4];
    for byte in character.encode_utf8(&mut buffer).bytes() {
        address.push_str(percent_encoding::percent_encode_byte(byte));
    }
}

/// Whether the `%` at `at` is followed by two hexadecimal digits.
fn is_escape(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit))
}

/// The address of an HTTP endpoint: its `uri-template` with the rules Synapse adds to RFC 6570.
///
/// A template that starts with `{x}` is treated as `{+x}`, so a variable can hold a whole URL.
/// The prefix `legacy-encoding:` decodes the values and the expanded address instead of encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointTemplate {
    text: String,
    expression: UriExpression,
    legacy_encoding: bool,
}

impl EndpointTemplate {
    /// Marks a template whose values are decoded.
    pub const LEGACY_PREFIX: &'static str = "legacy-encoding:";

    /// Reads the value of an endpoint's `uri-template` attribute.
    pub fn parse(template: &str) -> Result<Self, UriExpressionError> {
        let (text, legacy_encoding) = match template.strip_prefix(Self::LEGACY_PREFIX) {
            Some(text) => (text, true),
            None => (template, false),
        };
        let mut expression = UriExpression::parse(text)?;
        if let Some(Part::Expression { operator, .. }) = expression.parts.first_mut()
            && !legacy_encoding
            && *operator == Operator::SIMPLE
        {
            *operator = Operator::RESERVED;
        }
        Ok(Self {
            text: text.to_owned(),
            expression,
            legacy_encoding,
        })
    }

    /// The template text, without the `legacy-encoding:` prefix.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address for one message. `has_properties` says whether the message or the endpoint has
    /// any `uri.var.*` or `query.param.*` property at all; `lookup` finds one by its full name.
    /// Without any property, or when the expansion is not a URI, this is the template text.
    pub fn expand(
        &self,
        has_properties: bool,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Cow<'_, str> {
        if !has_properties {
            return Cow::Borrowed(&self.text);
        }
        if self.legacy_encoding {
            let decoded = |name: &str| {
                let value = lookup(name)?;
                Some(match percent::decode(&value, Plus::Space) {
                    Some(decoded) => decoded.into_owned(),
                    None => value,
                })
            };
            let address = self.expression.expand(&decoded);
            return match percent::decode(&address, Plus::Space) {
                Some(address) if has_scheme(&address) => Cow::Owned(quote(&address)),
                _ => Cow::Borrowed(&self.text),
            };
        }
        let address = self.expression.expand(lookup);
        if is_uri_reference(&address) {
            Cow::Owned(address)
        } else {
            Cow::Borrowed(&self.text)
        }
    }
}

/// Percent-encodes what may not stand in a URI; other characters than ASCII stay.
fn quote(address: &str) -> String {
    let mut quoted = String::with_capacity(address.len());
    for character in address.chars() {
        if is_legal(character) && character != '%' {
            quoted.push(character);
        } else {
            push_escaped(character, &mut quoted);
        }
    }
    quoted
}

fn is_legal(character: char) -> bool {
    !character.is_control()
        && !character.is_whitespace()
        && !matches!(
            character,
            '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'
        )
}

fn has_scheme(address: &str) -> bool {
    address
        .split_once(':')
        .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Whether the text can be read as a URI or a relative reference.
fn is_uri_reference(address: &str) -> bool {
    let escapes_are_whole = address
        .match_indices('%')
        .all(|(at, _)| is_escape(address.as_bytes(), at));
    let scheme_is_valid = match address.find([':', '/', '?', '#']) {
        Some(at) if address.as_bytes().get(at) == Some(&b':') => has_scheme(address),
        _ => true,
    };
    escapes_are_whole
        && scheme_is_valid
        && address.chars().all(is_legal)
        && address.matches('#').count() <= 1
}

#[cfg(test)]
mod tests;
