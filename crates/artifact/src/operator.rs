//! What operators are told: the answers of `/api/lockstep/v1` besides the overview's shapes.
//! Times are milliseconds since the epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{DeploymentStatus, Digest, GatewayOverview, Instruction, Label};

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub list: Vec<T>,
    /// What to ask for as `after` to get the next part; null at the end.
    pub next: Option<String>,
}

/// A gateway with all it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GatewayDetail {
    #[serde(flatten)]
    pub overview: GatewayOverview,
    /// The tenants whose APIs it has loaded: names, or `*` for all but those with a `!`; empty where
    /// all are.
    pub tenants: Vec<String>,
    /// What else it tells, as it says it.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub properties: Map<String, Value>,
    /// The position up to which it has applied the log of each label.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, u64>))]
    pub applied: BTreeMap<Label, u64>,
    /// How many positions of each of its labels' logs it has not applied yet.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, u64>))]
    pub behind: BTreeMap<Label, u64>,
}

/// A label: what it publishes, and to how many gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelOverview {
    pub label: Label,
    /// The newest position of its log; 0 where nothing was ever published to it.
    pub seq: u64,
    /// How many APIs it publishes.
    pub apis: u64,
    /// One digest over what it publishes.
    pub digest: Digest,
    /// How many gateways carry it and send heartbeats …
    pub online: usize,
    /// … and how many have fallen silent.
    pub offline: usize,
}

/// A revision in the history of an API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionOverview {
    pub revision: u64,
    pub instruction: Instruction,
    pub digest: Digest,
    /// Length of its artifact.
    pub bytes: u64,
    pub saved: i64,
}

/// A revision with its artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionDetail {
    #[serde(flatten)]
    pub overview: RevisionOverview,
    /// The `GatewayAPIDTO` with its secrets masked; null where what was stored is none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub artifact: Option<Value>,
}

/// How many gateways of how many have done what was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Share {
    pub done: usize,
    pub wanted: usize,
}

/// How far the gateways are with the newest revision of an API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Convergence {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub instruction: Instruction,
    /// The desired revision …
    pub revision: u64,
    /// … and its digest.
    pub digest: Digest,
    /// Whether every gateway has done it, as far as they have said, and every label is carried.
    pub converged: bool,
    /// Of the gateways that send heartbeats.
    pub online: Share,
    /// Of the gateways that have fallen silent: what they last said.
    pub offline: Share,
    /// Labels that publish the API and that no gateway carries.
    pub uncarried: Vec<Label>,
    /// Gateways that have not done it, and why.
    pub missing: Vec<DeploymentStatus>,
}

/// How the wait for a revision ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rollout {
    pub api_id: String,
    pub revision: u64,
    pub reached: bool,
    /// How many gateways have the revision deployed, of …
    pub deployed: usize,
    /// … so many that carry a label that publishes it, …
    pub wanted: usize,
    /// … of which so many are enough.
    pub quorum: usize,
    /// Gateways that have not deployed it, and why.
    pub missing: Vec<DeploymentStatus>,
    /// What has taken the revision's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<String>,
    /// Why it was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why an API is, or is not, on a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub gateway_id: String,
    /// What it comes to, for programs.
    pub outcome: Conclusion,
    /// The same as a sentence.
    pub conclusion: String,
    /// What the conclusion stands on, in the order in which it happens.
    pub steps: Vec<Step>,
    /// How the API stands on the gateway; null where none of its labels ever had the API.
    pub status: Option<DeploymentStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Conclusion {
    /// The desired revision answers requests.
    Deployed,
    /// It did when the gateway was last heard of.
    DeployedButOffline,
    /// The gateway carries no label that has the API.
    NotCarried,
    /// The gateway refused the desired revision.
    Refused,
    /// An operator has said otherwise on the gateway itself.
    Overridden,
    /// The gateway has fallen silent before it had the desired revision.
    Offline,
    /// The gateway holds a repair of the label until an operator accepts it.
    RepairHeld,
    /// Neither announced nor pulled yet.
    NotAnnounced,
    /// Announced, not pulled yet.
    NotPulled,
    /// Pulled; the gateway has not said yet what it did.
    NotReported,
    /// Removed, and taken down.
    Removed,
    /// The gateway loads the API's tenant when a request needs it.
    NotLoaded,
}

/// One thing that has to happen before an API is on a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    pub step: StepName,
    /// Null: not known, or does not matter.
    pub ok: Option<bool>,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StepName {
    Published,
    Registered,
    Label,
    Announced,
    Pulled,
    Deployed,
    Online,
}

impl StepName {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Registered => "registered",
            Self::Label => "label",
            Self::Announced => "announced",
            Self::Pulled => "pulled",
            Self::Deployed => "deployed",
            Self::Online => "online",
        }
    }
}
