//! Session affinity of a load-balance group: which child a session's requests go to. Source:
//! SALoadbalanceEndpoint and HttpSessionDispatcher of Synapse.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Sessions that one group remembers; above that, those that end first are forgotten.
const MAX_SESSIONS: usize = 20_000;

/// Cookies that back ends have set, by their hash, and the child that set each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    children: HashMap<u64, (usize, i64)>,
}

impl Sessions {
    /// The child of the session that one of the request's cookies belongs to.
    pub(crate) fn child<'a>(
        &mut self,
        cookies: impl Iterator<Item = &'a str>,
        now: i64,
        timeout: i64,
    ) -> Option<usize> {
        for cookie in cookies.flat_map(|header| header.split(';')) {
            if let Some((child, ends)) = self.children.get_mut(&key(cookie))
                && *ends > now
            {
                *ends = now.saturating_add(timeout);
                return Some(*child);
            }
        }
        None
    }

    /// Remembers the cookies that a child has set.
    pub(crate) fn bind<'a>(
        &mut self,
        set_cookies: impl Iterator<Item = &'a str>,
        child: usize,
        now: i64,
        timeout: i64,
    ) {
        for cookie in set_cookies {
            let pair = cookie.split(';').next().unwrap_or_default();
            self.children
                .insert(key(pair), (child, now.saturating_add(timeout)));
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

fn key(pair: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    pair.trim().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_has_not_been_used_for_its_time() {
        let mut sessions = Sessions::default();
        let set = ["JSESSIONID=a1; Path=/; HttpOnly"];
        sessions.bind(set.into_iter(), 2, 0, 100);
        let mut child = |now| sessions.child(["x=1; JSESSIONID=a1"].into_iter(), now, 100);
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
