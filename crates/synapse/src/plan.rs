//! The executable plan of one artifact: immutable, without XML.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::dispatch::{ApiRoute, EndpointTemplate};
use crate::expression::{Expression, Scope};

/// Mediators that run one after the other.
pub(crate) type Block = Arc<[Mediator]>;

/// Everything that one artifact brings to a gateway.
#[derive(Debug, Default)]
pub struct Plan {
    /// The API, then the version-less API where this version is the default one. Empty for an
    /// artifact without a definition.
    pub apis: Vec<ApiPlan>,
    pub(crate) sequences: Vec<Sequence>,
    /// For keys that are computed per message.
    pub(crate) sequence_names: HashMap<String, usize>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) local_entries: HashMap<String, String>,
}

#[derive(Debug)]
pub struct ApiPlan {
    pub route: Arc<ApiRoute>,
    pub(crate) resources: Vec<ResourcePlan>,
    pub(crate) key_type: KeyType,
    /// SynapsePropertiesHandler: the gateway's ports as properties.
    pub(crate) port_properties: bool,
    /// APIManagerExtensionHandler: sequences around those of the resource.
    pub(crate) extension_in: Vec<usize>,
    pub(crate) extension_out: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct ResourcePlan {
    /// The pattern as written, for REST properties.
    pub(crate) pattern: String,
    pub(crate) in_sequence: Flow,
    /// `None`: the response goes back as it is.
    pub(crate) out_sequence: Option<Flow>,
    pub(crate) fault_sequence: Flow,
}

/// Which key type requests have while API keys are not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Production,
    Sandbox,
}

/// A sequence by place: written inline, or referred to.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    Inline(Block),
    Reference(SequenceRef),
}

#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) block: Block,
    pub(crate) on_error: Option<SequenceRef>,
}

#[derive(Clone, Debug)]
pub(crate) enum SequenceRef {
    /// One of the plan's.
    Own(usize),
    /// One that the gateway ships.
    Shipped(Arc<Sequence>),
    /// Nothing of that name was there when the plan was made.
    Missing(String),
    /// The key is computed per message.
    Dynamic(Expression),
    /// A shipped one that this engine does not execute.
    NotExecuted(NotExecuted),
}

#[derive(Debug)]
pub(crate) enum Mediator {
    Property(Property),
    Filter(Box<Filter>),
    Switch(Box<Switch>),
    Log(Box<Log>),
    Sequence(SequenceRef),
    Inline(Sequence),
    Send(Option<EndpointRef>),
    Respond,
    Loopback,
    Drop,
    RemoveTo,
    SetTo(Operand),
    PayloadFactory(Box<PayloadFactory>),
    /// The answer depends on an element that is not executed: 501 instead of a guess.
    NotExecuted(NotExecuted),
}

/// The element and its place, as the 501 answer names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotExecuted {
    pub(crate) what: String,
    pub(crate) place: String,
}

/// A value written in the artifact, or computed per message.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Literal(String),
    Expression(Expression),
}

#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// `None`: remove it.
    pub(crate) value: Option<Operand>,
}

#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) condition: Condition,
    pub(crate) then: Block,
    pub(crate) otherwise: Block,
}

#[derive(Debug)]
pub(crate) enum Condition {
    /// The whole string value matches; no value is no match.
    Matches(Expression, Regex),
    /// The XPath's boolean value.
    Holds(Expression),
}

#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) source: Expression,
    pub(crate) cases: Vec<(Regex, Block)>,
    pub(crate) default: Block,
}

#[derive(Debug)]
pub(crate) struct Log {
    /// Whether the message's address and method are logged besides the properties.
    pub(crate) message: bool,
    pub(crate) category: LogCategory,
    /// `None` stands for an expression that is not executed.
    pub(crate) properties: Vec<(String, Option<Operand>)>,
}

/// Synapse's log categories, as far as log lines tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCategory {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug)]
pub(crate) struct PayloadFactory {
    pub(crate) media: Media,
    pub(crate) format: String,
    pub(crate) arguments: Vec<Operand>,
}

/// What kind of text a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Xml,
    Json,
    Text,
}

impl Media {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "application/xml",
            Self::Json => "application/json",
            Self::Text => "text/plain",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum EndpointRef {
    Own(usize),
    Inline(Arc<Endpoint>),
    Missing(String),
    NotExecuted(NotExecuted),
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) address: Address,
    /// `None`: the gateway's global timeout.
    pub(crate) timeout: Option<Duration>,
    /// `responseAction` discard: no fault sequence, nothing sent.
    pub(crate) discard: bool,
    pub(crate) properties: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) enum Address {
    /// `<http>`: a template; with a method of its own the URL postfix is dropped.
    Http {
        template: EndpointTemplate,
        method: Option<String>,
    },
    /// `<address>`.
    Fixed(String),
    /// `<default>`: where the message's To says.
    To,
    NotExecuted(NotExecuted),
}
