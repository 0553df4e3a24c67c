//! Failed logins, counted: ten in a minute, and the next ones have to wait.
//!
//! Three things are counted: the address, the user name, and the name at that address. Who is
//! cooling down is not looked at, with one exception: a password that has been verified before is
//! let in while only its name or only the address is cooling down. So neither those who guess at a
//! name nor a neighbour behind the same address translation lock out gateways that know their
//! password. Guesses at remembered passwords are bounded all the same, by what is counted for the
//! name at the address, whatever the answer was.
//!
//! Bearer tokens and certificates cannot be guessed, so good ones are always let in; bad tokens are
//! counted for their address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in one window that start a cooldown.
pub const MOST_FAILURES: u32 = 10;
/// The window and the cooldown.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Counters that are kept; the stalest goes first.
const MOST_COUNTERS: usize = 16 * 1024;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    Address(IpAddr),
    Name(String),
    NameAt(String, IpAddr),
}

impl Counted {
    /// An address; of IPv6 the network, because one client has all addresses of it.
    pub fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    pub fn name(name: &str) -> Self {
        Self::Name(name.to_owned())
    }

    pub fn name_at(name: &str, address: IpAddr) -> Self {
        Self::NameAt(name.to_owned(), network(address))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    failures: u32,
    /// Start of the window, or of the cooldown once there are too many.
    since: Instant,
}

impl Counter {
    fn over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let cooling = self.failures >= MOST_FAILURES && !self.over(now);
        cooling.then(|| WINDOW.saturating_sub(now.saturating_duration_since(self.since)))
    }
}

/// The counters of one process.
#[derive(Debug, Default)]
pub struct Failures {
    counters: Mutex<HashMap<Counted, Counter>>,
}

impl Failures {
    /// Counters there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.len()
    }

    /// How long one has to wait, if any of these is cooling down.
    pub fn cooling(&self, counted: &[Counted]) -> Option<Duration> {
        let now = Instant::now();
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counted
            .iter()
            .filter_map(|key| counters.get(key)?.left(now));
        left.max()
    }

    /// Counts a failure. One that is cooling down does not cool down for longer.
    pub fn failed(&self, counted: &[Counted]) {
        let now = Instant::now();
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for key in counted {
            if counters.len() >= MOST_COUNTERS && !counters.contains_key(key) {
                make_room(&mut counters, now);
            }
            let fresh = Counter {
                failures: 0,
                since: now,
            };
            let counter = counters.entry(key.clone()).or_insert(fresh);
            if counter.over(now) {
                *counter = fresh;
            }
            if counter.failures < MOST_FAILURES {
                counter.failures += 1;
                if counter.failures == MOST_FAILURES {
                    counter.since = now;
                }
            }
        }
    }
}

fn make_room(counters: &mut HashMap<Counted, Counter>, now: Instant) {
    counters.retain(|_, counter| !counter.over(now));
    if counters.len() < MOST_COUNTERS {
        return;
    }
    let stalest = counters
        .iter()
        .min_by_key(|(_, counter)| (counter.failures >= MOST_FAILURES, counter.since));
    if let Some(key) = stalest.map(|(key, _)| key.clone()) {
        counters.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_failures_in_a_minute_cool_down_for_a_minute() {
        let failures = Failures::default();
        let [a, b] = [Counted::name("a"), Counted::name("b")];
        for _ in 0..MOST_FAILURES - 1 {
            failures.failed(std::slice::from_ref(&a));
        }
        assert_eq!(failures.cooling(std::slice::from_ref(&a)), None);
        tokio::time::advance(WINDOW).await;
        failures.failed(std::slice::from_ref(&a));
        assert_eq!(
            failures.cooling(std::slice::from_ref(&a)),
            None,
            "the earlier ones are forgotten"
        );
        for _ in 0..MOST_FAILURES {
            failures.failed(std::slice::from_ref(&a));
        }
        let both = [a, b.clone()];
        assert_eq!(failures.cooling(&both), Some(WINDOW));
        assert_eq!(failures.cooling(&[b]), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        failures.failed(&both);
        assert_eq!(failures.cooling(&both), Some(Duration::from_secs(40)));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(failures.cooling(&both), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_those_who_cool_down() {
        let failures = Failures::default();
        let known = [Counted::name("known")];
        for _ in 0..MOST_FAILURES {
            failures.failed(&known);
        }
        for index in 0..MOST_COUNTERS + 10 {
            failures.failed(&[Counted::name(&index.to_string())]);
        }
        assert_eq!(failures.counters.lock().unwrap().len(), MOST_COUNTERS);
        assert!(failures.cooling(&known).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| Counted::address(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
