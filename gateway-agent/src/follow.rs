//! Following one label's log: pull after the cursor, then stay for what comes.
//!
//! Without a broker, and while it cannot be reached, the pull stays open: that is the watch
//! stream. With a broker, events say when to pull next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::{Label, LabelLogEntry, LogLine};
use futures_util::StreamExt;
use kit::backoff::{Backoff, spread};
use reqwest::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::hints::Hints;
use crate::lines::{Lines, MAX_LINE};
use crate::patience::Patience;

/// Entries are handed on at the latest when there are this many of them …
const BATCH: usize = 256;
/// … or artifacts of this many bytes.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// The least wait after a stream that the server has ended.
const AFTER_END: Duration = Duration::from_millis(500);
/// The least wait after a failure when events come in.
const AFTER_NEWS: Duration = Duration::from_secs(1);
/// Waits while the traffic manager has not reached what an event has announced …
const LAG: Backoff = Backoff {
    first: Duration::from_millis(20),
    most: Duration::from_secs(1),
};
/// … which is believed for so many tries, half a minute.
const LAG_TRIES: u32 = 35;

/// Entries of one label's log, to be applied before the next ones are read.
#[derive(Debug)]
pub struct Pulled {
    pub label: Label,
    pub entries: Vec<LabelLogEntry>,
    /// Where the cursor is once they have been applied.
    pub reached: u64,
    /// The log has been read to its end.
    pub complete: bool,
    /// Answered once the entries have been applied.
    pub applied: oneshot::Sender<()>,
}

/// How far each label's log has been applied. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Applied(Arc<Mutex<BTreeMap<Label, u64>>>);

impl Applied {
    /// The positions as of now.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<Label, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn reached(&self, label: &Label, seq: u64) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert(label.clone(), seq);
    }
}

/// What following needs to know.
#[derive(Clone, Debug)]
pub struct Follower {
    pub client: reqwest::Client,
    /// `https://localhost:9443`.
    pub traffic_manager: String,
    pub label: Label,
    pub backoff: Backoff,
    /// A stream ends and is pulled anew after this long.
    pub reconcile: Duration,
    /// A stream that is silent for longer is cut.
    pub silence: Duration,
    /// What events say of the label; `None` without a broker.
    pub hints: Option<Hints>,
    pub applied: Applied,
    /// How long requests wait for the log.
    pub patience: Patience,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("{0}")]
    Transport(String),
    #[error("the traffic manager answered: {0}")]
    Answer(String),
    #[error(transparent)]
    Line(#[from] artifact::LogLineError),
    #[error("a line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    #[error("the stream is silent")]
    Silent,
    #[error("the server ended the stream")]
    EndedByServer,
    #[error(
        "the label log ends at {found}, which is before {cursor} where this gateway is: \
         the database seems to be an older one"
    )]
    WentBack { found: u64, cursor: u64 },
    #[error("an event has announced {seq}, the label log ends at {cursor}")]
    Behind { seq: u64, cursor: u64 },
    #[error("the agent has ended")]
    Ended,
}

impl Follower {
    /// Follows until shutdown, from the cursor that `start` brings. Failures are waited out, for
    /// ever.
    pub async fn run(
        mut self,
        start: oneshot::Receiver<u64>,
        apply: mpsc::Sender<Pulled>,
        shutdown: CancellationToken,
    ) {
        let mut hints = self.hints.take();
        let mut cursor = tokio::select! {
            () = shutdown.cancelled() => return,
            cursor = start => cursor.unwrap_or(0),
        };
        let mut failures = 0_u32;
        let mut lags = 0_u32;
        // What an event has announced and the traffic manager has not reached in time.
        let mut disbelieved = 0;
        loop {
            let announced = hints.as_mut().and_then(Hints::announced);
            let stay = announced.is_none();
            let mut worked = false;
            let least = announced.filter(|seq| *seq > 0 && *seq != disbelieved);
            let pull = async {
                match self
                    .pull(least, stay, &mut cursor, &mut worked, &apply)
                    .await
                {
                    // What there is, is better than nothing.
                    Err(FollowError::Behind { .. }) => {
                        self.pull(None, stay, &mut cursor, &mut worked, &apply)
                            .await
                    }
                    result => result,
                }
            };
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                result = pull => result,
                // What comes next is said by events again, so the stream may end.
                () = subscribed(&mut hints), if stay => Ok(()),
            };
            if worked {
                failures = 0;
            }
            let error = match (result, announced) {
                (Ok(()), None) => continue,
                (Ok(()), Some(seq)) if cursor < seq && seq != disbelieved && lags < LAG_TRIES => {
                    lags += 1;
                    FollowError::Behind { seq, cursor }
                }
                (Ok(()), Some(seq)) => {
                    if cursor < seq {
                        disbelieved = seq;
                    }
                    lags = 0;
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = hinted(&mut hints) => {}
                        () = tokio::time::sleep(self.spread(self.reconcile)) => {}
                    }
                    continue;
                }
                (Err(FollowError::Ended), _) => return,
                (Err(error), _) => error,
            };
            let wait = match error {
                FollowError::Behind { .. } => LAG.wait(lags),
                FollowError::EndedByServer if worked => AFTER_END,
                _ => {
                    failures += 1;
                    self.patience.failed(&self.label, failures);
                    self.backoff.wait(failures)
                }
            };
            let wait = self.spread(wait);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            if matches!(error, FollowError::Behind { .. }) {
                tracing::debug!(%error, label = %self.label, wait_ms, "pulling again");
            } else {
                tracing::warn!(
                    %error,
                    label = %self.label,
                    failures,
                    wait_ms,
                    "the label log is not followed now, trying again"
                );
            }
            // An event is news: whoever sent it has got through, so the next try may succeed.
            let news = async {
                tokio::time::sleep(AFTER_NEWS).await;
                hinted(&mut hints).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = news => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// With jitter: gateways that act together do not act together again.
    fn spread(&self, wait: Duration) -> Duration {
        wait.mul_f64(0.75 + 0.25 * spread())
    }

    /// One pull: from the cursor to the end of the log; to `stay` is to go on from there until the
    /// time is over. `worked` tells that the log was read to its end at least once.
    ///
    /// `least` is the position that an event has announced: a traffic manager whose database has not
    /// come that far says so.
    async fn pull(
        &self,
        least: Option<u64>,
        stay: bool,
        cursor: &mut u64,
        worked: &mut bool,
        apply: &mpsc::Sender<Pulled>,
    ) -> Result<(), FollowError> {
        let url = format!("{}/internal/data/v1/label-log", self.traffic_manager);
        let mut query = vec![
            ("gatewayLabel", self.label.to_string()),
            ("after", cursor.to_string()),
            ("follow", stay.to_string()),
        ];
        query.extend(least.map(|seq| ("minSeq", seq.to_string())));
        let request = self.client.get(url).query(&query);
        let answer = timeout(self.silence, request.send())
            .await
            .map_err(|_| FollowError::Silent)?
            .map_err(|error| FollowError::Transport(kit::http_client::cause(&error)))?;
        if let (StatusCode::CONFLICT, Some(seq)) = (answer.status(), least) {
            let cursor = *cursor;
            return Err(FollowError::Behind { seq, cursor });
        }
        if !answer.status().is_success() {
            return Err(FollowError::Answer(kit::http_client::failure(answer).await));
        }
        let until = Instant::now() + self.spread(self.reconcile);
        let mut bytes = answer.bytes_stream();
        let mut lines = Lines::default();
        let mut batch = Batch::default();
        loop {
            while let Some(line) = lines.next() {
                match line.and_then(|line| Ok(LogLine::parse(line)?)) {
                    Ok(LogLine::Entry(entry)) => batch.push(*entry),
                    Ok(LogLine::CompleteTo(seq)) => {
                        if seq < *cursor {
                            let cursor = *cursor;
                            return Err(FollowError::WentBack { found: seq, cursor });
                        }
                        self.hand_on(&mut batch, Some(seq), cursor, apply).await?;
                        *worked = true;
                    }
                    Err(error) => {
                        // What came before it is good, and must not be pulled again for ever.
                        self.hand_on(&mut batch, None, cursor, apply).await?;
                        return Err(error);
                    }
                }
                if batch.entries.len() >= BATCH || batch.bytes >= BATCH_BYTES {
                    self.hand_on(&mut batch, None, cursor, apply).await?;
                }
            }
            let idle = batch.entries.is_empty() && lines.is_empty();
            let deadline = Instant::now() + self.silence;
            let deadline = if idle { deadline.min(until) } else { deadline };
            match timeout_at(deadline, bytes.next()).await {
                Ok(Some(Ok(chunk))) => lines.push(&chunk)?,
                Ok(Some(Err(error))) => {
                    return Err(FollowError::Transport(kit::http_client::cause(&error)));
                }
                Ok(None) if !stay && *worked => return Ok(()),
                Ok(None) => return Err(FollowError::EndedByServer),
                Err(_) if idle && *worked && Instant::now() >= until => return Ok(()),
                Err(_) => return Err(FollowError::Silent),
            }
        }
    }

    /// Hands a batch on, waits until it has been applied and moves the cursor behind it, or to where
    /// the log is `complete`.
    async fn hand_on(
        &self,
        batch: &mut Batch,
        complete: Option<u64>,
        cursor: &mut u64,
        apply: &mpsc::Sender<Pulled>,
    ) -> Result<(), FollowError> {
        let (applied, done) = oneshot::channel();
        let Batch { entries, .. } = std::mem::take(batch);
        let newest = entries.last().map(|entry| entry.seq);
        let reached = complete.or(newest).unwrap_or(*cursor).max(*cursor);
        let pulled = Pulled {
            label: self.label.clone(),
            entries,
            reached,
            complete: complete.is_some(),
            applied,
        };
        apply.send(pulled).await.map_err(|_| FollowError::Ended)?;
        done.await.map_err(|_| FollowError::Ended)?;
        *cursor = reached;
        self.applied.reached(&self.label, *cursor);
        Ok(())
    }
}

/// Entries that have been read and not handed on yet.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<LabelLogEntry>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, entry: LabelLogEntry) {
        self.bytes += entry.artifact.as_ref().map_or(0, String::len);
        self.entries.push(entry);
    }
}

/// Returns when events can be heard.
async fn subscribed(hints: &mut Option<Hints>) {
    match hints {
        Some(hints) => hints.subscribed().await,
        None => std::future::pending().await,
    }
}

/// Returns when it is time to pull because of an event, or because events cannot be heard.
async fn hinted(hints: &mut Option<Hints>) {
    match hints {
        Some(hints) => hints.hinted().await,
        None => std::future::pending().await,
    }
}
