//! The state machine of one endpoint. Time is passed in. Source: EndpointContext of Synapse.

use super::suspension::{Effect, Suspension};

/// In which state an endpoint is. Whether a request may go to it is another question, see
/// [`StateMachine::is_ready`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Active,
    /// Marked for suspension.
    Timeout,
    Suspended,
    /// Switched off by an operator.
    Off,
}

impl State {
    /// The word of the original engine.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Timeout => "TIMEOUT",
            Self::Suspended => "SUSPENDED",
            Self::Off => "OFF",
        }
    }
}

/// One endpoint's state.
///
/// Becoming ready again does not change the state: the next success makes it active, the next
/// fault moves it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateMachine {
    state: State,
    next_retry: i64,
    /// How many marks have been used since it was active.
    marks: i64,
    last_duration: i64,
}

impl StateMachine {
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a request may go to it now.
    #[must_use]
    pub fn is_ready(&self, now: i64) -> bool {
        match self.state {
            State::Active => true,
            State::Timeout | State::Suspended => now >= self.next_retry,
            State::Off => false,
        }
    }

    /// When it is ready again; `None` where time changes nothing.
    #[must_use]
    pub fn next_retry(&self) -> Option<i64> {
        matches!(self.state, State::Timeout | State::Suspended).then_some(self.next_retry)
    }

    /// A response came, of whatever status.
    pub fn success(&mut self) {
        if self.state != State::Off {
            *self = Self::default();
        }
    }

    /// A call failed. Whether the failure used one of the retries that are counted before
    /// suspension: then the same request may try it again.
    pub fn fault(&mut self, rules: &Suspension, code: u32, now: i64) -> bool {
        match rules.effect(code) {
            Effect::Nothing => false,
            Effect::Mark if self.marks < rules.retries_before_suspension => {
                self.marks += 1;
                self.state = State::Timeout;
                self.next_retry = now.saturating_add(rules.retry_delay);
                true
            }
            Effect::Mark | Effect::Suspend => {
                self.last_duration = rules.next_duration(self.last_duration);
                self.state = State::Suspended;
                self.next_retry = now.saturating_add(self.last_duration);
                false
            }
        }
    }

    pub fn switch_off(&mut self) {
        *self = Self {
            state: State::Off,
            ..Self::default()
        };
    }

    pub fn switch_on(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_used_up_before_it_is_suspended() {
        let rules = Suspension {
            retries_before_suspension: 2,
            retry_delay: 10,
            initial_duration: 1000,
            ..Suspension::default()
        };
        let mut endpoint = StateMachine::default();
        assert!(endpoint.fault(&rules, 101_504, 0));
        assert!(endpoint.fault(&rules, 101_504, 5));
        assert_eq!(
            (endpoint.state(), endpoint.next_retry()),
            (State::Timeout, Some(15))
        );
        assert!(!endpoint.is_ready(14) && endpoint.is_ready(15));
        assert!(!endpoint.fault(&rules, 101_504, 20));
        assert_eq!(
            (endpoint.state(), endpoint.next_retry()),
            (State::Suspended, Some(1020))
        );
        endpoint.success();
        assert_eq!(endpoint, StateMachine::default());
    }

    proptest::proptest! {
        #[test]
        fn no_rules_and_no_times_overflow(
            initial: i64, factor: f32, maximum: i64, delay: i64, retries: i64,
            faults in proptest::collection::vec((101_500_u32..101_509, proptest::prelude::any::<i64>()), 0..20),
        ) {
            let rules = Suspension {
                initial_duration: initial,
                progression_factor: factor,
                maximum_duration: maximum,
                retry_delay: delay,
                retries_before_suspension: retries,
                ..Suspension::default()
            };
            let mut endpoint = StateMachine::default();
            for (code, now) in faults {
                endpoint.fault(&rules, code, now);
                let _ = endpoint.is_ready(now);
            }
        }
    }
}
