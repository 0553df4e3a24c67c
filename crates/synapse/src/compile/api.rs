//! `<api>`, its resources and handlers. Sources: APIFactory, ResourceFactory,
//! VersionStrategyFactory, API.addResource of Synapse.

use std::collections::HashMap;
use std::sync::Arc;

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::dispatch::{
    ApiRoute, MethodSet, ResourcePattern, ResourceRoute, Transports, UriTemplate, UrlMapping,
    UserAgentPattern, VersionStrategy,
};
use crate::plan::{ApiPlan, Flow, KeyType, ResourcePlan, common};
use crate::xml::Element;

/// Resources of one API.
const MAX_RESOURCES: usize = 10_000;
/// Characters of a context; the column that holds it has no more.
const MAX_CONTEXT: usize = 1000;

impl Compiler<'_> {
    /// `None` when the API is refused; the findings say why.
    pub(super) fn api(&mut self, api: &Element, place: &Place<'_>, text: &str) -> Option<ApiPlan> {
        if api.name != "api" {
            let message = format!("root element must be <api>, found <{}>", api.name);
            self.findings.refuse(place, message);
            return None;
        }
        let mut route = self.route(api, place)?;
        let mut resources = Vec::new();
        let count = api
            .elements()
            .filter(|child| child.name == "resource")
            .count();
        if count > MAX_RESOURCES {
            let message = format!("has {count} resources, at most {MAX_RESOURCES} are served");
            self.findings.refuse(place, message);
            return None;
        }
        let mut key_types = (false, false);
        let mut by_pattern: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, child) in place.children(api) {
            match child.name.as_str() {
                "resource" => {
                    let (resource, pattern) = self.resource_route(child, &place)?;
                    let same = by_pattern.entry(stored(&resource.pattern)).or_default();
                    let other = same
                        .iter()
                        .find(|at: &&usize| collide(&route.resources[**at], &resource));
                    if let Some(other) = other {
                        let message = format!(
                            "has the pattern and a method of resource {}, too; \
                             a request can have only one of them",
                            other + 1
                        );
                        self.findings.refuse(&place, message);
                    } else {
                        same.push(route.resources.len());
                    }
                    route.resources.push(resource);
                    let plan = self.inside(child, |compiler| {
                        compiler.resource_plan(child, &place, pattern, text)
                    });
                    resources.push(plan);
                    note_key_types(child, &mut key_types);
                }
                "handlers" | "description" => {}
                other => self.findings.add(
                    Severity::Ignored,
                    &place,
                    format!("<{other}> in an API has no effect"),
                ),
            }
        }
        if resources.is_empty() {
            self.findings
                .refuse(place, "an API needs at least one <resource>");
            return None;
        }
        route.resources.shrink_to_fit();
        let runtime_key = route.runtime_key();
        Some(ApiPlan {
            route: Arc::new(route),
            resources,
            key_type: match key_types {
                (false, true) => KeyType::Sandbox,
                _ => KeyType::Production,
            },
            fault: self.sequence_ref("fault", place),
            handlers: self.handlers(api, place, &runtime_key),
        })
    }

    fn route(&mut self, api: &Element, place: &Place<'_>) -> Option<ApiRoute> {
        let (Some(name), Some(context)) = (api.set_attribute("name"), api.set_attribute("context"))
        else {
            self.findings
                .refuse(place, "an API needs the attributes name and context");
            return None;
        };
        let length = context.chars().count();
        if length > MAX_CONTEXT {
            let message = format!("the context has {length} characters, at most {MAX_CONTEXT}");
            self.findings.refuse(place, message);
            return None;
        }
        if let Some(character) = context.chars().find(|c| !in_request_target(*c)) {
            let message = format!(
                "the context holds {character:?}, which no request target can hold; \
                 no request reaches this API"
            );
            self.findings.add(Severity::NotExecuted, place, message);
        }
        let version = api.set_attribute("version");
        let strategy = match (version, api.set_attribute("version-type")) {
            (None, None) => VersionStrategy::None,
            (Some(version), Some("context")) => VersionStrategy::Context(version.to_owned()),
            (Some(version), Some("url")) => VersionStrategy::Url(version.to_owned()),
            (Some(_), None) => {
                self.findings
                    .refuse(place, "version needs version-type=\"context\" or \"url\"");
                return None;
            }
            (None, Some(_)) => {
                self.findings.refuse(place, "version-type needs a version");
                return None;
            }
            (_, Some(other)) => {
                let message = format!("version-type must be context or url, found {other:?}");
                self.findings.refuse(place, message);
                return None;
            }
        };
        let built = ApiRoute::new(name, context, strategy).and_then(|mut route| {
            route.transports = Transports::parse(api.attribute("transports").unwrap_or_default())?;
            Ok(route)
        });
        let mut route = match built {
            Ok(route) => route,
            Err(error) => {
                self.findings.refuse(place, error.to_string());
                return None;
            }
        };
        let host = api.set_attribute("hostname").or(api.set_attribute("host"));
        route.hostname = host.map(str::to_owned);
        if let Some(port) = api.set_attribute("port") {
            match port.parse() {
                Ok(port) => route.port = Some(port),
                Err(_) => {
                    let message = format!("port must be a number up to 65535, found {port:?}");
                    self.findings.refuse(place, message);
                }
            }
        }
        Some(route)
    }

    fn resource_route(
        &mut self,
        resource: &Element,
        place: &Place<'_>,
    ) -> Option<(ResourceRoute, String)> {
        let mapping = resource.attribute("url-mapping");
        let template = resource.attribute("uri-template");
        let pattern = match (mapping, template) {
            (Some(_), Some(_)) => {
                let message = "a resource has a url-mapping or a uri-template, not both";
                self.findings.refuse(place, message);
                return None;
            }
            (Some(mapping), None) => ResourcePattern::UrlMapping(UrlMapping::parse(mapping)),
            (None, Some(template)) => match UriTemplate::parse(template) {
                Ok(template) => ResourcePattern::UriTemplate(template),
                Err(error) => {
                    self.findings
                        .refuse(place, format!("uri-template: {error}"));
                    return None;
                }
            },
            (None, None) => ResourcePattern::Default,
        };
        let parsed = || {
            let user_agent = resource.set_attribute("user-agent");
            Ok(ResourceRoute {
                methods: MethodSet::parse(resource.attribute("methods").unwrap_or_default())?,
                pattern,
                binds_to: list(resource.attribute("binds-to").unwrap_or_default()),
                content_type: resource.set_attribute("content-type").map(str::to_owned),
                user_agent: user_agent.map(UserAgentPattern::parse).transpose()?,
                protocol: Transports::parse(resource.attribute("protocol").unwrap_or_default())?,
            })
        };
        match parsed() {
            Ok(route) => Some((route, mapping.or(template).unwrap_or("/*").to_owned())),
            Err::<_, crate::dispatch::RouteError>(error) => {
                self.findings.refuse(place, error.to_string());
                None
            }
        }
    }

    fn resource_plan(
        &mut self,
        resource: &Element,
        place: &Place<'_>,
        pattern: String,
        text: &str,
    ) -> ResourcePlan {
        let in_sequence = self.flow(resource, place, "inSequence", text);
        let out_sequence = self.flow(resource, place, "outSequence", text);
        let fault_sequence = self.fault_flow(resource, place, text);
        ResourcePlan {
            pattern,
            open: MethodSet::default(),
            in_sequence: in_sequence.unwrap_or_else(|| Flow::Inline(common::block(Arc::new([])))),
            out_sequence,
            fault_sequence,
        }
    }

    /// The resource's fault sequence; a key that is not there leaves the gateway's own in charge.
    fn fault_flow(&mut self, resource: &Element, place: &Place<'_>, text: &str) -> Flow {
        let key = resource.set_attribute("faultSequence");
        let missing = key.filter(|key| {
            !key.starts_with('{')
                && !self.sequence_names.contains_key(*key)
                && !super::is_shipped_sequence(key)
        });
        if let Some(key) = missing {
            let message = format!("sequence {key} is not in the artifact; fault runs in its place");
            self.findings.add(Severity::NotExecuted, place, message);
            return Flow::Reference(self.sequence_ref("fault", place));
        }
        self.flow(resource, place, "faultSequence", text)
            .unwrap_or_else(|| Flow::Reference(self.sequence_ref("fault", place)))
    }

    /// An inline child element or, named by an attribute, a reference.
    fn flow(
        &mut self,
        resource: &Element,
        place: &Place<'_>,
        name: &str,
        text: &str,
    ) -> Option<Flow> {
        if let Some(key) = resource.set_attribute(name) {
            return Some(Flow::Reference(self.sequence_ref(key, place)));
        }
        let child = resource.child(name)?;
        let block = self.block(child, &place.child(name), text);
        Some(Flow::Inline(common::block(block)))
    }
}

/// Whether a context with this character can match: a request target is compared as it is sent.
fn in_request_target(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/{}".contains(character)
}

/// The pattern as Synapse stores it, each kind for itself.
fn stored(pattern: &ResourcePattern) -> String {
    match pattern {
        ResourcePattern::Default => String::new(),
        ResourcePattern::UrlMapping(mapping) => format!("mapping {}", mapping.to_pattern()),
        ResourcePattern::UriTemplate(template) => format!("template {}", template.as_str()),
    }
}

/// Whether some request would fit both resources of one pattern (`API.addResource`).
fn collide(left: &ResourceRoute, right: &ResourceRoute) -> bool {
    let all = |route: &ResourceRoute| route.methods.is_empty();
    (all(left) || all(right) || left.methods.overlaps(right.methods))
        && left.content_type == right.content_type
        && left.binds_to == right.binds_to
        && left.user_agent.is_none() == right.user_agent.is_none()
}

/// Which key types the resource's filters ask for.
fn note_key_types(resource: &Element, (production, sandbox): &mut (bool, bool)) {
    for filter in resource.descendants().filter(|e| e.name == "filter") {
        if filter.attribute("source") == Some("$ctx:AM_KEY_TYPE") {
            *production |= filter.attribute("regex") == Some("PRODUCTION");
            *sandbox |= filter.attribute("regex") == Some("SANDBOX");
        }
    }
}

fn list(text: &str) -> Vec<String> {
    text.split([',', ' ', '\t', '\n', '\r'])
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
