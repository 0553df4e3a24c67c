//! What the publish and remove requests of the operator's command carry.

use serde::{Deserialize, Serialize};

use crate::{Digest, DirectReport, Label};

/// Body of `POST /api/lockstep/v1/publish`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishRequest {
    pub labels: Vec<Label>,
    /// Save all or, when one of them is rejected, none.
    #[serde(default)]
    pub atomic: bool,
    /// Check and say what would change; save nothing.
    #[serde(default)]
    pub dry_run: bool,
    pub items: Vec<PublishItem>,
}

/// One artifact with the place it was read from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishItem {
    /// File name, for messages.
    pub source: String,
    /// The artifact's text, a `GatewayAPIDTO`.
    pub artifact: String,
}

/// Answer of `POST /api/lockstep/v1/publish`: one result per item, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReport {
    pub results: Vec<ArtifactResult>,
    /// What became of it at the gateways that it was published directly to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<DirectReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactResult {
    pub source: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where it was saved, with the position in each label log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<SavedTo>,
    /// Labels that had the API and do not have it any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_from: Vec<Label>,
    /// Why it was rejected; names the place and the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl ArtifactResult {
    /// Bad input: the place and the rule are the reason.
    #[must_use]
    pub fn rejected(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            outcome: Outcome::Rejected,
            api_id: None,
            name: None,
            version: None,
            context: None,
            revision: None,
            digest: None,
            labels: Vec::new(),
            removed_from: Vec::new(),
            reason: Some(reason.into()),
            findings: Vec::new(),
        }
    }
}

/// What became of one artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Saved as a new revision.
    Saved,
    /// These bytes are already published to these labels; nothing was written.
    Unchanged,
    /// Dry run: it would become a new API.
    WouldCreate,
    /// Dry run: it would become a new revision of an API that is published.
    WouldUpdate,
    /// Dry run without a server to compare with: the artifact itself is fine.
    Checked,
    /// Bad input; nothing was saved.
    Rejected,
    /// Fine in itself, not saved: another one of an atomic batch was rejected, or the request that
    /// would have carried it was never sent.
    NotSaved,
    /// The request that carried it got no answer; it may have been saved.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTo {
    pub label: Label,
    pub seq: u64,
}

/// Something that the reader of an artifact should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    /// File or member of the artifact, then line and column or element path.
    pub place: String,
    /// Which rule, in words.
    pub message: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The original engine would refuse it too; so does this one.
    Refused,
    /// Accepted, but this element is not executed; what depends on it answers 501.
    NotExecuted,
    /// Accepted; the element has no effect on the answer.
    Ignored,
}

/// Answer of `DELETE /api/lockstep/v1/apis`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoveReport {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub revision: u64,
    pub digest: Digest,
    pub labels: Vec<SavedTo>,
    /// What became of it at the gateways that it was published directly to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<DirectReport>,
}
