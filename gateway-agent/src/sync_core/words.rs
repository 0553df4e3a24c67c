//! What goes into the core and what comes out of it.

use artifact::{
    DeploymentNotice, Digest, DirectEntry, DirectStatus, Instruction, Label, LabelDigest,
    LabelLogEntry, SavedTo,
};

use super::apply::{Compiled, Progress};
use super::pulling::{Trouble, Wanted};
use super::repair::Held;
use super::tenants::Told;
use crate::commands::{Asked, Redeployed};
use crate::snapshot::ledger::Record;

/// Milliseconds of a clock that never goes back, from any start.
pub type Millis = u64;

/// Why a pull, or another question to the traffic manager, was not answered as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    #[error("{0}")]
    Failed(String),
    #[error("the server ended the stream")]
    EndedByServer,
    #[error(
        "the label log ends at {found}, which is before {cursor} where this gateway is: \
         the database seems to be an older one"
    )]
    WentBack { found: u64, cursor: u64 },
    #[error("an event has announced {wanted}, the label log ends at {found}")]
    Behind { found: u64, wanted: u64 },
}

/// What has happened.
#[derive(Debug)]
pub enum Input {
    /// Events can be heard from now on; those before were perhaps missed.
    Subscribed,
    /// Events cannot be heard any more.
    Lost,
    /// An event names a label; `seq` is the announced position of this data center's log.
    Announced { label: Label, seq: Option<u64> },
    /// Entries of the pull `id`, in the order of the log. With `complete_to`, they are followed by the
    /// end of the log, which is there. The next ones are read when [`Output::GoOn`] has come.
    Pulled {
        label: Label,
        id: u64,
        entries: Vec<LabelLogEntry>,
        complete_to: Option<u64>,
    },
    /// The pull `id` has ended.
    PullEnded {
        label: Label,
        id: u64,
        result: Result<(), PullError>,
    },
    /// Answer to [`Output::AskDigest`]: the digest of the label at the position `seq` of its log.
    Digest {
        label: Label,
        id: u64,
        seq: u64,
        digest: LabelDigest,
    },
    /// Answer to [`Output::AskIndex`]: all entries up to `seq`, without their artifacts.
    Index {
        label: Label,
        id: u64,
        seq: u64,
        entries: Vec<IndexEntry>,
    },
    /// Entries for [`Output::Fetch`]; the next ones are fetched when [`Output::GoOn`] has come.
    Fetched {
        label: Label,
        id: u64,
        entries: Vec<LabelLogEntry>,
        /// Nothing more will come.
        last: bool,
    },
    /// One of the three questions has not been answered.
    AskFailed {
        label: Label,
        id: u64,
        error: PullError,
    },
    /// What [`Output::Compile`] has asked for, in that order.
    Compiled(Vec<Compiled>),
    /// An operator takes an API down on this gateway.
    Undeploy { command: u64, asked: Asked },
    /// An operator puts the newest revision in place.
    Redeploy { command: u64, asked: Asked },
    /// A saver has sent entries itself.
    Direct {
        command: u64,
        entries: Vec<DirectEntry>,
    },
    /// An operator accepts the repair of this name, as it was held.
    Accept(Digest),
    /// Files of the gateway's own have come, gone or changed that define APIs of these keys.
    Overrides(Vec<String>),
    /// The label may not have any more what was applied: to be compared now.
    Compare { label: Label },
    /// A request is for a tenant that is not loaded.
    Needed(String),
    /// When tenants were used last.
    Used(Vec<(String, Millis)>),
    /// Time has passed. Tenants that are not used may be unloaded then, so [`Input::Used`] comes before.
    Tick,
}

/// An entry of a label's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub seq: u64,
    pub api_id: String,
    pub instruction: Instruction,
    pub digest: Digest,
    pub revision: u64,
    /// As of the entry.
    pub published_to: Vec<SavedTo>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Pull a label's log.
    Pull {
        label: Label,
        id: u64,
        wanted: Wanted,
    },
    /// The question or pull of this number is not needed any more.
    Cancel {
        id: u64,
    },
    /// What has come for this number is applied: read on.
    GoOn {
        id: u64,
    },
    AskDigest {
        label: Label,
        id: u64,
    },
    AskIndex {
        label: Label,
        id: u64,
    },
    /// Read these parts of the label's log, each the first `limit` entries behind `after`; of them
    /// only this tenant's, all with their artifacts, where one is named.
    Fetch {
        label: Label,
        id: u64,
        ranges: Vec<Range>,
        tenant: Option<String>,
    },
    /// Check and compile; nothing else is applied meanwhile.
    Compile(Vec<LabelLogEntry>),
    /// Another set answers requests from now on.
    Swap,
    /// Tell the traffic manager, with the time.
    Report(DeploymentNotice),
    /// Note for the snapshot.
    Record(Box<Record>),
    /// Which tenants are loaded has changed.
    Tenants(Told),
    /// How far the gateway is has changed.
    Progress(Progress),
    /// How far a label's log has been applied.
    Applied {
        label: Label,
        seq: u64,
    },
    Undeployed {
        command: u64,
        known: bool,
    },
    Redeployed {
        command: u64,
        outcome: Redeployed,
    },
    Direct {
        command: u64,
        statuses: Vec<DirectStatus>,
    },
    /// A pull went wrong and is tried again.
    Trouble {
        label: Label,
        trouble: Trouble,
    },
    /// A comparison with the traffic manager has ended.
    Compared {
        label: Label,
        outcome: Compared,
    },
}

/// What a comparison of a label's digest has found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// So many APIs were brought back, or brought to what the label says, and so many taken away.
    Repaired {
        put: usize,
        removed: usize,
    },
    /// The repair waits for an operator.
    Held(Held),
    /// It could not be made; it is tried again.
    Failed(PullError),
}

/// The first `limit` entries behind `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub after: u64,
    pub limit: u64,
}
