//! Reads an OpenAPI 3 document and generates the Synapse artifacts of its API.
//!
//! Pure: text in, XML out. It fetches nothing, so references to other documents are errors.

mod backend;
mod document;
mod generate;

use std::cmp::Reverse;
use std::collections::HashMap;

use backend::Backend;
use document::Node;

/// The artifacts of one API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedApi {
    pub name: String,
    pub version: String,
    /// The context with `{version}` in it, as in the `<api>`.
    pub context: String,
    /// The `<api>` element.
    pub api_definition: String,
    /// Each endpoint's name and `<endpoint>` element, production first.
    pub endpoints: Vec<(String, String)>,
    /// What the document says and the generated API does not do, one sentence each.
    pub findings: Vec<String>,
    document: String,
}

impl GeneratedApi {
    /// The `<localEntry>` that gives gateways the document, under the API's UUID.
    pub fn local_entry(&self, api_id: &str) -> String {
        generate::local_entry(api_id, &self.document)
    }
}

/// Why a document gives no API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    /// The parser's reason ends with the line and the column.
    #[error("not valid {format}: {reason}")]
    Syntax {
        format: &'static str,
        line: u64,
        column: u64,
        reason: String,
    },
    #[error("/swagger: Swagger {version} is not read; convert the document to OpenAPI 3.0 or 3.1")]
    Swagger { version: String },
    /// `pointer` is the JSON pointer of the member that breaks `rule`.
    #[error("{pointer}: {rule}")]
    Member { pointer: String, rule: String },
    #[error(
        "{first} and {second}: the same path to a gateway; \
         variable names and the final / of a plain path do not tell paths apart"
    )]
    SameTemplate { first: String, second: String },
}

/// One `<resource>`.
#[derive(Debug, PartialEq, Eq)]
struct Resource {
    path: String,
    methods: Vec<&'static str>,
}

/// An HTTP method that Synapse knows, by its member name in a path item.
const METHODS: [(&str, &str); 7] = [
    ("get", "GET"),
    ("post", "POST"),
    ("put", "PUT"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
];

/// What neither the name nor the version of an API may hold, besides blanks.
const FORBIDDEN: &str = "~!@#;:%^&*()+={}|<>\"',?[]/$\\";

/// The extensions that are read at document level.
const DOCUMENT_EXTENSIONS: [&str; 3] = ["x-wso2-basePath", backend::PRODUCTION, backend::SANDBOX];

/// The API of an OpenAPI document in JSON or YAML; `None` if `text` is some other document.
pub fn read_openapi(text: &str) -> Result<Option<GeneratedApi>, OpenApiError> {
    let value = document::parse(text)?;
    let root = Node::root(&value);
    if !is_openapi(&root)? {
        return Ok(None);
    }

    let mut findings = Vec::new();
    let info = root.required(
        "info",
        "the document needs an info object with title and version",
    )?;
    let name = api_name(&info, &mut findings)?;
    let version = api_version(&info)?;
    let context = api_context(&root, &name, &version)?;
    for member in root.members()? {
        if member.is_extension() && !DOCUMENT_EXTENSIONS.contains(&member.key()) {
            findings.push(format!("{}: not used", member.pointer()));
        }
    }
    let resources = resources(&root, &mut findings)?;
    let backend = Backend::read(&root, &mut findings)?;

    Ok(Some(GeneratedApi {
        api_definition: generate::api(&name, &version, &context, &resources, &backend),
        endpoints: generate::endpoints(&name, &version, &backend),
        name,
        version,
        context,
        findings,
        document: value.to_string(),
    }))
}

fn is_openapi(root: &Node<'_>) -> Result<bool, OpenApiError> {
    if !root.is_object() {
        return Ok(false);
    }
    let Some(openapi) = root.get("openapi") else {
        return match root.get("swagger") {
            Some(swagger) => Err(OpenApiError::Swagger {
                version: swagger.shown(),
            }),
            None => Ok(false),
        };
    };
    let version = openapi.string()?;
    let line = version.split('.').take(2).collect::<Vec<_>>();
    match line.as_slice() {
        ["3", "0" | "1"] => Ok(true),
        _ => Err(openapi.breaks(format!(
            "OpenAPI {version:?} is not read; versions 3.0 and 3.1 are"
        ))),
    }
}

/// `info.title` without the characters that no API name may hold.
fn api_name(info: &Node<'_>, findings: &mut Vec<String>) -> Result<String, OpenApiError> {
    let title = info.required("title", "the API's name comes from info.title")?;
    let text = title.string()?;
    let name: String = text
        .chars()
        .filter(|it| !it.is_whitespace() && !it.is_control() && !FORBIDDEN.contains(*it))
        .collect();
    if name.is_empty() {
        return Err(title.breaks("no character of the title is allowed in an API name"));
    }
    if name != text {
        findings.push(format!(
            "{}: {text:?} became the API name {name}",
            title.pointer()
        ));
    }
    Ok(name)
}

fn api_version(info: &Node<'_>) -> Result<String, OpenApiError> {
    let version = info.required("version", "the API's version comes from info.version")?;
    let text = version.string()?;
    let allowed = |it: char| !it.is_whitespace() && !it.is_control() && !FORBIDDEN.contains(it);
    if is_dots(text) || !text.chars().all(allowed) {
        return Err(version.breaks(format!(
            "a version is part of the URL: no blanks and none of {FORBIDDEN}"
        )));
    }
    Ok(text.to_owned())
}

/// The context that clients call, with `{version}` as one of its segments.
fn api_context(root: &Node<'_>, name: &str, version: &str) -> Result<String, OpenApiError> {
    const PLACEHOLDER: &str = "{version}";

    let Some(base) = root.get("x-wso2-basePath") else {
        let path: String = name
            .to_lowercase()
            .chars()
            .filter(|it| it.is_ascii_alphanumeric() || "-._".contains(*it))
            .collect();
        if is_dots(&path) {
            return Err(root.child_breaks(
                "info",
                "the title gives no context; add x-wso2-basePath, such as /orders",
            ));
        }
        return Ok(format!("/{path}/{PLACEHOLDER}"));
    };
    let text = base.string()?;
    let Some(path) = text.strip_prefix('/') else {
        return Err(base.breaks("a base path begins with /"));
    };
    let path = path.trim_end_matches('/');
    let mut segments: Vec<&str> = if path.is_empty() {
        Vec::new()
    } else {
        path.split('/').collect()
    };
    if !segments.contains(&PLACEHOLDER) {
        match segments.iter().rposition(|it| *it == version) {
            Some(at) => {
                segments.splice(at..=at, [PLACEHOLDER]);
            }
            None => segments.push(PLACEHOLDER),
        }
    }
    let plain = |it: char| !it.is_whitespace() && !it.is_control() && !"{}*?#\\".contains(it);
    let ok = |it: &&str| *it == PLACEHOLDER || (!is_dots(it) && it.chars().all(plain));
    if !segments.iter().all(ok) {
        return Err(base.breaks(
            "a base path holds plain segments and {version}: no query, blank, * or other variable",
        ));
    }
    Ok(format!("/{}", segments.join("/")))
}

/// A path segment that is none, or that a client resolves away: empty, `.` or `..`.
fn is_dots(segment: &str) -> bool {
    segment.chars().all(|it| it == '.')
}

/// The resources in the order that a gateway tries them.
fn resources(root: &Node<'_>, findings: &mut Vec<String>) -> Result<Vec<Resource>, OpenApiError> {
    let paths = root.required(
        "paths",
        "the document needs paths; an API without is not published",
    )?;
    let mut templates: HashMap<String, String> = HashMap::new();
    let mut resources = Vec::new();
    for item in paths.members()? {
        if item.key().starts_with("x-") {
            continue;
        }
        let template = document::template_shape(&item)?;
        if let Some(first) = templates.insert(template, item.pointer().to_owned()) {
            return Err(OpenApiError::SameTemplate {
                first,
                second: item.pointer().to_owned(),
            });
        }
        let methods = methods(&item, root, findings)?;
        if methods.is_empty() {
            findings.push(format!("{}: no operation, so no resource", item.pointer()));
            continue;
        }
        resources.push(Resource {
            path: item.key().to_owned(),
            methods,
        });
    }
    if resources.is_empty() {
        return Err(paths.breaks("no path has an operation; an API needs at least one"));
    }
    resources.sort_by(|a, b| rank(&a.path).cmp(&rank(&b.path)));
    Ok(resources)
}

/// A gateway that finds `/*` and `/a/*` equally good takes the first: the longer one goes first.
fn rank(path: &str) -> (Reverse<usize>, &str) {
    let segments = match path.strip_suffix("/*") {
        Some(fixed) => fixed.split('/').count(),
        None => usize::MAX,
    };
    (Reverse(segments), path)
}

/// The methods of a path item's operations.
fn methods(
    item: &Node<'_>,
    root: &Node<'_>,
    findings: &mut Vec<String>,
) -> Result<Vec<&'static str>, OpenApiError> {
    let mut members = item.members()?;
    if let Some(reference) = item.get("$ref") {
        members.extend(reference.resolve(root)?.members()?);
    }
    let mut found = Vec::new();
    for member in members {
        let key = member.key();
        match key {
            "$ref" | "summary" | "description" | "parameters" => {}
            "trace" => findings.push(format!("{}: TRACE is not published", member.pointer())),
            "servers" => findings.push(format!(
                "{}: not used; one back end serves the whole API",
                member.pointer()
            )),
            _ => match METHODS.iter().find(|(name, _)| *name == key) {
                Some((_, method)) => {
                    for inner in member.members()? {
                        if inner.is_extension() || inner.key() == "servers" {
                            findings.push(format!("{}: not used", inner.pointer()));
                        }
                    }
                    found.push(*method);
                }
                None if key.starts_with("x-") && !member.is_extension() => {}
                None => findings.push(format!("{}: not used", member.pointer())),
            },
        }
    }
    let in_order = METHODS.iter().map(|(_, method)| *method);
    Ok(in_order.filter(|method| found.contains(method)).collect())
}

#[cfg(test)]
mod tests;
