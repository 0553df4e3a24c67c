//! Resources of one API and the choice between them.
//!
//! Source of the rules: `API.process`, `Resource.canProcess`, `Resource.sendOptions`,
//! `ApiUtils.getAcceptableResources` and the dispatchers in `api/dispatch`.

use regex::Regex;

use super::table::RequestHead;
use super::uri_template::{TemplateMatch, UriTemplate};
use super::url_mapping::UrlMapping;

/// The caller a resource without `binds-to` is bound to.
pub const DEFAULT_BINDING: &str = "default";

/// Why an API or one of its resources cannot be routed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A resource may list GET POST PUT DELETE OPTIONS HEAD PATCH only.
    #[error("unknown method {method:?}")]
    UnknownMethod {
        /// The name as written.
        method: String,
    },
    /// `protocol` and `transports` know `http` and `https` only.
    #[error("unknown transport {transport:?}")]
    UnknownTransport {
        /// The name as written.
        transport: String,
    },
    /// The `user-agent` of a resource is not a regular expression this engine can run.
    #[error("user-agent {pattern:?} is not a usable regular expression: {reason}")]
    UserAgent {
        /// The expression as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The context of an API must begin with a slash.
    #[error("context {context:?} of API {api:?} does not begin with a slash")]
    Context {
        /// Name of the API.
        api: String,
        /// Its context, version resolved.
        context: String,
    },
}

/// The methods a resource lists; the empty set stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodSet(u8);

impl MethodSet {
    /// All methods an artifact may name.
    pub const KNOWN: [&'static str; 7] =
        ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"];

    /// Reads a `methods` attribute: names separated by blanks, upper case only.
    pub fn parse(methods: &str) -> Result<Self, RouteError> {
        methods
            .split_ascii_whitespace()
            .try_fold(Self::default(), |set, method| {
                let bit = Self::bit(method).ok_or_else(|| RouteError::UnknownMethod {
                    method: method.to_owned(),
                })?;
                Ok(Self(set.0 | bit))
            })
    }

    /// Whether the resource names no method.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the resource names `method`.
    pub fn contains(self, method: &str) -> bool {
        Self::bit(method).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Whether a request with `method`, any verb, is welcome: OPTIONS always is.
    pub fn accepts(self, method: &str) -> bool {
        self.is_empty() || method == "OPTIONS" || self.contains(method)
    }

    /// Whether two resources with the same pattern would contend for a method they both name.
    pub fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The `Allow` header with which the engine answers OPTIONS itself.
    pub fn allow(self) -> String {
        if self.is_empty() {
            return "GET, POST, PUT, DELETE".to_owned();
        }
        let named: Vec<&str> = Self::KNOWN
            .into_iter()
            .filter(|method| *method != "OPTIONS" && self.contains(method))
            .collect();
        named.join(", ")
    }

    fn is_options_only(self) -> bool {
        Self::bit("OPTIONS") == Some(self.0)
    }

    fn bit(method: &str) -> Option<u8> {
        let index = Self::KNOWN.iter().position(|known| *known == method)?;
        Some(1 << index)
    }
}

/// The transports an API or a resource is reachable by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transports {
    /// No restriction.
    #[default]
    Both,
    /// Plain HTTP only.
    Http,
    /// HTTPS only.
    Https,
}

impl Transports {
    /// Reads a `transports` or `protocol` attribute; empty means both.
    pub fn parse(transports: &str) -> Result<Self, RouteError> {
        let (mut http, mut https) = (false, false);
        for name in transports.split([',', ' ', '\t', '\r', '\n']) {
            match name {
                "" => {}
                "http" => http = true,
                "https" => https = true,
                other => {
                    return Err(RouteError::UnknownTransport {
                        transport: other.to_owned(),
                    });
                }
            }
        }
        Ok(match (http, https) {
            (true, false) => Self::Http,
            (false, true) => Self::Https,
            _ => Self::Both,
        })
    }

    /// Whether a request that came by HTTPS, or by plain HTTP, is let in.
    pub fn allows(self, https: bool) -> bool {
        match self {
            Self::Both => true,
            Self::Http => !https,
            Self::Https => https,
        }
    }
}

/// The `user-agent` of a resource: a regular expression the whole header must match.
#[derive(Debug, Clone)]
pub struct UserAgentPattern(Regex);

impl UserAgentPattern {
    /// Compiles the value of a `user-agent` attribute.
    pub fn parse(pattern: &str) -> Result<Self, RouteError> {
        Regex::new(&format!(r"\A(?:{pattern})\z"))
            .map(Self)
            .map_err(|error| RouteError::UserAgent {
                pattern: pattern.to_owned(),
                reason: error.to_string(),
            })
    }
}

/// How the path of a request is compared with a resource.
#[derive(Debug, Clone, Default)]
pub enum ResourcePattern {
    /// The `url-mapping` attribute; asked first.
    UrlMapping(UrlMapping),
    /// The `uri-template` attribute; asked second.
    UriTemplate(UriTemplate),
    /// Neither attribute: takes what no pattern takes.
    #[default]
    Default,
}

/// What of a `<resource>` decides whether it gets a request.
#[derive(Debug, Clone, Default)]
pub struct ResourceRoute {
    /// `methods`; empty means all.
    pub methods: MethodSet,
    /// `url-mapping`, `uri-template` or neither.
    pub pattern: ResourcePattern,
    /// `binds-to`: the callers it serves; empty means [`DEFAULT_BINDING`].
    pub binds_to: Vec<String>,
    /// `content-type`: compared with the header, when the request has a body.
    pub content_type: Option<String>,
    /// `user-agent`.
    pub user_agent: Option<UserAgentPattern>,
    /// `protocol`.
    pub protocol: Transports,
}

impl ResourceRoute {
    /// Whether the resource may get the request, its path aside.
    fn accepts(&self, head: &RequestHead<'_>, caller: &str) -> bool {
        if !self.is_bound_to(caller) || !self.protocol.allows(head.https) {
            return false;
        }
        if head.method == "OPTIONS" {
            return true;
        }
        let content_type_fits = match &self.content_type {
            Some(wanted) if head.has_body => head.content_type == Some(wanted.as_str()),
            _ => true,
        };
        let user_agent_fits = match &self.user_agent {
            Some(UserAgentPattern(regex)) => {
                head.user_agent.is_some_and(|agent| regex.is_match(agent))
            }
            None => true,
        };
        self.methods.accepts(head.method) && content_type_fits && user_agent_fits
    }

    fn is_bound_to(&self, caller: &str) -> bool {
        if self.binds_to.is_empty() {
            caller == DEFAULT_BINDING
        } else {
            self.binds_to.iter().any(|binding| binding == caller)
        }
    }
}

/// What an API does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceOutcome {
    /// The resource at `index` in document order mediates the request.
    Found {
        /// Position of the resource in its API.
        index: usize,
        /// Variables of its URI template, without the `uri.var.` prefix.
        variables: Vec<(String, String)>,
    },
    /// The engine answers OPTIONS itself, since the resource at `index` does not list it.
    Options {
        /// Position of the resource in its API.
        index: usize,
        /// Value of the `Allow` header.
        allow: String,
    },
    /// 404: no resource has a pattern for the path.
    NotFound,
    /// 405: a resource has a pattern for the path, none accepts the verb.
    MethodNotAllowed,
    /// 400: pattern and verb fit, but binding, transport, content type or user agent do not, or
    /// a template variable has a malformed percent escape.
    BadRequest,
}

/// Chooses among the resources of one API. `sub_path` is the target after the context with its
/// query; `caller` the name the request came in by, [`DEFAULT_BINDING`] for ordinary listeners.
pub fn choose_resource(
    resources: &[ResourceRoute],
    head: &RequestHead<'_>,
    sub_path: &str,
    caller: &str,
) -> ResourceOutcome {
    let acceptable = || {
        let indexed = resources.iter().enumerate();
        // Resources that list only OPTIONS go first; other verbs never reach them.
        let first = indexed.clone().filter(|(_, r)| r.methods.is_options_only());
        let others = indexed.filter(|(_, r)| !r.methods.is_options_only());
        first
            .chain(others)
            .filter(|(_, resource)| resource.accepts(head, caller))
    };
    match dispatch(&acceptable, sub_path) {
        Dispatched::Malformed => return ResourceOutcome::BadRequest,
        Dispatched::To { index, variables } => {
            let methods = resources.get(index).map(|resource| resource.methods);
            return match methods {
                Some(methods) if head.method == "OPTIONS" && !methods.contains("OPTIONS") => {
                    ResourceOutcome::Options {
                        index,
                        allow: methods.allow(),
                    }
                }
                _ => ResourceOutcome::Found { index, variables },
            };
        }
        Dispatched::Nowhere => {}
    }
    if acceptable().next().is_some() {
        return ResourceOutcome::NotFound;
    }
    match dispatch(&|| resources.iter().enumerate(), sub_path) {
        Dispatched::Nowhere => ResourceOutcome::NotFound,
        Dispatched::Malformed => ResourceOutcome::BadRequest,
        Dispatched::To { index, .. } => match resources.get(index) {
            Some(resource) if resource.methods.accepts(head.method) => ResourceOutcome::BadRequest,
            _ => ResourceOutcome::MethodNotAllowed,
        },
    }
}

enum Dispatched {
    To {
        index: usize,
        variables: Vec<(String, String)>,
    },
    Nowhere,
    Malformed,
}

/// Url mappings before URI templates before the default resource.
fn dispatch<'a, I>(candidates: &dyn Fn() -> I, sub_path: &str) -> Dispatched
where
    I: Iterator<Item = (usize, &'a ResourceRoute)>,
{
    for dispatcher in DISPATCHERS {
        match dispatcher.find(candidates(), sub_path) {
            Dispatched::Nowhere => {}
            found => return found,
        }
    }
    Dispatched::Nowhere
}

/// The ways to find a resource, in the order in which they are tried (`ApiUtils.getDispatchers`).
#[derive(Clone, Copy)]
enum Dispatcher {
    UrlMapping,
    UriTemplate,
    Default,
}

const DISPATCHERS: [Dispatcher; 3] = [
    Dispatcher::UrlMapping,
    Dispatcher::UriTemplate,
    Dispatcher::Default,
];

impl Dispatcher {
    fn find<'a>(
        self,
        mut candidates: impl Iterator<Item = (usize, &'a ResourceRoute)>,
        sub_path: &str,
    ) -> Dispatched {
        let mut variables = Vec::new();
        let found = match self {
            Self::UrlMapping => {
                let mappings = candidates.filter_map(|(index, resource)| match &resource.pattern {
                    ResourcePattern::UrlMapping(mapping) => Some((index, mapping)),
                    _ => None,
                });
                UrlMapping::choose(mappings, sub_path)
            }
            Self::UriTemplate => {
                for (index, resource) in candidates {
                    let ResourcePattern::UriTemplate(template) = &resource.pattern else {
                        continue;
                    };
                    match template.try_match(sub_path, &mut variables) {
                        TemplateMatch::Yes => return Dispatched::To { index, variables },
                        TemplateMatch::No => {}
                        TemplateMatch::Malformed => return Dispatched::Malformed,
                    }
                }
                None
            }
            Self::Default => candidates
                .find(|(_, resource)| matches!(resource.pattern, ResourcePattern::Default))
                .map(|(index, _)| index),
        };
        found.map_or(Dispatched::Nowhere, |index| Dispatched::To {
            index,
            variables,
        })
    }
}

/// The resource that API Manager's handlers go by: security, throttling, CORS, policies. It can be
/// another one than the resource that mediates the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Election {
    /// Position of the resource in its API, and the variables of its URI template.
    Resource(usize, Vec<(String, String)>),
    /// 404: no resource has a pattern for the path.
    NotFound,
    /// 405: a resource has a pattern for the path, but does not list the verb.
    MethodNotAllowed,
    /// 400: a template variable has a malformed percent escape.
    BadRequest,
}

/// Elects among the resources that list the verb or, for OPTIONS, the verb that
/// Access-Control-Request-Method asks for. A pattern without `/*` goes before one with it, whatever
/// kind it is of. Source: `CORSRequestHandler.handleRequest`.
pub fn elect_resource(
    resources: &[ResourceRoute],
    method: &str,
    requested_method: Option<&str>,
    sub_path: &str,
) -> Election {
    let preflight = requested_method.filter(|_| method == "OPTIONS");
    let acceptable = || {
        resources.iter().enumerate().filter(|(_, resource)| {
            resource.methods.contains(method)
                || preflight.is_some_and(|method| resource.methods.contains(method))
        })
    };
    let mut elected = None;
    for dispatcher in DISPATCHERS {
        match dispatcher.find(acceptable(), sub_path) {
            Dispatched::Nowhere => {}
            Dispatched::Malformed => return Election::BadRequest,
            Dispatched::To { index, variables } => {
                let pattern = resources.get(index).map(|resource| &resource.pattern);
                let exact = match pattern {
                    Some(ResourcePattern::UrlMapping(mapping)) => !mapping.has_catch_all(),
                    Some(ResourcePattern::UriTemplate(template)) => {
                        !template.as_str().contains("/*")
                    }
                    // Has no pattern to go by; stands in only for want of any other.
                    Some(ResourcePattern::Default) | None => {
                        elected = elected.or(Some((index, variables)));
                        continue;
                    }
                };
                elected = Some((index, variables));
                if exact {
                    break;
                }
            }
        }
    }
    if let Some((index, variables)) = elected {
        return Election::Resource(index, variables);
    }
    match dispatch(&|| resources.iter().enumerate(), sub_path) {
        Dispatched::Nowhere => Election::NotFound,
        Dispatched::Malformed => Election::BadRequest,
        Dispatched::To { .. } => Election::MethodNotAllowed,
    }
}

#[cfg(test)]
mod tests;
