//! The executable plan of one artifact: immutable, without XML.

mod authentication;
pub(crate) mod common;
mod endpoint;
mod handler;
mod rewrite;
mod threat;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::cache::Kept;
use crate::dispatch::{ApiRoute, MethodSet};
use crate::endpoint::{Cell, Tokens};
use crate::expression::{Expression, JsonPath, Scope};
use crate::pattern::{Pattern, Whole};

pub(crate) use authentication::{Authentication, Grant, Oauth, Secret};
pub(crate) use endpoint::{
    Address, Endpoint, EndpointKind, EndpointRef, Format, Group, Leaf, Session, SessionKind,
    Timeout,
};
pub(crate) use handler::{Authenticator, Cors, Handler, Lifecycle};
pub(crate) use rewrite::{
    Change, Check, CheckSource, Fragment, Rewrite, RewriteAction, RewriteRule,
};
pub(crate) use threat::{Protection, Threat};

/// Mediators that run one after the other.
pub(crate) type Block = Arc<[Mediator]>;

/// Everything that one artifact brings to a gateway.
#[derive(Debug, Default)]
pub struct Plan {
    /// The API, then the version-less API where this version is the default one. Empty for an
    /// artifact without a definition.
    pub apis: Vec<ApiPlan>,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) templates: Vec<Template>,
    /// Responses that `cache` mediators have kept.
    pub(crate) kept: Kept,
    /// For keys that are computed per message.
    pub(crate) sequence_names: HashMap<String, usize>,
    /// The named ones, those written inline, and last the one of messages sent without any.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Some group keeps sessions that SOAP headers tell.
    pub(crate) soap_sessions: bool,
    /// Some endpoint says what messages leave as.
    pub(crate) formats: bool,
    /// For keys that are computed per message.
    pub(crate) endpoint_names: HashMap<String, usize>,
    pub(crate) local_entries: HashMap<String, String>,
    /// Secrets by alias, for `wso2:vault-lookup`.
    pub(crate) credentials: Secrets,
    pub(crate) lifecycle: Lifecycle,
    /// Access tokens of back ends.
    pub(crate) tokens: Cell<Mutex<Tokens>>,
}

impl Plan {
    /// Reads a little of each part that a request for this resource needs, depth by depth. Among
    /// thousands of plans little of one is in the processor's caches: here what is of one depth is
    /// fetched at once, while a request comes to one after the other, and waits for each.
    pub fn touch(self: &Arc<Self>, api: usize, resource: usize) {
        let first = |text: &str| usize::from(text.as_bytes().first().copied().unwrap_or(0));
        let api = self.apis.get(api);
        let endpoint = self.endpoints.first();
        let mut seen = Arc::strong_count(self) + self.sequences.len() + self.sequence_names.len();
        seen += self.endpoint_names.len() + self.local_entries.len() + self.lifecycle as usize;
        if let Some(api) = api {
            seen += api.resources.len() + api.handlers.len() + api.key_type as usize;
        }
        if let Some(endpoint) = endpoint {
            seen += endpoint.properties.len() + endpoint.name.len();
            if let EndpointKind::Leaf(leaf) = &endpoint.kind {
                seen += usize::from(leaf.timeout.is_some() || leaf.authentication.is_some());
                seen += leaf.address.as_str().len();
            }
        }
        if let Some(resource) = api.and_then(|api| api.resources.get(resource)) {
            seen += usize::from(resource.out_sequence.is_some()) + first(&resource.pattern);
            seen += usize::from(matches!(resource.fault_sequence, Flow::Inline(_)));
        }
        if let Some(endpoint) = endpoint {
            seen += endpoint.shared.peek().map_or(0, Arc::strong_count);
            seen += first(&endpoint.name);
            if let EndpointKind::Leaf(leaf) = &endpoint.kind {
                seen += first(leaf.address.as_str());
            }
        }
        std::hint::black_box(seen);
    }
}

/// Secrets by alias; their values are never shown.
#[derive(Default)]
pub(crate) struct Secrets(pub(crate) HashMap<String, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Debug)]
pub struct ApiPlan {
    pub route: Arc<ApiRoute>,
    pub(crate) resources: Vec<ResourcePlan>,
    pub(crate) key_type: KeyType,
    /// In the order of the document; each sees the request, then the response.
    pub(crate) handlers: Arc<[Handler]>,
    /// The gateway's `fault`, which handles what no resource's fault sequence does.
    pub(crate) fault: SequenceRef,
}

#[derive(Debug)]
pub(crate) struct ResourcePlan {
    /// The pattern as written, for REST properties.
    pub(crate) pattern: String,
    /// The methods that want no credentials.
    pub(crate) open: MethodSet,
    pub(crate) in_sequence: Flow,
    /// `None`: the response goes back as it is.
    pub(crate) out_sequence: Option<Flow>,
    pub(crate) fault_sequence: Flow,
}

/// AM_KEY_TYPE: which back ends a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    Production,
    Sandbox,
}

impl KeyType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION",
            Self::Sandbox => "SANDBOX",
        }
    }
}

/// A sequence by place: written inline, or referred to.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    Inline(Block),
    Reference(SequenceRef),
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Sequence {
    pub(crate) block: Block,
    pub(crate) on_error: Option<SequenceRef>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum SequenceRef {
    /// One of the plan's.
    Own(usize),
    /// One that the gateway ships, by its name: where an artifact's own sequence has that name, it
    /// is the other shipped ones that lead here.
    Shipped(&'static str, Arc<Sequence>),
    /// Nothing of that name was there when the plan was made.
    Missing(String),
    /// The key is computed per message.
    Dynamic(Expression),
    /// Its key cannot be computed here.
    NotExecuted(NotExecuted),
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum Mediator {
    Property(Box<Property>),
    Filter(Box<Filter>),
    Switch(Box<Switch>),
    Log(Box<Log>),
    Sequence(SequenceRef),
    Inline(Sequence),
    /// With the sequence that gets the response instead of the response path (`receive`).
    Send(Option<EndpointRef>, Option<SequenceRef>),
    /// As `send`, and the next mediator has the response.
    Call(Option<EndpointRef>),
    Respond,
    Loopback,
    Drop,
    /// `To` and `Action` of the message; `None` removes it.
    Header(Addressing, Option<Operand>),
    PayloadFactory(Box<PayloadFactory>),
    MakeFault(Box<MakeFault>),
    Enrich(Box<Enrich>),
    Rewrite(Box<Rewrite>),
    CallTemplate(Box<CallTemplate>),
    /// `in` and `out`: for requests, or for responses.
    Direction {
        response: bool,
        block: Block,
    },
    Cache(Box<Cache>),
    /// `cache` that collects: keeps the response.
    Collect,
    /// OAuthMediator: the header Authorization with a token of the back end's.
    Token(Box<Oauth>),
    /// OAuthResponseMediator.
    TokenResponse,
    ApiKey(Box<ApiKey>),
    Protect(Box<Protection>),
    /// The answer depends on an element that is not executed: 501 instead of a guess.
    NotExecuted(NotExecuted),
}

/// ApiKeyMediator.
#[derive(Debug, PartialEq, Hash)]
pub(crate) struct ApiKey {
    /// The name of the header, or of the query parameter.
    pub(crate) name: String,
    pub(crate) in_query: bool,
    pub(crate) value: Secret,
}

/// The headers of WS-Addressing that steer the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Addressing {
    To,
    Action,
}

/// The element and its place, as the 501 answer names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NotExecuted {
    pub(crate) what: String,
    pub(crate) place: String,
}

/// A value written in the artifact, or computed per message.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Operand {
    Literal(String),
    Expression(Expression),
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// `None`: remove it.
    pub(crate) value: Option<Operand>,
    pub(crate) kind: ValueKind,
    /// Only what this group of the pattern finds.
    pub(crate) part: Option<(Pattern, usize)>,
}

/// The type of a property's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum ValueKind {
    #[default]
    Text,
    Boolean,
    /// Of so many bits.
    Integer(u32),
    Float,
    /// XML.
    Om,
    Json,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Filter {
    pub(crate) condition: Condition,
    pub(crate) then: Block,
    pub(crate) otherwise: Block,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum Condition {
    /// The whole string value matches; no value is no match.
    Matches(Expression, Whole),
    /// The XPath's boolean value.
    Holds(Expression),
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Switch {
    pub(crate) source: Expression,
    pub(crate) cases: Vec<(Whole, Block)>,
    pub(crate) default: Block,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Log {
    /// Whether the message's address and method are logged besides the properties.
    pub(crate) message: bool,
    pub(crate) category: LogCategory,
    /// `None` stands for an expression that is not executed.
    pub(crate) properties: Vec<(String, Option<Operand>)>,
}

/// Synapse's log categories, as far as log lines tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogCategory {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct PayloadFactory {
    pub(crate) media: Media,
    /// With `$1` where the first argument goes, or `␁1␁` for those written as `${…}`.
    pub(crate) format: String,
    /// Those written as `${…}` last.
    pub(crate) arguments: Vec<Argument>,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Argument {
    pub(crate) value: Operand,
    /// Text is put in as text, whatever it looks like.
    pub(crate) literal: bool,
}

/// A SOAP fault, or its JSON.
#[derive(Debug, PartialEq, Hash)]
pub(crate) struct MakeFault {
    /// 11 or 12; `None`: that of the message.
    pub(crate) version: Option<u8>,
    pub(crate) code: Operand,
    pub(crate) reason: Operand,
    pub(crate) role: Option<Operand>,
    pub(crate) node: Option<Operand>,
    pub(crate) detail: Option<Operand>,
    /// `detail` is XML as it is written.
    pub(crate) detail_is_xml: bool,
    pub(crate) response: bool,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Enrich {
    pub(crate) source: EnrichSource,
    pub(crate) target: EnrichTarget,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum EnrichSource {
    Body,
    Envelope,
    Property(String),
    Expression(Expression),
    Inline(String, Media),
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum EnrichTarget {
    Body,
    Envelope,
    Property(String),
    /// Something is added to what a property holds.
    PropertyChild(String),
    /// A part of a JSON body.
    Json(JsonPath, Action),
    /// A part of the message as XML.
    Node(Expression, Action),
    /// Of the body.
    RemoveBody,
    RemoveJson(Vec<JsonPath>),
    RemoveProperty(String),
}

/// What `enrich` does at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Replace,
    Child,
    Sibling,
}

/// A sequence template.
#[derive(Debug)]
pub(crate) struct Template {
    /// Parameters with what they are where a call does not say.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) sequence: Sequence,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct CallTemplate {
    /// `None`: nothing of that name was there when the plan was made.
    pub(crate) template: Option<usize>,
    pub(crate) name: String,
    pub(crate) arguments: Vec<(String, Operand)>,
    pub(crate) on_error: Option<SequenceRef>,
}

/// `cache` that finds: answers from what was kept.
#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Cache {
    /// Milliseconds.
    pub(crate) timeout: i64,
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    /// `None`: all.
    pub(crate) methods: Option<Vec<String>>,
    /// Responses that are kept.
    pub(crate) statuses: Option<Whole>,
    /// Request headers that do not tell requests apart; `None`: none does.
    pub(crate) ignored_headers: Option<Vec<String>>,
    /// Run with the kept response; `None`: it goes to the client.
    pub(crate) on_hit: Option<Block>,
    /// Tells the responses of one mediator from those of others.
    pub(crate) number: usize,
}

/// What kind of text a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Media {
    Xml,
    Json,
    Text,
    /// `application/x-www-form-urlencoded`.
    Fields,
}

impl Media {
    /// What a content type says, as far as mediators can look into it.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default();
        let media = media.trim().to_ascii_lowercase();
        if media.contains("json") {
            Some(Self::Json)
        } else if media.contains("xml") {
            Some(Self::Xml)
        } else if media == Self::Fields.content_type() {
            Some(Self::Fields)
        } else {
            media.starts_with("text/").then_some(Self::Text)
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "application/xml",
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Fields => "application/x-www-form-urlencoded",
        }
    }
}
