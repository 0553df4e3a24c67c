//! The synchronization core: what to pull, apply, repair and report. Pure: no I/O, no clock, and no
//! randomness but that of its seed.
//!
//! [`Core::handle`] takes what has happened and the time, [`Core::output`] gives what is to be done,
//! one after the other, and [`Core::wake`] says when it wants to be called again in any case. Inside,
//! the files stand in the order of the flow: `pulling` decides when a label's log is pulled,
//! `standings` what its entries change, `apply` brings that into the `deployed_set` when it is
//! compiled, `operate` is what operators say in between, `direct` what a saver sends
//! itself, `check` compares with the traffic manager and
//! `repair` finds what differs. `tenants` are loaded when they are needed, `load` fetches what they
//! lack. `restore` begins with a stored state.

mod apply;
mod check;
mod deployed_set;
mod direct;
#[cfg(test)]
mod fixture;
mod load;
mod operate;
mod pulling;
mod random;
mod repair;
mod restore;
#[cfg(test)]
mod simulation;
mod standings;
mod tenants;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use artifact::{DirectEntry, Label, LabelLogEntry};

use crate::kept::Kept;
pub use apply::{Compiled, Progress};
pub use deployed_set::{DeployedSet, Deployment, Overridden, Routed};
pub use operate::Shown;
pub use pulling::{Trouble, Waits, Wanted};
use random::Random;
use repair::{Check, Plan};
pub use repair::{Guard, Held};
pub use restore::{Restoring, stored_entry};
pub use standings::{Change, Standing, Standings};
pub use tenants::{Lazy, Told};
pub use words::{Compared, IndexEntry, Input, Millis, Output, PullError, Range};

/// What the core has to know beforehand.
#[derive(Clone, Debug)]
pub struct Settings {
    pub gateway_id: String,
    pub labels: Vec<Label>,
    pub waits: Waits,
    pub guard: Guard,
    /// `None`: every tenant is loaded at the start.
    pub lazy: Option<Lazy>,
    /// Decides the jitter.
    pub seed: u64,
}

/// All that a gateway knows, but the compiled plans' insides.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    random: Random,
    standings: Standings,
    labels: BTreeMap<Label, LabelWork>,
    set: DeployedSet,
    /// Labels that come from the snapshot and whose logs have not been pulled since.
    unpulled: BTreeSet<Label>,
    /// Entries pulled since the start.
    pulled: u64,
    /// APIs of which something was reported since the last batch.
    touched: BTreeSet<String>,
    /// APIs whose newest revision was refused, with the revision and reason that were reported.
    failed: HashMap<String, (u64, String)>,
    /// The newest revision of each API that a label publishes, deployed or not.
    newest: HashMap<String, Arc<Kept>>,
    /// What an operator has taken down, to be brought back where the newest revision is refused.
    taken: HashMap<String, Arc<Deployment>>,
    /// APIs that no label publishes though one was said to, with the comparisons since.
    awaited: HashMap<String, usize>,
    /// APIs of which a label publishes another revision than is wanted, with the comparisons since.
    unsettled: HashMap<String, usize>,
    /// Which tenants are loaded, and which artifacts are not here.
    tenants: tenants::Tenants,
    /// How many APIs repairs have taken away lately, and when.
    gone: VecDeque<(Millis, usize)>,
    /// What is applied one after the other: the order per API is the order of the log.
    queue: VecDeque<Work>,
    /// What waits for its compiled artifacts.
    compiling: Option<Compiling>,
    out: VecDeque<Output>,
    progress: Progress,
    next_id: u64,
}

/// What goes on about one label.
#[derive(Debug)]
struct LabelWork {
    pulling: pulling::Pulling,
    check: Check,
}

/// Something to apply.
#[derive(Debug)]
enum Work {
    Batch(Batch),
    Repair(Repair),
    Overrides(Vec<String>),
    Direct {
        command: u64,
        entries: Vec<DirectEntry>,
    },
    Load(load::Part),
    Undeploy {
        command: u64,
        asked: crate::commands::Asked,
    },
    Redeploy {
        command: u64,
        asked: crate::commands::Asked,
    },
}

/// Pulled entries of one label.
#[derive(Debug)]
struct Batch {
    label: Label,
    id: u64,
    entries: Vec<LabelLogEntry>,
    complete_to: Option<u64>,
}

/// Entries that were fetched for a repair; the plan comes with the last of them.
#[derive(Debug)]
struct Repair {
    label: Label,
    id: u64,
    entries: Vec<LabelLogEntry>,
    last: bool,
}

/// What is to be done with what is being compiled.
#[derive(Debug)]
enum Compiling {
    Batch(apply::Applying),
    Redeploy { command: u64, newest: Arc<Kept> },
    Overrides,
}

impl Core {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let labels = settings.labels.iter().map(|label| {
            let work = LabelWork {
                pulling: pulling::Pulling::new(settings.waits),
                check: Check::default(),
            };
            (label.clone(), work)
        });
        let standings = Standings::new(settings.labels.iter().cloned());
        let progress = Progress {
            missing: standings.missing(),
            ..Progress::default()
        };
        Self {
            random: Random::new(settings.seed),
            labels: labels.collect(),
            standings,
            set: DeployedSet::default(),
            unpulled: BTreeSet::new(),
            pulled: 0,
            touched: BTreeSet::new(),
            failed: HashMap::new(),
            newest: HashMap::new(),
            taken: HashMap::new(),
            awaited: HashMap::new(),
            gone: VecDeque::new(),
            unsettled: HashMap::new(),
            tenants: tenants::Tenants::new(settings.lazy.clone()),
            queue: VecDeque::new(),
            compiling: None,
            out: VecDeque::new(),
            progress,
            next_id: 0,
            settings,
        }
    }

    /// Begins to pull, after what was stored has been restored.
    pub fn start(&mut self, now: Millis) {
        for work in self.labels.values_mut() {
            work.pulling.at_once(now);
        }
        self.tenants.begin(now);
        self.pump(now);
    }

    /// Takes what has happened. What belongs to a question that is not open any more changes nothing.
    pub fn handle(&mut self, now: Millis, input: Input) {
        match input {
            Input::Subscribed => self.subscribed(now, true),
            Input::Lost => self.subscribed(now, false),
            Input::Announced { label, seq } => {
                if let Some(work) = self.labels.get_mut(&label) {
                    work.pulling.event(now, seq);
                }
            }
            Input::Pulled {
                label,
                id,
                entries,
                complete_to,
            } => self.came(now, label, id, entries, complete_to),
            Input::PullEnded { label, id, result } => self.pull_ended(now, &label, id, result),
            Input::Digest {
                label,
                id,
                seq,
                digest,
            } => self.digest_told(now, &label, id, seq, digest),
            Input::Index {
                label,
                id,
                seq,
                entries,
            } => self.index_told(now, &label, id, seq, &entries),
            Input::Fetched {
                label,
                id,
                entries,
                last,
            } => {
                if self.tenants.is_fetching(id) {
                    self.queue.push_back(Work::Load(load::Part {
                        label,
                        id,
                        entries,
                        last,
                    }));
                } else if self.is_asked(&label, id) {
                    self.queue.push_back(Work::Repair(Repair {
                        label,
                        id,
                        entries,
                        last,
                    }));
                }
            }
            Input::AskFailed { id, error, .. } if self.tenants.is_fetching(id) => {
                self.fetched(now, id, Err(error));
            }
            Input::AskFailed { label, id, error } => self.ask_failed(now, label, id, error),
            Input::Compiled(compiled) => self.compiled(now, compiled),
            Input::Undeploy { command, asked } => {
                self.queue.push_back(Work::Undeploy { command, asked });
            }
            Input::Redeploy { command, asked } => {
                self.queue.push_back(Work::Redeploy { command, asked });
            }
            Input::Direct { command, entries } => {
                self.queue.push_back(Work::Direct { command, entries });
            }
            Input::Overrides(keys) => self.queue.push_back(Work::Overrides(keys)),
            Input::Accept(repair) => self.accept(now, repair),
            Input::Compare { label } => {
                if let Some(work) = self.labels.get_mut(&label) {
                    work.check.at = Some(now);
                }
            }
            Input::Needed(tenant) => self.tenants.needed(now, &tenant),
            Input::Used(uses) => self.tenants.used(&uses),
            Input::Tick => {}
        }
        self.pump(now);
    }

    /// The next thing to do.
    pub fn output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] has to come at the latest.
    #[must_use]
    pub fn wake(&self) -> Option<Millis> {
        let due = self.labels.iter().flat_map(|(label, work)| {
            let waits = work.check.asked.is_none() && self.is_comparable(label);
            let check = work.check.at.filter(|_| waits);
            [work.pulling.due(), check]
        });
        let tenants = self.tenants.due(self.compiling.is_some());
        due.flatten().chain(tenants).min()
    }

    /// What answers requests.
    #[must_use]
    pub fn set(&self) -> &DeployedSet {
        &self.set
    }

    /// What the label logs said.
    #[must_use]
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// What is known of tenants.
    #[must_use]
    pub fn tenants(&self) -> Told {
        self.tenants.told()
    }

    /// The repairs that wait for an operator.
    pub fn held(&self) -> impl Iterator<Item = (&Label, &Held)> {
        let labels = self.labels.iter();
        labels.filter_map(|(label, work)| Some((label, work.check.held.as_ref()?)))
    }

    fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn subscribed(&mut self, now: Millis, subscribed: bool) {
        for work in self.labels.values_mut() {
            if let Some(open) = work.pulling.subscribed(now, subscribed) {
                self.out.push_back(Output::Cancel { id: open.id });
            }
            // What was missed in between may be more than the log tells.
            if work.check.at.is_some() {
                work.check.at = Some(now);
            }
        }
    }

    fn came(
        &mut self,
        now: Millis,
        label: Label,
        id: u64,
        entries: Vec<LabelLogEntry>,
        complete_to: Option<u64>,
    ) {
        let Some(work) = self.labels.get_mut(&label) else {
            return;
        };
        if work.pulling.open.is_none_or(|open| open.id != id) {
            return;
        }
        let cursor = work.pulling.cursor;
        if let Some(found) = complete_to.filter(|seq| *seq < cursor && entries.is_empty()) {
            self.out.push_back(Output::Cancel { id });
            let error = PullError::WentBack { found, cursor };
            self.pull_ended(now, &label, id, Err(error));
            return;
        }
        self.queue.push_back(Work::Batch(Batch {
            label,
            id,
            entries,
            complete_to,
        }));
    }

    fn pull_ended(&mut self, now: Millis, label: &Label, id: u64, result: Result<(), PullError>) {
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        if work.pulling.open.is_none_or(|open| open.id != id) {
            return;
        }
        let Some(trouble) = work.pulling.ended(now, result, &mut self.random) else {
            return;
        };
        let went_back = matches!(trouble.error, PullError::WentBack { .. });
        if went_back && trouble.failures > 0 {
            self.look_at_index(label);
        }
        let label = label.clone();
        self.out.push_back(Output::Trouble { label, trouble });
    }

    /// Does what can be done now.
    fn pump(&mut self, now: Millis) {
        while self.compiling.is_none() {
            match self.queue.pop_front() {
                Some(Work::Batch(batch)) => self.apply(now, batch),
                Some(Work::Repair(repair)) => self.repair(now, repair),
                Some(Work::Overrides(keys)) => self.overrides(&keys),
                Some(Work::Direct { command, entries }) => self.direct(now, command, entries),
                Some(Work::Load(part)) => self.load(now, part),
                Some(Work::Undeploy { command, asked }) => self.undeploy(command, &asked),
                Some(Work::Redeploy { command, asked }) => self.redeploy(command, &asked),
                None => break,
            }
        }
        self.look_at_tenants(now);
        let labels: Vec<Label> = self.labels.keys().cloned().collect();
        for label in labels {
            self.look(now, &label);
            let id = self.next_id + 1;
            let Some(work) = self.labels.get_mut(&label) else {
                continue;
            };
            if let Some(wanted) = work.pulling.start(now, id) {
                self.next_id = id;
                self.out.push_back(Output::Pull { label, id, wanted });
            }
        }
        self.tell_progress();
    }
}
