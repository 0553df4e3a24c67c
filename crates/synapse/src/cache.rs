//! Responses that `cache` mediators keep, bounded in number and bytes. Time is passed in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;

/// A response as it was kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The responses of one plan: another revision begins anew.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<(usize, String), (KeptResponse, i64)>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, HashMap<(usize, String), (KeptResponse, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a mediator has kept for a request that is told by `key`.
    pub(crate) fn find(&self, mediator: usize, key: &str, now: i64) -> Option<KeptResponse> {
        let mut kept = self.lock();
        let key = (mediator, key.to_owned());
        match kept.get(&key) {
            Some((response, ends)) if *ends > now => Some(response.clone()),
            Some(_) => {
                kept.remove(&key);
                None
            }
            None => None,
        }
    }

    /// Keeps a response until `ends`, among at most `entries` of that mediator.
    pub(crate) fn keep(
        &self,
        mediator: usize,
        key: String,
        response: KeptResponse,
        ends: i64,
        (entries, now): (usize, i64),
    ) {
        let mut kept = self.lock();
        let count = |kept: &HashMap<(usize, String), _>| {
            kept.keys().filter(|(own, _)| *own == mediator).count()
        };
        if count(&kept) >= entries {
            kept.retain(|_, (_, ends)| *ends > now);
        }
        if count(&kept) >= entries {
            let first = kept
                .iter()
                .filter(|((own, _), _)| *own == mediator)
                .min_by_key(|(_, (_, ends))| *ends)
                .map(|(key, _)| key.clone());
            if let Some(first) = first {
                kept.remove(&first);
            }
        }
        if entries > 0 {
            kept.insert((mediator, key), (response, ends));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16) -> KeptResponse {
        KeptResponse {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn responses_end_and_give_way() {
        let kept = Kept::default();
        let status = |mediator, key: &str, now| kept.find(mediator, key, now).map(|r| r.status);
        kept.keep(0, "a".into(), response(200), 10, (2, 0));
        kept.keep(1, "a".into(), response(201), 10, (2, 0));
        assert_eq!(
            (status(0, "a", 9), status(1, "a", 9)),
            (Some(200), Some(201))
        );
        assert_eq!(status(0, "a", 10), None);
        kept.keep(0, "b".into(), response(1), 30, (2, 0));
        kept.keep(0, "c".into(), response(2), 20, (2, 0));
        kept.keep(0, "d".into(), response(3), 40, (2, 0));
        assert_eq!((status(0, "c", 0), status(0, "d", 0)), (None, Some(3)));
    }
}
