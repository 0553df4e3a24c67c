//! One request: dispatch, mediate, call back ends, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use synapse::dispatch::{RequestHead, ResourceOutcome, Selected, Selection, query_parameters};
use synapse::mediate::{
    self, Answer, BackendResponse, Body, Environment, Exchange, Fault, LogRecord, Step, Target,
};
use synapse::plan::LogCategory;
use tokio::sync::watch;

use super::back_end::{BackEnds, strip_hop_by_hop};
use super::body::{self, StreamBody};
use crate::driver::Routes;
use crate::patience::Patience;
use crate::sync_core::{Deployment, Progress, Routed};

/// Asks for the headers that say which API and revision answered.
const TRACE: HeaderName = HeaderName::from_static("lockstep-trace");
const TRACE_API: HeaderName = HeaderName::from_static("lockstep-api");
const TRACE_REVISION: HeaderName = HeaderName::from_static("lockstep-revision");

/// Everything that requests share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub routes: Routes,
    pub back_ends: BackEnds,
    /// In sync mode nothing is served before the label logs have been applied.
    pub progress: watch::Receiver<Progress>,
    pub patience: Patience,
    pub trace_header: bool,
    pub http_port: u16,
    pub https_port: u16,
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
            let mut answer = made(mediate::engine_answer(
                503,
                "Service Unavailable",
                "the gateway is still fetching its APIs",
            ));
            let soon = HeaderValue::from_static("1");
            answer.headers_mut().insert(RETRY_AFTER, soon);
            return answer;
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
        let routes = self.routes.load_full();
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
        let mut answer = match start_of(selected, target, &target[postfix..]) {
            Err(step) => made(step),
            Ok(start) => {
                let request = mediate::Request {
                    method: parts.method.as_str(),
                    target,
                    https,
                    headers,
                    has_body,
                };
                let body = has_body.then_some(incoming);
                self.mediate(&deployment, start, request, body).await
            }
        };
        if traced {
            trace(&mut answer, &deployment);
        }
        answer
    }

    /// Runs the plan, making the calls that it asks for.
    async fn mediate(
        &self,
        deployment: &Deployment,
        target: Target<'_>,
        request: mediate::Request<'_>,
        mut request_body: Option<Incoming>,
    ) -> Response<StreamBody> {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let environment = Environment {
            now: kit::clock::now_ms(),
            http_port: self.http_port,
            https_port: self.https_port,
            message_id: format!("urn:lockstep:{:x}:{number}", self.started),
        };
        let plan = Arc::clone(&deployment.plan);
        let (mut exchange, mut step) = Exchange::start(plan, target, request, environment);
        let mut response_body = None;
        loop {
            write_logs(&deployment.name, exchange.take_logs());
            let call = match step {
                Step::Answer(answer) => return finished(*answer, request_body, response_body),
                Step::Call(call) => *call,
            };
            let body = take(call.body.clone(), &mut request_body, &mut response_body);
            let (discard, endpoint) = (call.discard, call.endpoint.clone());
            step = match self.back_ends.call(call, body).await {
                Ok(response) => {
                    let (parts, incoming) = response.into_parts();
                    response_body = Some(incoming);
                    exchange.response(BackendResponse {
                        status: parts.status.as_u16(),
                        headers: parts.headers,
                    })
                }
                Err(fault) => {
                    tracing::warn!(
                        api = deployment.name,
                        endpoint,
                        code = fault.code,
                        detail = fault.detail,
                        "the back end could not be called"
                    );
                    if discard && fault.code == Fault::TIMEOUT {
                        // responseAction discard: no fault sequence, nothing of the message.
                        return empty_answer(StatusCode::GATEWAY_TIMEOUT);
                    }
                    exchange.failed(fault)
                }
            };
        }
    }
}

/// Where the plan starts, or the answer that dispatch alone gives.
fn start_of<'r>(
    selected: Selected<'_, '_, Routed>,
    target: &str,
    rest_url_postfix: &'r str,
) -> Result<Target<'r>, Step> {
    let (resource, variables) = match selected.resource {
        ResourceOutcome::Found { index, variables } => (index, variables),
        ResourceOutcome::Options { allow, .. } => return Err(mediate::options(&allow)),
        ResourceOutcome::NotFound => return Err(mediate::not_found(target)),
        ResourceOutcome::MethodNotAllowed => return Err(mediate::method_not_allowed()),
        ResourceOutcome::BadRequest => {
            return Err(mediate::engine_answer(
                400,
                "Bad Request",
                "the request fits no resource of the API",
            ));
        }
    };
    let query = query_parameters(target)
        .map_err(|error| mediate::engine_answer(400, "Bad Request", &error.to_string()))?;
    Ok(Target {
        api: selected.attached.api,
        resource,
        variables,
        query,
        rest_url_postfix,
    })
}

/// The bytes that a message's body stands for. A stream can be taken once.
fn take(body: Body, request: &mut Option<Incoming>, response: &mut Option<Incoming>) -> StreamBody {
    let stream = match body {
        Body::Bytes(bytes) => return body::full(bytes),
        Body::Empty => None,
        Body::Request => request.take(),
        Body::Response => response.take(),
    };
    stream.map_or_else(body::empty, body::streamed)
}

fn finished(
    answer: Answer,
    mut request: Option<Incoming>,
    mut response: Option<Incoming>,
) -> Response<StreamBody> {
    let mut headers = answer.headers;
    strip_hop_by_hop(&mut headers);
    if answer.body == Body::Empty {
        headers.remove(CONTENT_LENGTH);
    }
    let mut made = Response::new(take(answer.body, &mut request, &mut response));
    *made.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *made.headers_mut() = headers;
    made
}

/// An answer that needs no streams.
fn made(step: Step) -> Response<StreamBody> {
    match step {
        Step::Answer(answer) => finished(*answer, None, None),
        Step::Call(_) => empty_answer(StatusCode::INTERNAL_SERVER_ERROR),
    }
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
