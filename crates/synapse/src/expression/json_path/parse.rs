//! Reading JSONPath.

use serde_json::Value;

use super::super::{ExpressionError, beyond, unsupported};
use super::{Comparison, JsonPath, Step, Test};

/// Filters inside each other.
const MAX_DEPTH: usize = 16;

impl JsonPath {
    /// # Errors
    /// When it is no path, or uses what is not executed.
    pub(crate) fn parse(text: &str) -> Result<Self, ExpressionError> {
        let text = text.trim();
        let rest = match text.strip_prefix('$') {
            Some(rest) => rest.to_owned(),
            // As the original library: what does not begin with it gets it.
            None if text.is_empty() => return Err(beyond("an empty JSONPath")),
            None => format!(".{text}"),
        };
        let (steps, rest) = steps(&rest, 0)?;
        if !rest.trim().is_empty() {
            return Err(unsupported(&format!("{rest:?} in a JSONPath")));
        }
        let definite = steps.iter().all(|step| match step {
            Step::Names(names) => names.len() == 1,
            Step::Indices(indices) => indices.len() == 1,
            Step::Length => true,
            _ => false,
        });
        Ok(Self { steps, definite })
    }
}

fn steps(text: &str, depth: usize) -> Result<(Vec<Step>, &str), ExpressionError> {
    if depth > MAX_DEPTH {
        return Err(beyond("a JSONPath with filters more than 16 deep"));
    }
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Below);
            rest = after;
            if rest.starts_with('[') {
                continue;
            }
            rest = name(rest, &mut steps)?;
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = name(after, &mut steps)?;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = bracket(after)?;
            steps.push(selector(inside.trim(), depth)?);
            rest = after;
        } else {
            return Ok((steps, rest));
        }
    }
}

fn name<'t>(text: &'t str, steps: &mut Vec<Step>) -> Result<&'t str, ExpressionError> {
    if let Some(after) = text.strip_prefix('*') {
        steps.push(Step::All);
        return Ok(after);
    }
    if let Some(after) = text.strip_prefix("length()") {
        steps.push(Step::Length);
        return Ok(after);
    }
    let ends = |c: char| ".[]()=<>!&|,'\"".contains(c) || c.is_whitespace();
    let end = text.find(ends).unwrap_or(text.len());
    if end == 0 {
        return Err(beyond("a JSONPath without a name"));
    }
    let (name, after) = text.split_at(end);
    if after.starts_with('(') {
        return Err(unsupported(&format!("{name}() in a JSONPath")));
    }
    steps.push(Step::Names(vec![name.to_owned()]));
    Ok(after)
}

/// What stands in brackets, and what follows them.
fn bracket(text: &str) -> Result<(&str, &str), ExpressionError> {
    let mut depth = 1;
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Ok((&text[..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    Err(beyond("a JSONPath without its closing bracket"))
}

fn selector(inside: &str, depth: usize) -> Result<Step, ExpressionError> {
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(condition) = inside.strip_prefix('?') {
        let condition = condition
            .trim()
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'))
            .ok_or_else(|| beyond("a JSONPath filter without its parentheses"))?;
        let tests: Result<_, _> = condition
            .split("&&")
            .map(|text| test(text, depth))
            .collect();
        return tests.map(Step::Filter);
    }
    if inside.starts_with(['\'', '"']) {
        let mut names = Vec::new();
        let mut rest = inside;
        loop {
            let quote = rest.chars().next().filter(|c| "'\"".contains(*c));
            let quote = quote.ok_or_else(|| beyond("a name in a JSONPath without quotes"))?;
            let end = rest[1..]
                .find(quote)
                .ok_or_else(|| beyond("a name in a JSONPath without its closing quote"))?;
            names.push(rest[1..=end].to_owned());
            rest = rest[end + 2..].trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if rest.is_empty() => return Ok(Step::Names(names)),
                None => return Err(beyond("names in a JSONPath without commas")),
            }
        }
    }
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let what = || unsupported(&format!("[{inside}] in a JSONPath"));
    if let Some((from, to)) = inside.split_once(':') {
        let bound = |text: &str| match text.trim() {
            "" => Ok(None),
            text => number(text).map(Some).ok_or_else(what),
        };
        return Ok(Step::Slice(bound(from)?, bound(to)?));
    }
    let indices: Option<Vec<i64>> = inside.split(',').map(number).collect();
    indices.map(Step::Indices).ok_or_else(what)
}

fn test(text: &str, depth: usize) -> Result<Test, ExpressionError> {
    let text = text.trim();
    let path = text
        .strip_prefix('@')
        .ok_or_else(|| unsupported("a JSONPath filter that is not about @"))?;
    let (path, rest) = steps(path, depth + 1)?;
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Test { path, is: None });
    }
    let operators = [
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let found = operators
        .iter()
        .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?.trim())));
    let Some((comparison, literal)) = found else {
        return Err(unsupported(&format!("{rest:?} in a JSONPath filter")));
    };
    let quoted = literal
        .strip_prefix('\'')
        .and_then(|literal| literal.strip_suffix('\''));
    let value = match quoted {
        Some(text) => Value::from(text),
        None => serde_json::from_str(literal)
            .map_err(|_| unsupported(&format!("{literal:?} in a JSONPath filter")))?,
    };
    Ok(Test {
        path,
        is: Some((*comparison, value)),
    })
}
