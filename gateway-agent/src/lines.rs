//! Lines out of the chunks of a body.

use crate::pull::AskError;

/// Lines above this are refused: an artifact has at most 64 MiB, doubled by escapes at worst.
pub(crate) const MAX_LINE: usize = 160 * 1024 * 1024;

/// Lines out of chunks.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// No line end before this.
    searched: usize,
}

impl Lines {
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), AskError> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() + chunk.len() > MAX_LINE {
            return Err(AskError::LineTooLong);
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Option<Result<&str, AskError>> {
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
