//! What of an API decides whether it gets a request.
//!
//! Source of the rules: `API.canProcess`, `api/version`.

use std::sync::Arc;

use super::resource::{ResourceOutcome, ResourceRoute, RouteError, Transports, choose_resource};
use super::table::RequestHead;

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

    /// The version that requests have as a segment of its own.
    fn in_url(&self) -> Option<&str> {
        match self {
            Self::None | Self::Context(_) => None,
            Self::Url(version) => Some(version),
        }
    }
}

/// What of an `<api>` decides whether it gets a request.
#[derive(Debug, Clone)]
pub struct ApiRoute {
    name: String,
    context: Arc<str>,
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
            context: resolved.trim_end_matches('/').into(),
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

    /// The same, shared.
    pub(super) fn shared_context(&self) -> &Arc<str> {
        &self.context
    }

    /// The version strategy.
    pub fn version(&self) -> &VersionStrategy {
        &self.version
    }

    /// Whether the other one asks for the same context and version: a version is told apart by the
    /// request only where it is a segment of its own.
    pub fn is_like(&self, other: &Self) -> bool {
        self.context == other.context && self.version.in_url() == other.version.in_url()
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
    pub(super) fn is_for_host(&self, head: &RequestHead<'_>) -> bool {
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
