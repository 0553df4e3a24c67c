//! Following one label's log: pull after the cursor, then stay for what comes.

use std::time::Duration;

use artifact::{Label, LabelLogEntry, LogLine};
use futures_util::StreamExt;
use kit::backoff::{Backoff, spread};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Lines above this are refused: an artifact has at most 64 MiB, doubled by escapes at worst.
const MAX_LINE: usize = 160 * 1024 * 1024;
/// Entries are handed on at the latest when there are this many of them.
const BATCH: usize = 256;

/// Entries of one label's log, to be applied before the next ones are read.
#[derive(Debug)]
pub struct Pulled {
    pub label: Label,
    pub entries: Vec<LabelLogEntry>,
    /// Everything up to here is in this batch or was in those before it.
    pub complete_to: Option<u64>,
    /// Answered once the entries have been applied.
    pub applied: oneshot::Sender<()>,
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
    /// The operator's extra delay between a hint and the pull.
    pub event_waiting_time: Duration,
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
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
    #[error("the agent has ended")]
    Ended,
}

impl Follower {
    /// Follows until shutdown. Failures are waited out, for ever.
    pub async fn run(self, apply: mpsc::Sender<Pulled>, shutdown: CancellationToken) {
        let mut cursor = 0;
        let mut failures = 0_u32;
        loop {
            let reached = cursor;
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                result = self.pull(&mut cursor, &apply) => result,
            };
            let wait = match result {
                Ok(()) => {
                    failures = 0;
                    self.event_waiting_time
                }
                Err(FollowError::Ended) => return,
                Err(error) => {
                    // A stream that brought something was not a failure to connect.
                    failures = if cursor > reached { 1 } else { failures + 1 };
                    let wait = self.backoff.wait_with_jitter(failures, spread());
                    tracing::warn!(
                        %error,
                        label = %self.label,
                        failures,
                        wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                        "cannot follow the label log, trying again"
                    );
                    wait
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One pull: from the cursor to the end of the log, and on until the time is over.
    async fn pull(
        &self,
        cursor: &mut u64,
        apply: &mpsc::Sender<Pulled>,
    ) -> Result<(), FollowError> {
        let after = cursor.to_string();
        let request = self
            .client
            .get(format!(
                "{}/internal/data/v1/label-log",
                self.traffic_manager
            ))
            .query(&[
                ("gatewayLabel", self.label.as_str()),
                ("after", &after),
                ("follow", "true"),
            ]);
        let answer = timeout(self.silence, request.send())
            .await
            .map_err(|_| FollowError::Silent)?
            .map_err(|error| FollowError::Transport(kit::http_client::cause(&error)))?;
        if !answer.status().is_success() {
            return Err(FollowError::Answer(kit::http_client::failure(answer).await));
        }
        let until = Instant::now() + self.reconcile.mul_f64(0.75 + 0.25 * spread());
        let mut bytes = answer.bytes_stream();
        let mut lines = Lines::default();
        let mut entries = Vec::new();
        loop {
            while let Some(line) = lines.next() {
                match LogLine::parse(line?)? {
                    LogLine::Entry(entry) => entries.push(*entry),
                    LogLine::CompleteTo(seq) => {
                        self.hand_on(&mut entries, Some(seq), apply).await?;
                        *cursor = seq.max(*cursor);
                    }
                }
                if entries.len() >= BATCH {
                    let reached = entries.last().map(|entry: &LabelLogEntry| entry.seq);
                    self.hand_on(&mut entries, None, apply).await?;
                    *cursor = reached.unwrap_or(*cursor);
                }
            }
            let idle = entries.is_empty() && lines.is_empty();
            let deadline = Instant::now() + self.silence;
            let deadline = if idle { deadline.min(until) } else { deadline };
            match timeout_at(deadline, bytes.next()).await {
                Ok(Some(Ok(chunk))) => lines.push(&chunk)?,
                Ok(Some(Err(error))) => {
                    return Err(FollowError::Transport(kit::http_client::cause(&error)));
                }
                Ok(None) if idle => return Ok(()),
                Ok(None) => return Err(FollowError::Transport("the stream was cut".into())),
                Err(_) if idle && Instant::now() >= until => return Ok(()),
                Err(_) => return Err(FollowError::Silent),
            }
        }
    }

    /// Hands a batch on and waits until it has been applied.
    async fn hand_on(
        &self,
        entries: &mut Vec<LabelLogEntry>,
        complete_to: Option<u64>,
        apply: &mpsc::Sender<Pulled>,
    ) -> Result<(), FollowError> {
        let (applied, done) = oneshot::channel();
        let pulled = Pulled {
            label: self.label.clone(),
            entries: std::mem::take(entries),
            complete_to,
            applied,
        };
        apply.send(pulled).await.map_err(|_| FollowError::Ended)?;
        done.await.map_err(|_| FollowError::Ended)
    }
}

/// Lines out of chunks.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// No line end before this.
    searched: usize,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) -> Result<(), FollowError> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() + chunk.len() > MAX_LINE {
            return Err(FollowError::LineTooLong);
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    fn next(&mut self) -> Option<Result<&str, FollowError>> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + end;
        let line = &self.buffer[self.start..end];
        self.start = end + 1;
        self.searched = self.start;
        Some(
            std::str::from_utf8(line)
                .map_err(|_| FollowError::Transport("a line is not UTF-8".into())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in ["a", "b\nc", "", "d\n", "\nrest"] {
            lines.push(chunk.as_bytes()).unwrap();
            while let Some(line) = lines.next() {
                found.push(line.unwrap().to_owned());
            }
        }
        assert_eq!(found, ["ab", "cd", ""]);
        assert!(!lines.is_empty());
    }
}
