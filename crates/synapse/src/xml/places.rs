//! Places for messages.

use std::cell::Cell;

/// Byte offsets as lines and columns. Reading asks for them in order, so each is counted from the
/// one before it.
pub(super) struct Places<'a> {
    text: &'a str,
    last: Cell<(usize, usize, usize)>,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            last: Cell::new((0, 1, 1)),
        }
    }

    /// The offset behind the last byte.
    pub(super) fn end(&self) -> usize {
        self.text.len()
    }

    /// 1-based line and column, in characters.
    pub(super) fn of(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let (mut from, mut line, mut column) = self.last.get();
        if at < from {
            (from, line, column) = (0, 1, 1);
        }
        for character in self.text.get(from..at).unwrap_or_default().chars() {
            if character == '\n' {
                line += 1;
                column = 1;
            } else {
                column += 1;
            }
        }
        self.last.set((at, line, column));
        (line, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters_in_any_order() {
        let places = Places::new("ab\nä c\n");
        assert_eq!(places.of(0), (1, 1));
        assert_eq!(places.of(6), (2, 3));
        assert_eq!(places.of(1), (1, 2));
        assert_eq!(places.of(99), (3, 1));
    }
}
