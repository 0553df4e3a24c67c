//! Artifacts' texts as a gateway keeps them, in memory and on its disk: compressed.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

/// Fast; a small artifact becomes a third as long, a large one less.
const LEVEL: i32 = 1;
/// Bytes of an artifact that are unpacked at most.
const MAX_TEXT: u64 = crate::lines::MAX_LINE as u64;

/// One zstd frame that tells the length of the text in it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Arc<[u8]>);

thread_local! {
    // Making them takes longer than a small artifact does.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

impl Text {
    /// Compresses a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let packed = PACKER.with_borrow_mut(|packer| match packer {
            Some(packer) => packer.compress(text.as_bytes()),
            none => none
                .insert(Compressor::new(LEVEL)?)
                .compress(text.as_bytes()),
        });
        // It fails where there is no memory only; then it cannot be unpacked.
        Self(packed.unwrap_or_default().into())
    }

    /// From [`Text::frame`].
    #[must_use]
    pub fn from_frame(frame: Vec<u8>) -> Self {
        Self(frame.into())
    }

    /// As it is stored.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    ///
    /// # Errors
    /// When the frame is damaged, or the text is longer than an artifact may be.
    pub fn unpack(&self) -> io::Result<String> {
        let damaged = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let length = get_frame_content_size(&self.0);
        let length = length.map_err(|_| damaged("it is no frame"))?;
        let length = length.filter(|length| *length <= MAX_TEXT);
        let length =
            length.ok_or_else(|| damaged("it does not tell its length, or is too long"))?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let text = UNPACKER.with_borrow_mut(|unpacker| match unpacker {
            Some(unpacker) => unpacker.decompress(&self.0, length),
            none => none
                .insert(Decompressor::new()?)
                .decompress(&self.0, length),
        });
        String::from_utf8(text?).map_err(|_| damaged("it is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_packed() {
        for text in ["", "{\"name\":\"ä\"}", &"<a/>".repeat(10_000)] {
            let packed = Text::of(text);
            assert!(packed.frame().len() < 100 + text.len() / 10);
            assert_eq!(packed.unpack().unwrap(), text);
            let again = Text::from_frame(packed.frame().to_vec());
            assert_eq!(again, packed);
        }
    }

    #[test]
    fn what_is_damaged_is_an_error() {
        let packed = Text::of(&"<a/>".repeat(100));
        let short = packed.frame().len() - 1;
        for frame in [
            Vec::new(),
            b"<a/>".to_vec(),
            packed.frame()[..short].to_vec(),
            zstd::bulk::compress(b"\xff", LEVEL).unwrap(),
            // A frame of a stream does not tell its length.
            zstd::stream::encode_all(&b"<a/>"[..], LEVEL).unwrap(),
        ] {
            assert!(Text::from_frame(frame).unpack().is_err());
        }
    }
}
