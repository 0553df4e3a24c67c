//! The words of an XPath expression.

use std::fmt;

use super::{ExpressionError, malformed, unsupported};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Literal(String),
    Number(f64),
    /// A name, with its prefix if it has one.
    Name(String),
    Variable(String),
    /// One of `( ) [ ] , @ . .. / // :: * + - = != < <= > >= |`.
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => write!(f, "'{text}'"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 21] = [
    "::", "//", "..", "!=", "<=", ">=", "(", ")", "[", "]", ",", "@", "/", "*", "+", "-", "=", "<",
    ">", "|", ".",
];

pub(super) fn tokenize(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = next(rest, first)?;
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

fn next(rest: &str, first: char) -> Result<(Token, usize), ExpressionError> {
    let second = rest.chars().nth(1);
    match first {
        '\'' | '"' => {
            let end = rest[1..]
                .find(first)
                .ok_or_else(|| malformed("a literal without its closing quote"))?;
            Ok((Token::Literal(rest[1..=end].to_owned()), end + 2))
        }
        '$' => {
            let name = name(&rest[1..], true);
            if name.is_empty() {
                return Err(unsupported(&format!(
                    "{:?}",
                    rest.chars().take(2).collect::<String>()
                )));
            }
            Ok((Token::Variable(name.to_owned()), 1 + name.len()))
        }
        c if c.is_ascii_digit() || (c == '.' && second.is_some_and(|c| c.is_ascii_digit())) => {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let number = rest[..end].parse().map_err(|_| malformed("a number"))?;
            Ok((Token::Number(number), end))
        }
        c if c.is_alphabetic() || c == '_' => {
            let name = name(rest, false);
            Ok((Token::Name(name.to_owned()), name.len()))
        }
        _ => SIGNS
            .iter()
            .find(|sign| rest.starts_with(**sign))
            .map(|sign| (Token::Sign(sign), sign.len()))
            .ok_or_else(|| unsupported(&format!("{first:?}"))),
    }
}

/// A name with an optional prefix; `p:*` counts as one. A variable's may have several parts.
fn name(text: &str, variable: bool) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let part = |text: &str| text.find(|c| !is_part(c)).unwrap_or(text.len());
    let mut end = part(text);
    while text[end..].starts_with(':') && !text[end..].starts_with("::") {
        let after = &text[end + 1..];
        let more = match after.strip_prefix('*') {
            Some(_) if !variable => 1,
            _ => part(after),
        };
        end += 1 + more;
        if !variable || more == 0 {
            break;
        }
    }
    &text[..end]
}
