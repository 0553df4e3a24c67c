//! When to pull one label's log, and how.
//!
//! Without a broker, and while it cannot be reached, a pull stays open: that is the watch stream.
//! With one, events say when to pull next; any number of them between two pulls is one, and a pull
//! after each (re)connect makes up for those that were missed.

use std::time::Duration;

use kit::backoff::Backoff;

use super::random::Random;
use super::words::{Millis, PullError};

/// The least wait after a stream that the server has ended.
const AFTER_END: Duration = Duration::from_millis(500);
/// The least wait after a failure when events come in.
const AFTER_NEWS: Millis = 1000;
/// Waits while the traffic manager has not reached what an event has announced, or ends before what
/// it has said already …
pub(super) const LAG: Backoff = Backoff {
    first: Duration::from_millis(20),
    most: Duration::from_secs(1),
};
/// … which is believed for so many tries, half a minute.
pub(super) const LAG_TRIES: u32 = 35;

/// How long to wait, by configuration.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// After failed pulls: `deployment_retry_duration` and `max_retry_duration`.
    pub retry: Backoff,
    /// Between an event and its pull: `event_waiting_time`.
    pub event: Duration,
    /// Between two looks when nothing is heard: `reconcile_interval`.
    pub reconcile: Duration,
}

/// A pull that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub id: u64,
    /// It stays open for what comes.
    pub follow: bool,
    /// The log has been read to its end.
    worked: bool,
}

/// What to ask the traffic manager for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub after: u64,
    /// The position that has to be reached, as an event has announced it.
    pub least: Option<u64>,
    pub follow: bool,
}

/// A pull that did not do what it should, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub error: PullError,
    /// Failures in a row; 0 where it only has to wait for the traffic manager's database.
    pub failures: u32,
    pub wait_ms: Millis,
}

/// One label's pulls.
#[derive(Clone, Debug)]
pub struct Pulling {
    waits: Waits,
    /// How far the log has been applied.
    pub cursor: u64,
    /// The newest position announced in this data center since events can be heard.
    announced: u64,
    /// Announced, but not reached in time.
    disbelieved: u64,
    /// Events can be heard.
    subscribed: bool,
    pub open: Option<Open>,
    /// When the next pull starts; `None` while one is open, or before the first.
    due: Option<Millis>,
    /// The next pull asks for what there is: it was told that what is announced is not there yet.
    unconditional: bool,
    /// Something was heard during the pull that is open.
    heard: bool,
    /// After a failure: news are no reason to pull before.
    not_before: Millis,
    failures: u32,
    lags: u32,
}

impl Pulling {
    #[must_use]
    pub fn new(waits: Waits) -> Self {
        Self {
            waits,
            cursor: 0,
            announced: 0,
            disbelieved: 0,
            subscribed: false,
            open: None,
            due: None,
            unconditional: false,
            heard: false,
            not_before: 0,
            failures: 0,
            lags: 0,
        }
    }

    /// Pulls as soon as possible.
    pub fn at_once(&mut self, now: Millis) {
        if self.open.is_none() {
            self.due = Some(now);
        }
    }

    /// Pulls soon if it waits for no more than its time: there is news.
    pub fn sooner(&mut self, now: Millis) {
        if let Some(due) = self.due {
            self.due = Some(due.min(now.max(self.not_before)));
        }
    }

    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        self.due
    }

    /// What to ask for now under the number `id`, if it is time.
    pub fn start(&mut self, now: Millis, id: u64) -> Option<Wanted> {
        if self.open.is_some() || self.due? > now {
            return None;
        }
        let follow = !self.subscribed;
        let believed = self.announced > self.cursor && self.announced != self.disbelieved;
        let least = (!follow && believed && !self.unconditional).then_some(self.announced);
        self.due = None;
        self.unconditional = false;
        self.heard = false;
        self.open = Some(Open {
            id,
            follow,
            worked: false,
        });
        Some(Wanted {
            after: self.cursor,
            least,
            follow,
        })
    }

    /// An event names this label; with a position if it is one of this data center's log.
    pub fn event(&mut self, now: Millis, seq: Option<u64>) {
        self.announced = self.announced.max(seq.unwrap_or(0));
        self.hear(now);
    }

    fn hear(&mut self, now: Millis) {
        if self.open.is_some() {
            self.heard = true;
            return;
        }
        if let Some(due) = self.due {
            let wait = u64::try_from(self.waits.event.as_millis()).unwrap_or(u64::MAX);
            let soon = now.saturating_add(wait).max(self.not_before);
            self.due = Some(due.min(soon));
        }
    }

    /// Events can be heard now, or cannot any more. Gives the watch stream that is not needed then.
    pub fn subscribed(&mut self, now: Millis, subscribed: bool) -> Option<Open> {
        self.subscribed = subscribed;
        self.announced = 0;
        if self.open.is_some_and(|open| open.follow) && subscribed {
            self.due = Some(now);
            return self.open.take();
        }
        if self.open.is_some() {
            self.heard = true;
        } else if let Some(due) = self.due {
            self.due = Some(due.min(now.max(self.not_before)));
        }
        None
    }

    /// Entries have been applied; `complete` where the log was read to its end.
    pub fn applied(&mut self, reached: u64, complete: bool) {
        self.cursor = self.cursor.max(reached);
        if complete {
            self.failures = 0;
            if self.cursor >= self.announced {
                self.lags = 0;
            }
            if let Some(open) = &mut self.open {
                open.worked = true;
            }
        }
    }

    /// The pull that was open has ended. Gives what went wrong.
    pub fn ended(
        &mut self,
        now: Millis,
        result: Result<(), PullError>,
        random: &mut Random,
    ) -> Option<Trouble> {
        let open = self.open.take()?;
        let error = match result {
            Ok(()) if self.cursor < self.announced && self.announced != self.disbelieved => {
                PullError::Behind {
                    found: self.cursor,
                    wanted: self.announced,
                }
            }
            Ok(()) => {
                self.lags = 0;
                let wait = if open.follow {
                    0
                } else {
                    random.jittered(self.waits.reconcile)
                };
                self.not_before = 0;
                self.due = Some(now.saturating_add(wait));
                if self.heard {
                    self.hear(now);
                }
                return None;
            }
            // What there is, is better than nothing.
            Err(PullError::Behind { .. }) if !open.worked => {
                self.unconditional = true;
                self.due = Some(now);
                return None;
            }
            Err(error) => error,
        };
        let mut lags = false;
        let wait_ms = match error {
            PullError::Behind { .. } | PullError::WentBack { .. } if self.lags < LAG_TRIES => {
                self.lags += 1;
                lags = true;
                random.wait(LAG, self.lags)
            }
            PullError::Behind { .. } => {
                self.disbelieved = self.announced;
                self.lags = 0;
                lags = true;
                random.jittered(self.waits.reconcile)
            }
            PullError::EndedByServer if open.worked => random.jittered(AFTER_END),
            _ => {
                self.failures = self.failures.saturating_add(1);
                random.wait(self.waits.retry, self.failures)
            }
        };
        self.not_before = if lags {
            now
        } else {
            now.saturating_add(AFTER_NEWS)
        };
        self.due = Some(now.saturating_add(wait_ms));
        if self.heard {
            self.hear(now);
        }
        Some(Trouble {
            error,
            failures: if lags { 0 } else { self.failures },
            wait_ms,
        })
    }

    /// Gives up the pull that is open; the next one starts at once.
    pub fn cancel(&mut self, now: Millis) -> Option<Open> {
        self.due = Some(now);
        self.open.take()
    }

    /// Gives up the pull that is open; the next one waits for [`Pulling::resume`].
    pub fn pause(&mut self) -> Option<Open> {
        self.due = None;
        self.open.take()
    }

    /// The log ends before what was applied: goes on from there, and what was announced is not true
    /// any more.
    pub fn set_back(&mut self, seq: u64) {
        self.cursor = seq;
        self.announced = 0;
        self.lags = 0;
    }

    /// Goes on after [`Pulling::pause`].
    pub fn resume(&mut self, now: Millis) {
        if self.open.is_none() && self.due.is_none() {
            self.due = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
