//! Gateways and what they run: the notices that gateways send (shapes of API Manager's later
//! `/notify-gateway` and `/notify-api-deployment-status`) and the overview made from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, Instruction, Label};

/// Body of `POST /internal/data/v1/notify-gateway`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNotice {
    pub payload_type: NoticeKind,
    pub gateway_id: String,
    /// The labels that the gateway subscribes to.
    pub environment_labels: Vec<Label>,
    /// Milliseconds since the epoch, by the gateway's clock.
    pub time_stamp: i64,
    /// What else the gateway tells of itself; kept and shown as it is.
    #[serde(default)]
    pub gateway_properties: Map<String, Value>,
    /// The tenants whose APIs it has loaded, as the items of a [`crate::TenantList`]; empty: all.
    #[serde(default)]
    pub loading_tenants: Vec<String>,
    /// Where clients reach the gateway, for people to read: `http://127.0.0.1:8280`. Lockstep's,
    /// as is the next one.
    #[serde(default)]
    pub urls: Vec<String>,
    /// How far it has applied the log of each label.
    #[serde(default)]
    pub applied: BTreeMap<Label, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NoticeKind {
    /// The gateway has started; what it said before is forgotten.
    Register,
    Heartbeat,
    /// The gateway ends in good order and is none any more (Lockstep's; WSO2 has no such notice).
    Deregister,
}

/// The member of a gateway's properties that names its process, anew at each start, so that two
/// gateways with one id are told apart.
pub const INSTANCE: &str = "instance";

/// Answer to a [`GatewayNotice`]: `REGISTERED`, `ACKNOWLEDGED` or `DEREGISTERED`; [`UNREGISTERED`]
/// or [`CONFLICT`] to a gateway that names its instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayNoticeReply {
    pub status: String,
    pub gateway_id: String,
    /// Repairs that the gateway holds and that an operator has accepted (Lockstep's; others pass it
    /// over).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_repairs: Vec<Digest>,
}

/// What the gateway said is not known any more: it has to register and to say everything again.
pub const UNREGISTERED: &str = "UNREGISTERED";
/// Another process has the gateway's id and is believed; what this one says is not kept.
pub const CONFLICT: &str = "CONFLICT";

/// Body of `POST /internal/data/v1/notify-api-deployment-status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentNotices {
    pub count: usize,
    /// The process that says so, as in its [`INSTANCE`]; Lockstep's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub list: Vec<DeploymentNotice>,
}

/// Answer to [`DeploymentNotices`]: `RECEIVED`, or `DROPPED` when none of them could be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticesReply {
    pub status: String,
}

/// What a gateway did with one label-log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentNotice {
    pub gateway_id: String,
    pub api_id: String,
    pub tenant_domain: String,
    /// `SUCCESS` or `FAILURE`.
    pub deployment_status: String,
    pub action: DeploymentAction,
    /// Digest of the revision that was received; of another kind of gateway, what it calls it.
    pub revision_id: String,
    /// The n of the received revision; a notice about an older one never replaces a newer one.
    #[serde(default)]
    pub revision: u64,
    /// Digest of the revision that answers requests now, where there is one.
    #[serde(default)]
    pub deployed_revision_id: Option<Digest>,
    /// Milliseconds since the epoch, by the gateway's clock.
    pub time_stamp: i64,
    #[serde(default)]
    pub error_code: Option<String>,
    #[serde(default)]
    pub error_message: Option<String>,
    /// An operator has said on the gateway itself what it does with the API.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overridden: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeploymentAction {
    Deploy,
    Undeploy,
}

/// How one API stands on one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeploymentState {
    /// Compiled, swapped into the route table and answering requests.
    Deployed,
    /// The gateway has not said anything about the desired revision yet.
    Pending,
    /// The gateway refused the desired revision; the reason says why.
    Failed,
    /// A Remove was applied.
    Undeployed,
    /// An operator has said otherwise on the gateway itself.
    Overridden,
    /// The gateway has not loaded the API's tenant, and does so when a request needs it. Nobody waits
    /// for that.
    #[serde(rename = "not-loaded")]
    NotLoaded,
}

impl DeploymentState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Undeployed => "undeployed",
            Self::Overridden => "overridden",
            Self::NotLoaded => "not-loaded",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Deployed,
            Self::Pending,
            Self::Failed,
            Self::Undeployed,
            Self::Overridden,
            Self::NotLoaded,
        ];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// Truth per gateway and API: what it should run, what it got, what it runs, and why they differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeploymentStatus {
    pub gateway_id: String,
    pub state: DeploymentState,
    pub desired: Digest,
    pub received: Option<Digest>,
    pub deployed: Option<Digest>,
    pub reason: Option<String>,
    /// When the gateway said so, milliseconds since the epoch.
    pub since: Option<i64>,
    /// Whether the gateway still sends heartbeats.
    pub online: bool,
}

/// One API of the store with the status of every gateway that carries one of its labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiOverview {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    /// Resolved context; empty where the artifact has no API definition.
    pub context: String,
    pub instruction: Instruction,
    pub revision: u64,
    pub digest: Digest,
    pub labels: Vec<Label>,
    pub saved: i64,
    pub gateways: Vec<DeploymentStatus>,
}

impl ApiOverview {
    /// Whether every gateway of the API's labels that has loaded its tenant has done what the newest
    /// entry says.
    #[must_use]
    pub fn converged(&self) -> bool {
        let wanted = match self.instruction {
            Instruction::Publish => DeploymentState::Deployed,
            Instruction::Remove => DeploymentState::Undeployed,
        };
        let done = |state| state == wanted || state == DeploymentState::NotLoaded;
        self.gateways.iter().all(|status| done(status.state))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum GatewayStatus {
    Online,
    /// No heartbeat within the expiry time; what it runs is what it last said.
    Offline,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GatewayOverview {
    pub gateway_id: String,
    pub labels: Vec<Label>,
    pub urls: Vec<String>,
    pub status: GatewayStatus,
    pub registered: i64,
    pub last_seen: i64,
    /// A second process that has the id and lives. What it runs is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<OtherInstance>,
}

/// A process with the id of a gateway that another process speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OtherInstance {
    pub instance: String,
    /// Where clients reach it.
    pub urls: Vec<String>,
    /// Its last heartbeat, milliseconds since the epoch.
    pub last_seen: i64,
}

/// All APIs and all gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    pub gateways: Vec<GatewayOverview>,
    pub apis: Vec<ApiOverview>,
}
