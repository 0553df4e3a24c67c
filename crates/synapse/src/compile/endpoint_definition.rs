//! What an `<http>`, `<address>` or `<default>` says beside its address: timeout, suspension,
//! retries, authentication. Sources: EndpointDefinitionFactory, HTTPEndpointFactory.

use std::time::Duration;

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::plan::{Format, Leaf, NotExecuted, Timeout};
use crate::xml::Element;

impl Compiler<'_> {
    /// Reads into `leaf`, of the endpoint with this name; what makes the endpoint one that is not executed is given back.
    pub(super) fn definition(
        &mut self,
        kind: &Element,
        place: &Place<'_>,
        name: &str,
        leaf: &mut Leaf,
    ) -> Option<NotExecuted> {
        let mut not_executed = None;
        if kind.name != "http" {
            leaf.format = self.format(kind, place);
        }
        for (place, child) in place.children(kind) {
            match child.name.as_str() {
                "timeout" => self.timeout(child, &place, leaf),
                "markForSuspension" | "suspendOnFailure" | "retryConfig" => {
                    for (place, value) in place.children(child) {
                        self.failure_rule(&child.name, value, &place, leaf);
                    }
                }
                "authentication" => match self.authentication(child, &place, name) {
                    Ok(authentication) => leaf.authentication = authentication,
                    Err(element) => not_executed = Some(element),
                },
                "enableAddressing" | "enableSec" | "enableRM" => self.findings.add(
                    Severity::NotExecuted,
                    &place,
                    format!("{} has no effect here", child.name),
                ),
                _ => {}
            }
        }
        not_executed
    }

    /// What messages leave as. `rest` changes nothing.
    fn format(&mut self, kind: &Element, place: &Place<'_>) -> Option<Format> {
        if let Some(optimize) = kind.set_attribute("optimize") {
            let message = format!("optimize {optimize:?} has no effect: there are no attachments");
            self.findings.add(Severity::Ignored, place, message);
        }
        match kind
            .set_attribute("format")?
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "soap11" => Some(Format::Soap11),
            "soap12" => Some(Format::Soap12),
            "pox" => Some(Format::Pox),
            "get" => Some(Format::Get),
            "rest" => None,
            other => {
                let message = format!("format {other:?} is none; messages leave as what they are");
                self.findings.add(Severity::NotExecuted, place, message);
                None
            }
        }
    }

    fn timeout(&mut self, timeout: &Element, place: &Place<'_>, leaf: &mut Leaf) {
        for (place, child) in place.children(timeout) {
            let text = child.text();
            match child.name.as_str() {
                "duration" => match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
                    Some(expression) => match self.parse_expression(expression) {
                        Ok(expression) => leaf.timeout = Some(Timeout::Dynamic(expression)),
                        Err(error) => {
                            let message =
                                format!("timeout per message: {error}; the global one is used");
                            self.findings.add(Severity::NotExecuted, &place, message);
                        }
                    },
                    None => match text.parse::<u64>() {
                        Ok(0) => leaf.timeout = None,
                        Ok(milliseconds) => {
                            let duration = Duration::from_millis(milliseconds);
                            leaf.timeout = Some(Timeout::Fixed(duration));
                        }
                        Err(_) => self.findings.refuse(
                            &place,
                            format!("a duration is a number of milliseconds, found {text:?}"),
                        ),
                    },
                },
                "responseAction" | "action" => match &*text {
                    "fault" => leaf.discard = false,
                    "discard" => leaf.discard = true,
                    _ => self.findings.refuse(
                        &place,
                        format!("responseAction must be fault or discard, found {text:?}"),
                    ),
                },
                _ => {}
            }
        }
    }

    fn failure_rule(&mut self, parent: &str, value: &Element, place: &Place<'_>, leaf: &mut Leaf) {
        let text = value.text();
        let rules = &mut leaf.suspension;
        let fine = match (parent, value.name.as_str()) {
            ("retryConfig", "disabledErrorCodes") => {
                set_codes(&text, |codes| leaf.retry.disabled = codes)
            }
            ("retryConfig", "enabledErrorCodes") => {
                set_codes(&text, |codes| leaf.retry.enabled = codes)
            }
            ("markForSuspension", "errorCodes") => {
                set_codes(&text, |codes| rules.mark_codes = listed(codes))
            }
            ("markForSuspension", "retriesBeforeSuspension") => {
                set(&text, &mut rules.retries_before_suspension)
            }
            ("markForSuspension", "retryDelay") => set(&text, &mut rules.retry_delay),
            ("suspendOnFailure", "errorCodes") => {
                set_codes(&text, |codes| rules.suspend_codes = listed(codes))
            }
            ("suspendOnFailure", "initialDuration") => set(&text, &mut rules.initial_duration),
            ("suspendOnFailure", "progressionFactor") => set(&text, &mut rules.progression_factor),
            ("suspendOnFailure", "maximumDuration") => set(&text, &mut rules.maximum_duration),
            _ => true,
        };
        if !fine {
            let message = format!("{} must be a number, found {text:?}", value.name);
            self.findings.refuse(place, message);
        }
    }
}

fn set<T: std::str::FromStr>(text: &str, to: &mut T) -> bool {
    text.parse().map(|number| *to = number).is_ok()
}

/// Codes between commas and blanks; the original takes line ends for a part of a number.
fn set_codes(text: &str, set: impl FnOnce(Vec<i64>)) -> bool {
    let codes: Result<Vec<i64>, _> = text
        .split([',', ' ', '\t', '\n', '\r'])
        .filter(|code| !code.is_empty())
        .map(str::parse)
        .collect();
    codes.map(set).is_ok()
}

/// A list without codes is none.
fn listed(codes: Vec<i64>) -> Option<Vec<i64>> {
    (!codes.is_empty()).then_some(codes)
}
