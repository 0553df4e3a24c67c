//! Sealing of what is stored: AES-256-GCM, or a plain checksum where encryption is switched off.
//!
//! A sealed value opens only at the place that it was sealed for.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use sha2::{Digest as _, Sha256};

/// Bytes of the checksum of a value that is not encrypted.
const CHECK: usize = 16;

/// A key of 32 bytes, written as 64 hex digits.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Seals and opens values.
pub struct Sealer(Option<RandomizedNonceKey>);

/// The cryptographic library refuses to work.
#[derive(Debug, thiserror::Error)]
#[error("the cryptographic library cannot seal")]
pub struct SealError;

impl Key {
    /// From 64 hex digits; blanks around them, such as the end of a line, do not count.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).ok()?;
        Some(Self(key))
    }

    /// A new one from the library's random numbers.
    ///
    /// # Errors
    /// When there are none.
    pub fn generate() -> Result<Self, SealError> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| SealError)?;
        Ok(Self(key))
    }

    /// As 64 hex digits, for the file that keeps it.
    #[must_use]
    pub fn expose(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(********)")
    }
}

impl Sealer {
    /// Encrypts with `key`; without one, values get a checksum only.
    ///
    /// # Errors
    /// When the library does not take the key.
    pub fn new(key: Option<&Key>) -> Result<Self, SealError> {
        let key = key.map(|key| RandomizedNonceKey::new(&AES_256_GCM, &key.0));
        Ok(Self(key.transpose().map_err(|_| SealError)?))
    }

    /// Whether values are encrypted.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.0.is_some()
    }

    /// `value` for `place`: a fresh nonce of 12 bytes, the cipher text and its tag; or a checksum
    /// and the value.
    ///
    /// # Errors
    /// When the library fails.
    pub fn seal(&self, place: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        let Some(key) = &self.0 else {
            let mut sealed = check(place, value).to_vec();
            sealed.extend_from_slice(value);
            return Ok(sealed);
        };
        let mut text = value.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place), &mut text)
            .map_err(|_| SealError)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// The value again; `None` when it is damaged, was sealed with another key, or for another
    /// place.
    #[must_use]
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let Some(key) = &self.0 else {
            let (expected, value) = sealed.split_at_checked(CHECK)?;
            return (check(place, value) == expected).then(|| value.to_vec());
        };
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = key
            .open_in_place(nonce, Aad::from(place), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sealer")
            .field("encrypts", &self.encrypts())
            .finish()
    }
}

fn check(place: &[u8], value: &[u8]) -> [u8; CHECK] {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(place.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(place);
    hash.update(value);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash.finalize()[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_its_place_with_its_key_only() {
        let key = Key::generate().unwrap();
        let other = Key::generate().unwrap();
        for key in [None, Some(&key)] {
            let sealer = Sealer::new(key).unwrap();
            let sealed = sealer.seal(b"here", b"a secret").unwrap();
            assert_eq!(sealer.open(b"here", &sealed).unwrap(), b"a secret");
            assert!(sealer.open(b"there", &sealed).is_none());
            let wrong = Sealer::new(Some(&other)).unwrap();
            assert!(wrong.open(b"here", &sealed).is_none());
            for index in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[index] ^= 1;
                assert!(sealer.open(b"here", &damaged).is_none(), "{index}");
                assert!(sealer.open(b"here", &sealed[..index]).is_none());
            }
            let again = sealer.seal(b"here", b"a secret").unwrap();
            let hidden = !sealed.windows(6).any(|part| part == b"secret");
            assert_eq!(hidden, key.is_some());
            assert_eq!(again != sealed, key.is_some(), "each nonce is fresh");
        }
    }

    #[test]
    fn a_key_is_64_hex_digits_and_not_shown() {
        let key = Key::generate().unwrap();
        let text = format!("{}\n", key.expose());
        assert_eq!(Key::parse(&text).unwrap().expose(), key.expose());
        assert!(Key::parse("00").is_none());
        assert!(Key::parse(&"zz".repeat(32)).is_none());
        assert_eq!(format!("{key:?}"), "Key(********)");
    }
}
