//! The handlers of an API, in the order of its document, as the engine runs them itself.

use super::NotExecuted;

/// What one `<handler>` does. Those without any effect are not in the plan.
#[derive(Debug, PartialEq, Hash)]
pub(crate) enum Handler {
    /// CORSRequestHandler.
    Cors(Cors),
    /// APIStatusHandler.
    Status,
    /// APIAuthenticationHandler.
    Authentication(Authenticator),
    /// ThrottleHandler, APIThrottleHandler.
    Quota,
    /// APIManagerExtensionHandler: sequences before and after those of the resource.
    Extension {
        incoming: Vec<usize>,
        outgoing: Vec<usize>,
    },
    /// SynapsePropertiesHandler: the gateway's ports as properties.
    Ports,
    /// One that this engine does not know. It may be what protects the API.
    Unknown(NotExecuted),
}

/// The properties of a CORSRequestHandler; `None`: as `[apim.cors]` says.
#[derive(Debug, Default, PartialEq, Hash)]
pub(crate) struct Cors {
    pub(crate) allow_headers: Option<String>,
    pub(crate) allowed_origins: Option<Vec<String>>,
    pub(crate) allowed_methods: Option<Vec<String>>,
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) authorization_header: Option<String>,
    /// An inline API: its answer has the headers before anything runs.
    pub(crate) inline: bool,
    /// The artifact's own `_cors_request_handler_`.
    pub(crate) sequence: Option<usize>,
}

/// The properties of an APIAuthenticationHandler.
#[derive(Debug, Default, PartialEq, Hash)]
pub(crate) struct Authenticator {
    /// APISecurity: `oauth2`, `api_key`, `basic_auth`, `mutualssl` and which of them must be.
    pub(crate) schemes: Vec<String>,
    pub(crate) authorization_header: Option<String>,
    pub(crate) api_key_header: Option<String>,
    /// RemoveOAuthHeadersFromOutMessage: credentials for the gateway do not travel on.
    pub(crate) removes_credentials: bool,
}

/// Where the API is in its life, as far as that changes how it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    #[default]
    Published,
    Prototyped,
    Blocked,
}

impl Lifecycle {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Published => "PUBLISHED",
            Self::Prototyped => "PROTOTYPED",
            Self::Blocked => "BLOCKED",
        }
    }
}
