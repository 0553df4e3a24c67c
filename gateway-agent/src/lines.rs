//! Lines out of the chunks of a body, as they come.

use std::pin::Pin;
use std::time::Duration;

use artifact::{LogLine, LogLineError};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use crate::pull::{AskError, failed};

/// Reads a line.
pub(crate) type Parse = fn(&str) -> Result<LogLine, LogLineError>;

/// Lines above this are refused: an artifact has at most 64 MiB, doubled by escapes at worst.
pub(crate) const MAX_LINE: usize = 160 * 1024 * 1024;

/// An answer that is being read.
pub(crate) struct Reading<S> {
    lines: Lines,
    bytes: Pin<Box<S>>,
    /// It is cut when it is silent for longer.
    silence: Duration,
}

impl<S> Reading<S>
where
    S: Stream<Item = reqwest::Result<Bytes>>,
{
    pub(crate) fn new(bytes: S, silence: Duration) -> Self {
        Self {
            lines: Lines::default(),
            bytes: Box::pin(bytes),
            silence,
        }
    }

    /// The next line; `None` at the end of the answer. Nothing is lost when it is not waited for.
    pub(crate) async fn line(&mut self, parse: Parse) -> Result<Option<LogLine>, AskError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(Some(parse(line?)?));
            }
            match timeout(self.silence, self.bytes.next()).await {
                Ok(Some(Ok(chunk))) => self.lines.push(&chunk)?,
                Ok(Some(Err(error))) => return Err(failed(kit::http_client::cause(&error))),
                Ok(None) => return Ok(None),
                Err(_) => return Err(failed("the stream is silent")),
            }
        }
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
    fn push(&mut self, chunk: &[u8]) -> Result<(), AskError> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() + chunk.len() > MAX_LINE {
            return Err(AskError::LineTooLong);
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn next(&mut self) -> Option<Result<&str, AskError>> {
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
        Some(std::str::from_utf8(line).map_err(|_| AskError::NotUtf8))
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
        assert_eq!(&lines.buffer[lines.start..], b"rest");
    }
}
