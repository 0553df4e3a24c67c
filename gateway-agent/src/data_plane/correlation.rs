//! Correlation ids: one name for a request on its way through clients, gateways and back ends.
//!
//! The header is `activityid`, as in API Manager's correlation logs, if the configuration names no
//! other one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of a client's own id.
const LONGEST: usize = 128;

/// Names requests. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Correlation {
    pub header: HeaderName,
    /// Tells the ids of this process from those of others.
    process: u64,
    count: Arc<AtomicU64>,
}

impl Correlation {
    #[must_use]
    pub fn new(header: HeaderName) -> Self {
        Self {
            header,
            process: RandomState::new().hash_one(0_u8),
            count: Arc::default(),
        }
    }

    /// The id that a client gives, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(&self.header) {
            Some(given) if is_well_formed(given) => given.clone(),
            _ => self.make(),
        }
    }

    /// A UUID in form; its first half names the process.
    fn make(&self) -> HeaderValue {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let id = u128::from(self.process) << 64 | u128::from(number);
        let id = uuid::Builder::from_random_bytes(id.to_be_bytes()).into_uuid();
        let mut text = uuid::Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// Visible ASCII without quotes, so that it can stand in a line of a log.
fn is_well_formed(given: &HeaderValue) -> bool {
    (1..=LONGEST).contains(&given.len())
        && given
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_graphic() && *byte != b'"')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(correlation: &Correlation, given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(&correlation.header, given.parse().unwrap());
        correlation.of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_well_formed_id_is_taken_and_others_are_replaced() {
        let correlation = Correlation::new(HeaderName::from_static("activityid"));
        assert_eq!(of(&correlation, "a-1"), "a-1");
        assert_eq!(of(&correlation, &"x".repeat(128)), "x".repeat(128));
        for bad in ["", "a b", "a\"b", "\u{e9}", &"x".repeat(129)] {
            let made = of(&correlation, bad);
            assert!(uuid::Uuid::parse_str(&made).is_ok(), "{bad:?}: {made}");
        }
    }

    #[test]
    fn made_ids_differ() {
        let header = HeaderName::from_static("activityid");
        let processes = [Correlation::new(header.clone()), Correlation::new(header)];
        let made: HashSet<_> = processes
            .iter()
            .flat_map(|process| (0..1000).map(|_| process.make()))
            .collect();
        assert_eq!(made.len(), 2000);
    }
}
