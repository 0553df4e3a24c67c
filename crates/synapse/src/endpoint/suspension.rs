//! When failures mark or suspend an endpoint. Source: EndpointDefinition and
//! EndpointDefinitionFactory of Synapse.

/// `markForSuspension` and `suspendOnFailure` of one endpoint; times are milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspension {
    /// Codes that mark it. `None`: 101504 and 101505.
    pub mark_codes: Option<Vec<i64>>,
    pub retries_before_suspension: i64,
    pub retry_delay: i64,
    /// Codes that suspend it. `None`: every code.
    pub suspend_codes: Option<Vec<i64>>,
    /// Negative: not configured.
    pub initial_duration: i64,
    pub progression_factor: f32,
    pub maximum_duration: i64,
}

impl Default for Suspension {
    /// What holds where an element is absent.
    fn default() -> Self {
        Self {
            mark_codes: None,
            retries_before_suspension: 0,
            retry_delay: 0,
            suspend_codes: None,
            initial_duration: -1,
            progression_factor: 1.0,
            maximum_duration: i64::MAX,
        }
    }
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Mark,
    Suspend,
    Nothing,
}

/// How long an endpoint is suspended whose duration is not configured.
const DEFAULT_SUSPENSION: i64 = 30_000;
/// The codes that mark where no list does: timeout and closed connection.
const DEFAULT_MARKS: [i64; 2] = [101_504, 101_505];

impl Suspension {
    /// Lists are exact, so `-1` means never (`AbstractEndpoint.isTimeout`, `isSuspendFault`).
    pub(super) fn effect(&self, code: u32) -> Effect {
        let code = i64::from(code);
        let marks = match &self.mark_codes {
            Some(codes) => codes.contains(&code),
            None => DEFAULT_MARKS.contains(&code),
        };
        if marks {
            return Effect::Mark;
        }
        match &self.suspend_codes {
            Some(codes) if !codes.contains(&code) => Effect::Nothing,
            _ => Effect::Suspend,
        }
    }

    /// The duration that follows `last`; the factor is a Java float, and so is the product.
    pub(super) fn next_duration(&self, last: i64) -> i64 {
        let next = if last <= 0 {
            self.initial_duration
        } else {
            (last as f32 * self.progression_factor) as i64
        };
        if next > self.maximum_duration {
            self.maximum_duration
        } else if next < 0 {
            DEFAULT_SUSPENSION
        } else {
            next
        }
    }
}

/// `retryConfig`: after which failures of a child its group tries the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryCodes {
    pub disabled: Vec<i64>,
    /// Empty: all that are not disabled.
    pub enabled: Vec<i64>,
}

impl RetryCodes {
    /// Whether the group goes on after this failure.
    #[must_use]
    pub fn allow(&self, code: u32) -> bool {
        let code = i64::from(code);
        !self.disabled.contains(&code) && (self.enabled.is_empty() || self.enabled.contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_grow_to_the_maximum_and_fall_back_to_half_a_minute() {
        let rules = |initial, factor, maximum| Suspension {
            initial_duration: initial,
            progression_factor: factor,
            maximum_duration: maximum,
            ..Suspension::default()
        };
        let grown = |rules: &Suspension| {
            let mut last = 0;
            [(); 4].map(|()| {
                last = rules.next_duration(last);
                last
            })
        };
        assert_eq!(grown(&rules(1000, 2.0, 3000)), [1000, 2000, 3000, 3000]);
        assert_eq!(grown(&rules(0, 2.0, 3000)), [0; 4]);
        assert_eq!(grown(&rules(-1, 1.0, i64::MAX)), [30_000; 4]);
        assert_eq!(grown(&rules(1000, -1.0, i64::MAX))[1], 30_000);
        assert_eq!(grown(&rules(i64::MAX, 2.0, i64::MAX))[3], i64::MAX);
    }

    #[test]
    fn a_group_goes_on_unless_the_code_is_excluded() {
        let codes = RetryCodes {
            disabled: vec![101_504],
            enabled: vec![],
        };
        assert!(codes.allow(101_503) && !codes.allow(101_504));
        let codes = RetryCodes {
            disabled: vec![],
            enabled: vec![101_504],
        };
        assert!(!codes.allow(101_503) && codes.allow(101_504));
    }
}
