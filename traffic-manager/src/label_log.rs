//! The label log as a stream of lines: a pull, or with `follow=true` a watch stream.
//!
//! The reader drives it: nothing is made before the reader takes it, so a slow one holds no more
//! than one chunk. One that takes nothing for long is cut, by the kernel or when it comes back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::TrafficManager;
use crate::chunks::{Cut, Wanted};
use crate::encoding::Assembler;

/// A follower that takes nothing for this long is cut.
const SLOW_READER: Duration = Duration::from_secs(30);

/// A request for a label log.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) wanted: Wanted,
    pub(crate) after: u64,
    /// Entries at most, `None` for all.
    pub(crate) limit: Option<u64>,
    pub(crate) follow: bool,
}

/// Starts sending. The first chunk is made before anything is sent, so that a failing database
/// can still be answered with an error.
pub(crate) async fn stream(
    manager: &TrafficManager,
    pull: Pull,
) -> Result<impl Stream<Item = Result<Bytes, Cut>> + use<>, Cut> {
    let place = Arc::clone(&manager.readers).try_acquire_owned();
    let mut sending = Sending {
        _place: place.map_err(|_| Cut::Full)?,
        // Subscribed before the first look: growth in between wakes the follower.
        growth: manager.logs.follow(&pull.wanted.label),
        assembler: Assembler::new(pull.wanted.encoding),
        manager: manager.clone(),
        shutdown: manager.shutdown.clone(),
        left: pull.limit,
        cursor: pull.after,
        pull,
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
                let label = &sending.pull.wanted.label;
                tracing::warn!(%error, %label, "label log cut");
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

struct Sending {
    /// One of so many readers.
    _place: OwnedSemaphorePermit,
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
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.state == State::Ended {
            return None;
        }
        if self.given.elapsed() > SLOW_READER {
            return Some(Err(Cut::Slow));
        }
        let made = match self.state {
            State::Following => self.wait().await,
            State::Reading | State::Ended => self.read().await,
        };
        self.given = Instant::now();
        match made {
            Ok(bytes) if bytes.is_empty() => None,
            made => Some(made),
        }
    }

    /// What is behind the cursor, up to a chunk.
    async fn read(&mut self) -> Result<Bytes, Cut> {
        let Pull { wanted, follow, .. } = &self.pull;
        let chunks = &self.manager.chunks;
        let chunk = chunks.behind(&self.manager, wanted, self.cursor, self.left);
        let chunk = chunk.await?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(chunk.entries);
        }
        // What the log says, also where that is before the reader's cursor.
        self.cursor = chunk.complete_to;
        let mut text = String::new();
        let ends = match (chunk.more, self.left) {
            (true, Some(0)) => {
                text = format!("{{\"completeTo\":{},\"more\":true}}\n", self.cursor);
                true
            }
            (true, _) => false,
            (false, left) => !follow || left == Some(0),
        };
        self.state = match (chunk.more, ends) {
            (_, true) => State::Ended,
            (true, false) => State::Reading,
            (false, false) => State::Following,
        };
        let bytes = self.assembler.add(chunk.piece);
        Ok(self.assembler.with_text(bytes, text, ends))
    }

    /// Waits until the log has changed, or it is time for a heartbeat.
    async fn wait(&mut self) -> Result<Bytes, Cut> {
        let heartbeat = tokio::time::sleep(self.manager.settings.heartbeat);
        tokio::pin!(heartbeat);
        while self.manager.logs.seq(&self.pull.wanted.label) == self.cursor {
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(self.end()),
                changed = self.growth.changed() => if changed.is_err() {
                    return Ok(self.end());
                },
                () = &mut heartbeat => {
                    let line = format!("{{\"completeTo\":{}}}\n", self.cursor);
                    return Ok(self.assembler.with_text(Bytes::new(), line, false));
                }
            }
        }
        self.state = State::Reading;
        self.read().await
    }

    fn end(&mut self) -> Bytes {
        self.state = State::Ended;
        self.assembler.with_text(Bytes::new(), String::new(), true)
    }
}
