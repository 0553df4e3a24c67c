//! One request: dispatch, mediate, call back ends, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use synapse::dispatch::{RequestHead, RouteTable, Selection};
use synapse::mediate::{
    self, Answer, BackendResponse, Body, Environment, Exchange, Fault, LogRecord, Need, Settings,
    Step, Target,
};
use synapse::plan::LogCategory;
use tokio::sync::watch;

use super::admission::Admission;
use super::back_end::{BackEnds, strip_hop_by_hop};
use super::body::{self, StreamBody};
use super::source::{ReadError, Source};
use crate::driver::Routes;
use crate::patience::Patience;
use crate::sync_core::{Deployment, Progress, Routed};
use crate::tenants::{NotInTime, Tenants};

/// Asks for the headers that say which API and revision answered.
const TRACE: HeaderName = HeaderName::from_static("lockstep-trace");
const TRACE_API: HeaderName = HeaderName::from_static("lockstep-api");
const TRACE_REVISION: HeaderName = HeaderName::from_static("lockstep-revision");

/// Everything that requests share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub routes: Routes,
    /// Requests of tenants that are not loaded wait; `None` where all are loaded at the start.
    pub tenants: Option<Tenants>,
    pub back_ends: BackEnds,
    /// In sync mode nothing is served before the label logs have been applied.
    pub progress: watch::Receiver<Progress>,
    pub patience: Patience,
    pub trace_header: bool,
    /// What all exchanges share.
    pub settings: Arc<Settings>,
    pub admission: Arc<dyn Admission>,
    /// When the gateway started and how many messages it has had: together a message's id.
    pub started: i64,
    pub messages: Arc<AtomicU64>,
}

impl Gateway {
    /// Answers one request.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        https: bool,
    ) -> Response<StreamBody> {
        let is_head = request.method() == http::Method::HEAD;
        let mut answer = self.answer(request, https).await;
        let status = answer.status();
        if is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            // No body may follow these; a HEAD still tells how long it would have been.
            if is_head
                && let Some(length) = answer.body().size_hint().exact()
                && length > 0
            {
                answer.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            if status == StatusCode::NO_CONTENT {
                answer.headers_mut().remove(CONTENT_LENGTH);
            }
            *answer.body_mut() = body::empty();
        }
        answer
    }

    async fn answer(&self, request: Request<Incoming>, https: bool) -> Response<StreamBody> {
        if self.patience.lasts() && !self.progress.borrow().missing.is_empty() {
            return come_again("the gateway is still fetching its APIs");
        }
        let (parts, incoming) = request.into_parts();
        let has_body = !incoming.is_end_stream();
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut headers = parts.headers;
        // HTTP/2 names the host in its pseudo-header.
        if let Some(authority) = parts.uri.authority()
            && !headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        let traced = self.trace_header && headers.contains_key(TRACE);
        let Ok(routes) = self.routes(target).await else {
            return come_again("the gateway is still fetching the APIs of the tenant");
        };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let selection = routes.select(&RequestHead {
            method: parts.method.as_str(),
            target,
            host: text(HOST),
            https,
            content_type: text(CONTENT_TYPE),
            user_agent: text(USER_AGENT),
            has_body,
        });
        let selected = match selection {
            Selection::NotFound => return made(mediate::not_found(target)),
            Selection::TransportDenied => return made(mediate::transport_denied(https)),
            Selection::Api(selected) => selected,
        };
        let deployment = Arc::clone(&selected.attached.deployment);
        // The postfix is the end of the target; what is kept of it does not hold the headers.
        let postfix = target.len() - selected.rest_url_postfix.len();
        let to = Target {
            api: selected.attached.api,
            resource: selected.resource,
            rest_url_postfix: &target[postfix..],
        };
        let request = mediate::Request {
            method: parts.method.as_str(),
            target,
            https,
            headers,
            has_body,
        };
        let body = has_body.then(|| Source::new(incoming));
        let mut answer = self.mediate(&deployment, to, request, body).await;
        if traced {
            trace(&mut answer, &deployment);
        }
        answer
    }

    /// The route table for a request to this target.
    async fn routes(&self, target: &str) -> Result<Arc<RouteTable<Routed>>, NotInTime> {
        match &self.tenants {
            None => Ok(self.routes.load_full()),
            Some(tenants) => tenants.with(target, || self.routes.load_full()).await,
        }
    }

    /// Runs the plan, making the calls that it asks for.
    async fn mediate(
        &self,
        deployment: &Deployment,
        target: Target<'_>,
        request: mediate::Request<'_>,
        request_body: Option<Source>,
    ) -> Response<StreamBody> {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let environment = Environment {
            now: kit::clock::now_ms(),
            message_id: format!("urn:lockstep:{:x}:{number}", self.started),
            settings: Arc::clone(&self.settings),
        };
        let plan = Arc::clone(&deployment.plan);
        let (mut exchange, mut step) = Exchange::start(plan, target, request, environment);
        let mut response_body: Option<Source> = None;
        loop {
            write_logs(&deployment.name, exchange.take_logs());
            let call = match step {
                Step::Answer(answer) => return finished(*answer, &request_body, &response_body),
                Step::Read(body, need) => {
                    let read = read(body, need, &request_body, &response_body);
                    step = exchange.read(self.back_ends.in_time(read).await);
                    continue;
                }
                Step::Ask(question) => {
                    let answer = match exchange.asked() {
                        Some(asked) => self.admission.admit(question, asked).await,
                        None => return empty_answer(StatusCode::INTERNAL_SERVER_ERROR),
                    };
                    step = exchange.answered(question, answer);
                    continue;
                }
                Step::Token(owner) => {
                    step = self.back_ends.get_token(owner, &mut exchange).await;
                    continue;
                }
                Step::Call(call) => *call,
            };
            let of_body = call.body.clone();
            let body = take(&of_body, call.may_repeat, &request_body, &response_body);
            let endpoint = call.endpoint.clone();
            let result = self.back_ends.call(call, body).await;
            let now = kit::clock::now_ms();
            step = match result {
                Ok(response) => {
                    let (parts, incoming) = response.into_parts();
                    let source = source_of(&of_body, &request_body, &response_body);
                    let head = BackendResponse {
                        status: parts.status.as_u16(),
                        headers: parts.headers,
                        request_left: source.is_none_or(Source::is_left),
                    };
                    response_body = Some(Source::new(incoming));
                    exchange.response(head, now)
                }
                Err(mut fault) => {
                    let source = source_of(&of_body, &request_body, &response_body);
                    if source.is_some_and(Source::has_failed) {
                        fault.code = Fault::CLIENT_FAILED;
                    }
                    tracing::warn!(
                        api = deployment.name,
                        endpoint,
                        code = fault.code,
                        detail = fault.detail,
                        "the back end could not be called"
                    );
                    exchange.failed(fault, now, source.is_none_or(Source::is_left))
                }
            };
        }
    }
}

/// The stream that a message's body stands for, if it is one.
fn source_of<'s>(
    body: &Body,
    request: &'s Option<Source>,
    response: &'s Option<Source>,
) -> Option<&'s Source> {
    match body {
        Body::Bytes(_) | Body::Empty => None,
        Body::Request => request.as_ref(),
        Body::Response => response.as_ref(),
    }
}

/// What a message's body stands for, as it leaves. A stream that has been passed on is empty.
fn take(
    body: &Body,
    keeps: bool,
    request: &Option<Source>,
    response: &Option<Source>,
) -> StreamBody {
    if let Body::Bytes(bytes) = body {
        return body::full(bytes.clone());
    }
    source_of(body, request, response)
        .filter(|source| source.is_left())
        .map_or_else(body::empty, |source| source.stream(keeps))
}

/// A body for mediators that look into it; `None` where it has more bytes than they want.
async fn read(
    body: Body,
    need: Need,
    request: &Option<Source>,
    response: &Option<Source>,
) -> Result<Option<Bytes>, Fault> {
    let code = match body {
        Body::Request => Fault::CLIENT_FAILED,
        _ => Fault::RECEIVING_FAILED,
    };
    let Some(source) = source_of(&body, request, response) else {
        return Ok(Some(Bytes::new()));
    };
    let most = match need {
        Need::Whole => usize::MAX,
        Need::UpTo(most) => most,
    };
    match (source.read(most).await, need) {
        (Ok(bytes), _) => Ok(Some(bytes)),
        (Err(ReadError::TooLarge), Need::UpTo(_)) => Ok(None),
        (Err(error), _) => Err(Fault::new(code, error.to_string())),
    }
}

fn finished(
    answer: Answer,
    request: &Option<Source>,
    response: &Option<Source>,
) -> Response<StreamBody> {
    let mut headers = answer.headers;
    strip_hop_by_hop(&mut headers);
    if answer.body == Body::Empty {
        headers.remove(CONTENT_LENGTH);
    }
    let mut made = Response::new(take(&answer.body, false, request, response));
    *made.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *made.headers_mut() = headers;
    made
}

/// An answer that needs no streams.
fn made(step: Step) -> Response<StreamBody> {
    match step {
        Step::Answer(answer) => finished(*answer, &None, &None),
        Step::Call(_) | Step::Token(_) | Step::Read(..) | Step::Ask(_) => {
            empty_answer(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The gateway cannot tell yet what it has to answer.
fn come_again(why: &str) -> Response<StreamBody> {
    let mut answer = made(mediate::engine_answer(503, "Service Unavailable", why));
    let soon = HeaderValue::from_static("1");
    answer.headers_mut().insert(RETRY_AFTER, soon);
    answer
}

fn empty_answer(status: StatusCode) -> Response<StreamBody> {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = status;
    answer
}

fn trace(answer: &mut Response<StreamBody>, deployment: &Deployment) {
    let api = format!("{} {}", deployment.name, deployment.version);
    for (name, value) in [
        (TRACE_API, api),
        (TRACE_REVISION, deployment.digest.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    }
}

/// Log mediators write to the gateway's log; the fields are the artifact's own.
fn write_logs(api: &str, logs: Vec<LogRecord>) {
    for LogRecord { category, fields } in logs {
        let text: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let text = text.join(", ");
        match category {
            LogCategory::Debug => tracing::debug!(target: "synapse::log", api, "{text}"),
            LogCategory::Info => tracing::info!(target: "synapse::log", api, "{text}"),
            LogCategory::Warn => tracing::warn!(target: "synapse::log", api, "{text}"),
            LogCategory::Error => tracing::error!(target: "synapse::log", api, "{text}"),
        }
    }
}
