//! One digest over what a label publishes, by which two sides find out whether they agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Digest;

/// Digest of a set of `(api, digest)`: SHA-256 over a line `<api id> <digest>\n` for each published
/// API, in the byte order of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelDigest {
    pub digest: Digest,
    /// How many APIs there are.
    pub count: u64,
}

impl LabelDigest {
    /// Of the APIs that are published, in any order.
    #[must_use]
    pub fn of<'a>(published: impl IntoIterator<Item = (&'a str, Digest)>) -> Self {
        let published: BTreeMap<&str, Digest> = published.into_iter().collect();
        let mut hash = Sha256::new();
        for (api_id, digest) in &published {
            hash.update(api_id.as_bytes());
            hash.update(b" ");
            hash.update(digest.to_string().as_bytes());
            hash.update(b"\n");
        }
        Self {
            digest: Digest::from_bytes(hash.finalize().into()),
            count: published.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_depend_on_the_order() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let one = LabelDigest::of([("x", a), ("y", b)]);
        assert_eq!(one, LabelDigest::of([("y", b), ("x", a)]));
        assert_ne!(one, LabelDigest::of([("x", b), ("y", a)]));
        assert_ne!(one, LabelDigest::of([("x", a)]));
        assert_eq!(LabelDigest::of([]).digest, Digest::of(b""));
        let line = format!("x {a}\ny {b}\n");
        assert_eq!(one.digest, Digest::of(line.as_bytes()), "as documented");
    }
}
