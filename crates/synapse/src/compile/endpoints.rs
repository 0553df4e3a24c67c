//! `<endpoint>`. Sources: HTTPEndpointFactory, AddressEndpointFactory, EndpointDefinitionFactory.

use std::sync::Arc;
use std::time::Duration;

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::dispatch::EndpointTemplate;
use crate::plan::{Address, Endpoint, EndpointRef};
use crate::xml::Element;

impl Compiler<'_> {
    pub(super) fn endpoint_ref(&mut self, element: &Element, place: &Place<'_>) -> EndpointRef {
        let Some(key) = element.set_attribute("key") else {
            return EndpointRef::Inline(Arc::new(self.endpoint(element, place, "")));
        };
        if key.starts_with('{') || element.set_attribute("key-expression").is_some() {
            return EndpointRef::NotExecuted(
                self.note_not_executed(place, "an endpoint key computed per message"),
            );
        }
        match self.endpoint_names.get(key) {
            Some(index) => EndpointRef::Own(*index),
            None => {
                let message =
                    format!("endpoint {key} is not in the artifact; reaching it is a fault");
                self.findings.add(Severity::NotExecuted, place, message);
                EndpointRef::Missing(key.to_owned())
            }
        }
    }

    pub(super) fn endpoint(&mut self, element: &Element, place: &Place<'_>, key: &str) -> Endpoint {
        let mut endpoint = Endpoint {
            name: element.set_attribute("name").unwrap_or(key).to_owned(),
            address: Address::To,
            timeout: None,
            discard: false,
            properties: Vec::new(),
        };
        let mut kinds = 0;
        for (place, child) in place.children(element) {
            match child.name.as_str() {
                "http" | "address" | "default" => {
                    kinds += 1;
                    endpoint.address = self.address(child, &place);
                    if matches!(endpoint.address, Address::To) {
                        self.to_endpoints.push(place.to_string());
                    }
                    self.definition(child, &place, &mut endpoint);
                }
                "property" => {
                    let name = child.attribute("name").unwrap_or_default();
                    let value = child.attribute("value").unwrap_or_default();
                    endpoint
                        .properties
                        .push((name.to_owned(), value.to_owned()));
                }
                // Affinity and membership belong to the group beside them.
                "session" | "description" | "membershipHandler" => {}
                other => {
                    kinds += 1;
                    let what = format!("<{other}> endpoint");
                    endpoint.address = Address::NotExecuted(self.note_not_executed(&place, &what));
                }
            }
        }
        if kinds == 0 {
            self.findings.refuse(
                place,
                "an endpoint needs a key, or one of http, address, default, failover, loadbalance",
            );
        }
        endpoint
    }

    fn address(&mut self, kind: &Element, place: &Place<'_>) -> Address {
        match kind.name.as_str() {
            "http" => {
                let text = kind.set_attribute("uri-template").unwrap_or_default();
                let method = kind.set_attribute("method").map(str::to_ascii_uppercase);
                match EndpointTemplate::parse(text) {
                    // Without a template the message's To says where.
                    Ok(_) if text.is_empty() => Address::To,
                    Ok(template) => Address::Http { template, method },
                    Err(error) => {
                        self.findings
                            .refuse(place, format!("uri-template: {error}"));
                        Address::To
                    }
                }
            }
            "address" => match kind.set_attribute("uri") {
                Some(uri) => Address::Fixed(uri.to_owned()),
                None => {
                    self.findings
                        .refuse(place, "an address endpoint needs a uri");
                    Address::To
                }
            },
            _ => Address::To,
        }
    }

    /// Timeout and suspension, common to all plain endpoints.
    fn definition(&mut self, kind: &Element, place: &Place<'_>, endpoint: &mut Endpoint) {
        for (place, child) in place.children(kind) {
            match child.name.as_str() {
                "timeout" => self.timeout(child, &place, endpoint),
                "suspendOnFailure" | "markForSuspension" => self.suspension(child, &place),
                "authentication" => {
                    let what = "endpoint authentication";
                    endpoint.address = Address::NotExecuted(self.note_not_executed(&place, what));
                }
                "enableAddressing" | "enableSec" | "enableRM" => self.findings.add(
                    Severity::NotExecuted,
                    &place,
                    format!("{} has no effect here", child.name),
                ),
                _ => {}
            }
        }
    }

    fn timeout(&mut self, timeout: &Element, place: &Place<'_>, endpoint: &mut Endpoint) {
        for (place, child) in place.children(timeout) {
            let text = child.text();
            match child.name.as_str() {
                "duration" if text.starts_with('{') => {
                    let message = "a timeout computed per message; the global one is used";
                    self.findings.add(Severity::NotExecuted, &place, message);
                }
                "duration" => match text.parse() {
                    Ok(0) => endpoint.timeout = None,
                    Ok(milliseconds) => {
                        endpoint.timeout = Some(Duration::from_millis(milliseconds));
                    }
                    Err(_) => self.findings.refuse(
                        &place,
                        format!("a duration is a number of milliseconds, found {text:?}"),
                    ),
                },
                "responseAction" | "action" => match text.as_str() {
                    "fault" => endpoint.discard = false,
                    "discard" => endpoint.discard = true,
                    _ => self.findings.refuse(
                        &place,
                        format!("responseAction must be fault or discard, found {text:?}"),
                    ),
                },
                _ => {}
            }
        }
    }

    /// Numbers are checked as the original does; the states themselves are not kept.
    fn suspension(&mut self, element: &Element, place: &Place<'_>) {
        let mut never = false;
        for (place, child) in place.children(element) {
            let text = child.text();
            let fine = match child.name.as_str() {
                "errorCodes" => {
                    let codes = || {
                        text.split([',', ' ', '\t', '\n', '\r'])
                            .filter(|c| !c.is_empty())
                    };
                    never = codes().eq(["-1"]);
                    codes().all(|code| code.parse::<i64>().is_ok())
                }
                "progressionFactor" => text.parse::<f64>().is_ok(),
                "initialDuration"
                | "maximumDuration"
                | "retriesBeforeSuspension"
                | "retryDelay" => text.parse::<i64>().is_ok(),
                _ => true,
            };
            if !fine {
                let message = format!("{} must be a number, found {text:?}", child.name);
                self.findings.refuse(&place, message);
            }
        }
        if element.name == "suspendOnFailure" && !never {
            self.findings.add(
                Severity::NotExecuted,
                place,
                "the endpoint is not suspended after a failure; each request tries it",
            );
        }
    }
}
