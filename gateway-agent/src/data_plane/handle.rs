//! One request: dispatch, mediate, call back ends, answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use kit::config::TrustedProxies;
use synapse::dispatch::{RequestHead, ResourceOutcome, RouteTable, Selection};
use synapse::mediate::{
    self, BackendResponse, Environment, Exchange, Fault, LogRecord, MessageId, Settings, Step,
    Target,
};
use synapse::plan::LogCategory;
use tokio::sync::watch;

use super::access_log::AccessLog;
use super::admission::Admission;
use super::answers::{self, come_again, finished, made, refused, trace};
use super::back_end::{BackEnds, Failed};
use super::batched::send_waiting;
use super::bodies::Bodies;
use super::body::StreamBody;
use super::correlation::Correlation;
use super::forwarded::Peer;
use super::hop::{join_cookies, strip_hop_by_hop};
use super::refuse::{Refusal, refusal};
use super::source::{Bounds, Source};
use super::transaction::{Answered, Transaction};
use super::upgrade::{self, Tunnels};
use crate::driver::Routes;
use crate::patience::Patience;
use crate::sync_core::{Deployment, Progress, Routed};
use crate::tenants::{NotInTime, Tenants};

/// Asks for the headers that say which API and revision answered.
const TRACE: HeaderName = HeaderName::from_static("lockstep-trace");

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
    pub limits: RequestLimits,
    pub trusted_proxies: Arc<TrustedProxies>,
    pub correlation: Correlation,
    /// `None`: there is none.
    pub access_log: Option<AccessLog>,
    pub tunnels: Tunnels,
}

/// What a request may be.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    pub headers: usize,
    /// Bytes of its body, as they come.
    pub body: u64,
    /// How long nothing of its body may come.
    pub silence: Duration,
    /// How long nothing of a back end's response may come, once it has begun; `None`: for ever.
    pub back_end_silence: Option<Duration>,
}

impl Gateway {
    /// Answers one request.
    pub(crate) async fn handle(
        &self,
        mut request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> Response<Answered> {
        let upgrade = upgrade::wanted(&mut request);
        let (parts, incoming) = request.into_parts();
        let correlation = self.correlation.of(&parts.headers);
        let entry = self.access_log.as_ref().map(|log| {
            let client = peer.client(&parts.headers, &self.trusted_proxies);
            log.entry(&parts, client, &correlation)
        });
        let mut transaction = Transaction {
            peer,
            host: None,
            correlation,
            upgrade,
            entry,
        };
        let method = parts.method.clone();
        let version = parts.version;
        let size = incoming.size_hint().lower();
        let body = (!incoming.is_end_stream()).then(|| {
            let bounds = Bounds {
                size: self.limits.body,
                silence: Some(self.limits.silence),
            };
            Source::of_client(incoming, version, &parts.headers, bounds)
        });
        let mut answer = match refusal(&parts, self.limits.headers) {
            Some(refusal) => refused(refusal),
            None if size > self.limits.body => refused(Refusal::TOO_LARGE),
            None => self.answer(parts, body, &mut transaction).await,
        };
        if version > Version::HTTP_11 {
            answer.headers_mut().remove(CONNECTION);
        } else if version < Version::HTTP_11 && answer.body().size_hint().exact().is_none() {
            // The end of the connection is the end of the body: the library must not keep it.
            *answer.version_mut() = version;
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        answers::fit(&mut answer, &method);
        let header = self.correlation.header.clone();
        let Transaction {
            correlation,
            mut entry,
            ..
        } = transaction;
        answer.headers_mut().insert(header, correlation);
        if let Some(entry) = &mut entry {
            entry.note(|record| record.status = Some(answer.status()));
        }
        answer.map(|body| Answered::new(body, entry))
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Option<Source>,
        transaction: &mut Transaction,
    ) -> Response<StreamBody> {
        if self.patience.lasts() && !self.progress.borrow().missing.is_empty() {
            return come_again("the gateway is still fetching its APIs");
        }
        let https = transaction.peer.https;
        let has_body = body.is_some();
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut headers = parts.headers;
        // HTTP/2 names the host in its pseudo-header.
        if let Some(authority) = parts.uri.authority()
            && !headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        transaction.host = headers.get(HOST).cloned();
        join_cookies(&mut headers);
        strip_hop_by_hop(&mut headers);
        transaction.peer.admit(&mut headers);
        let traced = self.trace_header && headers.contains_key(TRACE);
        let Ok(routes) = self.routes(target).await else {
            return come_again("the gateway is still fetching the APIs of the tenant");
        };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let head = RequestHead {
            method: parts.method.as_str(),
            target,
            host: text(HOST),
            https,
            content_type: text(CONTENT_TYPE),
            user_agent: text(USER_AGENT),
            has_body,
        };
        let selection = match transaction.upgrade {
            None => routes.select(&head),
            Some(_) => upgrade::select(&routes, &head),
        };
        let selected = match selection {
            Selection::NotFound => return made(mediate::not_found(target)),
            Selection::TransportDenied => return made(mediate::transport_denied(https)),
            Selection::Api(selected) => selected,
        };
        if let ResourceOutcome::Found { index, .. } = &selected.resource {
            let plan = &selected.attached.deployment.plan;
            plan.touch(selected.attached.api, *index);
        }
        let deployment = Arc::clone(&selected.attached.deployment);
        if let Some(entry) = &mut transaction.entry {
            entry.note(|record| record.deployment = Some(Arc::clone(&deployment)));
        }
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
            remote: Some(transaction.peer.address),
        };
        let mediated = self.mediate(&deployment, to, request, body, transaction);
        let mut answer = mediated.await;
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
        transaction: &mut Transaction,
    ) -> Response<StreamBody> {
        let environment = Environment {
            now: kit::clock::now_ms(),
            message_id: MessageId {
                started: self.started,
                number: self.messages.fetch_add(1, Ordering::Relaxed),
            },
            settings: Arc::clone(&self.settings),
        };
        let plan = Arc::clone(&deployment.plan);
        let (mut exchange, mut step) = Exchange::start(plan, target, request, environment);
        let mut bodies = Bodies {
            request: request_body,
            response: None,
        };
        loop {
            write_logs(&deployment.name, transaction, exchange.take_logs());
            let mut call = match step {
                Step::Answer(answer) => return finished(*answer, &bodies),
                Step::Read(body, need) => {
                    let read = bodies.read(body, need, exchange.headers());
                    let read = self.back_ends.in_time(read).await;
                    if let Some(refusal) = bodies.refusal() {
                        return refused(refusal);
                    }
                    // To look into a body takes long; answers that are made must not wait for it.
                    send_waiting();
                    step = exchange.read(read);
                    continue;
                }
                Step::Ask(question) => {
                    let answer = match exchange.asked() {
                        Some(asked) => self.admission.admit(question, asked).await,
                        None => return answers::empty(StatusCode::INTERNAL_SERVER_ERROR),
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
            let body = bodies.take(&of_body, call.may_repeat);
            let endpoint = std::mem::take(&mut call.endpoint);
            self.tell(&mut call.headers, transaction);
            let began = transaction.entry.is_some().then(Instant::now);
            let websocket = transaction.upgrade.is_some() && upgrade::may_be_asked(&call);
            let result = self.back_ends.call(call, body, websocket).await;
            transaction.note_call(&endpoint, began);
            let now = kit::clock::now_ms();
            step = match result {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    exchange.switched(now);
                    return self.switch(response, transaction);
                }
                Ok(response) => {
                    let (parts, incoming) = response.into_parts();
                    let source = bodies.source_of(&of_body);
                    let request_left = source.is_none_or(Source::is_left);
                    let bounds = Bounds {
                        size: u64::MAX,
                        silence: self.limits.back_end_silence,
                    };
                    let version = parts.version;
                    let source = Source::new(incoming, version, &parts.headers, bounds);
                    bodies.response = Some(source);
                    let head = BackendResponse {
                        status: parts.status.as_u16(),
                        headers: parts.headers,
                        request_left,
                    };
                    exchange.response(head, now)
                }
                Err(Failed {
                    mut fault,
                    closed_meanwhile,
                }) => {
                    if let Some(refusal) = bodies.refusal() {
                        return refused(refusal);
                    }
                    let source = bodies.source_of(&of_body);
                    // A client that stalls or goes away says nothing about the back end.
                    let stalls =
                        fault.code == Fault::TIMEOUT && source.is_some_and(Source::is_awaited);
                    if stalls || source.is_some_and(|source| source.failure().is_some()) {
                        fault.code = Fault::CLIENT_FAILED;
                    }
                    let (name, correlation) = (&deployment.name, transaction.id());
                    let (code, detail) = (fault.code, &fault.detail);
                    if code == Fault::CLIENT_FAILED {
                        tracing::debug!(api = name, endpoint, correlation, "the client broke off");
                    } else {
                        tracing::warn!(
                            api = name,
                            endpoint,
                            code,
                            detail,
                            correlation,
                            "the back end could not be called"
                        );
                    }
                    let body_left = source.is_none_or(Source::is_left);
                    match closed_meanwhile && code != Fault::CLIENT_FAILED {
                        true => exchange.closed(fault, now, body_left),
                        false => exchange.failed(fault, now, body_left),
                    }
                }
            };
        }
    }

    /// What a back end is told about the client and the request.
    fn tell(&self, headers: &mut http::HeaderMap, transaction: &Transaction) {
        transaction.peer.tell(headers, transaction.host.as_ref());
        let header = self.correlation.header.clone();
        headers.insert(header, transaction.correlation.clone());
    }

    /// The answer that makes the client switch, too; from then on bytes pass.
    fn switch(
        &self,
        mut response: Response<Incoming>,
        transaction: &mut Transaction,
    ) -> Response<StreamBody> {
        let Some(client) = transaction.upgrade.take() else {
            return answers::empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let back_end = hyper::upgrade::on(&mut response);
        let mut entry = transaction.entry.take();
        if let Some(entry) = &mut entry {
            entry.note(|record| record.status = Some(response.status()));
        }
        self.tunnels.open(client, back_end, entry);
        let mut answer = answers::empty(response.status());
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        upgrade::ask(answer.headers_mut());
        answer
    }
}

/// Log mediators write to the gateway's log; the fields are the artifact's own.
fn write_logs(api: &str, transaction: &Transaction, logs: Vec<LogRecord>) {
    for LogRecord { category, fields } in logs {
        let text: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let text = text.join(", ");
        let correlation = transaction.id();
        match category {
            LogCategory::Debug => {
                tracing::debug!(target: "synapse::log", api, correlation, "{text}");
            }
            LogCategory::Info => tracing::info!(target: "synapse::log", api, correlation, "{text}"),
            LogCategory::Warn => tracing::warn!(target: "synapse::log", api, correlation, "{text}"),
            LogCategory::Error => {
                tracing::error!(target: "synapse::log", api, correlation, "{text}");
            }
        }
    }
}
