//! The domain words that two processes must agree on: artifact, label, revision, digest,
//! label log, status. Values and their wire shapes; no I/O, no clock.

mod digest;
mod direct;
mod gateway_api;
pub mod gson;
mod label;
mod label_digest;
mod label_log;
mod masked;
mod operator;
mod publish;
mod repair;
mod status;
mod tenant_list;

pub use digest::{Digest, DigestError};
pub use direct::{DirectAnswer, DirectEntry, DirectOutcome, DirectReport, DirectStatus};
pub use gateway_api::{
    Artifact, ArtifactError, Content, Credential, MAX_ARTIFACT_BYTES, SUPER_TENANT, derive_api_id,
};
pub use label::{DEFAULT_LABEL, Label, LabelError};
pub use label_digest::LabelDigest;
pub use label_log::{Announcement, Instruction, LabelLogEntry, LogLine, LogLineError};
pub use operator::{
    Conclusion, Convergence, Explanation, GatewayDetail, LabelOverview, Page, RevisionDetail,
    RevisionOverview, Rollout, Share, Step, StepName,
};
pub use publish::{
    ArtifactResult, Finding, Outcome, PublishItem, PublishReport, PublishRequest, RemoveReport,
    SavedTo, Severity,
};
pub use repair::{Acceptance, HeldRepair, RepairOverview, held_repairs, retain_held};
pub use status::{
    ApiOverview, CONFLICT, DeploymentAction, DeploymentNotice, DeploymentNotices, DeploymentState,
    DeploymentStatus, GatewayNotice, GatewayNoticeReply, GatewayOverview, GatewayStatus, INSTANCE,
    NoticeKind, NoticesReply, OtherInstance, Overview, UNREGISTERED,
};
pub use tenant_list::{TenantList, TenantListError};
