//! Content codings for answers that are put together from pieces which are compressed once and
//! sent to many: zstd (RFC 8878) and gzip (RFC 1952).
//!
//! A piece in zstd is a frame of its own; frames may follow one another. A piece in gzip is a run
//! of deflate blocks that refers to nothing before it, flushed to a byte; the check sum of the
//! whole is combined from those of the pieces.

use std::io::{self, Read};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress, Status};

/// How the bytes of an answer are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// A text in one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Length and CRC-32 of the text; the latter only in gzip.
    pub(crate) length: u64,
    crc: u32,
}

const ZSTD_LEVEL: i32 = 5;

impl Encoding {
    /// The best that an `Accept-Encoding` header allows; without one, none.
    pub(crate) fn accepted(header: Option<&str>) -> Self {
        let mut quality = [0.0_f32; 2];
        let mut any = None;
        let mut named = [false; 2];
        for item in header.unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let q = parts
                .filter_map(|part| part.strip_prefix("q="))
                .find_map(|q| q.parse().ok())
                .unwrap_or(1.0);
            match name.to_ascii_lowercase().as_str() {
                "zstd" => (quality[0], named[0]) = (q, true),
                "gzip" | "x-gzip" => (quality[1], named[1]) = (q, true),
                "*" => any = Some(q),
                _ => {}
            }
        }
        if let Some(any) = any {
            for (quality, named) in quality.iter_mut().zip(named) {
                if !named {
                    *quality = any;
                }
            }
        }
        match quality {
            [zstd, gzip] if zstd > 0.0 && zstd >= gzip => Self::Zstd,
            [_, gzip] if gzip > 0.0 => Self::Gzip,
            _ => Self::Identity,
        }
    }

    /// The value of `Content-Encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The text as a piece.
    pub(crate) fn piece(self, text: Bytes) -> Piece {
        let length = text.len() as u64;
        let (bytes, crc) = match self {
            Self::Identity => (text, 0),
            Self::Gzip => (deflated(&text), crc32fast::hash(&text)),
            Self::Zstd => (zstd_frame(&text), 0),
        };
        Piece { bytes, length, crc }
    }
}

impl Piece {
    /// The text of a piece in zstd.
    pub(crate) fn text_of_zstd(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(usize::try_from(self.length).unwrap_or(0));
        zstd::stream::read::Decoder::with_buffer(&self.bytes[..])?.read_to_end(&mut text)?;
        Ok(text)
    }
}

/// In memory, compressing cannot fail; if it did, the reader would see a damaged answer and ask
/// again.
fn zstd_frame(text: &[u8]) -> Bytes {
    zstd::bulk::compress(text, ZSTD_LEVEL).map_or_else(
        |error| {
            tracing::error!(%error, "zstd failed");
            Bytes::new()
        },
        kept,
    )
}

/// Without the room that was made for what did not compress: pieces are kept for long.
fn kept(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

fn deflated(text: &[u8]) -> Bytes {
    let mut deflate = Compress::new(Compression::default(), false);
    let mut bytes = Vec::with_capacity(text.len() / 4 + 64);
    let mut rest = text;
    loop {
        let before = deflate.total_in();
        let status = deflate.compress_vec(rest, &mut bytes, FlushCompress::Sync);
        let taken = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        let full = bytes.len() == bytes.capacity();
        if !full || !matches!(status, Ok(Status::Ok | Status::BufError)) {
            return kept(bytes);
        }
        bytes.reserve(bytes.capacity().max(64));
    }
}

/// Pieces joined to one.
#[derive(Debug)]
pub(crate) struct Joined {
    encoding: Encoding,
    bytes: BytesMut,
    length: u64,
    crc: crc32fast::Hasher,
}

impl Joined {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            bytes: BytesMut::new(),
            length: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn put(&mut self, piece: &Piece) {
        self.bytes.put_slice(&piece.bytes);
        self.length += piece.length;
        if self.encoding == Encoding::Gzip {
            let crc = crc32fast::Hasher::new_with_initial_len(piece.crc, piece.length);
            self.crc.combine(&crc);
        }
    }

    pub(crate) fn put_text(&mut self, text: impl Into<Bytes>) {
        self.put(&self.encoding.piece(text.into()));
    }

    pub(crate) fn joined(self) -> Piece {
        Piece {
            bytes: self.bytes.freeze(),
            length: self.length,
            crc: self.crc.finalize(),
        }
    }
}

/// Makes one body of pieces, with what an encoding has before the first and behind the last.
#[derive(Debug)]
pub(crate) struct Assembler {
    encoding: Encoding,
    /// Of what was taken so far, in gzip.
    crc: crc32fast::Hasher,
    length: u64,
    begun: bool,
}

impl Assembler {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            crc: crc32fast::Hasher::new(),
            length: 0,
            begun: false,
        }
    }

    /// The bytes of the next piece in the body: those of the piece itself, where nothing has to
    /// stand before them.
    pub(crate) fn add(&mut self, piece: Piece) -> Bytes {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.encoding != Encoding::Gzip {
            return piece.bytes;
        }
        let crc = crc32fast::Hasher::new_with_initial_len(piece.crc, piece.length);
        self.crc.combine(&crc);
        self.length += piece.length;
        if !first {
            return piece.bytes;
        }
        // Magic, deflate, no flags, no time, no extra flags, system unknown.
        let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        [&head[..], &piece.bytes].concat().into()
    }

    /// `bytes`, and behind them a text and, if `end` says so, what ends the body.
    pub(crate) fn with_text(&mut self, bytes: Bytes, text: String, end: bool) -> Bytes {
        let mut all = bytes;
        // Nothing at all would be no frame and no member.
        if !text.is_empty() || (end && !self.begun) {
            let text = self.add(self.encoding.piece(text.into()));
            all = [all, text].concat().into();
        }
        if end && self.encoding == Encoding::Gzip {
            // An empty last block, check sum and length modulo 2^32.
            let mut last = BytesMut::from(&all[..]);
            last.put_slice(&[0x03, 0x00]);
            last.put_u32_le(self.crc.clone().finalize());
            last.put_u32_le((self.length & u64::from(u32::MAX)) as u32);
            all = last.freeze();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match encoding {
            Encoding::Identity => text.extend(bytes),
            Encoding::Gzip => {
                GzDecoder::new(bytes).read_to_end(&mut text).unwrap();
            }
            Encoding::Zstd => text = zstd::decode_all(bytes).unwrap(),
        }
        text
    }

    proptest! {
        #[test]
        fn pieces_make_one_text(texts in proptest::collection::vec(".{0,300}", 0..12)) {
            let whole = texts.concat();
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
                let mut assembler = Assembler::new(encoding);
                let mut out = Vec::new();
                for texts in texts.chunks(3) {
                    let mut joined = Joined::new(encoding);
                    for text in texts {
                        joined.put_text(text.clone());
                    }
                    out.extend(assembler.add(joined.joined()));
                }
                out.extend(assembler.with_text(Bytes::new(), "end".to_owned(), false));
                out.extend(assembler.with_text(Bytes::new(), String::new(), true));
                prop_assert_eq!(decoded(encoding, &out), [whole.as_bytes(), b"end"].concat());
                let nothing = Assembler::new(encoding).with_text(Bytes::new(), String::new(), true);
                prop_assert_eq!(decoded(encoding, &nothing), b"");
            }
        }
    }

    #[test]
    fn what_hardly_compresses_is_kept_whole() {
        let mut random = 7_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as u8
        })
        .take(300_000)
        .collect();
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let piece = encoding.piece(noise.clone().into());
            let mut assembler = Assembler::new(encoding);
            let bytes = assembler.add(piece);
            let out = assembler.with_text(bytes, String::new(), true);
            assert!(decoded(encoding, &out) == noise);
        }
        let piece = Encoding::Zstd.piece(noise.clone().into());
        assert!(piece.text_of_zstd().unwrap() == noise);
    }

    #[test]
    fn the_best_of_what_is_accepted() {
        for (header, wanted) in [
            (None, Encoding::Identity),
            (Some(""), Encoding::Identity),
            (Some("gzip, deflate, br"), Encoding::Gzip),
            (Some("gzip, zstd"), Encoding::Zstd),
            (Some("zstd;q=0.1, gzip;q=0.9"), Encoding::Gzip),
            (Some("zstd;q=0, *"), Encoding::Gzip),
            (Some("*"), Encoding::Zstd),
            (Some("identity"), Encoding::Identity),
            (Some("GZIP;q=x"), Encoding::Gzip),
        ] {
            assert_eq!(Encoding::accepted(header), wanted, "{header:?}");
        }
    }
}
