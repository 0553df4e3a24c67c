//! One request on its way through one API: the message context.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::expression::Scope;
use crate::plan::{Block, LogCategory, Plan, SequenceRef};

/// What the data plane knows about the request.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query as received.
    pub target: &'a str,
    pub https: bool,
    pub headers: HeaderMap,
    pub has_body: bool,
}

/// Where dispatch found that the request goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// Index in [`Plan::apis`].
    pub api: usize,
    /// Index of the resource in document order.
    pub resource: usize,
    /// Variables of the URI template, without `uri.var.`.
    pub variables: Vec<(String, String)>,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// Path and query after the context.
    pub rest_url_postfix: &'a str,
}

/// What expressions ask about the world.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Milliseconds since the epoch.
    pub now: i64,
    pub http_port: u16,
    pub https_port: u16,
    pub message_id: String,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    Call(Box<BackendCall>),
    Answer(Box<Answer>),
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
    /// A timeout answers nothing from the fault sequence (`responseAction` discard).
    pub discard: bool,
    /// The endpoint's name, for logs.
    pub endpoint: String,
    /// REQUEST_HOST_HEADER: the Host header, where it is not the address's.
    pub host: Option<String>,
}

/// The head of a back end's response.
#[derive(Debug)]
pub struct BackendResponse {
    pub status: u16,
    pub headers: HeaderMap,
}

/// What the client gets.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
}

/// The body of a message, mostly without looking at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    Empty,
    /// The client's request body, as it streams in.
    Request,
    /// The back end's response body, as it streams in.
    Response,
    Bytes(Bytes),
}

/// A failure with Synapse's error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: u32,
    pub message: String,
    pub detail: String,
}

impl Fault {
    pub const SENDING_FAILED: u32 = 101_500;
    pub const CONNECTION_FAILED: u32 = 101_503;
    pub const TIMEOUT: u32 = 101_504;
    pub const CONNECTION_TIMEOUT: u32 = 101_508;
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
    pub(super) is_response: bool,
    /// Whether the headers are a back end's, and not still those of the request.
    pub(super) from_back_end: bool,
    /// Headers that mediators have set since the message turned round or failed: of a request's
    /// headers, only these travel back to the client.
    pub(super) own_headers: HashSet<HeaderName>,
    /// WS-Addressing To, which `header` may remove or set.
    pub(super) to: Option<String>,
}

/// A block that is being run.
pub(super) struct Frame {
    pub(super) block: Block,
    pub(super) next: usize,
    /// The fault handler that the sequence pushed goes with it.
    pub(super) handles_faults: bool,
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
    pub(super) resource: usize,
    pub(super) environment: Environment,
    pub(super) method: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) has_body: bool,
    pub(super) message: Message,
    pub(super) default: HashMap<String, String>,
    pub(super) axis2: HashMap<String, String>,
    pub(super) operation: HashMap<String, String>,
    pub(super) frames: Vec<Frame>,
    pub(super) handlers: Vec<Handler>,
    /// Mediators run and calls made so far, against loops.
    pub(super) executed: usize,
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

    /// The value of a property, `None` where there is none.
    pub(super) fn property(&self, scope: Scope, name: &str) -> Option<String> {
        match scope {
            Scope::Default => self.default_property(name),
            Scope::Axis2 | Scope::Axis2Client => match name {
                "HTTP_METHOD" => Some(
                    self.axis2
                        .get(name)
                        .cloned()
                        .unwrap_or_else(|| self.method.clone()),
                ),
                _ => self.axis2.get(name).cloned(),
            },
            Scope::Transport => self
                .message
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            Scope::Operation => self.operation.get(name).cloned(),
            Scope::Url => self
                .query
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone()),
        }
    }

    /// The default scope with its built-in names (`GetPropertyFunction`), then local entries.
    fn default_property(&self, name: &str) -> Option<String> {
        match name {
            "SYSTEM_TIME" => Some(self.environment.now.to_string()),
            "MessageID" => Some(self.environment.message_id.clone()),
            "To" => self.message.to.clone(),
            "MESSAGE_FORMAT" => Some(if self.has_body { "pox" } else { "get" }.to_owned()),
            _ => self
                .default
                .get(name)
                .or_else(|| self.plan.local_entries.get(name))
                .cloned(),
        }
    }

    /// Sets or removes a property (`PropertyMediator`, `Axis2MessageContext.setProperty`).
    pub(super) fn set_property(&mut self, scope: Scope, name: &str, value: Option<String>) {
        match scope {
            // Setting null leaves the default scope as it is; only `action="remove"` removes.
            Scope::Default => match value {
                Some(value) => {
                    self.default.insert(name.to_owned(), value);
                }
                None => {
                    self.default.remove(name);
                }
            },
            // The headers as a whole; removing the property removes them all.
            Scope::Axis2 if name == "TRANSPORT_HEADERS" && value.is_none() => {
                self.message.headers.clear();
            }
            Scope::Axis2 | Scope::Axis2Client => match value {
                Some(value) => {
                    self.axis2.insert(name.to_owned(), value);
                }
                None => {
                    self.axis2.remove(name);
                }
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
            Scope::Url => {}
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
