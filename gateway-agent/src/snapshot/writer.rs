//! Bringing changes to the disk, off the path of requests and of deployments.
//!
//! One transaction takes all that waits. What cannot be written waits on and is tried again, with a
//! warning now and then; the gateway goes on meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use artifact::Label;
use kit::backoff::{Backoff, spread};
use tokio::time::{Instant, sleep_until};

use super::directory::{beside, move_in_place};
use super::ledger::{Pending, Recorder};
use super::open::{Base, Opened, lock, set_aside};
use super::state::State;
use super::store::Store;
use super::{Settings, SnapshotError, generation};

/// The least time between two older states that are kept.
const BETWEEN_GENERATIONS: Duration = Duration::from_secs(300);
/// The least time between two warnings.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(600);
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(500),
    most: Duration::from_secs(60),
};

/// Writes what a [`Recorder`] is told.
#[derive(Debug)]
pub struct Writer {
    recorder: Recorder,
    disk: Disk,
    /// When the last older state was written by this process.
    generation: Option<Instant>,
    /// Something has been written since.
    changed: bool,
}

/// The blocking part.
#[derive(Debug)]
pub struct Disk {
    settings: Settings,
    store: Option<Store>,
    /// No store is there to be opened: one has to be made, and the change that waits is everything.
    anew: bool,
    lock: Option<File>,
    /// Bytes of what is stored, not below the truth.
    bytes: u64,
    /// Labels whose logs have been applied to their end.
    complete: BTreeSet<Label>,
}

impl Writer {
    /// A writer that goes on from what was found; `None` when nothing is to be written.
    #[must_use]
    pub fn new(settings: Settings, opened: Opened, recorder: Recorder) -> Option<Self> {
        let (store, anew, bytes) = match opened.base {
            Base::Off => {
                recorder.switch_off();
                return None;
            }
            Base::Store(store) => {
                let bytes = opened.state.as_ref().map_or(0, State::bytes);
                (Some(*store), false, bytes)
            }
            Base::Anew(state) => {
                recorder.give_back(state);
                (None, true, 0)
            }
        };
        let labels = opened.state.iter().flat_map(|state| &state.labels);
        let complete = labels.filter(|(_, stored)| stored.position.complete);
        let complete = complete.map(|(label, _)| label.clone()).collect();
        Some(Self {
            recorder,
            disk: Disk {
                complete,
                settings,
                store,
                anew,
                lock: opened.lock,
                bytes,
            },
            generation: None,
            changed: false,
        })
    }

    /// Writes until the recorder is closed, and then what is left.
    pub async fn run(mut self) {
        let mut failures = 0;
        let mut warned: Option<Instant> = None;
        let mut wake = Instant::now();
        loop {
            let due = self.generation.map(|last| last + BETWEEN_GENERATIONS);
            tokio::select! {
                () = self.recorder.woken() => {}
                () = sleep_until(wake), if failures > 0 => {}
                () = sleep_until(due.unwrap_or(wake)), if self.changed && due.is_some() => {}
            }
            let closed = self.recorder.is_closed();
            if failures > 0 && !closed && Instant::now() < wake {
                continue;
            }
            match self.step(closed).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(failures, "the snapshot is written again");
                    }
                    failures = 0;
                }
                Err(SnapshotError::TooLarge { bytes, most }) => {
                    tracing::warn!(
                        bytes,
                        max_size = most,
                        "the snapshot is too large and is not written any more; what is on disk stays"
                    );
                    self.recorder.switch_off();
                    return;
                }
                Err(error) => {
                    failures += 1;
                    self.recorder.count(0, 1, 0);
                    wake = Instant::now() + RETRY.wait_with_jitter(failures, spread());
                    if warned.is_none_or(|last| last.elapsed() > BETWEEN_WARNINGS) {
                        warned = Some(Instant::now());
                        let directory = self.disk.settings.directory.path().display();
                        tracing::warn!(
                            %directory,
                            %error,
                            failures,
                            "the snapshot cannot be written, trying again"
                        );
                    }
                }
            }
            if closed {
                return;
            }
        }
    }

    /// Writes what waits, and an older state when it is time.
    async fn step(&mut self, closed: bool) -> Result<(), SnapshotError> {
        let pending = self.recorder.take();
        if !pending.is_empty() {
            let mut disk = self.disk.taken();
            let written = tokio::task::spawn_blocking(move || {
                let written = disk.write(pending);
                (disk, written)
            });
            let (disk, written) = written.await.map_err(SnapshotError::other)?;
            self.disk = disk;
            if let Err((change, error)) = written {
                self.recorder.give_back(change);
                return Err(error);
            }
            self.recorder.count(1, 0, 0);
            self.changed = true;
        }
        let elapsed = |last: Instant| last.elapsed() >= BETWEEN_GENERATIONS;
        if self.changed && !closed && self.generation.is_none_or(elapsed) {
            let mut disk = self.disk.taken();
            let written = tokio::task::spawn_blocking(move || {
                let written = disk.generation();
                (disk, written)
            });
            let (disk, written) = written.await.map_err(SnapshotError::other)?;
            self.disk = disk;
            match written {
                Ok(true) => {
                    self.recorder.count(0, 0, 1);
                    self.generation = Some(Instant::now());
                    self.changed = false;
                }
                Ok(false) => {}
                Err(error) => {
                    // The store is what counts; the next try comes with the next turn.
                    self.generation = Some(Instant::now());
                    self.recorder.count(0, 1, 0);
                    tracing::warn!(%error, "no older generation of the snapshot was written");
                }
            }
        }
        self.recorder.done();
        Ok(())
    }
}

impl Disk {
    /// For a task of its own, which gives it back.
    fn taken(&mut self) -> Self {
        Self {
            settings: self.settings.clone(),
            store: self.store.take(),
            anew: self.anew,
            lock: self.lock.take(),
            bytes: self.bytes,
            complete: std::mem::take(&mut self.complete),
        }
    }

    /// Writes a change in one transaction, in a new store if there is none.
    fn write(&mut self, pending: Pending) -> Result<(), (State, SnapshotError)> {
        let change = pending.packed();
        for (label, stored) in &change.labels {
            if stored.position.complete {
                self.complete.insert(label.clone());
            }
        }
        self.try_write(&change).map_err(|error| {
            // After an error the library wants the store to be opened anew.
            if !matches!(error, SnapshotError::TooLarge { .. }) {
                self.store = None;
            }
            (change, error)
        })
    }

    fn try_write(&mut self, change: &State) -> Result<(), SnapshotError> {
        let most = self.settings.max_size;
        let more = change.bytes();
        if self.anew {
            if more > most {
                return Err(SnapshotError::TooLarge { bytes: more, most });
            }
            self.store = Some(self.make(change)?);
            self.anew = false;
            self.bytes = more;
            return Ok(());
        }
        if self.bytes + more > most {
            self.bytes = self.store()?.sweep()?.bytes();
            if self.bytes + more > most {
                let bytes = self.bytes + more;
                return Err(SnapshotError::TooLarge { bytes, most });
            }
        }
        self.store()?.commit(change)?;
        self.bytes += more;
        let directory = &self.settings.directory;
        if directory.size() > most {
            directory.thin_out(self.settings.generations, most);
        }
        Ok(())
    }

    fn store(&mut self) -> Result<&mut Store, SnapshotError> {
        if self.store.is_none() {
            let sealer = Arc::new(self.settings.sealer(false)?);
            let file = self.settings.directory.current();
            let opened = Store::open(&file, sealer, self.settings.owner.clone());
            self.store = Some(opened?.0);
        }
        self.store.as_mut().ok_or(SnapshotError::Absent)
    }

    /// A new store with everything, made beside and moved in place.
    fn make(&mut self, state: &State) -> Result<Store, SnapshotError> {
        let Settings {
            directory, owner, ..
        } = &self.settings;
        directory.make()?;
        if self.lock.is_none() {
            self.lock = Some(lock(&self.settings)?);
        }
        let sealer = Arc::new(self.settings.sealer(true)?);
        let aside = beside(&directory.current());
        let _ = std::fs::remove_file(&aside);
        let made = Store::create(&aside, sealer, owner.clone(), state).and_then(|store| {
            move_in_place(&aside, &directory.current())?;
            Ok(store)
        });
        if made.is_err() {
            let _ = std::fs::remove_file(&aside);
        }
        made
    }

    /// Writes an older state, unless not all labels have been applied. Whether it was written.
    fn generation(&mut self) -> Result<bool, SnapshotError> {
        let (count, most) = (self.settings.generations, self.settings.max_size);
        if count == 0 || self.complete.len() < self.settings.labels.len() {
            return Ok(false);
        }
        let state = self.store()?.sweep()?;
        self.bytes = state.bytes();
        let directory = &self.settings.directory;
        let used = std::fs::metadata(directory.current())?.len();
        if used + self.bytes > most {
            let bytes = used + self.bytes;
            return Err(SnapshotError::TooLarge { bytes, most });
        }
        let sealer = self.settings.sealer(false)?;
        generation::write(
            &directory.next_generation(),
            &sealer,
            &self.settings.owner,
            &state,
        )?;
        directory.thin_out(count, most);
        Ok(true)
    }
}

/// Makes the store of a gateway that does not run, with `state` in it.
///
/// # Errors
/// When the gateway runs, or the store cannot be written.
pub fn install(settings: &Settings, state: &State) -> Result<(), SnapshotError> {
    settings.directory.make()?;
    let mut disk = Disk {
        settings: settings.clone(),
        store: None,
        anew: true,
        lock: Some(lock(settings)?),
        bytes: 0,
        complete: BTreeSet::new(),
    };
    match settings.sealer(true) {
        Err(SnapshotError::Unusable(reason)) => {
            set_aside(settings, &settings.directory.key_file(), &reason);
        }
        sealer => {
            sealer?;
        }
    }
    disk.try_write(state)
}
