//! Content codings: bodies are decoded where a mediator looks into them, and nowhere else.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// How a body is coded (RFC 9110, section 8.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
    /// One that is not known here, or several.
    Other(String),
}

/// Why a body could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it has more bytes than may be looked into")]
    TooLarge,
    #[error("its Content-Encoding is {0:?}; gzip and deflate are known")]
    Unknown(String),
    #[error("it is not the {0} that its Content-Encoding says")]
    Broken(&'static str),
}

impl Coding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = named.next() else {
            return Self::Identity;
        };
        let text = String::from_utf8_lossy(first.as_bytes())
            .trim()
            .to_ascii_lowercase();
        match text.as_str() {
            _ if named.next().is_some() => Self::Other(format!("{text}, …")),
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            _ => Self::Other(text),
        }
    }

    /// Decodes what it is given piece by piece, up to `most` bytes.
    pub(crate) fn decoder(&self, most: usize) -> Result<Decoder, DecodeError> {
        let decoded = Bounded {
            bytes: Vec::new(),
            most,
            overflowed: false,
        };
        Ok(match self {
            Self::Identity => Decoder::Identity(decoded),
            Self::Gzip => Decoder::Gzip(MultiGzDecoder::new(decoded)),
            Self::Deflate => Decoder::Deflate {
                inflate: Decompress::new(true),
                decoded,
                ended: false,
            },
            Self::Other(name) => return Err(DecodeError::Unknown(name.clone())),
        })
    }
}

/// A body that is being decoded.
pub(crate) enum Decoder {
    Identity(Bounded),
    Gzip(MultiGzDecoder<Bounded>),
    Deflate {
        inflate: Decompress,
        decoded: Bounded,
        ended: bool,
    },
}

impl Decoder {
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        match self {
            Self::Identity(decoded) => decoded.write_all(data).map_err(|_| DecodeError::TooLarge),
            Self::Gzip(decoder) => {
                let written = decoder.write_all(data);
                written.map_err(|_| decoder.get_ref().error("gzip"))
            }
            Self::Deflate {
                inflate,
                decoded,
                ended,
            } => {
                if *ended && !data.is_empty() {
                    return Err(DecodeError::Broken("deflate"));
                }
                let written = inflated(inflate, decoded, data);
                *ended = written.map_err(|_| decoded.error("deflate"))?;
                Ok(())
            }
        }
    }

    /// The whole, if it is complete.
    pub(crate) fn finish(self) -> Result<Bytes, DecodeError> {
        let decoded = match self {
            Self::Identity(decoded) => decoded,
            Self::Gzip(decoder) => decoder.finish().map_err(|_| DecodeError::Broken("gzip"))?,
            Self::Deflate { ended: false, .. } => return Err(DecodeError::Broken("deflate")),
            Self::Deflate { decoded, .. } => decoded,
        };
        match decoded.overflowed {
            true => Err(DecodeError::TooLarge),
            false => Ok(decoded.bytes.into()),
        }
    }
}

/// Inflates a piece; whether the stream has come to its end.
fn inflated(inflate: &mut Decompress, to: &mut Bounded, mut data: &[u8]) -> io::Result<bool> {
    let mut piece = [0; 8 * 1024];
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(data, &mut piece, FlushDecompress::None)?;
        let taken = usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
        let made = usize::try_from(inflate.total_out() - before_out).unwrap_or(usize::MAX);
        data = data.get(taken..).unwrap_or_default();
        to.write_all(piece.get(..made).unwrap_or_default())?;
        if status == Status::StreamEnd {
            return match data.is_empty() {
                true => Ok(true),
                false => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        if data.is_empty() && made < piece.len() {
            return Ok(false);
        }
    }
}

/// Bytes up to a bound: what a small body may become is not known before.
pub(crate) struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    overflowed: bool,
}

impl Bounded {
    fn error(&self, coding: &'static str) -> DecodeError {
        match self.overflowed {
            true => DecodeError::TooLarge,
            false => DecodeError::Broken(coding),
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.most {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(coding: &Coding, data: &[u8], most: usize) -> Result<Bytes, DecodeError> {
        let mut decoder = coding.decoder(most)?;
        for piece in data.chunks(7) {
            decoder.write(piece)?;
        }
        decoder.finish()
    }

    #[test]
    fn nothing_may_come_behind_the_end_of_a_deflated_body() {
        let coded = deflate(b"whole");
        // In the piece that ends it, and in one of its own.
        for garbage in [&b"x"[..], &[0; 100]] {
            let body = [&coded[..], garbage].concat();
            let error = decoded(&Coding::Deflate, &body, 100).unwrap_err();
            assert_eq!(error, DecodeError::Broken("deflate"));
        }
        assert_eq!(decoded(&Coding::Deflate, &coded, 100).unwrap(), "whole");
    }

    #[test]
    fn bodies_are_decoded_up_to_the_bound() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
        for (coding, coded) in [
            (Coding::Identity, text.clone()),
            (Coding::Gzip, gzip(&text)),
            (Coding::Deflate, deflate(&text)),
        ] {
            assert_eq!(decoded(&coding, &coded, text.len()).unwrap(), text);
            let error = decoded(&coding, &coded, text.len() - 1).unwrap_err();
            assert_eq!(error, DecodeError::TooLarge, "{coding:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_an_error() {
        let text = [b'x'; 1000];
        for (coding, name, coded) in [
            (Coding::Gzip, "gzip", gzip(&text)),
            (Coding::Deflate, "deflate", deflate(&text)),
        ] {
            for broken in [
                &coded[..coded.len() - 1],
                &coded[..coded.len() - 9],
                b"<a/>",
                b"",
            ] {
                let error = decoded(&coding, broken, 10_000).unwrap_err();
                assert_eq!(error, DecodeError::Broken(name), "{}", broken.len());
            }
        }
    }

    #[test]
    fn a_coding_is_what_the_header_says() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_ENCODING, http::HeaderValue::from_static(line));
            }
            Coding::of(&headers)
        };
        assert_eq!(of(&[]), Coding::Identity);
        assert_eq!(of(&["GZip"]), Coding::Gzip);
        assert_eq!(of(&["deflate"]), Coding::Deflate);
        assert_eq!(of(&["br"]), Coding::Other("br".into()));
        assert!(matches!(of(&["gzip, gzip"]), Coding::Other(_)));
        assert!(matches!(of(&["gzip", "gzip"]), Coding::Other(_)));
    }
}
