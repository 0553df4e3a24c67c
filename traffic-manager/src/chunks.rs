//! Chunks of a label log as they are sent: what stands behind a position, encoded. Readers that are
//! at the same position get the same chunk, which is made once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::{Digest, Instruction, Label, LogLine, TenantList};
use moka::future::Cache;
use tokio::time::Instant;

use crate::TrafficManager;
use crate::blobs::{Blob, BlobError};
use crate::encoding::{Encoding, Joined, Piece};
use crate::logs::{Entry, LogsError};

/// A chunk ends behind the entry that brings it to this many bytes.
const CHUNK: usize = 128 * 1024;
/// Bytes of chunks that are kept …
const CAPACITY: u64 = 64 * 1024 * 1024;
/// … for readers that come within this time.
const KEPT: Duration = Duration::from_secs(30);
/// An artifact that the database does not have for this long is lost: it holds up its label's log
/// no longer.
const LOST: Duration = Duration::from_secs(30);

/// Which lines of a log a reader wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) label: Label,
    /// Of these tenants only; all without.
    pub(crate) tenants: Option<Vec<String>>,
    /// Artifacts of these tenants only; the entries of others stand there as in the index.
    pub(crate) artifacts_of: Option<TenantList>,
    /// Without artifacts: the index.
    pub(crate) index: bool,
    pub(crate) encoding: Encoding,
}

/// A stretch of a log, encoded.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) piece: Piece,
    /// No entry at or below this position is missing.
    pub(crate) complete_to: u64,
    /// The log goes on; where it does not, the chunk ends with the line that says so.
    pub(crate) more: bool,
    /// How many entries of the log it covers.
    pub(crate) entries: u64,
}

/// Why a chunk cannot be made. The reader comes back with its cursor.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error(transparent)]
    Logs(Arc<LogsError>),
    #[error(transparent)]
    Blob(#[from] Arc<BlobError>),
    #[error("the reader is too slow")]
    Slow,
    #[error("there are as many open label logs as there may be (traffic_manager.max_readers)")]
    Full,
    #[error("an entry cannot be written: {0}")]
    Json(Arc<serde_json::Error>),
}

impl From<LogsError> for Cut {
    fn from(error: LogsError) -> Self {
        Self::Logs(Arc::new(error))
    }
}

impl From<serde_json::Error> for Cut {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}

/// What is wanted, behind which position, and of which state of the logs.
type Key = (Wanted, u64, u64);

/// Chunks that several readers get. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    cache: Cache<Key, Chunk>,
    /// Artifacts that should be there and are not, and since when.
    missing: Arc<Mutex<HashMap<Digest, Instant>>>,
}

impl Chunks {
    pub(crate) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(|_, chunk: &Chunk| {
                u32::try_from(chunk.piece.bytes.len() + 256).unwrap_or(u32::MAX)
            })
            .time_to_live(KEPT)
            .build();
        let missing = Arc::default();
        Self { cache, missing }
    }

    /// Whether an artifact that is missing now has been so for long.
    fn is_lost(&self, digest: Digest) -> bool {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|_, since| since.elapsed() < 2 * LOST);
        let since = missing.entry(digest).or_insert_with(Instant::now);
        since.elapsed() >= LOST
    }

    /// The chunk behind a position, as the logs are now; `limit` is the most entries.
    pub(crate) async fn behind(
        &self,
        manager: &TrafficManager,
        wanted: &Wanted,
        after: u64,
        limit: Option<u64>,
    ) -> Result<Chunk, Cut> {
        if limit.is_some() || wanted.encoding == Encoding::Identity {
            return make(manager, wanted, after, limit).await;
        }
        let key = (wanted.clone(), after, manager.logs.version());
        let made = self
            .cache
            .try_get_with(key, make(manager, wanted, after, None));
        made.await.map_err(|error| (*error).clone())
    }
}

async fn make(
    manager: &TrafficManager,
    wanted: &Wanted,
    after: u64,
    limit: Option<u64>,
) -> Result<Chunk, Cut> {
    let mut lines = Joined::new(wanted.encoding);
    let (mut complete_to, mut more, mut entries) = (after, true, 0);
    while more && lines.len() < CHUNK && limit.is_none_or(|limit| entries < limit) {
        let mut size = manager.settings.page;
        if let Some(limit) = limit {
            let left = usize::try_from(limit - entries).unwrap_or(usize::MAX);
            size.entries = size.entries.min(left);
        }
        let page = manager.logs.page(&wanted.label, complete_to, size);
        (complete_to, more) = (page.complete_to, page.more);
        entries += page.entries.len() as u64;
        let of_tenants = page.entries.into_iter().filter(|entry| {
            let tenants = wanted.tenants.as_ref();
            tenants.is_none_or(|tenants| tenants.contains(&entry.tenant_domain))
        });
        // What has been superseded stands further on, where the log has grown meanwhile.
        more |= put(manager, wanted, &mut lines, of_tenants.collect()).await?;
    }
    if !more {
        lines.put_text(format!("{{\"completeTo\":{complete_to}}}\n"));
    }
    Ok(Chunk {
        piece: lines.joined(),
        complete_to,
        more,
        entries,
    })
}

/// What became of an artifact that an entry names.
enum Found {
    There(Blob),
    /// It is not kept any more; a newer entry further on in the log has taken its place.
    Superseded,
    /// It should be there. An empty one is sent, which every gateway refuses.
    Missing,
}

/// Puts the lines of entries; tells whether one was left out because a newer one has taken its place.
async fn put(
    manager: &TrafficManager,
    wanted: &Wanted,
    lines: &mut Joined,
    entries: Vec<Arc<Entry>>,
) -> Result<bool, Cut> {
    let encoding = wanted.encoding;
    let artifacts_of = wanted.artifacts_of.as_ref();
    let with_artifact = |entry: &&Arc<Entry>| {
        entry.instruction == Instruction::Publish
            && !wanted.index
            && artifacts_of.is_none_or(|tenants| tenants.has(&entry.tenant_domain))
    };
    let publishing: Vec<Arc<Entry>> = entries.iter().filter(with_artifact).cloned().collect();
    let found = match manager.blobs.get(&publishing, encoding).await {
        Ok(blobs) => blobs.into_iter().map(Found::There).collect(),
        Err(error) if error.is_gone() => find(manager, wanted, &publishing).await?,
        Err(error) => return Err(error.into()),
    };
    let superseded = found.iter().any(|found| matches!(found, Found::Superseded));
    let mut found = found.into_iter();
    for entry in &entries {
        if !with_artifact(&entry) {
            let published_to = match entry.instruction {
                Instruction::Publish => Vec::new(),
                Instruction::Remove => manager.logs.published_to(&entry.api_id),
            };
            let line = entry.line(published_to).without_artifact()?;
            lines.put_text(line + "\n");
            continue;
        }
        let rest = match found.next() {
            Some(Found::There(blob)) => blob.line,
            Some(Found::Missing) => encoding.piece(LogLine::rest_with_artifact("").into()),
            Some(Found::Superseded) | None => continue,
        };
        lines.put(&entry.head(encoding));
        lines.put(&rest);
    }
    Ok(superseded)
}

/// Looks for artifacts one by one, after one of them was not kept any more.
async fn find(
    manager: &TrafficManager,
    wanted: &Wanted,
    entries: &[Arc<Entry>],
) -> Result<Vec<Found>, Cut> {
    let TrafficManager { logs, blobs, .. } = manager;
    logs.refresh().await.map_err(LogsError::from)?;
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        let newest = logs.entry(&wanted.label, &entry.api_id);
        if newest.is_some_and(|newest| newest.seq > entry.seq) {
            found.push(Found::Superseded);
            continue;
        }
        match blobs
            .get(std::slice::from_ref(entry), wanted.encoding)
            .await
        {
            Ok(blobs) => found.extend(blobs.into_iter().map(Found::There)),
            // A replica may not have it yet: the reader is cut and comes again.
            Err(error) if error.is_gone() && !manager.chunks.is_lost(entry.digest) => {
                return Err(error.into());
            }
            Err(error) if error.is_gone() => {
                let (api_id, revision) = (&entry.api_id, entry.revision);
                tracing::error!(api_id, revision, "the artifact is not in the database");
                found.push(Found::Missing);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
