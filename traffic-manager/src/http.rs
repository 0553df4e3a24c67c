//! The HTTP interface: `/internal/data/v1` for gateways, `/api/lockstep/v1` for operators.

use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use artifact::{DeploymentNotices, GatewayNotice, Label};
use kit::problem::Problem;
use store::StoreError;

use crate::encoding::Encoding;
use crate::label_log::{Cut, Pull, stream};
use crate::logs::LogsError;
use crate::parameters::{Parameters, bad};
use crate::registry::RegistryError;
use crate::synapse_artifacts::{self, Asked};
use crate::{TrafficManager, measure, operator};

/// The longest body that a gateway's notices may have.
const MAX_NOTICE_BYTES: usize = 4 * 1024 * 1024;
/// The most notices of one batch.
const MAX_NOTICES: usize = 10_000;

type Manager = web::Data<TrafficManager>;

/// Adds all routes of the traffic manager, health included.
pub fn routes(app: &mut web::ServiceConfig, manager: &TrafficManager) {
    let json = || {
        web::JsonConfig::default()
            .limit(MAX_NOTICE_BYTES)
            .error_handler(|error, _| Problem::bad_request("bad-request", error.to_string()).into())
    };
    app.app_data(web::Data::new(manager.clone()))
        .route("/healthz", web::get().to(|| async { "ok\n" }))
        .route("/readyz", web::get().to(get_ready))
        .route("/metrics", web::get().to(get_metrics))
        .service(
            web::scope("/internal/data/v1")
                .app_data(json())
                .route("/synapse-artifacts", web::get().to(get_artifact))
                .route("/gateway-synapse-artifacts", web::get().to(get_artifacts))
                .route("/synapse-attributes", web::get().to(get_attributes))
                .route("/label-log", web::get().to(get_label_log))
                .route("/label-log/index", web::get().to(get_index))
                .route("/label-log/digest", web::get().to(get_digest))
                .route("/notify-gateway", web::post().to(post_gateway))
                .route(
                    "/notify-api-deployment-status",
                    web::post().to(post_deployments),
                ),
        )
        .configure(operator::routes);
}

async fn get_ready(manager: Manager) -> Result<HttpResponse, Problem> {
    manager.logs.loaded().await.map_err(unavailable)?;
    let logs = manager.logs.seqs().len();
    let mut answer = HttpResponse::Ok();
    told_stale(&mut answer, &manager);
    Ok(answer.json(serde_json::json!({"ready": true, "labelLogs": logs})))
}

async fn get_metrics(manager: Manager) -> HttpResponse {
    measure::state(&manager).await;
    kit::metrics::answer()
}

async fn get_artifact(manager: Manager, request: HttpRequest) -> actix_web::Result<HttpResponse> {
    let parameters = Parameters::of(&request);
    let api_id = parameters.text("apiId")?;
    let label = parameters.text("gatewayLabel")?;
    let asked = parameters.text("gatewayInstruction")?;
    // What is missing or cannot be matches nothing, as in API Manager.
    let asked_for = (
        api_id,
        label.and_then(|label| Label::parse(label).ok()),
        asked.and_then(Asked::parse),
    );
    let found = match asked_for {
        (Some(api_id), Some(label), Some(asked)) => {
            synapse_artifacts::artifact(&manager, api_id, &label, asked, |_| true)
                .await
                .map_err(|error| message("Error retrieving artifacts", &error))?
        }
        _ => None,
    };
    let mut answer = json(&manager);
    Ok(answer.body(found.unwrap_or_default()))
}

async fn get_artifacts(manager: Manager, request: HttpRequest) -> actix_web::Result<HttpResponse> {
    let parameters = Parameters::of(&request);
    let label = parameters.text("gatewayLabel")?;
    let Some(label) = label.and_then(|label| Label::parse(label).ok()) else {
        let none = serde_json::json!({"count": 0, "list": [], "pagination": null});
        return Ok(json(&manager).body(none.to_string()));
    };
    let encoding = accepted(&request);
    let sent = synapse_artifacts::all(&manager, &label, encoding, &|_| true).await;
    let sent = sent.map_err(|error| message("Error retrieving artifacts", &error))?;
    let mut answer = json(&manager);
    encoded(&mut answer, encoding);
    Ok(answer.streaming(sent))
}

async fn get_attributes(manager: Manager, request: HttpRequest) -> actix_web::Result<HttpResponse> {
    let parameters = Parameters::of(&request);
    let name = (
        parameters.text("apiName")?.unwrap_or_default(),
        parameters.text("version")?.unwrap_or_default(),
        parameters.text("tenantDomain")?.unwrap_or_default(),
    );
    let found = synapse_artifacts::attributes(&manager, name, |_| true).await;
    let found = found.map_err(|error| message("Error retrieving attributes", &error))?;
    Ok(json(&manager).json(found))
}

async fn get_label_log(manager: Manager, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    let follow = parameters.flag("follow")?;
    send_log(manager, &request, &parameters, follow, false).await
}

async fn get_index(manager: Manager, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    send_log(manager, &request, &parameters, false, true).await
}

async fn send_log(
    manager: Manager,
    request: &HttpRequest,
    parameters: &Parameters,
    follow: bool,
    index: bool,
) -> Result<HttpResponse, Problem> {
    let pull = Pull {
        label: parameters.label("gatewayLabel")?,
        after: parameters.number("after", 0)?.unwrap_or(0),
        limit: parameters.number("limit", 1)?,
        follow,
        tenants: parameters
            .text("tenantDomain")?
            .map(|tenant| vec![tenant.to_owned()]),
        index,
        encoding: accepted(request),
    };
    let least = parameters.number("minSeq", 0)?.unwrap_or(0);
    if let Err(answer) = reached(&manager, &pull.label, least).await {
        return Ok(answer);
    }
    let seq = manager.logs.seq(&pull.label);
    let mut answer = HttpResponse::Ok();
    told_stale(&mut answer, &manager);
    if !follow {
        let tag = format!("\"{}:{seq}\"", manager.store.dc());
        answer.insert_header((ETAG, tag.clone()));
        if has_tag(request, &tag) {
            answer.status(StatusCode::NOT_MODIFIED);
            return Ok(answer.finish());
        }
    }
    encoded(&mut answer, pull.encoding);
    let lines = stream(&manager, pull).await.map_err(unavailable)?;
    answer.content_type("application/x-ndjson");
    Ok(answer.streaming(lines))
}

async fn get_digest(manager: Manager, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    let label = parameters.label("gatewayLabel")?;
    let least = parameters.number("minSeq", 0)?.unwrap_or(0);
    if let Err(answer) = reached(&manager, &label, least).await {
        return Ok(answer);
    }
    let (seq, digest) = manager.logs.digest(&label);
    let mut answer = json(&manager);
    Ok(answer.json(serde_json::json!({
        "gatewayLabel": label, "seq": seq, "count": digest.count, "digest": digest.digest,
    })))
}

/// Whether the log has come so far; else the answer that says so: 409 with the position reached
/// where the database lags, 503 where it cannot be asked.
async fn reached(manager: &TrafficManager, label: &Label, seq: u64) -> Result<(), HttpResponse> {
    let error = match manager.logs.reached(label, seq).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let LogsError::Behind { reached } = error else {
        return Err(HttpResponse::from_error(unavailable(error)));
    };
    let detail = format!("minSeq: the log of label {label} has reached {reached}, not {seq} yet");
    let problem = Problem::new(StatusCode::CONFLICT, "behind", detail);
    let mut body = serde_json::json!(problem);
    body["seq"] = reached.into();
    Err(HttpResponse::Conflict()
        .insert_header((RETRY_AFTER, "1"))
        .content_type(kit::problem::CONTENT_TYPE)
        .body(body.to_string()))
}

async fn post_gateway(
    manager: Manager,
    notice: web::Json<GatewayNotice>,
) -> Result<HttpResponse, Problem> {
    let notice = notice.into_inner();
    checked_id("gatewayId", &notice.gateway_id)?;
    let now = kit::clock::now_ms();
    measure::gateway(&manager, &notice, now);
    let reply = manager.registry.gateway(notice, now).await;
    Ok(HttpResponse::Ok().json(reply.map_err(not_recorded)?))
}

async fn post_deployments(
    manager: Manager,
    notices: web::Json<DeploymentNotices>,
) -> Result<HttpResponse, Problem> {
    if notices.list.len() > MAX_NOTICES {
        return Err(bad("list", format!("has more than {MAX_NOTICES} items")));
    }
    for notice in &notices.list {
        checked_id("gatewayId", &notice.gateway_id)?;
        checked_id("apiId", &notice.api_id)?;
    }
    let reply = manager.registry.deployments(&notices).await;
    let reply = reply.map_err(not_recorded)?;
    measure::deployments(&manager, &notices, kit::clock::now_ms());
    Ok(HttpResponse::Ok().json(reply))
}

fn checked_id(name: &str, id: &str) -> Result<(), Problem> {
    if id.is_empty() || id.len() > 255 || id.trim() != id || id.contains(char::is_control) {
        let rule = "must have 1 to 255 bytes, no control characters, no blanks at its ends";
        return Err(bad(name, rule));
    }
    Ok(())
}

fn accepted(request: &HttpRequest) -> Encoding {
    let header = request.headers().get(ACCEPT_ENCODING);
    Encoding::accepted(header.and_then(|value| value.to_str().ok()))
}

fn encoded(answer: &mut HttpResponseBuilder, encoding: Encoding) {
    answer.insert_header((VARY, "Accept-Encoding"));
    if let Some(name) = encoding.name() {
        answer.insert_header((CONTENT_ENCODING, name));
    }
}

fn has_tag(request: &HttpRequest, tag: &str) -> bool {
    let header = request.headers().get(IF_NONE_MATCH);
    let tags = header.and_then(|value| value.to_str().ok());
    tags.is_some_and(|tags| {
        let mut tags = tags.split(',').map(str::trim);
        tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}

/// A JSON answer from memory.
fn json(manager: &TrafficManager) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.content_type("application/json");
    told_stale(&mut answer, manager);
    answer
}

/// Says since when the database could not be asked, as an HTTP date.
fn told_stale(answer: &mut HttpResponseBuilder, manager: &TrafficManager) {
    if let Some(since) = manager.logs.stale_since() {
        let since = u64::try_from(since).unwrap_or(0);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(since);
        answer.insert_header(("Stale-Since", httpdate::fmt_http_date(time)));
    }
}

/// What cannot be answered from memory while the database is away.
pub(crate) fn unavailable(error: impl Into<Cut>) -> Problem {
    Problem::unavailable("store-failed", error.into().to_string())
}

pub(crate) fn problem(error: StoreError) -> Problem {
    tracing::warn!(%error, "the store failed");
    Problem::unavailable("store-failed", error.to_string())
}

fn not_recorded(error: RegistryError) -> Problem {
    Problem::unavailable("registry-failed", error.to_string())
}

/// The error shape of API Manager's three resources. It answers 500; 503 tells that it is worth
/// trying again, and to its clients any status but 200 is the same.
fn message(text: &str, error: &Cut) -> actix_web::Error {
    tracing::warn!(%error, "an artifact cannot be answered");
    let answer = HttpResponse::ServiceUnavailable()
        .insert_header((RETRY_AFTER, "1"))
        .json(serde_json::json!({"Message": format!("{text}: {error}")}));
    InternalError::from_response(text.to_owned(), answer).into()
}
