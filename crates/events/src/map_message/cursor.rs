//! A place in a body: hands out bytes that are there and names the place where they end.

use super::MapMessageError;

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn take(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<&'a [u8], MapMessageError> {
        let rest = self.rest();
        let taken = rest.get(..length).ok_or(MapMessageError::Truncated {
            what,
            at: self.at,
            needs: length,
            left: rest.len(),
        })?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], MapMessageError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, MapMessageError> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, MapMessageError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, MapMessageError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, MapMessageError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub(super) fn text(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<String, MapMessageError> {
        let at = self.at;
        utf8(self.take(length, what)?, what, at)
    }

    /// Text up to a NUL, which is passed over, or up to the end of the body.
    pub(super) fn text_to_nul(&mut self, what: &'static str) -> Result<String, MapMessageError> {
        let (rest, at) = (self.rest(), self.at);
        let end = rest.iter().position(|byte| *byte == 0);
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += end.map_or(rest.len(), |end| end + 1);
        utf8(text, what, at)
    }

    /// Checks a claimed number of items, each of at least `least` bytes, against what is left.
    pub(super) fn check_count(
        &self,
        count: usize,
        least: usize,
        what: &'static str,
    ) -> Result<(), MapMessageError> {
        let left = self.rest().len();
        if count.saturating_mul(least) > left {
            return Err(MapMessageError::TooMany {
                what,
                at: self.at,
                count,
                left,
            });
        }
        Ok(())
    }
}

fn utf8(bytes: &[u8], what: &'static str, at: usize) -> Result<String, MapMessageError> {
    let text = std::str::from_utf8(bytes).map_err(|error| MapMessageError::NotUtf8 {
        what,
        at: at + error.valid_up_to(),
    })?;
    Ok(text.to_owned())
}
