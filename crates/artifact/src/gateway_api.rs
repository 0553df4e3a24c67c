//! The artifact: WSO2's `GatewayAPIDTO`, read as leniently as Gson reads it and written as
//! Gson writes it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::gson;

/// The tenant of everything that names no other.
pub const SUPER_TENANT: &str = "carbon.super";

/// Above this an artifact is refused: the blob columns of all databases hold as much.
pub const MAX_ARTIFACT_BYTES: usize = 64 * 1024 * 1024;

/// The runtime description of one API, the `GatewayAPIDTO` of API Manager 3.2.0.
///
/// Members that only later versions know (`revision`, `graphQLSchema`, `vhosts` …) are kept in
/// `other` and written back, so that nothing published is lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    pub tenant_domain: String,
    pub api_id: String,
    /// Synapse `<api>` XML. Absent on a Remove and for WebSocket APIs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_definition: Option<String>,
    /// Synapse XML of the version-less API, where this version is the default one.
    #[serde(
        rename = "defaultAPIDefinition",
        skip_serializing_if = "Option::is_none"
    )]
    pub default_api_definition: Option<String>,
    /// Whether existing sequences, endpoints and local entries are replaced.
    pub r#override: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sequence_to_be_add: Vec<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sequences_to_be_remove: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_entries_to_be_add: Vec<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_entries_to_be_remove: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_certificates_to_be_add: Vec<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_certificates_to_be_remove: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoint_entries_to_be_add: Vec<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoint_entries_to_be_remove: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials_to_be_add: Vec<Credential>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials_to_be_remove: Vec<String>,
    #[serde(flatten, serialize_with = "by_name")]
    pub other: Map<String, Value>,
}

/// A named piece of an artifact: a sequence, endpoint, local entry (XML) or certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub name: String,
    pub content: String,
}

/// A secure-vault alias with its password in plain text, as API Manager stores it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub alias: String,
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("alias", &self.alias)
            .field("password", &"***")
            .finish()
    }
}

/// Why a text is not an artifact. `field` is the JSON member, with its index where it is a list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    #[error("line {line}, column {column}: not JSON: {reason}")]
    NotJson {
        line: usize,
        column: usize,
        reason: String,
    },
    #[error("the document must be a GatewayAPIDTO object, found {0}")]
    NotAnObject(&'static str),
    #[error("{0}: missing; every artifact needs it")]
    Missing(&'static str),
    #[error("{field}: must be {expected}")]
    WrongType {
        field: String,
        expected: &'static str,
    },
    #[error("{field}: has {length} characters, at most {limit} are allowed")]
    TooLong {
        field: &'static str,
        length: usize,
        limit: usize,
    },
    #[error("{0}: must not hold control characters")]
    Control(&'static str),
    /// Databases that compare texts without their trailing blanks would take two for one.
    #[error("{0} must not begin or end with blanks")]
    Blanks(&'static str),
}

impl Artifact {
    /// Reads a `GatewayAPIDTO` from its JSON text: unknown members, any order, numbers and
    /// booleans where strings are expected, the last of doubled members (Gson's rules).
    pub fn parse(text: &str) -> Result<Self, ArtifactError> {
        let value: Value = serde_json::from_str(text).map_err(|error| ArtifactError::NotJson {
            line: error.line(),
            column: error.column(),
            reason: strip_place(&error.to_string()),
        })?;
        let Value::Object(mut members) = value else {
            return Err(ArtifactError::NotAnObject(kind(&value)));
        };
        let artifact = Self {
            name: required(&mut members, "name")?,
            version: required(&mut members, "version")?,
            provider: text_of(&mut members, "provider")?,
            tenant_domain: text_of(&mut members, "tenantDomain")?
                .filter(|tenant| !tenant.is_empty())
                .unwrap_or_else(|| SUPER_TENANT.to_owned()),
            api_id: required(&mut members, "apiId")?,
            api_definition: text_of(&mut members, "apiDefinition")?,
            default_api_definition: text_of(&mut members, "defaultAPIDefinition")?,
            r#override: flag(&mut members, "override")?,
            sequence_to_be_add: contents(&mut members, "sequenceToBeAdd", "content")?,
            sequences_to_be_remove: names(&mut members, "sequencesToBeRemove")?,
            local_entries_to_be_add: contents(&mut members, "localEntriesToBeAdd", "content")?,
            local_entries_to_be_remove: names(&mut members, "localEntriesToBeRemove")?,
            client_certificates_to_be_add: contents(
                &mut members,
                "clientCertificatesToBeAdd",
                "content",
            )?,
            client_certificates_to_be_remove: names(&mut members, "clientCertificatesToBeRemove")?,
            endpoint_entries_to_be_add: contents(
                &mut members,
                "endpointEntriesToBeAdd",
                "content",
            )?,
            endpoint_entries_to_be_remove: names(&mut members, "endpointEntriesToBeRemove")?,
            credentials_to_be_add: credentials(&mut members)?,
            credentials_to_be_remove: names(&mut members, "credentialsToBeRemove")?,
            other: members,
        };
        artifact.check_names()?;
        Ok(artifact)
    }

    /// The text that is stored, sent and named by its digest.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        gson::to_text(self)
    }

    /// What a gateway needs to take this API away; it holds no definitions and no secrets.
    #[must_use]
    pub fn to_removal(&self) -> Self {
        let names = |contents: &[Content]| contents.iter().map(|c| c.name.clone()).collect();
        Self {
            name: self.name.clone(),
            version: self.version.clone(),
            provider: self.provider.clone(),
            tenant_domain: self.tenant_domain.clone(),
            api_id: self.api_id.clone(),
            r#override: true,
            sequences_to_be_remove: names(&self.sequence_to_be_add),
            local_entries_to_be_remove: names(&self.local_entries_to_be_add),
            client_certificates_to_be_remove: names(&self.client_certificates_to_be_add),
            endpoint_entries_to_be_remove: names(&self.endpoint_entries_to_be_add),
            ..Self::default()
        }
    }

    fn check_names(&self) -> Result<(), ArtifactError> {
        let none = String::new();
        for (field, value) in [
            ("apiId", &self.api_id),
            ("name", &self.name),
            ("version", &self.version),
            ("tenantDomain", &self.tenant_domain),
            ("provider", self.provider.as_ref().unwrap_or(&none)),
        ] {
            let length = value.chars().count();
            if length > 255 {
                return Err(ArtifactError::TooLong {
                    field,
                    length,
                    limit: 255,
                });
            }
            if value.chars().any(char::is_control) {
                return Err(ArtifactError::Control(field));
            }
            if value.trim() != value {
                return Err(ArtifactError::Blanks(field));
            }
        }
        Ok(())
    }
}

/// A stable id for an API that came without one: a UUID (version 5) of tenant, name and version.
#[must_use]
pub fn derive_api_id(tenant: &str, name: &str, version: &str) -> String {
    let name = format!("lockstep:api:{tenant}\n{name}\n{version}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// serde_json appends " at line L column C" to its messages; the place is a field of ours.
fn strip_place(message: &str) -> String {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(reason, _)| reason)
        .to_owned()
}

/// The members in an order of their own, for the text is what digests are made of.
fn by_name<S: Serializer>(members: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut members = members.clone();
    members.values_mut().for_each(Value::sort_all_objects);
    members.sort_keys();
    members.serialize(serializer)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn scalar(value: Value, field: &str) -> Result<Option<String>, ArtifactError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(flag) => Ok(Some(flag.to_string())),
        Value::Array(_) | Value::Object(_) => Err(ArtifactError::WrongType {
            field: field.to_owned(),
            expected: "a string",
        }),
    }
}

fn text_of(members: &mut Map<String, Value>, field: &str) -> Result<Option<String>, ArtifactError> {
    scalar(members.remove(field).unwrap_or_default(), field)
}

fn required(
    members: &mut Map<String, Value>,
    field: &'static str,
) -> Result<String, ArtifactError> {
    text_of(members, field)?
        .filter(|text| !text.trim().is_empty())
        .ok_or(ArtifactError::Missing(field))
}

fn flag(members: &mut Map<String, Value>, field: &str) -> Result<bool, ArtifactError> {
    match members.remove(field).unwrap_or_default() {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(flag),
        Value::String(text) => Ok(text.eq_ignore_ascii_case("true")),
        _ => Err(ArtifactError::WrongType {
            field: field.to_owned(),
            expected: "true or false",
        }),
    }
}

fn list(members: &mut Map<String, Value>, field: &str) -> Result<Vec<Value>, ArtifactError> {
    match members.remove(field).unwrap_or_default() {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items),
        _ => Err(ArtifactError::WrongType {
            field: field.to_owned(),
            expected: "a list",
        }),
    }
}

fn names(members: &mut Map<String, Value>, field: &str) -> Result<Vec<String>, ArtifactError> {
    let mut result = Vec::new();
    for (index, item) in list(members, field)?.into_iter().enumerate() {
        result.extend(scalar(item, &format!("{field}[{index}]"))?);
    }
    Ok(result)
}

/// Reads `[{key: …, value: …}]`; null elements are skipped, as the gateway skips them.
fn pairs(
    members: &mut Map<String, Value>,
    field: &str,
    key: &str,
    value: &str,
) -> Result<Vec<(String, String)>, ArtifactError> {
    let mut result = Vec::new();
    for (index, item) in list(members, field)?.into_iter().enumerate() {
        let wrong = |what: &str, expected| ArtifactError::WrongType {
            field: format!("{field}[{index}]{what}"),
            expected,
        };
        let mut item = match item {
            Value::Null => continue,
            Value::Object(item) => item,
            _ => return Err(wrong("", "an object")),
        };
        let name = text_of(&mut item, key)?
            .filter(|name| !name.is_empty())
            .ok_or_else(|| wrong(&format!(".{key}"), "a string that is not empty"))?;
        let content =
            text_of(&mut item, value)?.ok_or_else(|| wrong(&format!(".{value}"), "a string"))?;
        result.push((name, content));
    }
    Ok(result)
}

fn contents(
    members: &mut Map<String, Value>,
    field: &str,
    value: &str,
) -> Result<Vec<Content>, ArtifactError> {
    let pairs = pairs(members, field, "name", value)?;
    Ok(pairs
        .into_iter()
        .map(|(name, content)| Content { name, content })
        .collect())
}

fn credentials(members: &mut Map<String, Value>) -> Result<Vec<Credential>, ArtifactError> {
    let pairs = pairs(members, "credentialsToBeAdd", "alias", "password")?;
    Ok(pairs
        .into_iter()
        .map(|(alias, password)| Credential { alias, password })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"apiId":"u-1","name":"Pizza","version":1.0,"override":true}"#;

    #[test]
    fn reads_what_gson_reads() {
        let artifact = Artifact::parse(
            r#"{"version":2,"name":"A","name":"B","apiId":"x","sequenceToBeAdd":[null,{"name":"s","content":"<sequence/>","more":1}],
               "graphQLSchema":"type Q","credentialsToBeAdd":[{"alias":"a","password":"secret"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (artifact.name.as_str(), artifact.version.as_str()),
            ("B", "2")
        );
        assert_eq!(artifact.tenant_domain, SUPER_TENANT);
        assert_eq!(artifact.sequence_to_be_add.len(), 1);
        assert_eq!(artifact.other["graphQLSchema"], "type Q");
        assert!(!format!("{artifact:?}").contains("secret"));
    }

    #[test]
    fn writes_members_in_wso2_order_and_reads_them_back() {
        let artifact = Artifact::parse(MINIMAL).unwrap();
        let text = artifact.to_text().unwrap();
        assert_eq!(
            text,
            r#"{"name":"Pizza","version":"1.0","tenantDomain":"carbon.super","apiId":"u-1","override":true}"#
        );
        assert_eq!(Artifact::parse(&text).unwrap(), artifact);
    }

    #[test]
    fn the_order_of_members_does_not_change_the_text() {
        let with = |members: &str| {
            let text = MINIMAL.replacen('{', &format!("{{{members},"), 1);
            Artifact::parse(&text).unwrap().to_text().unwrap()
        };
        let text = with(r#""z":{"b":1,"a":[{"d":1,"c":2}]},"y":2"#);
        assert_eq!(text, with(r#""y":2,"z":{"a":[{"c":2,"d":1}],"b":1}"#));
        assert!(
            text.ends_with(r#""y":2,"z":{"a":[{"c":2,"d":1}],"b":1}}"#),
            "{text}"
        );
    }

    #[test]
    fn names_the_member_and_the_rule() {
        let error = |text: &str| Artifact::parse(text).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"name":"A","version":"1"}"#),
            "apiId: missing; every artifact needs it"
        );
        assert_eq!(
            error(r#"{"name":"A","version":" ","apiId":"x"}"#),
            "version: missing; every artifact needs it"
        );
        assert_eq!(
            error(r#"{"name":"A","version":"1","apiId":"x","sequenceToBeAdd":[{"name":"s"}]}"#),
            "sequenceToBeAdd[0].content: must be a string"
        );
        assert!(error("").starts_with("line 1, column 0: not JSON"));
        assert_eq!(
            error("null"),
            "the document must be a GatewayAPIDTO object, found null"
        );
    }

    #[test]
    fn a_removal_holds_names_but_no_definitions_or_secrets() {
        let mut artifact = Artifact::parse(MINIMAL).unwrap();
        artifact.api_definition = Some("<api/>".into());
        artifact.credentials_to_be_add = vec![Credential {
            alias: "a".into(),
            password: "secret".into(),
        }];
        artifact.endpoint_entries_to_be_add = vec![Content {
            name: "e".into(),
            content: "<endpoint/>".into(),
        }];
        let removal = artifact.to_removal();
        assert_eq!(removal.endpoint_entries_to_be_remove, ["e"]);
        assert!(!removal.to_text().unwrap().contains("secret"));
        assert!(removal.api_definition.is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Artifact::parse(&text);
        }
    }
}
