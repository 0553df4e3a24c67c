//! Reading the text of a URI template into its parts.
//!
//! Source of the rules: `URITemplateParser`, `Expression` and `Variable` in `templates/uri/parser`.

use super::{Expression, Kind, Part, UriTemplateError, Variable};

/// The parts of a template without trailing slash, in order.
pub(super) fn parts(body: &str) -> Result<Vec<Part>, UriTemplateError> {
    let opening = |at| UriTemplateError::OpeningBrace {
        template: body.to_owned(),
        at,
    };
    let closing = |at| UriTemplateError::ClosingBrace {
        template: body.to_owned(),
        at,
    };
    let mut parts = Vec::new();
    let mut in_expression = false;
    let mut start = 0;
    for (at, byte) in body.bytes().enumerate() {
        let text = body.get(start..at).unwrap_or_default();
        match byte {
            b'{' => {
                if in_expression || at == 0 || at + 2 >= body.len() {
                    return Err(opening(at));
                }
                if !text.is_empty() {
                    parts.push(literal(text));
                }
                in_expression = true;
                start = at + 1;
            }
            b'}' => {
                if !in_expression || text.is_empty() {
                    return Err(closing(at));
                }
                parts.push(Part::Expression(expression_of(text)?));
                in_expression = false;
                start = at + 1;
            }
            _ => {}
        }
    }
    let text = body.get(start..).unwrap_or_default();
    if in_expression {
        // The closing brace at the very end may be missing.
        parts.push(Part::Expression(expression_of(text)?));
    } else if !text.is_empty() {
        parts.push(literal(text));
    }
    Ok(parts)
}

fn literal(text: &str) -> Part {
    let (text, open_end) = match text.strip_suffix('*') {
        Some(text) => (text, true),
        None => (text, false),
    };
    Part::Literal {
        text: text.to_owned(),
        open_end,
    }
}

fn expression_of(expression: &str) -> Result<Expression, UriTemplateError> {
    let invalid = || UriTemplateError::Expression {
        expression: expression.to_owned(),
    };
    let (kind, list) = match expression.chars().next() {
        Some('#') => (Kind::Fragment, expression.get(1..)),
        Some('+') => (Kind::Reserved, expression.get(1..)),
        Some('.') => (Kind::Label, expression.get(1..)),
        Some('/') => (Kind::PathSegment, expression.get(1..)),
        Some(';' | '?' | '&') | None => return Err(invalid()),
        Some(_) => (Kind::Simple, Some(expression)),
    };
    let list = list.ok_or_else(invalid)?;
    let list = list.strip_suffix(',').unwrap_or(list);
    let variables = list
        .split(',')
        .map(|text| variable(text).ok_or_else(invalid))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Expression { kind, variables })
}

fn variable(text: &str) -> Option<Variable> {
    let (name, length) = match text.split_once(':') {
        Some((name, digits)) => {
            let length = digits.parse::<i32>().ok().filter(|length| *length > 0)?;
            (name, Some(usize::try_from(length).ok()?))
        }
        None => (text, None),
    };
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!text.is_empty() && name.bytes().all(is_valid)).then(|| Variable {
        name: name.to_owned(),
        length,
    })
}
