//! A document that stands for itself: a `GatewayAPIDTO`, an OpenAPI document, one API XML file.

use artifact::{Artifact, Content, Finding, PublishItem, SUPER_TENANT, Severity, derive_api_id};
use synapse::xml::{Limits, read as read_xml};
use synapse_directory::layout::{ApiFile, XmlFiles};
use synapse_directory::tree::has_ending;

use super::openapi::{GeneratedApi, read_openapi};

/// What a document is.
pub(super) enum Read {
    Artifact {
        item: PublishItem,
        findings: Vec<Finding>,
    },
    /// Meant to be an artifact, and is none.
    Bad(String),
    /// Something else; in a directory it is left out.
    NotAnArtifact,
}

/// Reads a document. `around` are the files that an API XML file may refer to; `required`: the
/// operator named this very file, so it has to be an artifact.
pub(super) fn read(name: &str, bytes: &[u8], around: &XmlFiles, required: bool) -> Read {
    let is_json = has_ending(name, "json");
    let is_yaml = has_ending(name, "yaml") || has_ending(name, "yml");
    let is_xml = has_ending(name, "xml");
    if !required && !is_json && !is_yaml && !is_xml {
        return Read::NotAnArtifact;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let at = error.valid_up_to();
            return Read::Bad(format!("byte {at}: not UTF-8; artifacts are UTF-8 text"));
        }
    };
    let start = text.trim_start();
    if start.is_empty() {
        return Read::Bad("the file is empty".to_owned());
    }
    if is_xml || start.starts_with('<') {
        return xml(name, text, around, required);
    }
    if is_json || start.starts_with('{') {
        return json(name, text, required);
    }
    if is_yaml || required {
        return openapi(name, text, required);
    }
    Read::NotAnArtifact
}

fn json(name: &str, text: &str, required: bool) -> Read {
    let members = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(members)) => members,
        Ok(_) if !required => return Read::NotAnArtifact,
        // The readers of artifacts say what is wrong, and where.
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    if members.contains_key("openapi") || members.contains_key("swagger") {
        return openapi(name, text, required);
    }
    let looks_like_one = ["apiId", "apiDefinition", "sequenceToBeAdd"];
    if !required && !members.is_empty() && !looks_like_one.iter().any(|m| members.contains_key(*m))
    {
        return Read::NotAnArtifact;
    }
    match Artifact::parse(text) {
        Ok(_) => Read::Artifact {
            item: PublishItem {
                source: name.to_owned(),
                artifact: text.to_owned(),
            },
            findings: Vec::new(),
        },
        Err(error) => Read::Bad(error.to_string()),
    }
}

fn openapi(name: &str, text: &str, required: bool) -> Read {
    let generated = match read_openapi(text) {
        Ok(Some(generated)) => generated,
        Ok(None) if required => {
            return Read::Bad(
                "neither a GatewayAPIDTO, an OpenAPI 3 document, an API XML file nor a zip of those"
                    .to_owned(),
            );
        }
        Ok(None) => return Read::NotAnArtifact,
        Err(error) => return Read::Bad(error.to_string()),
    };
    let findings = generated.findings.iter().map(|message| Finding {
        severity: Severity::Ignored,
        place: name.to_owned(),
        message: message.clone(),
    });
    let findings = findings.collect();
    match artifact_of(&generated).to_text() {
        Ok(artifact) => Read::Artifact {
            item: PublishItem {
                source: name.to_owned(),
                artifact,
            },
            findings,
        },
        Err(error) => Read::Bad(error.to_string()),
    }
}

fn artifact_of(generated: &GeneratedApi) -> Artifact {
    let api_id = derive_api_id(SUPER_TENANT, &generated.name, &generated.version);
    let endpoints = generated.endpoints.iter().map(|(name, content)| Content {
        name: name.clone(),
        content: content.clone(),
    });
    Artifact {
        name: generated.name.clone(),
        version: generated.version.clone(),
        tenant_domain: SUPER_TENANT.to_owned(),
        api_definition: Some(generated.api_definition.clone()),
        r#override: true,
        endpoint_entries_to_be_add: endpoints.collect(),
        local_entries_to_be_add: vec![Content {
            content: generated.local_entry(&api_id),
            name: api_id.clone(),
        }],
        api_id,
        ..Artifact::default()
    }
}

fn xml(name: &str, text: &str, around: &XmlFiles, required: bool) -> Read {
    let root = match read_xml(text, &Limits::default()) {
        Ok(root) => root,
        Err(error) => return Read::Bad(error.to_string()),
    };
    if root.name != "api" {
        return if required {
            Read::Bad(format!(
                "line {}, column {}: the root element must be <api>, found <{}>; sequences and \
                 endpoints are published with the APIs that refer to them, in one directory",
                root.line, root.column, root.name
            ))
        } else {
            Read::NotAnArtifact
        };
    }
    let file = ApiFile {
        name: name.to_owned(),
        text: text.to_owned(),
        root,
    };
    match file.bundle(around) {
        Ok((item, findings)) => Read::Artifact { item, findings },
        Err(reason) => Read::Bad(reason),
    }
}
