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
/// Entries are handed on at the latest when there are this many of them …
const BATCH: usize = 256;
/// … or artifacts of this many bytes.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// The least wait after a stream that the server has ended.
const AFTER_END: Duration = Duration::from_millis(500);

/// Entries of one label's log, to be applied before the next ones are read.
#[derive(Debug)]
pub struct Pulled {
    pub label: Label,
    pub entries: Vec<LabelLogEntry>,
    /// The log has been read to its end.
    pub complete: bool,
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
    #[error("the server ended the stream")]
    EndedByServer,
    #[error(
        "the label log ends at {found}, which is before {cursor} where this gateway is: \
         the database seems to be an older one"
    )]
    WentBack { found: u64, cursor: u64 },
    #[error("the agent has ended")]
    Ended,
}

impl Follower {
    /// Follows until shutdown. Failures are waited out, for ever.
    pub async fn run(self, apply: mpsc::Sender<Pulled>, shutdown: CancellationToken) {
        let mut cursor = 0;
        let mut failures = 0_u32;
        loop {
            let mut worked = false;
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                result = self.pull(&mut cursor, &mut worked, &apply) => result,
            };
            if worked {
                failures = 0;
            }
            let error = match result {
                Ok(()) => continue,
                Err(FollowError::Ended) => return,
                Err(error) => error,
            };
            failures += 1;
            let wait = match error {
                FollowError::EndedByServer if worked => AFTER_END,
                _ => self.backoff.wait(failures),
            };
            let wait = wait.mul_f64(0.75 + 0.25 * spread());
            tracing::warn!(
                %error,
                label = %self.label,
                failures,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "the label log is not followed now, trying again"
            );
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One pull: from the cursor to the end of the log, and on until the time is over. `worked`
    /// tells that the log was read to its end at least once.
    async fn pull(
        &self,
        cursor: &mut u64,
        worked: &mut bool,
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
                        self.hand_on(&mut batch, true, cursor, apply).await?;
                        *cursor = seq;
                        *worked = true;
                    }
                    Err(error) => {
                        // What came before it is good, and must not be pulled again for ever.
                        self.hand_on(&mut batch, false, cursor, apply).await?;
                        return Err(error);
                    }
                }
                if batch.entries.len() >= BATCH || batch.bytes >= BATCH_BYTES {
                    self.hand_on(&mut batch, false, cursor, apply).await?;
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
                Ok(None) => return Err(FollowError::EndedByServer),
                Err(_) if idle && Instant::now() >= until => return Ok(()),
                Err(_) => return Err(FollowError::Silent),
            }
        }
    }

    /// Hands a batch on, waits until it has been applied and moves the cursor behind it.
    async fn hand_on(
        &self,
        batch: &mut Batch,
        complete: bool,
        cursor: &mut u64,
        apply: &mpsc::Sender<Pulled>,
    ) -> Result<(), FollowError> {
        let (applied, done) = oneshot::channel();
        let Batch { entries, .. } = std::mem::take(batch);
        let reached = entries.last().map(|entry| entry.seq);
        let pulled = Pulled {
            label: self.label.clone(),
            entries,
            complete,
            applied,
        };
        apply.send(pulled).await.map_err(|_| FollowError::Ended)?;
        done.await.map_err(|_| FollowError::Ended)?;
        *cursor = reached.unwrap_or(*cursor).max(*cursor);
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
