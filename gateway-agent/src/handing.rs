//! Handing on what a pull reads, batch by batch. While one is being applied, what comes is read
//! already, up to the size of a batch: so a gateway that is behind applies many changes at once,
//! and one that is not waits for nothing.

use artifact::{LabelLogEntry, LogLine};
use bytes::Bytes;
use futures_util::Stream;

use crate::lines::{Parse, Reading};
use crate::pull::{AskError, Question};
use crate::sync_core::{PullError, Wanted};

/// Entries are handed on at the latest when there are this many of them …
const BATCH: usize = 256;
/// … or artifacts of this many bytes.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Hands on all lines of an answer. Those that came before its end, or before an error, are good,
/// and must not be pulled again for ever: they are applied when this ends.
pub(crate) async fn hand_on<S>(
    mut reading: Reading<S>,
    parse: Parse,
    wanted: &Wanted,
    question: &mut Question,
) -> Result<(), AskError>
where
    S: Stream<Item = reqwest::Result<Bytes>>,
{
    let mut handing = Handing::new(question, wanted.after);
    let mut complete = false;
    loop {
        // First what is there: it is one batch.
        let line = tokio::select! {
            biased;
            line = reading.line(parse), if !handing.batch.is_full() => line,
            applied = handing.applied(), if handing.batch.is_due() => {
                applied?;
                handing.next().await?;
                continue;
            }
        };
        match line {
            Ok(Some(LogLine::Entry(entry))) => handing.batch.push(*entry),
            Ok(Some(LogLine::CompleteTo(seq))) => {
                handing.complete(seq).await?;
                complete = true;
            }
            Ok(None) => {
                handing.rest().await?;
                if complete && !wanted.follow {
                    return Ok(());
                }
                return Err(PullError::EndedByServer.into());
            }
            Err(error) => {
                handing.rest().await?;
                return Err(error);
            }
        }
    }
}

/// One pull's batches: one that is being applied, and one that is being read.
struct Handing<'a> {
    question: &'a mut Question,
    batch: Batch,
    /// What was handed on last is being applied.
    applying: bool,
    /// The newest end of the log that is known.
    end: u64,
}

impl<'a> Handing<'a> {
    fn new(question: &'a mut Question, after: u64) -> Self {
        Self {
            question,
            batch: Batch::default(),
            applying: false,
            end: after,
        }
    }

    /// The log ends here. If that is before where it did, it is told alone: nothing that comes later
    /// may hide it.
    async fn complete(&mut self, seq: u64) -> Result<(), AskError> {
        let went_back = seq < self.end;
        if went_back {
            self.rest().await?;
        }
        self.end = seq;
        self.batch.complete(seq);
        if went_back {
            self.rest().await?;
        }
        Ok(())
    }

    /// Waits until what was handed on has been applied.
    async fn applied(&mut self) -> Result<(), AskError> {
        if self.applying {
            self.question.applied().await?;
            self.applying = false;
        }
        Ok(())
    }

    /// Hands on what can be, after [`Handing::applied`].
    async fn next(&mut self) -> Result<(), AskError> {
        if let Some((entries, complete_to)) = self.batch.take() {
            self.applying = true;
            self.question.hand_on(entries, complete_to).await?;
        }
        Ok(())
    }

    /// Hands everything on and waits until it has been applied.
    async fn rest(&mut self) -> Result<(), AskError> {
        self.applied().await?;
        while !self.batch.is_empty() {
            self.next().await?;
            self.applied().await?;
        }
        Ok(())
    }
}

/// Entries that have been read and not handed on yet.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: Vec<LabelLogEntry>,
    bytes: usize,
    /// The newest end of the log, and how many of the entries come before it.
    end: Option<(usize, u64)>,
}

impl Batch {
    pub(crate) fn push(&mut self, entry: LabelLogEntry) {
        self.bytes += size(&entry);
        self.entries.push(entry);
    }

    fn complete(&mut self, seq: u64) {
        self.end = Some((self.entries.len(), seq));
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.end.is_none()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Whether it need not wait for more.
    fn is_due(&self) -> bool {
        self.end.is_some() || self.is_full()
    }

    /// Everything up to the newest end of the log, with that; without one, everything.
    fn take(&mut self) -> Option<(Vec<LabelLogEntry>, Option<u64>)> {
        let (count, complete_to) = match self.end.take() {
            Some((count, seq)) => (count, Some(seq)),
            None if self.entries.is_empty() => return None,
            None => (self.entries.len(), None),
        };
        let rest = self.entries.split_off(count);
        self.bytes = rest.iter().map(size).sum();
        Some((std::mem::replace(&mut self.entries, rest), complete_to))
    }

    /// Everything, wherever the log ends.
    pub(crate) fn take_all(&mut self) -> Vec<LabelLogEntry> {
        std::mem::take(self).entries
    }
}

fn size(entry: &LabelLogEntry) -> usize {
    entry.artifact.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests;
