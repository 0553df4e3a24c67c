//! What has come of a body so far, to be streamed once more.
//!
//! A piece that is a slice of a larger buffer keeps all of it: small ones are copied together, so
//! that what is kept takes about as much memory as it has bytes, however it has come.

use bytes::{Bytes, BytesMut};

/// Bytes from which on a piece is kept as it came.
const LARGE: usize = 4096;
/// Bytes of small pieces that are copied together.
const TOGETHER: usize = 64 * 1024;

/// Pieces in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    /// Small pieces behind all of those.
    small: BytesMut,
}

impl Pieces {
    pub(super) fn push(&mut self, data: &Bytes) {
        if data.len() >= LARGE {
            self.close();
            self.pieces.push(data.clone());
            return;
        }
        if self.small.len() + data.len() > TOGETHER {
            self.close();
        }
        self.small.extend_from_slice(data);
    }

    /// The piece at a position. It does not change when others come.
    pub(super) fn get(&mut self, at: usize) -> Option<Bytes> {
        if at >= self.pieces.len() {
            self.close();
        }
        self.pieces.get(at).cloned()
    }

    /// Bytes from a position on.
    pub(super) fn len_from(&self, at: usize) -> usize {
        let pieces = self.pieces.iter().skip(at);
        pieces.map(Bytes::len).sum::<usize>() + self.small.len()
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_small_pieces_is_kept_together() {
        let mut pieces = Pieces::default();
        let byte = Bytes::from(vec![b'x'; LARGE]).slice(..1);
        for _ in 0..TOGETHER + 1 {
            pieces.push(&byte);
        }
        assert_eq!(pieces.len_from(0), TOGETHER + 1);
        assert_eq!(pieces.get(0).unwrap().len(), TOGETHER);
        assert_eq!(pieces.get(1).unwrap().len(), 1);
        assert!(pieces.get(2).is_none());
    }

    #[test]
    fn pieces_come_back_in_order_whatever_their_size() {
        let mut pieces = Pieces::default();
        let mut all = Vec::new();
        for (at, size) in [1, LARGE, 2, 3, LARGE - 1, LARGE, TOGETHER, 5]
            .into_iter()
            .enumerate()
        {
            let data = vec![b'a' + u8::try_from(at).unwrap(); size];
            all.extend_from_slice(&data);
            pieces.push(&Bytes::from(data));
            assert_eq!(pieces.len_from(0), all.len());
        }
        let mut back = Vec::new();
        let mut at = 0;
        while let Some(piece) = pieces.get(at) {
            assert_eq!(pieces.len_from(at), all.len() - back.len());
            back.extend_from_slice(&piece);
            at += 1;
        }
        assert_eq!(back, all);
    }
}
