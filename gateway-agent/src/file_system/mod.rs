//! `FileSystemRetriever`: label logs out of Synapse directories on a shared file system, followed by
//! polling their content, for such file systems do not notify.
//!
//! `folder` reads a directory into artifacts, `file_log` makes a log of what it has read, and this file
//! answers the core's questions from it, as `pull` does from the traffic manager.

mod file_log;
mod folder;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::Label;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::pull::{AskError, Question};
use crate::sync_core::{IndexEntry, Input, PullError, Range, Wanted};
use file_log::FileLog;
use folder::{Folder, FolderError};

/// Entries that are handed on together.
const BATCH: usize = 256;

/// The logs of all labels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    logs: Arc<Mutex<BTreeMap<Label, Log>>>,
    /// Rises with each look that has found something.
    looks: watch::Sender<u64>,
}

/// One label's.
#[derive(Debug, Default)]
struct Log {
    log: FileLog,
    /// Why its directory cannot be read; `None` as soon as it could.
    trouble: Option<String>,
    /// It has been looked into.
    looked: bool,
    /// Something has gone, in the look of this number.
    shrunk: u64,
}

impl Files {
    /// The logs of labels that have not been read yet.
    #[must_use]
    pub fn new(labels: &[Label]) -> Self {
        let unread = || Log {
            trouble: Some("its directory has not been read yet".to_owned()),
            ..Log::default()
        };
        let logs = labels.iter().map(|label| (label.clone(), unread()));
        Self {
            logs: Arc::new(Mutex::new(logs.collect())),
            looks: watch::Sender::new(0),
        }
    }

    /// Looks into the directories below `root` until shutdown.
    pub async fn poll(self, root: PathBuf, interval: Duration, shutdown: CancellationToken) {
        let labels: Vec<Label> = self.locked().keys().cloned().collect();
        let mut folders: Vec<(Label, Folder)> = labels
            .into_iter()
            .map(|label| {
                let folder = Folder::of_label(&root, &label);
                (label, folder)
            })
            .collect();
        loop {
            let files = self.clone();
            let looking = tokio::task::spawn_blocking(move || {
                for (label, folder) in &mut folders {
                    files.look(label, folder);
                }
                folders
            });
            let looked = tokio::select! {
                () = shutdown.cancelled() => return,
                looked = looking => looked,
            };
            folders = match looked {
                Ok(folders) => folders,
                Err(error) => {
                    tracing::error!(%error, "looking into the shared directories ended early");
                    return;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    fn look(&self, label: &Label, folder: &mut Folder) {
        let look = AssertUnwindSafe(|| folder.look());
        let found = catch_unwind(look).unwrap_or(Err(FolderError::Defect));
        let number = *self.looks.borrow() + 1;
        let mut logs = self.locked();
        let log = logs.entry(label.clone()).or_default();
        log.looked = true;
        let changed = match found {
            Ok(None) => log.trouble.take().is_some(),
            Ok(Some(found)) => {
                for (file, reason) in &found.bad {
                    tracing::warn!(%label, file, reason, "a file is left as it was");
                }
                let change = log.log.update(kit::clock::now_ms(), found);
                if change.shrunk {
                    log.shrunk = number;
                }
                log.trouble.take().is_some() || change.grown || change.shrunk
            }
            Err(error) => {
                let trouble = error.to_string();
                let new = log.trouble.as_ref() != Some(&trouble);
                if new {
                    let folder = folder.path().display().to_string();
                    tracing::warn!(%label, folder, %error, "what was read before stays");
                }
                log.trouble = Some(trouble);
                new
            }
        };
        drop(logs);
        if changed {
            self.looks.send_replace(number);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Label, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the label's log says, or why it cannot be read.
    fn read<T>(&self, label: &Label, read: impl FnOnce(&Log) -> T) -> Result<T, PullError> {
        let logs = self.locked();
        let unknown = || PullError::Failed("the label is not carried".to_owned());
        let log = logs.get(label).ok_or_else(unknown)?;
        match &log.trouble {
            Some(trouble) => Err(PullError::Failed(trouble.clone())),
            None => Ok(read(log)),
        }
    }

    pub(crate) async fn pull(self, wanted: Wanted, mut question: Question) {
        let result = match self.try_pull(wanted, &mut question).await {
            Ok(()) => Ok(()),
            Err(AskError::Pull(error)) => Err(error),
            Err(_) => return,
        };
        question.end_pull(result).await;
    }

    async fn try_pull(&self, wanted: Wanted, question: &mut Question) -> Result<(), AskError> {
        let mut looks = self.looks.subscribe();
        while self
            .locked()
            .get(&question.label)
            .is_some_and(|log| !log.looked)
        {
            // The sender is here.
            let _ = looks.changed().await;
        }
        let mut after = wanted.after;
        let mut seen = *looks.borrow_and_update();
        loop {
            let label = question.label.clone();
            let (entries, seq, shrunk) = self.read(&label, |log| {
                let entries = log.log.after(after, BATCH);
                (entries, log.log.seq(), log.shrunk)
            })?;
            let complete = entries.len() < BATCH;
            after = entries.last().map_or(after, |entry| entry.seq);
            let complete_to = complete.then_some(seq.max(wanted.after));
            question.hand_on(entries, complete_to).await?;
            question.applied().await?;
            if shrunk > seen {
                question.tell(Input::Compare { label }).await?;
            }
            seen = seen.max(shrunk);
            if !complete {
                continue;
            }
            if !wanted.follow {
                return Ok(());
            }
            // The sender is here.
            let _ = looks.changed().await;
            looks.borrow_and_update();
        }
    }

    pub(crate) async fn digest(self, question: Question) {
        let (label, id) = (question.label.clone(), question.id);
        let told = self.read(&label, |log| (log.log.seq(), log.log.digest()));
        let told = told.map(|(seq, digest)| Input::Digest {
            label,
            id,
            seq,
            digest,
        });
        question.answer(told.map_err(AskError::Pull)).await;
    }

    pub(crate) async fn index(self, question: Question) {
        let (label, id) = (question.label.clone(), question.id);
        let told = self.read(&label, |log| {
            let entries = log.log.after(0, usize::MAX).into_iter();
            let entries = entries.map(|entry| IndexEntry {
                seq: entry.seq,
                api_id: entry.api_id,
                instruction: entry.instruction,
                digest: entry.digest,
                revision: entry.revision,
                published_to: Vec::new(),
            });
            (log.log.seq(), entries.collect())
        });
        let told = told.map(|(seq, entries)| Input::Index {
            label,
            id,
            seq,
            entries,
        });
        question.answer(told.map_err(AskError::Pull)).await;
    }

    pub(crate) async fn fetch(self, ranges: Vec<Range>, question: Question) {
        let fetched = self.read(&question.label, |log| {
            let parts = ranges.iter().flat_map(|range| {
                let limit = usize::try_from(range.limit).unwrap_or(usize::MAX);
                log.log.after(range.after, limit)
            });
            parts.collect()
        });
        let fetched = fetched.map(|entries| question.fetched(entries, true));
        question.answer(fetched.map_err(AskError::Pull)).await;
    }
}
