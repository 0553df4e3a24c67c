//! `<handlers>` of an API: those that the engine runs itself, and what becomes of the others.
//! Source: TemplateBuilderUtil.getAPITemplateBuilder of API Manager, which generates them.

use std::sync::Arc;

use artifact::Severity;

use super::class::of_api_manager;
use super::place::Place;
use super::{Compiler, EXTENSION_SUFFIXES};
use crate::plan::{Authenticator, Cors, Handler, NotExecuted, common};
use crate::xml::Element;

impl Compiler<'_> {
    /// The first `<handlers>`; the original engine reads no other.
    pub(super) fn handlers(
        &mut self,
        api: &Element,
        place: &Place<'_>,
        runtime_key: &str,
    ) -> Arc<[Handler]> {
        let Some(handlers) = api.child("handlers") else {
            return Arc::new([]);
        };
        let place = place.child("handlers");
        let mut compiled = Vec::new();
        for (place, handler) in place.children(handlers) {
            let class = handler.attribute("class").unwrap_or_default();
            compiled.extend(self.handler(handler, class, &place, runtime_key));
        }
        common::handlers(compiled)
    }

    fn handler(
        &mut self,
        handler: &Element,
        class: &str,
        place: &Place<'_>,
        runtime_key: &str,
    ) -> Option<Handler> {
        let property = |name: &str| property(handler, name);
        Some(match of_api_manager(class) {
            "APIMgtLatencyStatsHandler"
            | "APIMgtUsageHandler"
            | "APIMgtGoogleAnalyticsTrackingHandler" => {
                let message = format!("{class}: analytics are not collected");
                self.findings.add(Severity::Ignored, place, message);
                return None;
            }
            "APIManagerCacheExtensionHandler" => {
                let message = format!("{class}: there are no caches of tokens to clear");
                self.findings.add(Severity::Ignored, place, message);
                return None;
            }
            "CORSRequestHandler" => Handler::Cors(Cors {
                allow_headers: property("allowHeaders").map(str::to_owned),
                allowed_origins: property("allowedOrigins").map(list),
                allowed_methods: property("allowedMethods").map(list),
                allow_credentials: property("allowCredentials")
                    .map(|value| value.eq_ignore_ascii_case("true")),
                authorization_header: property("AuthorizationHeader").map(str::to_owned),
                inline: property("apiImplementationType")
                    .is_some_and(|kind| kind.eq_ignore_ascii_case("INLINE")),
                sequence: self.sequence_names.get("_cors_request_handler_").copied(),
            }),
            "APIStatusHandler" => Handler::Status,
            "APIAuthenticationHandler" => Handler::Authentication(Authenticator {
                schemes: property("APISecurity").map(list).unwrap_or_default(),
                authorization_header: property("AuthorizationHeader").map(str::to_owned),
                api_key_header: property("ApiKeyHeader").map(str::to_owned),
                removes_credentials: property("RemoveOAuthHeadersFromOutMessage")
                    .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            }),
            "ThrottleHandler" | "APIThrottleHandler" => Handler::Quota,
            "APIManagerExtensionHandler" => Handler::Extension {
                incoming: self.extension(runtime_key, EXTENSION_SUFFIXES[0]),
                outgoing: self.extension(runtime_key, EXTENSION_SUFFIXES[1]),
            },
            "SynapsePropertiesHandler" => Handler::Ports,
            _ => {
                let message = format!(
                    "handler {class} is not executed; requests pass it by while \
                     gateway.security.mode is \"off\""
                );
                self.findings.add(Severity::NotExecuted, place, message);
                Handler::Unknown(NotExecuted {
                    what: format!("handler {class}"),
                    place: place.to_string(),
                })
            }
        })
    }

    /// The sequences that APIManagerExtensionHandler runs, in its order.
    fn extension(&self, runtime_key: &str, suffix: &str) -> Vec<usize> {
        ["WSO2AM", "WSO2AMGW"]
            .iter()
            .map(|prefix| format!("{prefix}--Ext{suffix}"))
            .chain([format!("{runtime_key}{suffix}")])
            .filter_map(|name| self.sequence_names.get(&name).copied())
            .collect()
    }
}

/// The value of `<property name= value=>`; an empty one counts as none.
fn property<'h>(handler: &'h Element, name: &str) -> Option<&'h str> {
    let mut properties = handler.elements().filter(|child| child.name == "property");
    let property = properties.find(|property| property.attribute("name") == Some(name))?;
    Some(property.attribute("value")?.trim()).filter(|value| !value.is_empty())
}

fn list(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}
