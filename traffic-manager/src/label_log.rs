//! The label log as a stream of lines: a pull, or with `follow=true` a watch stream.
//!
//! The reader drives it: nothing is made before the reader takes it, so a slow one holds no more
//! than one chunk. One that takes nothing for long is cut, by the kernel or when it comes back.

use std::sync::Arc;
use std::time::Duration;

use artifact::{Instruction, Label, LogLine};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::TrafficManager;
use crate::blobs::{Blob, BlobError};
use crate::encoding::{Assembler, Encoding};
use crate::logs::{Entry, LogsError, Page};

/// A follower that takes nothing for this long is cut.
const SLOW_READER: Duration = Duration::from_secs(30);
/// What is made at a time for one reader, bytes.
const CHUNK: usize = 128 * 1024;

/// A request for a label log.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) label: Label,
    pub(crate) after: u64,
    /// Entries at most, `None` for all.
    pub(crate) limit: Option<u64>,
    pub(crate) follow: bool,
    /// Of these tenants only; all without.
    pub(crate) tenants: Option<Vec<String>>,
    /// Without artifacts: the index.
    pub(crate) index: bool,
    pub(crate) encoding: Encoding,
}

/// Why a stream ends before its end. The reader comes back with its cursor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Blob(#[from] Arc<BlobError>),
    #[error("the reader is too slow")]
    Slow,
    #[error("an entry cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Starts sending. The first chunk is made before anything is sent, so that a failing database
/// can still be answered with an error.
pub(crate) async fn stream(
    manager: &TrafficManager,
    pull: Pull,
) -> Result<impl Stream<Item = Result<Bytes, Cut>> + use<>, Cut> {
    // Subscribed before the first look: growth in between wakes the follower.
    let growth = manager.logs.follow(&pull.label);
    let mut sending = Sending {
        assembler: Assembler::new(pull.encoding),
        manager: manager.clone(),
        shutdown: manager.shutdown.clone(),
        left: pull.limit,
        cursor: pull.after,
        pull,
        growth,
        state: State::Reading,
        given: Instant::now(),
    };
    let first = sending.next().await.transpose()?;
    Ok(futures_util::stream::unfold(
        (first, sending),
        |(first, mut sending)| async {
            let next = match first {
                Some(first) => Some(Ok(first)),
                None => sending.next().await,
            };
            if let Some(Err(error)) = &next {
                tracing::warn!(%error, label = %sending.pull.label, "label log cut");
                sending.state = State::Ended;
            }
            Some((next?, (None, sending)))
        },
    ))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be entries behind the cursor.
    Reading,
    /// All that there is has been sent.
    Following,
    Ended,
}

/// What became of an artifact that an entry names.
enum Found {
    There(Blob),
    /// It is not kept any more; a newer entry further on in the log has taken its place.
    Superseded,
    /// It should be there. An empty one is sent, which every gateway refuses.
    Missing,
}

struct Sending {
    manager: TrafficManager,
    shutdown: CancellationToken,
    pull: Pull,
    cursor: u64,
    /// Entries that may still be sent.
    left: Option<u64>,
    growth: watch::Receiver<u64>,
    assembler: Assembler,
    state: State,
    /// When the reader was given something.
    given: Instant,
}

impl Sending {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.state == State::Ended {
            return None;
        }
        if self.given.elapsed() > SLOW_READER {
            return Some(Err(Cut::Slow));
        }
        let mut out = BytesMut::new();
        let made = match self.state {
            State::Following => self.wait(&mut out).await,
            State::Reading | State::Ended => self.read(&mut out).await,
        };
        self.given = Instant::now();
        match made {
            Err(error) => Some(Err(error)),
            Ok(()) if out.is_empty() => None,
            Ok(()) => Some(Ok(out.freeze())),
        }
    }

    /// Makes the next chunk from what is behind the cursor.
    async fn read(&mut self, out: &mut BytesMut) -> Result<(), Cut> {
        while out.len() < CHUNK && self.state == State::Reading {
            let mut size = self.manager.settings.page;
            if let Some(left) = self.left {
                size.entries = size
                    .entries
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            let page = self.manager.logs.page(&self.pull.label, self.cursor, size);
            let entries = self.of_tenants(&page);
            self.cursor = page.complete_to.max(self.cursor);
            self.put(out, &entries).await?;
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(page.entries.len() as u64);
            }
            if page.more && self.left == Some(0) {
                let line = format!("{{\"completeTo\":{},\"more\":true}}\n", page.complete_to);
                self.assembler.put_text(out, line);
                self.end(out);
            } else if !page.more {
                // What the log says, also where that is before the reader's cursor.
                let line = format!("{{\"completeTo\":{}}}\n", page.complete_to);
                self.assembler.put_text(out, line);
                self.cursor = page.complete_to;
                if self.pull.follow && self.left != Some(0) {
                    self.state = State::Following;
                } else {
                    self.end(out);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.assembler.end(out);
        self.state = State::Ended;
    }

    fn of_tenants(&self, page: &Page) -> Vec<Arc<Entry>> {
        let wanted = |entry: &&Arc<Entry>| match &self.pull.tenants {
            None => true,
            Some(tenants) => tenants.contains(&entry.tenant_domain),
        };
        page.entries.iter().filter(wanted).cloned().collect()
    }

    async fn put(&mut self, out: &mut BytesMut, entries: &[Arc<Entry>]) -> Result<(), Cut> {
        let with_artifact =
            |entry: &&Arc<Entry>| entry.instruction == Instruction::Publish && !self.pull.index;
        let wanted: Vec<Arc<Entry>> = entries.iter().filter(with_artifact).cloned().collect();
        let blobs = match self.manager.blobs.get(&wanted, self.pull.encoding).await {
            Ok(blobs) => blobs.into_iter().map(Found::There).collect(),
            Err(error) if error.is_gone() => self.find(&wanted).await?,
            Err(error) => return Err(error.into()),
        };
        let mut blobs = blobs.into_iter();
        for entry in entries {
            if !with_artifact(&entry) {
                let published_to = match entry.instruction {
                    Instruction::Publish => Vec::new(),
                    Instruction::Remove => self.manager.logs.published_to(&entry.api_id),
                };
                let line = entry.line(published_to).without_artifact()?;
                self.assembler.put_text(out, line + "\n");
                continue;
            }
            let rest = match blobs.next() {
                Some(Found::There(blob)) => blob.line,
                Some(Found::Missing) => {
                    let rest = LogLine::rest_with_artifact("");
                    self.pull.encoding.piece(rest.into())
                }
                Some(Found::Superseded) | None => continue,
            };
            self.assembler.put(out, &entry.head(self.pull.encoding));
            self.assembler.put(out, &rest);
        }
        Ok(())
    }

    /// Looks for artifacts one by one, after one of them was not kept any more.
    async fn find(&self, entries: &[Arc<Entry>]) -> Result<Vec<Found>, Cut> {
        let TrafficManager { logs, blobs, .. } = &self.manager;
        logs.refresh().await.map_err(LogsError::from)?;
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let newest = logs.entry(&self.pull.label, &entry.api_id);
            if newest.is_some_and(|newest| newest.seq > entry.seq) {
                found.push(Found::Superseded);
                continue;
            }
            match blobs
                .get(std::slice::from_ref(entry), self.pull.encoding)
                .await
            {
                Ok(blobs) => found.extend(blobs.into_iter().map(Found::There)),
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

    /// Waits until the log has changed, or it is time for a heartbeat.
    async fn wait(&mut self, out: &mut BytesMut) -> Result<(), Cut> {
        let heartbeat = tokio::time::sleep(self.manager.settings.heartbeat);
        tokio::pin!(heartbeat);
        while self.manager.logs.seq(&self.pull.label) == self.cursor {
            tokio::select! {
                () = self.shutdown.cancelled() => {
                    self.end(out);
                    return Ok(());
                }
                changed = self.growth.changed() => if changed.is_err() {
                    self.end(out);
                    return Ok(());
                },
                () = &mut heartbeat => {
                    let line = format!("{{\"completeTo\":{}}}\n", self.cursor);
                    self.assembler.put_text(out, line);
                    return Ok(());
                }
            }
        }
        self.state = State::Reading;
        self.read(out).await
    }
}
