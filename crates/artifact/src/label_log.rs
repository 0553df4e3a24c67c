//! The label log on the wire: one JSON object a line.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Digest, DigestError, SavedTo};

/// What a gateway has to do with an API. The strings are those of `GATEWAY_INSTRUCTION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Instruction {
    Publish,
    Remove,
}

impl Instruction {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "Publish",
            Self::Remove => "Remove",
        }
    }

    /// Case-sensitive, as in WSO2's table.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Publish" => Some(Self::Publish),
            "Remove" => Some(Self::Remove),
            _ => None,
        }
    }
}

/// One change of one API under one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelLogEntry {
    /// Position in the label's log, gap-free and in commit order; starts at 1.
    pub seq: u64,
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub instruction: Instruction,
    /// The n-th saved state of this API; the same in every label that the save touched.
    pub revision: u64,
    /// Digest of the artifact's text (for a Remove: of the removal's).
    pub digest: Digest,
    /// When it was saved, milliseconds since the epoch.
    pub time: i64,
    /// The artifact's text, verbatim. Present on a Publish.
    pub artifact: Option<String>,
    /// On a Remove: the labels that still publish the API, each with the position of its entry. A
    /// gateway that carries one of them keeps the API, however its label logs are interleaved.
    pub published_to: Vec<SavedTo>,
}

impl LabelLogEntry {
    /// Whether the artifact's bytes are those that the digest names.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        self.artifact
            .as_ref()
            .is_none_or(|text| Digest::of(text.as_bytes()) == self.digest)
    }

    /// The entry's line without its artifact, and without the line end.
    ///
    /// # Errors
    /// None but what the writer of JSON has.
    pub fn without_artifact(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&EntryOut {
            seq: self.seq,
            api_id: &self.api_id,
            instruction: self.instruction,
            digest: self.digest,
            revision: self.revision,
            name: &self.name,
            version: &self.version,
            tenant_domain: &self.tenant_domain,
            time: self.time,
            published_to: &self.published_to,
        })
    }

    /// The line up to where [`LogLine::rest_with_artifact`] follows.
    ///
    /// # Errors
    /// As [`LabelLogEntry::without_artifact`].
    pub fn up_to_artifact(&self) -> Result<String, serde_json::Error> {
        let mut line = self.without_artifact()?;
        line.truncate(line.len() - 1);
        line.push_str(",\"artifact\":");
        Ok(line)
    }
}

/// What a save leaves in the outbox: which label logs have grown, and how far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    pub dc: String,
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub instruction: Instruction,
    pub digest: Digest,
    /// When it was saved, milliseconds since the epoch.
    pub time: i64,
    pub labels: Vec<SavedTo>,
}

/// A line of the answer of `GET /internal/data/v1/label-log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    Entry(Box<LabelLogEntry>),
    /// The end of the log: everything up to `seq` has been sent, and nothing newer was there.
    /// Repeated as a heartbeat while the log is followed.
    CompleteTo(u64),
}

/// Why a line cannot be read. The line itself is not repeated: it may hold credentials.
#[derive(Debug, thiserror::Error)]
pub enum LogLineError {
    #[error("label log line is not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("label log line lacks `{0}`")]
    Missing(&'static str),
    #[error("label log line: {0}")]
    Digest(#[from] DigestError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryOut<'a> {
    seq: u64,
    api_id: &'a str,
    instruction: Instruction,
    digest: Digest,
    revision: u64,
    name: &'a str,
    version: &'a str,
    tenant_domain: &'a str,
    time: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    published_to: &'a [SavedTo],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LineIn<'a> {
    complete_to: Option<u64>,
    seq: Option<u64>,
    api_id: Option<String>,
    instruction: Option<Instruction>,
    digest: Option<String>,
    revision: Option<u64>,
    name: Option<String>,
    version: Option<String>,
    tenant_domain: Option<String>,
    #[serde(default)]
    time: i64,
    #[serde(borrow)]
    artifact: Option<&'a RawValue>,
    #[serde(default)]
    published_to: Vec<SavedTo>,
}

impl LogLine {
    /// The line's text without the line end.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let entry = match self {
            Self::CompleteTo(seq) => return Ok(format!("{{\"completeTo\":{seq}}}")),
            Self::Entry(entry) => entry,
        };
        match &entry.artifact {
            None => entry.without_artifact(),
            Some(text) => {
                let mut line = entry.up_to_artifact()?;
                line.push_str(Self::rest_with_artifact(text).trim_end_matches('\n'));
                Ok(line)
            }
        }
    }

    /// An artifact as it stands in a line, with the rest of the line and its end, so that it can be
    /// made once for all labels ([`LabelLogEntry::up_to_artifact`]).
    ///
    /// It stands there as the object it is; a text that cannot (a blob with line ends or outer
    /// blanks, written by another node) stands there as a JSON string.
    #[must_use]
    pub fn rest_with_artifact(text: &str) -> String {
        let raw = serde_json::from_str::<&RawValue>(text).ok();
        let object = raw.filter(|raw| {
            raw.get() == text && text.starts_with('{') && !text.contains(['\n', '\r'])
        });
        match object {
            Some(raw) => format!("{raw}}}\n"),
            None => format!("{}}}\n", serde_json::Value::from(text)),
        }
    }

    /// The artifact's text out of [`LogLine::rest_with_artifact`].
    ///
    /// # Errors
    /// When the bytes are none of those.
    pub fn artifact_of_rest(rest: &[u8]) -> Result<String, LogLineError> {
        let rest = rest.strip_suffix(b"}\n");
        let rest = rest.ok_or(LogLineError::Missing("artifact"))?;
        Ok(artifact_text(serde_json::from_slice(rest)?)?)
    }

    /// Reads a line. Whether the artifact is the revision that it claims to be is for the reader
    /// to ask ([`LabelLogEntry::is_genuine`]): one bad artifact must not hold up the others.
    ///
    /// # Errors
    /// When it is not such a line, or a Publish without its artifact.
    pub fn parse(line: &str) -> Result<Self, LogLineError> {
        match Self::parse_index(line)? {
            Self::Entry(entry)
                if entry.instruction == Instruction::Publish && entry.artifact.is_none() =>
            {
                Err(LogLineError::Missing("artifact"))
            }
            line => Ok(line),
        }
    }

    /// Reads a line of `GET /internal/data/v1/label-log/index`, which has no artifacts.
    ///
    /// # Errors
    /// When it is not such a line.
    pub fn parse_index(line: &str) -> Result<Self, LogLineError> {
        use LogLineError::Missing;
        let line: LineIn<'_> = serde_json::from_str(line)?;
        if let Some(seq) = line.complete_to {
            return Ok(Self::CompleteTo(seq));
        }
        let entry = LabelLogEntry {
            seq: line.seq.ok_or(Missing("seq"))?,
            api_id: line.api_id.ok_or(Missing("apiId"))?,
            name: line.name.unwrap_or_default(),
            version: line.version.unwrap_or_default(),
            tenant_domain: line.tenant_domain.unwrap_or_default(),
            instruction: line.instruction.ok_or(Missing("instruction"))?,
            revision: line.revision.ok_or(Missing("revision"))?,
            digest: Digest::parse(&line.digest.ok_or(Missing("digest"))?)?,
            time: line.time,
            artifact: line.artifact.map(artifact_text).transpose()?,
            published_to: line.published_to,
        };
        Ok(Self::Entry(Box::new(entry)))
    }
}

fn artifact_text(raw: &RawValue) -> Result<String, serde_json::Error> {
    if raw.get().starts_with('"') {
        serde_json::from_str(raw.get())
    } else {
        Ok(raw.get().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(artifact: &str) -> LogLine {
        LogLine::Entry(Box::new(LabelLogEntry {
            seq: 7,
            api_id: "u-1".into(),
            name: "Pizza".into(),
            version: "1.0".into(),
            tenant_domain: "carbon.super".into(),
            instruction: Instruction::Publish,
            revision: 3,
            digest: Digest::of(artifact.as_bytes()),
            time: 1,
            artifact: Some(artifact.into()),
            published_to: Vec::new(),
        }))
    }

    #[test]
    fn keeps_the_artifact_verbatim() {
        for artifact in [
            r#"{ "name":"\u003c", "x":1 }"#,
            "{\n \"name\": \"a\"}",
            " {}",
            "no json",
            "\"text\"",
            "7",
        ] {
            let line = entry(artifact);
            let text = line.to_text().unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(LogLine::parse(&text).unwrap(), line);
            let rest = LogLine::rest_with_artifact(artifact);
            assert!(format!("{text}\n").ends_with(&rest));
            let read = LogLine::artifact_of_rest(rest.as_bytes()).unwrap();
            assert_eq!(read, artifact);
        }
    }

    #[test]
    fn tells_bytes_that_are_not_the_revision() {
        let text = entry(r#"{"name":"a"}"#).to_text().unwrap();
        let changed = text.replace(r#""artifact":{"name":"a"}"#, r#""artifact":{"name":"b"}"#);
        let genuine = |line: &str| match LogLine::parse(line).unwrap() {
            LogLine::Entry(entry) => entry.is_genuine(),
            LogLine::CompleteTo(_) => panic!("{line}"),
        };
        assert!(genuine(&text));
        assert!(!genuine(&changed));
    }

    #[test]
    fn tells_how_far_the_answer_reaches() {
        let line = LogLine::CompleteTo(42);
        assert_eq!(line.to_text().unwrap(), r#"{"completeTo":42}"#);
        assert_eq!(LogLine::parse(r#"{"completeTo":42}"#).unwrap(), line);
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in ".*") {
            let _ = LogLine::parse(&line);
        }
    }
}
