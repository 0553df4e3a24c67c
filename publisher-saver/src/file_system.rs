//! `FileSystemSaver`: a Synapse directory for each label, in step with the label's log.
//!
//! The store is the truth. What a directory holds is compared with the log at the start and after
//! each failure; in between, what comes behind the last position is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::{Artifact, Instruction, Label};
use kit::backoff::{Backoff, spread};
use kit::config::{Config, ConfigError};
use store::{LogRow, Store, StoreError};
use synapse_directory::names::directory_name;
use synapse_directory::{Applied, Change, Directory, DirectoryError, Outcome};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Looks without being woken: for what other savers have saved.
const IDLE: Duration = Duration::from_secs(1);
/// APIs that are applied at once …
const BATCH: usize = 256;
/// … and so many bytes of them, but at least one.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;
/// How long a label waits with which something did not work, unless its log grows.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
};

/// Keeps the directories. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileSystemSaver {
    store: Store,
    root: PathBuf,
    woken: Arc<Notify>,
    status: Arc<Mutex<BTreeMap<Label, LabelStatus>>>,
}

/// How far the directory of a label is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelStatus {
    /// The position in its log up to which it has been brought.
    pub seq: u64,
    /// APIs that could not be put in place or taken away; they are tried again.
    pub failed: BTreeMap<String, String>,
    /// Why the directory cannot be written at all.
    pub reason: Option<String>,
}

/// Why a look did not end well.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("writing ended early")]
    Ended,
}

/// A label while it is followed.
#[derive(Debug, Default)]
struct Followed {
    /// `None` until it could be opened.
    directory: Option<Directory>,
    /// The position that has been seen.
    seen: u64,
    /// The directory has been compared with the whole log, and nothing has failed since.
    in_step: bool,
    failures: u32,
    /// When the whole log is to be compared again.
    again: Option<Instant>,
}

impl FileSystemSaver {
    /// The saver that the configuration asks for; `None` if it asks for another one.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn of(config: &Config, store: &Store) -> Result<Option<Self>, ConfigError> {
        let Some(root) = config.file_system_directory() else {
            return Ok(None);
        };
        std::fs::create_dir_all(&root).map_err(|error| ConfigError::Rule {
            key: "apim.sync_runtime_artifacts.publisher.file_system_directory",
            rule: format!("{}: cannot be made: {error}", root.display()),
        })?;
        Ok(Some(Self {
            store: store.clone(),
            root,
            woken: Arc::new(Notify::new()),
            status: Arc::default(),
        }))
    }

    /// A label log may have grown.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// How far each label is.
    #[must_use]
    pub fn status(&self) -> BTreeMap<Label, LabelStatus> {
        let status = self.status.lock();
        status.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the directories until `shutdown`. What is left then is done by the next start.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut labels: BTreeMap<Label, Followed> = BTreeMap::new();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let wait = match self.look(&mut labels, &shutdown).await {
                Ok(()) => {
                    failures = 0;
                    IDLE
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "cannot read the label logs, trying again");
                    BACKOFF.wait_with_jitter(failures, spread())
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.woken.notified(), if failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One look at the logs; each label that has grown, or waits to be tried again, is brought on.
    async fn look(
        &self,
        labels: &mut BTreeMap<Label, Followed>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let now = Instant::now();
        let whole = |followed: &Followed| {
            !followed.in_step && followed.again.is_none_or(|again| again <= now)
        };
        let since = labels.iter().map(|(label, followed)| {
            let seen = if whole(followed) { 0 } else { followed.seen };
            (label.clone(), seen)
        });
        let since: BTreeMap<Label, u64> = since.collect();
        let mut logs = self.store.label_logs(&since).await?;
        // What has grown while it waited is compared whole, too.
        let waits = |label: &Label| labels.get(label).is_some_and(|it| !it.in_step);
        let waiting = logs.entries.keys().filter(|label| waits(label));
        let waiting: BTreeMap<Label, u64> = since
            .iter()
            .map(|(label, seen)| (label.clone(), *seen))
            .chain(waiting.map(|label| (label.clone(), 0)))
            .collect();
        if waiting != since {
            logs = self.store.label_logs(&waiting).await?;
        }
        for (label, entries) in logs.entries {
            if shutdown.is_cancelled() {
                return Ok(());
            }
            let seq = logs.seqs.get(&label).copied().unwrap_or_default();
            let followed = labels.entry(label.clone()).or_default();
            // A log that ends before what has been seen is another one.
            let whole = !followed.in_step || seq < followed.seen;
            followed.seen = seq;
            self.bring_on(&label, followed, entries, whole, shutdown)
                .await;
        }
        Ok(())
    }

    /// Applies entries of a label's log, and notes how that went.
    async fn bring_on(
        &self,
        label: &Label,
        followed: &mut Followed,
        entries: Vec<LogRow>,
        whole: bool,
        shutdown: &CancellationToken,
    ) {
        let applied = self
            .apply(label, &mut followed.directory, entries, whole, shutdown)
            .await;
        let mut status = LabelStatus {
            seq: followed.seen,
            ..LabelStatus::default()
        };
        match applied {
            Ok(failed) => status.failed = failed,
            Err(error) => {
                // What has been written of it is found again when it is opened.
                followed.directory = None;
                status.reason = Some(error.to_string());
            }
        }
        followed.in_step = status.failed.is_empty() && status.reason.is_none();
        if followed.in_step {
            followed.failures = 0;
            followed.again = None;
        } else {
            followed.failures += 1;
            let wait = BACKOFF.wait_with_jitter(followed.failures, spread());
            followed.again = Some(Instant::now() + wait);
        }
        let mut known = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(label.clone(), status.clone());
        drop(known);
        let before = before.unwrap_or_default();
        if let Some(reason) = &status.reason
            && before.reason != status.reason
        {
            tracing::warn!(%label, reason, "the label's directory cannot be written, trying again");
        }
        for (api_id, reason) in &status.failed {
            if before.failed.get(api_id) != Some(reason) {
                tracing::warn!(%label, api_id, reason, "an API is not in the label's directory");
            }
        }
    }

    /// Applies entries batch by batch. Gives those that failed, with the reason.
    async fn apply(
        &self,
        label: &Label,
        directory: &mut Option<Directory>,
        entries: Vec<LogRow>,
        whole: bool,
        shutdown: &CancellationToken,
    ) -> Result<BTreeMap<String, String>, LookError> {
        let mut open = match directory.take() {
            Some(open) => open,
            None => {
                let root = self.root.join(directory_name(label.as_str()));
                let label = label.to_string();
                blocking(move || Directory::open(&root, &label)).await??
            }
        };
        let mut entries = entries;
        let mut gone = Vec::new();
        if whole {
            (open, entries, gone) = blocking(move || compare(open, entries)).await?;
        }
        let mut failed = BTreeMap::new();
        let mut rest = entries.as_slice();
        while (!rest.is_empty() || !gone.is_empty()) && !shutdown.is_cancelled() {
            let mut bytes = 0;
            let fitting = rest.iter().take(BATCH).take_while(|row| {
                bytes += row.bytes;
                bytes <= BATCH_BYTES
            });
            let (batch, after) = rest.split_at(fitting.count().max(1).min(rest.len()));
            rest = after;
            let steps = self.steps(batch, &mut failed).await?;
            let removed = std::mem::take(&mut gone).into_iter().map(Step::Take);
            let steps: Vec<Step> = removed.chain(steps).collect();
            let (back, applied) = blocking(move || {
                let changes: Vec<Change<'_>> = steps.iter().map(Step::change).collect();
                let applied = open.apply(&changes);
                (open, applied)
            })
            .await?;
            open = back;
            for applied in applied? {
                told(label, &applied);
                if let Outcome::Failed(error) = applied.outcome {
                    failed.insert(applied.api_id, error.to_string());
                }
            }
        }
        *directory = Some(open);
        Ok(failed)
    }

    /// What rows of the log ask for, with their artifacts. One whose revision has left the history has
    /// been followed by another, which the next look brings.
    async fn steps(
        &self,
        rows: &[LogRow],
        failed: &mut BTreeMap<String, String>,
    ) -> Result<Vec<Step>, StoreError> {
        let published = |row: &&LogRow| row.instruction == Instruction::Publish;
        let wanted: Vec<_> = rows
            .iter()
            .filter(published)
            .map(|row| (row.api_id.as_str(), row.revision, row.bytes))
            .collect();
        let mut artifacts = self.store.artifacts(&wanted).await?.into_iter();
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            if !published(&row) {
                steps.push(Step::Take(row.api_id.clone()));
                continue;
            }
            let Some(bytes) = artifacts.next().flatten() else {
                continue;
            };
            let artifact = String::from_utf8(bytes)
                .map_err(|error| error.to_string())
                .and_then(|text| Artifact::parse(&text).map_err(|error| error.to_string()));
            match artifact {
                Ok(artifact) => steps.push(Step::Put(Box::new(artifact), row.digest)),
                Err(reason) => {
                    failed.insert(row.api_id.clone(), reason);
                }
            }
        }
        Ok(steps)
    }
}

/// A change that owns what it is about.
enum Step {
    Put(Box<Artifact>, artifact::Digest),
    Take(String),
}

impl Step {
    fn change(&self) -> Change<'_> {
        match self {
            Self::Put(artifact, digest) => Change::Put {
                artifact,
                digest: *digest,
            },
            Self::Take(api_id) => Change::Take { api_id },
        }
    }
}

/// Of a whole log, what the directory does not have as it is, and the APIs that it has and the log
/// does not publish.
fn compare(directory: Directory, entries: Vec<LogRow>) -> (Directory, Vec<LogRow>, Vec<String>) {
    let published = |row: &&LogRow| row.instruction == Instruction::Publish;
    let ids: BTreeSet<&str> = entries
        .iter()
        .filter(published)
        .map(|row| row.api_id.as_str())
        .collect();
    let gone = directory.apis().filter(|api_id| !ids.contains(api_id));
    let gone: Vec<String> = gone.map(str::to_owned).collect();
    let differs = |row: &LogRow| published(&row) && !directory.has(&row.api_id, row.digest);
    let entries = entries.into_iter().filter(differs).collect();
    (directory, entries, gone)
}

fn told(label: &Label, applied: &Applied) {
    let api_id = &applied.api_id;
    match applied.outcome {
        Outcome::Written => tracing::info!(%label, api_id, "written to the label's directory"),
        Outcome::Removed => tracing::info!(%label, api_id, "removed from the label's directory"),
        Outcome::Unchanged | Outcome::Absent | Outcome::Failed(_) => return,
    }
    if !applied.left_out.is_empty() {
        let left_out = applied.left_out.join(", ");
        tracing::warn!(%label, api_id, left_out, "no Synapse directory holds all of the artifact");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LookError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| LookError::Ended)
}

#[cfg(test)]
mod tests;
