//! The route table: which API gets a request.
//!
//! The table is immutable; a changed set of APIs is a new table. It is keyed by context, so a
//! lookup costs one hash per context length that fits the path, however many APIs there are.
//! Source of the rules: `AbstractApiHandler.dispatchToAPI`, `API.canProcess`,
//! `ApiUtils.matchApiPath`, `SynapseConfiguration.reconstructAPITable`, `api/version`.

use std::collections::HashMap;
use std::sync::Arc;

use super::resource::{
    DEFAULT_BINDING, ResourceOutcome, ResourceRoute, RouteError, Transports, choose_resource,
};

/// The text in a context that the context version strategy replaces.
const VERSION_PLACEHOLDER: &str = "{version}";

/// `version` and `version-type` of an API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionStrategy {
    /// No version type: the version is not checked.
    #[default]
    None,
    /// `version-type="context"`: the version stands for `{version}` in the context.
    Context(String),
    /// `version-type="url"`: the segment right after the context must be the version.
    Url(String),
}

impl VersionStrategy {
    /// The version, if a strategy applies.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Context(version) | Self::Url(version) => Some(version),
        }
    }
}

/// What of an `<api>` decides whether it gets a request.
#[derive(Debug, Clone)]
pub struct ApiRoute {
    name: String,
    context: String,
    version: VersionStrategy,
    /// `hostname`: compared with the name in the Host header.
    pub hostname: Option<String>,
    /// `port`: compared with the port in the Host header, by default 80 or 443.
    pub port: Option<u16>,
    /// `transports`.
    pub transports: Transports,
    /// The resources in document order.
    pub resources: Vec<ResourceRoute>,
}

impl ApiRoute {
    /// A route without restrictions and resources. `context` is as written in the artifact: its
    /// `{version}` is resolved here and its trailing slashes go, so `/` becomes empty.
    pub fn new(
        name: impl Into<String>,
        context: &str,
        version: VersionStrategy,
    ) -> Result<Self, RouteError> {
        let name = name.into();
        let resolved = match &version {
            VersionStrategy::Context(version) => context
                .trim_end_matches('/')
                .replace(VERSION_PLACEHOLDER, version),
            VersionStrategy::None | VersionStrategy::Url(_) => context.to_owned(),
        };
        if !context.starts_with('/') || !(resolved.is_empty() || resolved.starts_with('/')) {
            return Err(RouteError::Context {
                api: name,
                context: resolved,
            });
        }
        Ok(Self {
            name,
            context: resolved.trim_end_matches('/').to_owned(),
            version,
            hostname: None,
            port: None,
            transports: Transports::Both,
            resources: Vec::new(),
        })
    }

    /// The `name` attribute.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The context with its version resolved and without trailing slashes.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The version strategy.
    pub fn version(&self) -> &VersionStrategy {
        &self.version
    }

    /// The key of the API at run time: `name`, or `name:v<version>` if a strategy applies.
    pub fn runtime_key(&self) -> String {
        match self.version.version() {
            Some(version) if !version.is_empty() => format!("{}:v{version}", self.name),
            _ => self.name.clone(),
        }
    }

    /// Chooses a resource for a sub path, as [`choose_resource`] does.
    pub fn choose_resource(
        &self,
        head: &RequestHead<'_>,
        sub_path: &str,
        caller: &str,
    ) -> ResourceOutcome {
        choose_resource(&self.resources, head, sub_path, caller)
    }

    /// Whether the Host header is the one the API asks for, if it asks for one.
    fn is_for_host(&self, head: &RequestHead<'_>) -> bool {
        if self.hostname.is_none() && self.port.is_none() {
            return true;
        }
        let Some(host) = head.host else {
            return false;
        };
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, port.parse().ok()),
            None => (host, Some(if head.https { 443 } else { 80 })),
        };
        self.hostname.as_deref().is_none_or(|wanted| wanted == name)
            && (self.port.is_none() || self.port == port)
    }
}

/// What of a request decides where it goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestHead<'a> {
    /// The verb, any text.
    pub method: &'a str,
    /// Path and query as received, not decoded.
    pub target: &'a str,
    /// The Host header.
    pub host: Option<&'a str>,
    /// Whether the request came by HTTPS.
    pub https: bool,
    /// The Content-Type header.
    pub content_type: Option<&'a str>,
    /// The User-Agent header.
    pub user_agent: Option<&'a str>,
    /// Whether the request has an entity body.
    pub has_body: bool,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Selection<'t, 'r, T> {
    /// An API takes it.
    Api(Selected<'t, 'r, T>),
    /// No API takes it, and at least one would have but for its transport (TRANSPORT_DENIED).
    TransportDenied,
    /// No API takes it: the main sequence answers.
    NotFound,
}

/// An API that takes a request.
#[derive(Debug)]
pub struct Selected<'t, 'r, T> {
    /// Its route.
    pub route: &'t ApiRoute,
    /// What was attached to it.
    pub attached: &'t T,
    /// REST_URL_POSTFIX: path and query after the context, and after the version of the url
    /// strategy.
    pub rest_url_postfix: &'r str,
    /// REST_SUB_REQUEST_PATH: the same, but `/` when there is nothing left.
    pub sub_path: &'r str,
    /// What the API does with the request.
    pub resource: ResourceOutcome,
}

/// All APIs of a gateway by context.
#[derive(Debug)]
pub struct RouteTable<T> {
    /// In document order.
    apis: Vec<(Arc<ApiRoute>, T)>,
    contexts: HashMap<Box<str>, Context>,
    /// The lengths of all contexts, longest first.
    lengths: Vec<usize>,
}

/// The APIs that share a context: positions in document order.
#[derive(Debug, Default)]
struct Context {
    versioned: Vec<usize>,
    by_url_version: HashMap<Box<str>, Vec<usize>>,
    unversioned: Vec<usize>,
}

impl<T> RouteTable<T> {
    /// Builds the table from APIs in document order.
    pub fn new<R: Into<Arc<ApiRoute>>>(apis: impl IntoIterator<Item = (R, T)>) -> Self {
        let apis: Vec<(Arc<ApiRoute>, T)> = apis
            .into_iter()
            .map(|(route, attached)| (route.into(), attached))
            .collect();
        let mut contexts: HashMap<Box<str>, Context> = HashMap::new();
        for (index, (route, _)) in apis.iter().enumerate() {
            let context = contexts.entry(route.context.as_str().into()).or_default();
            match &route.version {
                VersionStrategy::None => context.unversioned.push(index),
                VersionStrategy::Context(_) => context.versioned.push(index),
                VersionStrategy::Url(version) => context
                    .by_url_version
                    .entry(version.as_str().into())
                    .or_default()
                    .push(index),
            }
        }
        let mut lengths: Vec<usize> = contexts.keys().map(|context| context.len()).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        Self {
            apis,
            contexts,
            lengths,
        }
    }

    /// How many APIs there are.
    pub fn len(&self) -> usize {
        self.apis.len()
    }

    /// Whether there is no API.
    pub fn is_empty(&self) -> bool {
        self.apis.is_empty()
    }

    /// The APIs in document order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<ApiRoute>, &T)> {
        self.apis.iter().map(|(route, attached)| (route, attached))
    }

    /// Where a request of an ordinary listener goes.
    pub fn select<'r>(&self, head: &RequestHead<'r>) -> Selection<'_, 'r, T> {
        self.select_for(head, DEFAULT_BINDING)
    }

    /// As [`RouteTable::select`], for a request that came in by the binding `caller`.
    ///
    /// APIs with a version strategy are asked first, then the others; within each the longest
    /// context first, and within one context in document order.
    pub fn select_for<'r>(&self, head: &RequestHead<'r>, caller: &str) -> Selection<'_, 'r, T> {
        let mut transport_denied = false;
        // The first unversioned API that fits, taken only when no versioned one does.
        let mut unversioned = None;
        for (context, rest) in self.contexts_of(head.target) {
            if let Some(index) = self.first_versioned(context, head, rest, &mut transport_denied) {
                return self.selected(index, head, rest, caller);
            }
            if unversioned.is_none() {
                unversioned = context
                    .unversioned
                    .iter()
                    .find(|index| self.takes(**index, head, &mut transport_denied))
                    .map(|index| (*index, rest));
            }
        }
        match unversioned {
            Some((index, rest)) => self.selected(index, head, rest, caller),
            None if transport_denied => Selection::TransportDenied,
            None => Selection::NotFound,
        }
    }

    /// The contexts `target` begins with, longest first, each with what follows it: nothing, or
    /// a text that begins with `/` or `?`.
    fn contexts_of<'r>(&self, target: &'r str) -> impl Iterator<Item = (&Context, &'r str)> {
        self.lengths.iter().filter_map(move |length| {
            if !matches!(target.as_bytes().get(*length), None | Some(b'/' | b'?')) {
                return None;
            }
            let (prefix, rest) = target.split_at_checked(*length)?;
            Some((self.contexts.get(prefix)?, rest))
        })
    }

    /// The first API of a context with a version strategy that takes the request.
    fn first_versioned(
        &self,
        context: &Context,
        head: &RequestHead<'_>,
        rest: &str,
        transport_denied: &mut bool,
    ) -> Option<usize> {
        let by_url = match rest.strip_prefix('/') {
            Some(rest) if !context.by_url_version.is_empty() => {
                let version = rest.split(['/', '?']).next().unwrap_or_default();
                context.by_url_version.get(version)
            }
            _ => None,
        };
        let mut by_context = context.versioned.iter().copied().peekable();
        let mut by_url = by_url.into_iter().flatten().copied().peekable();
        loop {
            let index = match (by_context.peek(), by_url.peek()) {
                (Some(a), Some(b)) if a > b => by_url.next(),
                (None, _) => by_url.next(),
                _ => by_context.next(),
            }?;
            if self.takes(index, head, transport_denied) {
                return Some(index);
            }
        }
    }

    /// Whether an API whose context and version fit also fits in host and transport.
    fn takes(&self, index: usize, head: &RequestHead<'_>, transport_denied: &mut bool) -> bool {
        let Some((route, _)) = self.apis.get(index) else {
            return false;
        };
        if !route.is_for_host(head) {
            return false;
        }
        let allowed = route.transports.allows(head.https);
        *transport_denied |= !allowed;
        allowed
    }

    fn selected<'r>(
        &self,
        index: usize,
        head: &RequestHead<'r>,
        rest: &'r str,
        caller: &str,
    ) -> Selection<'_, 'r, T> {
        let Some((route, attached)) = self.apis.get(index) else {
            return Selection::NotFound;
        };
        let rest_url_postfix = match &route.version {
            VersionStrategy::Url(version) => rest.get(version.len() + 1..).unwrap_or_default(),
            VersionStrategy::None | VersionStrategy::Context(_) => rest,
        };
        let sub_path = match rest_url_postfix {
            "" => "/",
            postfix => postfix,
        };
        Selection::Api(Selected {
            route,
            attached,
            rest_url_postfix,
            sub_path,
            resource: route.choose_resource(head, sub_path, caller),
        })
    }
}

#[cfg(test)]
mod tests;
