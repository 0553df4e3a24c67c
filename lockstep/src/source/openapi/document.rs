//! The text of a document as a tree whose nodes know their JSON pointer.

use serde_json::{Map, Value};
use serde_saphyr::{Error as YamlError, SnippetMode};

use super::OpenApiError;

/// The document's value, its members by their names, so that an API's digest does not depend on
/// how they are ordered. JSON is told from YAML by its first character.
pub(super) fn parse(text: &str) -> Result<Value, OpenApiError> {
    let mut value = read(text)?;
    value.sort_all_objects();
    Ok(value)
}

fn read(text: &str) -> Result<Value, OpenApiError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text).map_err(|e| OpenApiError::Syntax {
            format: "JSON",
            line: e.line() as u64,
            column: e.column() as u64,
            reason: e.to_string(),
        });
    }
    serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|e| yaml_error(&e))
}

/// Room for the largest published documents, none for aliases that multiply. The reader recurses:
/// the depth keeps it well inside the stack of a worker thread.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2_000_000,
            max_nodes: 1_000_000,
            max_depth: 40,
            max_documents: 1,
            max_anchors: 1_000,
            max_aliases: 10_000,
            max_merge_keys: 1_000,
            max_total_scalar_bytes: 32 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

fn yaml_error(error: &YamlError) -> OpenApiError {
    let location = error.location();
    OpenApiError::Syntax {
        format: "YAML",
        line: location.map_or(0, |it| it.line()),
        column: location.map_or(0, |it| it.column()),
        reason: error.render_with_options(serde_saphyr::render_options! {
            snippets: SnippetMode::Off,
        }),
    }
}

/// A value of the document and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    key: &'a str,
    pointer: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            key: "",
            pointer: String::new(),
        }
    }

    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Whether the member is an extension that changes how API Manager publishes an API.
    pub(super) fn is_extension(&self) -> bool {
        self.key.starts_with("x-wso2-")
    }

    pub(super) fn get(&self, key: &'a str) -> Option<Node<'a>> {
        let value = self.value.get(key)?;
        Some(self.child(key, value))
    }

    pub(super) fn required(&self, key: &'a str, rule: &str) -> Result<Node<'a>, OpenApiError> {
        self.object()?;
        self.get(key).ok_or_else(|| self.child_breaks(key, rule))
    }

    pub(super) fn string(&self) -> Result<&'a str, OpenApiError> {
        match self.value {
            Value::String(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => {
                Err(self.breaks("must be a string: write it in quotes"))
            }
            _ => Err(self.breaks("must be a string")),
        }
    }

    pub(super) fn members(&self) -> Result<Vec<Node<'a>>, OpenApiError> {
        let object = self.object()?.iter();
        Ok(object.map(|(key, value)| self.child(key, value)).collect())
    }

    pub(super) fn items(&self) -> Result<Vec<Node<'a>>, OpenApiError> {
        let Value::Array(items) = self.value else {
            return Err(self.breaks("must be a list"));
        };
        let item = |(index, value)| Node {
            value,
            key: "",
            pointer: format!("{}/{index}", self.pointer),
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// What a `$ref` inside the document points to.
    pub(super) fn resolve(&self, root: &Node<'a>) -> Result<Node<'a>, OpenApiError> {
        let reference = self.string()?;
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| Some((pointer, root.value.pointer(pointer)?)));
        match target {
            Some((pointer, value)) => Ok(Node {
                value,
                key: self.key,
                pointer: pointer.to_owned(),
            }),
            None => Err(self.breaks(format!(
                "{reference:?} is not in this document; bundle the documents into one"
            ))),
        }
    }

    /// The value for a message.
    pub(super) fn shown(&self) -> String {
        match self.value {
            Value::String(text) => text.escape_debug().to_string(),
            other => other.to_string(),
        }
    }

    pub(super) fn breaks(&self, rule: impl Into<String>) -> OpenApiError {
        OpenApiError::Member {
            pointer: self.pointer.clone(),
            rule: rule.into(),
        }
    }

    pub(super) fn child_breaks(&self, key: &str, rule: &str) -> OpenApiError {
        self.child(key, self.value).breaks(rule)
    }

    fn object(&self) -> Result<&'a Map<String, Value>, OpenApiError> {
        self.value
            .as_object()
            .ok_or_else(|| self.breaks("must be an object"))
    }

    fn child<'b>(&self, key: &'b str, value: &'b Value) -> Node<'b> {
        let token = key.replace('~', "~0").replace('/', "~1");
        Node {
            value,
            key,
            pointer: format!("{}/{token}", self.pointer),
        }
    }
}

/// A path without what a gateway does not tell paths apart by: the names of its variables and, of
/// a plain path, the final slash.
pub(super) fn template_shape(item: &Node<'_>) -> Result<String, OpenApiError> {
    let path = item.key();
    if !path.starts_with('/') {
        return Err(item.breaks("a path begins with /"));
    }
    if path.contains(['?', '#']) {
        return Err(item.breaks("a path has no query or fragment; declare query parameters"));
    }
    if path.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err(item.breaks("a path has no blanks; write them as %20"));
    }
    let mut shape = String::new();
    let mut rest = path;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((variable, tail)) = after.split_once('}') else {
            return Err(item.breaks("a { of the path is not closed"));
        };
        if variable.is_empty() || variable.contains(['{', '/']) || literal.contains('}') {
            return Err(item.breaks("a path variable is written {name}"));
        }
        if variable.starts_with(['.', '+', ';', '&']) || variable.contains([',', ':', '*']) {
            return Err(item.breaks(format!(
                "the variable {{{variable}}} has another meaning in a URI template; \
                 use letters, digits and _"
            )));
        }
        shape.push_str(literal);
        shape.push_str("{}");
        rest = tail;
    }
    if rest.contains('}') {
        return Err(item.breaks("a } of the path is not opened"));
    }
    shape.push_str(rest);
    if !shape.contains('{') {
        shape.truncate(shape.trim_end_matches('/').len());
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_have_line_and_column() {
        let json = parse("{\n  \"openapi\": }").unwrap_err();
        assert!(
            matches!(
                json,
                OpenApiError::Syntax {
                    format: "JSON",
                    line: 2,
                    column: 14,
                    ..
                }
            ),
            "{json:?}"
        );
        let yaml = parse("openapi: 3.0.0\ninfo: [a\npaths: {}").unwrap_err();
        assert!(
            matches!(
                yaml,
                OpenApiError::Syntax {
                    format: "YAML",
                    line: 3,
                    ..
                }
            ),
            "{yaml:?}"
        );
        assert!(yaml.to_string().contains("line 3"), "{yaml}");
        let twice = parse("openapi: 3.0.0\nopenapi: 3.0.0").unwrap_err();
        assert!(twice.to_string().contains("line 2"), "{twice}");
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                [alias.as_str(); 9].join(", ")
            ));
        }
        assert!(matches!(
            parse(&text),
            Err(OpenApiError::Syntax { format: "YAML", .. })
        ));
        let big = format!(
            "a: &a {}\nb: [{}]",
            "x".repeat(1 << 20),
            ["*a"; 90].join(", ")
        );
        assert!(matches!(
            parse(&big),
            Err(OpenApiError::Syntax { format: "YAML", .. })
        ));
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("{<<: ", "}"), ("[{a: ", "}]")] {
            let levels = 38 / open.matches(['[', '{']).count();
            let nested = format!("a: {}{{}}{}", open.repeat(levels), close.repeat(levels));
            assert!(parse(&nested).is_ok(), "{open}");
            let deep = format!("a: {}", open.repeat(100_000));
            assert!(matches!(parse(&deep), Err(OpenApiError::Syntax { .. })));
        }
        for open in ["[", "- "] {
            let deep = open.repeat(100_000);
            assert!(matches!(parse(&deep), Err(OpenApiError::Syntax { .. })));
        }
    }
}
