//! Endpoints of a plan.

use std::time::Duration;

use super::{Authentication, NotExecuted, Property};
use crate::dispatch::EndpointTemplate;
use crate::endpoint::{Algorithm, Cell, Identity, RetryCodes, Shared, Suspension};
use crate::expression::Expression;

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum EndpointRef {
    /// Index in [`Plan::endpoints`], for inline ones, too.
    Own(usize),
    Missing(String),
    /// The key is computed per message.
    Dynamic(Expression),
    NotExecuted(NotExecuted),
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) kind: EndpointKind,
    /// Set on the message before it is sent.
    pub(crate) properties: Vec<Property>,
    pub(crate) identity: Identity,
    pub(crate) shared: Cell<Shared>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are leaves, and a request has one place less to look at"
)]
pub(crate) enum EndpointKind {
    Leaf(Leaf),
    Group(Group),
    /// `<endpoint key="…"/>` where an endpoint is defined: stands for another one.
    Indirect(EndpointRef),
    NotExecuted(NotExecuted),
}

/// An endpoint with an address.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) address: Address,
    /// `None`: the gateway's global timeout.
    pub(crate) timeout: Option<Timeout>,
    /// `responseAction` discard: no fault sequence, nothing sent.
    pub(crate) discard: bool,
    pub(crate) suspension: Suspension,
    pub(crate) retry: RetryCodes,
    pub(crate) authentication: Option<Authentication>,
    /// `None`: messages leave as what they are.
    pub(crate) format: Option<Format>,
}

/// `format` of an endpoint: what messages leave as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Soap11,
    Soap12,
    Pox,
    /// Without a body.
    Get,
}

#[derive(Debug)]
pub(crate) enum Timeout {
    Fixed(Duration),
    /// A number of milliseconds, computed per message.
    Dynamic(Expression),
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) algorithm: Algorithm,
    pub(crate) children: Vec<EndpointRef>,
    /// Whether the next child is tried when one fails.
    pub(crate) failover: bool,
    pub(crate) session: Option<Session>,
}

/// Requests of one session go to one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) kind: SessionKind,
    /// For how many milliseconds a session that is not used is remembered.
    pub(crate) timeout: i64,
}

/// What a session is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// `http`: a cookie that the back end has set.
    Cookie,
    /// `soap`: the ServiceGroupId that the back end has given.
    ServiceGroup,
    /// `simpleClientSession`: the client's own id.
    Client,
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
}

impl Address {
    /// As it is written, empty where it is not.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Http { template, .. } => template.as_str(),
            Self::Fixed(uri) => uri,
            Self::To => "",
        }
    }
}
