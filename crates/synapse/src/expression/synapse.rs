//! Synapse expressions, `${…}`, as far as they name one value: `payload`, `headers`, `props`
//! (`properties`), `params` with a path, and `xpath()`. Source: the grammar Expression.g4 of Synapse.
//!
//! Operators, functions, variables and configuration are refused with the reason.

use super::json_path::JsonPath;
use super::{Expression, ExpressionError, Scope, parse, unsupported};

/// The inside of `${…}`.
pub(super) fn read(
    text: &str,
    namespaces: &[(String, String)],
) -> Result<Expression, ExpressionError> {
    let text = text.trim();
    if let Some(inside) = text
        .strip_prefix("xpath(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        return match quoted(inside.trim()) {
            Some(xpath) => parse::parse(xpath, namespaces),
            None => Err(unsupported("xpath() of more than one text")),
        };
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (root, path) = text.split_at(end);
    if root == "payload" || root == "$" {
        if !path.is_empty() && !is_path(path) {
            return Err(unsupported("an operator or function of ${}"));
        }
        return JsonPath::parse(&format!("${path}")).map(Expression::Json);
    }
    let names = names(path).ok_or_else(|| unsupported("an operator or function of ${}"))?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (scope, name) = match (root, names.as_slice()) {
        ("headers", [name]) => (Scope::Transport, (*name).to_owned()),
        ("props" | "properties", ["synapse", name]) => (Scope::Default, (*name).to_owned()),
        ("props" | "properties", ["axis2", name]) => (Scope::Axis2, (*name).to_owned()),
        ("params", ["queryParams", name]) => (Scope::Default, format!("query.param.{name}")),
        ("params", ["pathParams" | "uriParams", name]) => {
            (Scope::Default, format!("uri.var.{name}"))
        }
        ("params", ["functionParams", name]) => (Scope::Function, (*name).to_owned()),
        _ => return Err(unsupported(&format!("${{{root}}}"))),
    };
    Ok(Expression::Property(scope, name))
}

fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inside.contains(quote)).then_some(inside)
}

/// Whether a text is only names and indices behind each other: blanks are of operators.
fn is_path(text: &str) -> bool {
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c.is_alphanumeric() => {}
            (None, '.' | '_' | '-' | '[' | ']' | '*' | ':' | ',') => {}
            (None, _) => return false,
        }
    }
    // A minus with a blank is an operator; `a-b` is a name, as in JSONPath.
    text.starts_with(['.', '['])
}

/// `.a["b"]` as `a`, `b`.
fn names(path: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']')?;
            names.push(quoted(inside.trim())?.to_owned());
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after
                .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'))
                .unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name.is_empty() {
                return None;
            }
            names.push(name.to_owned());
            rest = after;
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_one_value_is_read() {
        let read = |text: &str| read(text, &[]).unwrap();
        let property = |scope, name: &str| Expression::Property(scope, name.to_owned());
        assert_eq!(read("headers.X-Id"), property(Scope::Transport, "X-Id"));
        assert_eq!(
            read("props.synapse[\"a b\"]"),
            property(Scope::Default, "a b")
        );
        assert_eq!(
            read("properties.axis2.HTTP_SC"),
            property(Scope::Axis2, "HTTP_SC")
        );
        assert_eq!(
            read("params.queryParams.q"),
            property(Scope::Default, "query.param.q")
        );
        assert_eq!(
            read("params.pathParams.id"),
            property(Scope::Default, "uri.var.id")
        );
        for (text, path) in [
            ("payload", "$"),
            ("payload.a.b[0]", "$.a.b[0]"),
            ("payload['a b']", "$['a b']"),
        ] {
            assert_eq!(read(text), Expression::parse_json(path).unwrap());
        }
        assert_eq!(read("xpath('//a')"), Expression::parse("//a", &[]).unwrap());
    }

    #[test]
    fn what_is_computed_is_refused() {
        for text in [
            "vars.x",
            "config.x",
            "payload.a == 'b'",
            "payload.a + 1",
            "length(payload)",
            "xpath('//a', 'b')",
            "payload.type == 'x' ? true : false",
            "ERROR_CODE",
            "props.synapse",
            "",
        ] {
            let error = read(text, &[]).unwrap_err();
            assert!(!error.malformed, "{text}");
        }
    }
}
