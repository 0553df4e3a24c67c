//! Session affinity of a load-balance group: which child a session's requests go to. Sources:
//! SALoadbalanceEndpoint and the session dispatchers of Synapse.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Sessions that one group remembers; above that, those that end first are forgotten.
const MAX_SESSIONS: usize = 20_000;

/// What sessions are told by (cookies, ids in SOAP headers), by its hash, and the child of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    children: HashMap<u64, (usize, i64)>,
}

impl Sessions {
    /// The child of the session that one of the request's keys belongs to.
    pub(crate) fn child<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a str>,
        now: i64,
        timeout: i64,
    ) -> Option<usize> {
        for written in keys {
            if let Some((child, ends)) = self.children.get_mut(&key(written))
                && *ends > now
            {
                *ends = now.saturating_add(timeout);
                return Some(*child);
            }
        }
        None
    }

    /// Remembers the keys of a child's session.
    pub(crate) fn bind<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a str>,
        child: usize,
        now: i64,
        timeout: i64,
    ) {
        for written in keys {
            self.children
                .insert(key(written), (child, now.saturating_add(timeout)));
        }
        if self.children.len() > MAX_SESSIONS {
            self.children.retain(|_, (_, ends)| *ends > now);
        }
        if self.children.len() > MAX_SESSIONS {
            let mut ends: Vec<i64> = self.children.values().map(|(_, ends)| *ends).collect();
            let (_, median, _) = ends.select_nth_unstable(MAX_SESSIONS / 2);
            let median = *median;
            self.children.retain(|_, (_, ends)| *ends > median);
        }
    }
}

fn key(written: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    written.trim().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_has_not_been_used_for_its_time() {
        let mut sessions = Sessions::default();
        let set = ["JSESSIONID=a1"];
        sessions.bind(set.into_iter(), 2, 0, 100);
        let mut child = |now| sessions.child(["x=1", " JSESSIONID=a1"].into_iter(), now, 100);
        assert_eq!(
            (child(50), child(149), child(249)),
            (Some(2), Some(2), None)
        );
        assert_eq!(sessions.child(["JSESSIONID=b"].into_iter(), 0, 100), None);
    }

    #[test]
    fn they_are_bounded() {
        let mut sessions = Sessions::default();
        for number in 0..=MAX_SESSIONS + 1 {
            let cookie = format!("s={number}");
            sessions.bind([cookie.as_str()].into_iter(), 0, number as i64, 1_000_000);
        }
        assert!(sessions.children.len() <= MAX_SESSIONS);
        let newest = format!("s={}", MAX_SESSIONS + 1);
        assert!(
            sessions
                .child([newest.as_str()].into_iter(), 1, 1)
                .is_some()
        );
    }
}
