//! What the deployer has applied and the disk has not got yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use artifact::{Digest, Instruction, Label, LabelLogEntry};
use serde::Serialize;
use tokio::sync::Notify;

use super::state::{Position, Stamp, State, StoredApi, StoredEntry};
use crate::text::Text;

/// Changes that wait to be written; a newer one lies over an older one, so they are bounded by what
/// is deployed, however long the disk is away.
#[derive(Debug, Default)]
pub struct Pending {
    change: State,
    /// Artifacts that have not been compressed yet.
    texts: BTreeMap<Digest, String>,
}

/// Between the deployer and the writer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    wake: Notify,
    closed: AtomicBool,
    off: AtomicBool,
    writing: AtomicBool,
    written: AtomicU64,
    failures: AtomicU64,
    generations: AtomicU64,
}

/// What became of the changes, since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Status {
    /// Transactions that are on the disk.
    pub written: u64,
    /// Tries to write that failed.
    pub failures: u64,
    /// Older states that were written.
    pub generations: u64,
    /// Whether something has been applied that is not on the disk yet.
    pub waiting: bool,
    /// Whether anything is written at all.
    pub on: bool,
}

/// What an API is after a batch.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub wanted: Option<(u64, Digest)>,
    pub serving: Option<Stamp>,
    pub reason: Option<String>,
}

/// What a batch of a label has brought.
#[derive(Clone, Debug)]
pub struct Record {
    pub label: Label,
    /// Where its log is now.
    pub position: Position,
    /// Entries that count; their artifacts where those are not among `texts`.
    pub entries: Vec<LabelLogEntry>,
    /// Artifacts that are compressed already.
    pub texts: Vec<(Digest, Text)>,
    /// What became of the APIs.
    pub apis: Vec<(String, Outcome)>,
}

/// The deployer's side: it knows the names of what is wanted.
#[derive(Debug, Default)]
pub struct Ledger {
    pub recorder: Recorder,
    wanted: HashMap<String, Stamp>,
    positions: HashMap<Label, Position>,
}

impl Ledger {
    #[must_use]
    pub fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            ..Self::default()
        }
    }

    /// Takes over what a stored state says, which does not have to be written.
    pub fn restored(&mut self, state: &State) {
        for (label, stored) in &state.labels {
            self.positions.insert(label.clone(), stored.position);
        }
        for (api_id, api) in &state.apis {
            if let Some(stamp) = &api.wanted {
                self.wanted.insert(api_id.clone(), stamp.clone());
            }
        }
    }

    /// Notes what a batch of a label has brought.
    pub fn applied(&mut self, record: Record) {
        let Record {
            label,
            position,
            entries,
            texts,
            apis,
        } = record;
        let moved = self.positions.insert(label.clone(), position) != Some(position);
        let mut pending = Pending::default();
        pending.change.texts.extend(texts);
        let mut published: HashMap<String, Stamp> = HashMap::new();
        for mut entry in entries {
            if let Some(text) = entry.artifact.take() {
                pending.texts.insert(entry.digest, text);
            }
            if entry.instruction == Instruction::Publish {
                published.insert(entry.api_id.clone(), Stamp::of(&entry));
            }
            let stored = pending.change.labels.entry(label.clone()).or_default();
            let known = StoredEntry::of(&entry);
            stored.entries.insert(entry.api_id, known);
        }
        for (api_id, outcome) in apis {
            let is = |stamp: &&Stamp| Some((stamp.revision, stamp.digest)) == outcome.wanted;
            let stamps = [
                published.get(&api_id),
                self.wanted.get(&api_id),
                outcome.serving.as_ref(),
            ];
            let wanted = stamps.into_iter().flatten().find(is).cloned();
            match wanted.clone() {
                Some(stamp) => self.wanted.insert(api_id.clone(), stamp),
                None => self.wanted.remove(&api_id),
            };
            let api = StoredApi {
                wanted,
                serving: outcome.serving,
                reason: outcome.reason,
            };
            pending.change.apis.insert(api_id, api);
        }
        if moved || !pending.change.labels.is_empty() || !pending.change.apis.is_empty() {
            let stored = pending.change.labels.entry(label).or_default();
            stored.position = position;
            self.recorder.add(pending);
        }
    }
}

impl Recorder {
    fn add(&self, newer: Pending) {
        if self.0.off.load(Ordering::Acquire) {
            return;
        }
        let mut pending = self
            .0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pending.change.merge(newer.change);
        pending.texts.extend(newer.texts);
        pending.drop_superseded();
        drop(pending);
        self.0.wake.notify_one();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Nothing is kept any more.
    pub(super) fn switch_off(&self) {
        self.0.off.store(true, Ordering::Release);
        self.take();
        self.done();
    }

    pub(super) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    /// What waits; it counts as waiting until [`Recorder::done`] or the next call.
    pub(crate) fn take(&self) -> Pending {
        let mut pending = self
            .0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.0.writing.store(!pending.is_empty(), Ordering::Release);
        std::mem::take(&mut *pending)
    }

    /// What was taken is on the disk.
    pub(super) fn done(&self) {
        self.0.writing.store(false, Ordering::Release);
    }

    /// Gives a change back that could not be written; what has come since lies over it.
    pub(super) fn give_back(&self, older: State) {
        let mut pending = self
            .0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let newer = std::mem::replace(&mut pending.change, older);
        pending.change.merge(newer);
        pending.drop_superseded();
    }

    pub(super) fn count(&self, written: u64, failures: u64, generations: u64) {
        self.0.written.fetch_add(written, Ordering::Relaxed);
        self.0.failures.fetch_add(failures, Ordering::Relaxed);
        self.0.generations.fetch_add(generations, Ordering::Relaxed);
    }

    /// As of now.
    #[must_use]
    pub fn status(&self) -> Status {
        let pending = self
            .0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Status {
            written: self.0.written.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
            generations: self.0.generations.load(Ordering::Relaxed),
            waiting: self.0.writing.load(Ordering::Acquire) || !pending.is_empty(),
            on: !self.0.off.load(Ordering::Relaxed),
        }
    }
}

impl Pending {
    /// However long the disk is away, only what would be stored is kept.
    fn drop_superseded(&mut self) {
        let needed = self.change.needed();
        self.texts.retain(|digest, _| needed.contains(digest));
        self.change
            .texts
            .retain(|digest, _| needed.contains(digest));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.change.is_empty() && self.texts.is_empty()
    }

    /// The change as it is written: artifacts compressed, those left out that are not what their
    /// digests name. Takes a while.
    pub(crate) fn packed(self) -> State {
        let Self { mut change, texts } = self;
        for (digest, text) in texts {
            if Digest::of(text.as_bytes()) == digest {
                change.texts.insert(digest, Text::of(&text));
            }
        }
        change
    }
}
