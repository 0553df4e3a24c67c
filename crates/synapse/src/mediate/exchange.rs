//! One request on its way through one API: the message context.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::admission::Question;
use super::cache::Keeping;
use super::content::Seen;
use super::cors::Noted;
use super::endpoint::Sending;
use super::handlers::Stage;
use super::properties::Properties;
use super::settings::Settings;
use super::token::{Awaiting, InUse};
use crate::dispatch::ResourceOutcome;
use crate::endpoint::TokenOwner;
use crate::expression::{Expression, MAX_TEXT, Scope};
use crate::plan::{Block, KeyType, LogCategory, Media, Plan, SequenceRef};

/// What the data plane knows about the request.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query as received.
    pub target: &'a str,
    pub https: bool,
    pub headers: HeaderMap,
    pub has_body: bool,
    /// The client's address, as far as it is known.
    pub remote: Option<IpAddr>,
}

/// Where dispatch found that the request goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// Index in [`Plan::apis`].
    pub api: usize,
    /// What the API does with the request.
    pub resource: ResourceOutcome,
    /// Path and query after the context, and after the version of the url strategy.
    pub rest_url_postfix: &'a str,
}

/// What expressions ask about the world.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Milliseconds since the epoch.
    pub now: i64,
    pub message_id: MessageId,
    pub settings: Arc<Settings>,
}

/// Names the message of an exchange (`MessageID`); written out only where something asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageId {
    /// When the gateway started, in milliseconds since the epoch.
    pub started: i64,
    /// How many messages it had had before.
    pub number: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "urn:lockstep:{:x}:{}", self.started, self.number)
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    Call(Box<BackendCall>),
    /// A back end wants a token. Among all with the same owner, one at a time calls what
    /// [`Exchange::token_call`] says, until it says nothing; then [`Exchange::with_token`] goes on.
    Token(TokenOwner),
    /// A mediator looks into this body: it is to be read as far as needed and given to
    /// [`Exchange::read`]. [`Body::Bytes`] have been read before, and are to be decoded.
    Read(Body, Need),
    /// The gateway's security has to say something about [`Exchange::asked`]; what it says goes to
    /// [`Exchange::answered`].
    Ask(Question),
    Answer(Box<Answer>),
}

/// How much of a body a mediator needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The whole, without its content coding.
    Whole,
    /// The whole, not decoded, if it has no more bytes; else it goes on as it was.
    UpTo(usize),
}

/// A request to a back end. Connection-level headers are the data plane's business.
#[derive(Debug)]
pub struct BackendCall {
    pub method: String,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Body,
    /// `None`: the gateway's global timeout.
    pub timeout: Option<Duration>,
    /// The endpoint's name, for logs.
    pub endpoint: String,
    /// REQUEST_HOST_HEADER: the Host header, where it is not the address's.
    pub host: Option<String>,
    /// The same body may be sent once more: to another endpoint, or with another token.
    pub may_repeat: bool,
    /// Over a connection that has not been used before.
    pub fresh: bool,
}

/// The head of a back end's response.
#[derive(Debug)]
pub struct BackendResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body of the request that it answers can be sent once more.
    pub request_left: bool,
}

/// What the client gets.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
}

/// The body of a message, mostly without looking at it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    Empty,
    /// The client's request body, as it streams in.
    Request,
    /// The back end's response body, as it streams in.
    Response,
    Bytes(Bytes),
}

/// What it holds is not shown.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Request => f.write_str("Request"),
            Self::Response => f.write_str("Response"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

/// A failure with Synapse's error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: u32,
    pub message: String,
    pub detail: String,
}

impl Fault {
    /// The client's body could not be read.
    pub const CLIENT_FAILED: u32 = 101_001;
    pub const SENDING_FAILED: u32 = 101_500;
    /// The back end's response could not be read.
    pub const RECEIVING_FAILED: u32 = 101_501;
    pub const CONNECTION_FAILED: u32 = 101_503;
    pub const TIMEOUT: u32 = 101_504;
    /// The back end closed the connection before it answered.
    pub const CONNECTION_CLOSED: u32 = 101_505;
    pub const PROTOCOL: u32 = 101_506;
    pub const CONNECTION_TIMEOUT: u32 = 101_508;
    /// No child of a group is ready, or the failure of one ends the tries.
    pub const NO_READY_CHILD: u32 = 303_000;
    /// The endpoint itself is suspended or switched off.
    pub const NOT_READY: u32 = 303_001;
    pub const ENDPOINT_MISSING: u32 = 305_100;

    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            detail: message.clone(),
            message,
        }
    }

    /// Whether the client failed, and no endpoint.
    pub(super) fn is_of_client(&self) -> bool {
        matches!(self.code, 101_000 | 101_001)
    }
}

/// A line that a log mediator wrote; the data plane puts it into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub category: LogCategory,
    pub fields: Vec<(String, String)>,
}

/// The message that is on its way, request or response.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The media type of a body that a mediator made.
    pub(super) content_type: Option<String>,
    /// Whether bytes that were read may still have their content coding.
    pub(super) coded: bool,
    pub(super) is_response: bool,
    /// Whether the headers are a back end's, and not still those of the request.
    pub(super) from_back_end: bool,
    /// Headers that mediators have set since the message turned round or failed: of a request's
    /// headers, only these travel back to the client.
    pub(super) own_headers: HashSet<HeaderName>,
    /// The body as mediators have seen it last.
    pub(super) seen: Seen,
    /// WS-Addressing To, which `header` may remove or set.
    pub(super) to: Option<Arc<str>>,
    /// WS-Addressing Action.
    pub(super) action: Option<String>,
    pub(super) is_fault: bool,
    /// Whether the body is a SOAP fault that a mediator has made.
    pub(super) soap_fault: bool,
}

/// A block that is being run.
pub(super) struct Frame {
    pub(super) block: Block,
    pub(super) next: usize,
    /// The fault handlers that the sequence pushed go with it.
    pub(super) handlers: usize,
    /// Of a template: what `$func:` reads.
    pub(super) parameters: Option<HashMap<String, String>>,
}

/// Where a fault goes.
pub(super) enum Handler {
    Sequence(SequenceRef),
    Block(Block),
}

/// One request on its way through one API.
pub struct Exchange {
    pub(super) plan: Arc<Plan>,
    pub(super) api: usize,
    /// `usize::MAX` until one is entered.
    pub(super) resource: usize,
    /// Of dispatch, until it is acted on.
    pub(super) outcome: Option<ResourceOutcome>,
    /// The resource that the handlers go by, where CORSRequestHandler has elected one.
    pub(super) elected: Option<usize>,
    /// Variables of the URI template, without `uri.var.`.
    pub(super) variables: Vec<(String, String)>,
    /// Path and query as received, and where REST_URL_POSTFIX begins in it.
    pub(super) target: Arc<str>,
    pub(super) postfix_at: usize,
    pub(super) https: bool,
    pub(super) remote: Option<IpAddr>,
    /// The Host header as received.
    pub(super) host: Option<HeaderValue>,
    pub(super) key_type: KeyType,
    /// The position of the CORS handler that has let the request through, and its Origin.
    pub(super) cors_noted: Option<Noted>,
    /// Of the back end's response, or of a kept one.
    pub(super) response_status: Option<u16>,
    pub(super) stage: Stage,
    pub(super) environment: Environment,
    pub(super) method: Cow<'static, str>,
    pub(super) query: Vec<(String, String)>,
    pub(super) has_body: bool,
    /// Of the request.
    pub(super) content_type: String,
    pub(super) message: Message,
    pub(super) default: Properties,
    pub(super) axis2: Properties,
    pub(super) operation: HashMap<String, String>,
    /// Default properties that are XML or JSON, and not just text.
    pub(super) markup: HashMap<String, Media>,
    /// What a `cache` mediator needs to keep the response.
    pub(super) keeping: Option<Keeping>,
    pub(super) in_response_path: bool,
    pub(super) frames: Vec<Frame>,
    pub(super) handlers: Vec<Handler>,
    /// What the data plane has been asked to read.
    pub(super) reading: Option<Need>,
    /// The call that the data plane is making.
    pub(super) sending: Option<Sending>,
    /// A response is being read for the session that it tells.
    pub(super) arriving: bool,
    /// The token that the data plane is getting.
    pub(super) awaiting: Option<Awaiting>,
    /// The one that OAuthMediator has put into the message.
    pub(super) token: Option<InUse>,
    /// Mediators run and calls made so far, against loops.
    pub(super) executed: usize,
    /// Why an expression of the mediator that is running could not be evaluated.
    pub(super) unevaluated: Cell<Option<String>>,
    pub(super) calls: usize,
    pub(super) logs: Vec<LogRecord>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("api", &self.api)
            .field("resource", &self.resource)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Takes the log lines written since the last call.
    pub fn take_logs(&mut self) -> Vec<LogRecord> {
        std::mem::take(&mut self.logs)
    }

    /// The headers of the message that is on its way.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.message.headers
    }

    /// The string value of an expression, `None` where there is none.
    pub(super) fn text_of(&self, expression: &Expression) -> Option<String> {
        self.complete(expression.evaluate(self).into_text())
    }

    /// A result that is too long fails the mediator.
    pub(super) fn complete(&self, text: Option<String>) -> Option<String> {
        if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
            self.unevaluated
                .set(Some("the result of an expression is too long".to_owned()));
        }
        text
    }

    /// The value of a property, `None` where there is none.
    pub(super) fn property(&self, scope: Scope, name: &str) -> Option<String> {
        match scope {
            Scope::Default => self.default_property(name),
            Scope::Axis2 | Scope::Axis2Client => self.axis2_text(name).map(Cow::into_owned),
            Scope::Transport => self
                .message
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            Scope::Operation => self.operation.get(name).cloned(),
            Scope::Function => self
                .frames
                .iter()
                .rev()
                .find_map(|frame| frame.parameters.as_ref())
                .and_then(|parameters| parameters.get(name).cloned()),
            // Empty where it is not there (`SynapseXPathVariableContext`).
            Scope::Url => {
                let mut query = self.query.iter();
                let found = query.find(|(key, _)| key.eq_ignore_ascii_case(name));
                Some(found.map(|(_, value)| value.clone()).unwrap_or_default())
            }
        }
    }

    /// The default scope with its built-in names (`GetPropertyFunction`), then local entries.
    fn default_property(&self, name: &str) -> Option<String> {
        match name {
            "SYSTEM_TIME" => Some(self.environment.now.to_string()),
            "MessageID" => Some(self.environment.message_id.to_string()),
            "To" => self.message.to.as_deref().map(str::to_owned),
            "MESSAGE_FORMAT" => Some(self.message_format().to_owned()),
            "Action" => self.message.action.clone(),
            "From" | "ReplyTo" | "FaultTo" => None,
            "FAULT" => {
                let told = self.response_status.is_some_and(|status| status >= 400);
                let is_fault = self.message.is_fault || (self.message.from_back_end && told);
                is_fault.then(|| "TRUE".to_owned())
            }
            _ => match self.default_text(name) {
                Some(text) => Some(text.into_owned()),
                None => self.plan.local_entries.get(name).cloned(),
            },
        }
    }

    /// `pox`, `get`, `soap11` or `soap12`, by the content type of the request.
    pub(super) fn message_format(&self) -> &'static str {
        let media = self.content_type.split(';').next().unwrap_or_default();
        match media.trim().to_ascii_lowercase().as_str() {
            _ if !self.has_body => "get",
            "text/xml" => "soap11",
            "application/soap+xml" => "soap12",
            _ => "pox",
        }
    }

    /// Sets or removes a property (`PropertyMediator`, `Axis2MessageContext.setProperty`).
    pub(super) fn set_property(&mut self, scope: Scope, name: &str, value: Option<String>) {
        match scope {
            // Setting null leaves the default scope as it is; only `action="remove"` removes.
            Scope::Default => {
                self.markup.remove(name);
                match value {
                    Some(value) => self.default.set(name.to_owned(), value),
                    None => self.default.remove(name.to_owned()),
                }
            }
            // The headers as a whole; removing the property removes them all.
            Scope::Axis2 if name == "TRANSPORT_HEADERS" && value.is_none() => {
                self.message.headers.clear();
            }
            Scope::Axis2 | Scope::Axis2Client => match value {
                Some(value) if name == "messageType" => self.set_message_type(value),
                Some(value) => self.axis2.set(name.to_owned(), value),
                None => self.axis2.remove(name.to_owned()),
            },
            Scope::Operation => match value {
                Some(value) => {
                    self.operation.insert(name.to_owned(), value);
                }
                None => {
                    self.operation.remove(name);
                }
            },
            Scope::Transport => self.set_header(name, value.as_deref()),
            Scope::Url | Scope::Function => {}
        }
    }

    /// A name or value that HTTP cannot carry leaves the headers as they are.
    fn set_header(&mut self, name: &str, value: Option<&str>) {
        let Ok(name) = HeaderName::try_from(name) else {
            return;
        };
        match value {
            None => {
                self.message.headers.remove(&name);
                self.message.own_headers.remove(&name);
            }
            Some(value) => {
                if let Ok(value) = HeaderValue::try_from(value) {
                    self.message.own_headers.insert(name.clone());
                    self.message.headers.insert(name, value);
                }
            }
        }
    }
}
