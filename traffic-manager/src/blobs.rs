//! Artifacts in memory, compressed, by their digest: each is read from the database once, however
//! many ask for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use artifact::{Artifact, Digest, Instruction, LogLine};
use bytes::Bytes;
use futures_util::future::try_join_all;
use moka::future::Cache;
use store::{Store, Wanted};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::encoding::{Encoding, Piece};
use crate::logs::Entry;

/// Artifacts that wait to be read are read together, up to so many.
const TOGETHER: usize = 64;
/// So many reads at a time.
const READERS: usize = 4;
/// APIs, of those that are gone as well, whose newest revision is known at most.
const KNOWN: usize = 100_000;
/// What the cache itself takes for an artifact, about.
const OVERHEAD: usize = 256;

/// An artifact as it stands in a label log, with the end of its line.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// `…}\n`: the artifact in the form of a line, and the rest of the line.
    pub(crate) line: Piece,
    /// Whether its bytes are those that the digest names.
    genuine: bool,
}

/// Why there is no artifact.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the artifact cannot be read: {0}")]
    Store(String),
    /// The revision has left the history: the log has a newer entry by now.
    #[error("revision {revision} of API {api_id} is not kept any more")]
    Gone { api_id: String, revision: u64 },
    /// Nothing is said about the artifact: asking again may help.
    #[error("the artifact could not be had: {0}")]
    Interrupted(String),
}

impl BlobError {
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    cache: Cache<(Digest, Encoding), Blob>,
    /// The newest of each API: a revision that has been superseded makes room at once.
    newest: Arc<Mutex<HashMap<String, Newest>>>,
    queue: mpsc::Sender<Request>,
    counted: Arc<Counted>,
}

/// A revision that was read.
#[derive(Clone, Copy, Debug)]
struct Newest {
    revision: u64,
    digest: Digest,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Artifacts that were asked for and were there.
    pub(crate) hits: AtomicU64,
    /// Artifacts that were read from the database.
    pub(crate) reads: AtomicU64,
}

struct Request {
    entry: Arc<Entry>,
    answer: oneshot::Sender<Result<Blob, BlobError>>,
}

impl Blobs {
    /// A cache of so many bytes over a store. Reading ends when the last clone is dropped.
    pub(crate) fn new(store: Store, capacity: u64) -> Self {
        let (queue, requests) = mpsc::channel(1024);
        let counted = Arc::new(Counted::default());
        tokio::spawn(read(store, requests, Arc::clone(&counted)));
        let cache = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, blob: &Blob| {
                u32::try_from(blob.line.bytes.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .build();
        Self {
            cache,
            newest: Arc::default(),
            queue,
            counted,
        }
    }

    /// Whether artifacts can still be read.
    pub(crate) fn is_alive(&self) -> bool {
        !self.queue.is_closed()
    }

    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Counts artifacts that were there without being looked for here.
    pub(crate) fn hit(&self, artifacts: u64) {
        self.counted.hits.fetch_add(artifacts, Ordering::Relaxed);
    }

    /// Bytes and artifacts in memory.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.cache.weighted_size(), self.cache.entry_count())
    }

    /// The artifacts of these entries; of a Remove, its tombstone.
    pub(crate) async fn get(
        &self,
        entries: &[Arc<Entry>],
        encoding: Encoding,
    ) -> Result<Vec<Blob>, Arc<BlobError>> {
        try_join_all(entries.iter().map(|entry| self.one(entry, encoding))).await
    }

    /// The text of an entry's artifact, as it was saved.
    pub(crate) async fn text(&self, entry: &Arc<Entry>) -> Result<String, Arc<BlobError>> {
        let blob = self.one(entry, Encoding::Zstd).await?;
        let work = move || {
            let line = blob
                .line
                .text_of_zstd()
                .map_err(|error| error.to_string())?;
            LogLine::artifact_of_rest(&line).map_err(|error| error.to_string())
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|error| Err(error.to_string()));
        done.map_err(|reason| Arc::new(BlobError::Interrupted(reason)))
    }

    async fn one(&self, entry: &Arc<Entry>, encoding: Encoding) -> Result<Blob, Arc<BlobError>> {
        if encoding == Encoding::Identity {
            let blob = self.zstd(entry).await?;
            return transcoded(blob, encoding).await.map_err(Arc::new);
        }
        if encoding == Encoding::Zstd {
            return self.zstd(entry).await;
        }
        let make = async {
            let blob = self.zstd(entry).await.map_err(|error| (*error).clone())?;
            transcoded(blob, encoding).await
        };
        self.cache
            .try_get_with((entry.digest, encoding), make)
            .await
    }

    async fn zstd(&self, entry: &Arc<Entry>) -> Result<Blob, Arc<BlobError>> {
        let key = (entry.digest, Encoding::Zstd);
        if let Some(blob) = self.cache.get(&key).await {
            self.hit(1);
            return Ok(blob);
        }
        let ended = || BlobError::Interrupted("the reader of artifacts has ended".to_owned());
        let read = async {
            let (answer, answered) = oneshot::channel();
            let entry = Arc::clone(entry);
            let asked = self.queue.send(Request { entry, answer }).await;
            asked.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        };
        let blob = self.cache.try_get_with(key, read).await?;
        self.supersede(entry).await;
        if !blob.genuine {
            // What is wrong with the row may be mended.
            self.cache.invalidate(&key).await;
        }
        Ok(blob)
    }
}

impl Blobs {
    /// Forgets what this entry has taken the place of. A label that still names it reads it again.
    async fn supersede(&self, entry: &Entry) {
        let now = Newest {
            revision: entry.revision,
            digest: entry.digest,
        };
        let before = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            match newest.get_mut(&entry.api_id) {
                Some(known) if known.revision < now.revision => std::mem::replace(known, now),
                Some(_) => return,
                None => {
                    if newest.len() >= KNOWN {
                        // What was known of stays until the room is needed.
                        newest.clear();
                    }
                    newest.insert(entry.api_id.clone(), now);
                    return;
                }
            }
        };
        if before.digest != now.digest {
            for encoding in [Encoding::Zstd, Encoding::Gzip] {
                self.cache.invalidate(&(before.digest, encoding)).await;
            }
        }
    }
}

async fn transcoded(blob: Blob, encoding: Encoding) -> Result<Blob, BlobError> {
    let work = move || {
        let text = blob.line.text_of_zstd();
        let text = text.map_err(|error| BlobError::Interrupted(error.to_string()))?;
        Ok(Blob {
            line: encoding.piece(text.into()),
            genuine: blob.genuine,
        })
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(BlobError::Interrupted(error.to_string())))
}

/// Reads what is asked for, many at once where many wait.
async fn read(store: Store, mut requests: mpsc::Receiver<Request>, counted: Arc<Counted>) {
    let readers = Arc::new(Semaphore::new(READERS));
    let mut waiting = Vec::new();
    loop {
        // Those that come in while all readers are busy are read together by the next one.
        let Ok(reader) = Arc::clone(&readers).acquire_owned().await else {
            return;
        };
        if requests.recv_many(&mut waiting, TOGETHER).await == 0 {
            return;
        }
        let batch = std::mem::take(&mut waiting);
        let (store, counted) = (store.clone(), Arc::clone(&counted));
        tokio::spawn(async move {
            answer(&store, batch, &counted).await;
            drop(reader);
        });
    }
}

async fn answer(store: &Store, batch: Vec<Request>, counted: &Counted) {
    let wanted: Vec<Wanted<'_>> = batch
        .iter()
        .map(|request| {
            let entry = &request.entry;
            (entry.api_id.as_str(), entry.revision, entry.bytes)
        })
        .collect();
    let found = match store.artifacts(&wanted).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, artifacts = batch.len(), "artifacts cannot be read");
            let reason = error.to_string();
            for request in batch {
                let _ = request.answer.send(Err(BlobError::Store(reason.clone())));
            }
            return;
        }
    };
    let there = found.iter().flatten().count() as u64;
    counted.reads.fetch_add(there, Ordering::Relaxed);
    let work = move || {
        for (request, bytes) in batch.into_iter().zip(found) {
            let made = match bytes {
                Some(bytes) => Ok(blob(&request.entry, bytes)),
                None => Err(BlobError::Gone {
                    api_id: request.entry.api_id.clone(),
                    revision: request.entry.revision,
                }),
            };
            let _ = request.answer.send(made);
        }
    };
    // If it fails, those who wait are told that there is nothing.
    let _ = tokio::task::spawn_blocking(work).await;
}

/// An artifact that something else has damaged is handed on all the same: its text is not what
/// the digest names, so every gateway refuses it with that reason, and the log goes on.
fn blob(entry: &Entry, bytes: Vec<u8>) -> Blob {
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|damaged| String::from_utf8_lossy(damaged.as_bytes()).into_owned());
    let named = |text: &str| Digest::of(text.as_bytes()) == entry.digest;
    let text = match entry.instruction {
        Instruction::Remove if !named(&text) => tombstone(text),
        Instruction::Publish | Instruction::Remove => text,
    };
    let line: Bytes = LogLine::rest_with_artifact(&text).into();
    Blob {
        line: Encoding::Zstd.piece(line),
        genuine: named(&text),
    }
}

/// The removal of an artifact. One that left a label while others keep it has no text of its own.
fn tombstone(text: String) -> String {
    let removal = Artifact::parse(&text)
        .ok()
        .and_then(|artifact| artifact.to_removal().to_text().ok());
    removal.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use artifact::Label;
    use store::{Database, Save, SaveMode, StoreOptions};

    use super::*;
    use crate::logs::Logs;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_revision_that_has_been_superseded_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::file(&directory.path().join("lockstep.db")).unwrap(),
            dc: "DC1".into(),
            history_size: 5,
        };
        let store = Store::open(&options).await.unwrap();
        let logs = Logs::new(store.clone(), 1000);
        let blobs = Blobs::new(store.clone(), 1024 * 1024);
        let label = Label::parse("L").unwrap();
        let mut entries = Vec::new();
        for text in ["<api/>", "<api />", "<api  />"] {
            let artifact = Artifact {
                name: "a".into(),
                version: "1".into(),
                tenant_domain: "carbon.super".into(),
                api_id: "a".into(),
                api_definition: Some(text.into()),
                ..Artifact::default()
            };
            let save = Save {
                text: artifact.to_text().unwrap(),
                artifact,
                routes: vec!["/a".into()],
                labels: vec![label.clone()],
            };
            store.save(&[save], SaveMode::Atomic, 1).await.unwrap();
            logs.refresh().await.unwrap();
            let entry = logs.entry(&label, "a").unwrap();
            for encoding in [Encoding::Gzip, Encoding::Zstd] {
                blobs.get(&[Arc::clone(&entry)], encoding).await.unwrap();
            }
            blobs.cache.run_pending_tasks().await;
            assert_eq!(blobs.size().1, 2, "{text}");
            entries.push(entry);
        }
        // Whoever still asks for an older one gets it, and it does not take the newer one's place.
        blobs.get(&entries[1..2], Encoding::Zstd).await.unwrap();
        blobs.cache.run_pending_tasks().await;
        assert_eq!(blobs.size().1, 3);
    }
}
