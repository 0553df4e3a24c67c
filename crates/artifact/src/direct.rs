//! What the saver says to a gateway directly, and the answer: entries of label logs before the gateway
//! has pulled them, one JSON object a line.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Label, LabelLogEntry, LogLine, LogLineError};

/// A line of the body of `POST /api/lockstep/v1/entries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectEntry {
    /// Whose log the entry is in.
    pub label: Label,
    pub entry: LabelLogEntry,
}

impl DirectEntry {
    /// The line without its end: the label, and the entry as it stands in the label's log.
    ///
    /// # Errors
    /// None but what the writer of JSON has.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let label = serde_json::to_string(&self.label)?;
        let mut line = format!("{{\"label\":{label},\"entry\":");
        match &self.entry.artifact {
            None => line.push_str(&self.entry.without_artifact()?),
            Some(text) => {
                line.push_str(&self.entry.up_to_artifact()?);
                line.push_str(LogLine::rest_with_artifact(text).trim_end_matches('\n'));
            }
        }
        line.push('}');
        Ok(line)
    }

    /// Reads a line. As with label logs, whether the artifact is the revision that it claims to be is
    /// for the reader to ask.
    ///
    /// # Errors
    /// When it is no such line, with what it lacks.
    pub fn parse(line: &str) -> Result<Self, LogLineError> {
        #[derive(Deserialize)]
        struct LineIn<'a> {
            label: Option<Label>,
            #[serde(borrow)]
            entry: Option<&'a RawValue>,
        }
        let line: LineIn<'_> = serde_json::from_str(line)?;
        let entry = line.entry.ok_or(LogLineError::Missing("entry"))?;
        let LogLine::Entry(entry) = LogLine::parse(entry.get())? else {
            return Err(LogLineError::Missing("entry"));
        };
        Ok(Self {
            label: line.label.ok_or(LogLineError::Missing("label"))?,
            entry: *entry,
        })
    }
}

/// Answer of `POST /api/lockstep/v1/entries`: one status for each line, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectAnswer {
    pub list: Vec<DirectStatus>,
}

/// What a gateway made of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectStatus {
    pub api_id: String,
    pub revision: u64,
    pub status: DirectOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DirectOutcome {
    /// It answers requests with this revision from now on.
    Deployed,
    /// It does not, for the reason; what answered before goes on answering.
    Refused,
    /// It had the entry already, or has something newer.
    Kept,
    /// The API is gone.
    Removed,
}

/// What became of a save at one gateway that it was published directly to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectReport {
    /// The gateway environment, whose name is a label.
    pub environment: Label,
    /// Why the gateway, or not all of it, was reached; it will pull what was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the gateway said of each API.
    #[serde(default)]
    pub list: Vec<DirectStatus>,
}

impl DirectReport {
    /// Whether the gateway has been reached and has refused nothing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let refused = |status: &DirectStatus| status.status == DirectOutcome::Refused;
        self.error.is_none() && !self.list.iter().any(refused)
    }

    /// Takes what became of a later request into the reports of earlier ones.
    pub fn merge(reports: &mut Vec<Self>, later: Vec<Self>) {
        for report in later {
            let known = reports.iter_mut();
            match known
                .into_iter()
                .find(|it| it.environment == report.environment)
            {
                Some(known) => {
                    known.error = known.error.take().or(report.error);
                    known.list.extend(report.list);
                }
                None => reports.push(report),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Instruction, SavedTo};

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    #[test]
    fn a_line_is_the_label_and_the_entry_of_its_log() {
        let artifact = r#"{"name":"a\u003c"}"#;
        let publish = LabelLogEntry {
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
        };
        let remove = LabelLogEntry {
            instruction: Instruction::Remove,
            artifact: None,
            published_to: vec![SavedTo {
                label: label("M"),
                seq: 2,
            }],
            ..publish.clone()
        };
        for entry in [publish, remove] {
            let direct = DirectEntry {
                label: label("L \"1\""),
                entry,
            };
            let text = direct.to_text().unwrap();
            assert!(
                text.starts_with(r#"{"label":"L \"1\"","entry":{"seq":7,"#),
                "{text}"
            );
            assert_eq!(DirectEntry::parse(&text).unwrap(), direct);
            let missing = text.replacen("label", "lab", 1);
            let error = DirectEntry::parse(&missing).unwrap_err().to_string();
            assert_eq!(error, "label log line lacks `label`");
        }
        assert!(DirectEntry::parse(r#"{"label":"L","entry":{"completeTo":1}}"#).is_err());
    }

    #[test]
    fn reports_of_several_requests_become_one() {
        let report = |name: &str, error: Option<&str>| DirectReport {
            environment: label(name),
            error: error.map(str::to_owned),
            list: Vec::new(),
        };
        let mut all = vec![report("a", None)];
        DirectReport::merge(&mut all, vec![report("a", Some("gone")), report("b", None)]);
        assert_eq!(all, [report("a", Some("gone")), report("b", None)]);
        assert!(!all[0].is_good() && all[1].is_good());
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in ".*") {
            let _ = DirectEntry::parse(&line);
        }
    }
}
