//! What an artifact is made of, piece by piece: each becomes a file. Pure.

use artifact::{Artifact, Content};
use synapse::xml::{Limits, read as read_xml};

/// What a piece is, in the order in which pieces are written.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    LocalEntry,
    Endpoint,
    Sequence,
    Api,
}

impl Kind {
    /// In the order in which they are written: what others refer to comes first.
    pub const ALL: [Self; 4] = [Self::LocalEntry, Self::Endpoint, Self::Sequence, Self::Api];

    /// The folder of `synapse-configs/default`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::LocalEntry => "local-entries",
            Self::Endpoint => "endpoints",
            Self::Sequence => "sequences",
            Self::Api => "api",
        }
    }

    /// The member of the artifact that holds it.
    fn member(self) -> &'static str {
        match self {
            Self::LocalEntry => "localEntriesToBeAdd",
            Self::Endpoint => "endpointEntriesToBeAdd",
            Self::Sequence => "sequenceToBeAdd",
            Self::Api => "apiDefinition",
        }
    }

    /// The root element, and the attribute that names it.
    fn element(self) -> (&'static str, &'static str) {
        match self {
            Self::LocalEntry => ("localEntry", "key"),
            Self::Endpoint => ("endpoint", "name"),
            Self::Sequence => ("sequence", "name"),
            Self::Api => ("api", "name"),
        }
    }
}

/// One file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    /// The name at run time: of an API with its version, as `NAME:vVERSION`.
    pub(crate) key: String,
    pub(crate) text: &'a str,
}

/// Why a piece cannot be a file of a Synapse directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    #[error("{place}: {reason}")]
    Xml { place: String, reason: String },
    #[error("{place}: the root element must be <{expected}>, found <{found}>")]
    Root {
        place: String,
        expected: &'static str,
        found: String,
    },
    /// A hot deployer goes by what the XML says; it would replace another piece.
    #[error("{place}: the XML is named {found:?}; both have to be the same")]
    Name { place: String, found: String },
    #[error("{place}: is there twice")]
    Twice { place: String },
}

/// The pieces of an artifact, in the order in which they are written.
///
/// # Errors
/// When one of them is no XML of its kind, or not named as the artifact says.
pub(crate) fn pieces(artifact: &Artifact) -> Result<Vec<Piece<'_>>, PieceError> {
    let mut pieces = Vec::new();
    for (kind, contents) in [
        (Kind::LocalEntry, &artifact.local_entries_to_be_add),
        (Kind::Endpoint, &artifact.endpoint_entries_to_be_add),
        (Kind::Sequence, &artifact.sequence_to_be_add),
    ] {
        for content in contents {
            let piece = named(kind, content)?;
            if pieces.contains(&piece) {
                continue;
            }
            let same = |other: &Piece<'_>| other.kind == kind && other.key == piece.key;
            if pieces.iter().any(same) {
                let place = place(kind, &piece.key);
                return Err(PieceError::Twice { place });
            }
            pieces.push(piece);
        }
    }
    let definitions = [
        ("apiDefinition", &artifact.api_definition),
        ("defaultAPIDefinition", &artifact.default_api_definition),
    ];
    for (member, text) in definitions {
        let Some(text) = text else { continue };
        let piece = api(member, text)?;
        let same = |other: &Piece<'_>| other.kind == Kind::Api && other.key == piece.key;
        if pieces.iter().any(same) {
            let place = place(Kind::Api, &piece.key);
            return Err(PieceError::Twice { place });
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// What an artifact has besides, which no Synapse directory holds, for people.
pub(crate) fn left_out(artifact: &Artifact) -> Vec<String> {
    let certificates = artifact.client_certificates_to_be_add.iter();
    let certificates = certificates.map(|it| format!("client certificate {}", it.name));
    let credentials = artifact.credentials_to_be_add.iter();
    let credentials = credentials.map(|it| format!("credential {}", it.alias));
    certificates.chain(credentials).collect()
}

fn named(kind: Kind, content: &Content) -> Result<Piece<'_>, PieceError> {
    let place = place(kind, &content.name);
    let (root, found) = root(kind, &place, &content.content)?;
    if found != content.name {
        return Err(PieceError::Name { place, found });
    }
    Ok(Piece {
        kind,
        key: found,
        text: root,
    })
}

fn api<'a>(member: &str, text: &'a str) -> Result<Piece<'a>, PieceError> {
    let (text, name) = root(Kind::Api, member, text)?;
    let version = read_xml(text, &Limits::default())
        .ok()
        .and_then(|root| root.set_attribute("version").map(str::to_owned));
    Ok(Piece {
        kind: Kind::Api,
        key: match version {
            Some(version) => format!("{name}:v{version}"),
            None => name,
        },
        text,
    })
}

/// The text of the root element – comments around it can hold credentials – and its name.
fn root<'a>(kind: Kind, place: &str, text: &'a str) -> Result<(&'a str, String), PieceError> {
    let xml = |reason: String| PieceError::Xml {
        place: place.to_owned(),
        reason,
    };
    let root = read_xml(text, &Limits::default()).map_err(|error| xml(error.to_string()))?;
    let (expected, attribute) = kind.element();
    if root.name != expected {
        return Err(PieceError::Root {
            place: place.to_owned(),
            expected,
            found: root.name,
        });
    }
    let name = root.set_attribute(attribute);
    let name = name.ok_or_else(|| xml(format!("<{expected}> has no {attribute}")))?;
    Ok((
        text.get(root.start..root.end).unwrap_or(text),
        name.to_owned(),
    ))
}

fn place(kind: Kind, key: &str) -> String {
    format!("{} {key:?}", kind.member())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(sequence: (&str, &str)) -> Artifact {
        Artifact {
            name: "A".into(),
            version: "1".into(),
            api_id: "a".into(),
            api_definition: Some(
                "<!-- x --><api name='admin--A' version='1' context='/a'/>".into(),
            ),
            default_api_definition: Some("<api name='admin--A' context='/a'/>".into()),
            sequence_to_be_add: vec![Content {
                name: sequence.0.into(),
                content: sequence.1.into(),
            }],
            ..Artifact::default()
        }
    }

    #[test]
    fn an_artifact_is_taken_apart_in_the_order_of_deployment() {
        let artifact = artifact(("s", "<sequence name='s'/>"));
        let pieces = pieces(&artifact).unwrap();
        let told: Vec<_> = pieces.iter().map(|it| (it.kind, it.key.as_str())).collect();
        let expected = [
            (Kind::Sequence, "s"),
            (Kind::Api, "admin--A:v1"),
            (Kind::Api, "admin--A"),
        ];
        assert_eq!(told, expected);
        assert!(pieces[1].text.starts_with("<api"));
    }

    #[test]
    fn what_a_deployer_would_take_for_something_else_is_refused() {
        let error =
            |name: &str, text: &str| pieces(&artifact((name, text))).unwrap_err().to_string();
        assert_eq!(
            error("s", "<sequence name='main'/>"),
            "sequenceToBeAdd \"s\": the XML is named \"main\"; both have to be the same"
        );
        assert_eq!(
            error("s", "<endpoint name='s'/>"),
            "sequenceToBeAdd \"s\": the root element must be <sequence>, found <endpoint>"
        );
        assert!(error("s", "<sequence name='s'>").starts_with("sequenceToBeAdd \"s\": "));
    }
}
