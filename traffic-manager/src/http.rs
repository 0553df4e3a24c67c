//! The HTTP interface: `/internal/data/v1` for gateways, `/api/lockstep/v1` for operators.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, RETRY_AFTER, VARY,
};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use artifact::{CONFLICT, DeploymentNotices, GatewayNotice, Label, UNREGISTERED};
use kit::access::{Access, Caller, Role};
use kit::problem::Problem;
use kit::time_limit::within;
use store::StoreError;

use crate::chunks::{Cut, Wanted};
use crate::encoding::Encoding;
use crate::label_log::{Pull, stream};
use crate::logs::{Entry, LogsError};
use crate::parameters::{Parameters, bad};
use crate::permissions::{reads_all_labels, reads_label, speaks_for, tenant_not_allowed, tenants};
use crate::registry::RegistryError;
use crate::synapse_artifacts::{self, Asked};
use crate::{TrafficManager, measure, operator, repairs};

/// The longest body that a gateway's notices may have.
const MAX_NOTICE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of what a gateway tells of itself, each kind.
const MAX_PROPERTIES: usize = 64 * 1024;
/// The most labels of a gateway.
const MAX_LABELS: usize = 1000;
/// Until an answer begins, the request's body included.
const TIME: Duration = Duration::from_secs(60);
/// The most notices of one batch.
const MAX_NOTICES: usize = 10_000;

type Manager = web::Data<TrafficManager>;

/// Adds all routes of the traffic manager, health included.
pub fn routes(app: &mut web::ServiceConfig, manager: &TrafficManager, access: &Access) {
    let json = || {
        web::JsonConfig::default()
            .limit(MAX_NOTICE_BYTES)
            .error_handler(|error, _| Problem::bad_request("bad-request", error.to_string()).into())
    };
    // Artifacts hold the credentials of back ends: they are for gateways only.
    let artifacts = |path: &str| web::resource(path).wrap(access.require(&[Role::Gateway]));
    let reading = [Role::Gateway, Role::Operator];
    let about = |path: &str| web::resource(path).wrap(access.require(&reading));
    let post = |path: &str| web::resource(path).wrap(access.require(&[Role::Gateway]));
    app.app_data(web::Data::new(manager.clone()))
        .route("/healthz", web::get().to(|| async { "ok\n" }))
        .service(
            web::resource("/readyz")
                .wrap(access.recognize())
                .route(web::get().to(get_ready)),
        )
        .service(
            web::resource("/metrics")
                .wrap(access.require(&[Role::Viewer]))
                .route(web::get().to(get_metrics)),
        )
        .service(
            web::scope("/internal/data/v1")
                .wrap(from_fn(|request, next| within(TIME, request, next)))
                .app_data(json())
                .service(artifacts("/synapse-artifacts").route(web::get().to(get_artifact)))
                .service(
                    artifacts("/gateway-synapse-artifacts").route(web::get().to(get_artifacts)),
                )
                .service(about("/synapse-attributes").route(web::get().to(get_attributes)))
                .service(artifacts("/label-log").route(web::get().to(get_label_log)))
                .service(about("/label-log/index").route(web::get().to(get_index)))
                .service(about("/label-log/digest").route(web::get().to(get_digest)))
                .service(post("/notify-gateway").route(web::post().to(post_gateway)))
                .service(
                    post("/notify-api-deployment-status").route(web::post().to(post_deployments)),
                ),
        )
        .configure(|app| operator::routes(app, access));
}

/// Names of labels are for users; everybody is told how many there are.
async fn get_ready(manager: Manager, caller: Option<Caller>) -> Result<HttpResponse, Problem> {
    manager.logs.loaded().await.map_err(unavailable)?;
    if !manager.blobs.is_alive() || !manager.registry.is_alive() {
        let detail = "a part of the traffic manager has ended; its log tells why; restart it";
        return Err(Problem::unavailable("part-ended", detail));
    }
    let mut answer = HttpResponse::Ok();
    told_stale(&mut answer, &manager);
    let seqs = manager.logs.seqs();
    let Some(caller) = caller else {
        let state = serde_json::json!({"ready": true, "labelLogs": seqs.len()});
        return Ok(answer.json(state));
    };
    let logs: serde_json::Map<String, serde_json::Value> = seqs
        .into_iter()
        .filter(|(label, _)| caller.may_read_label(label.as_str()))
        .map(|(label, seq)| (label.to_string(), seq.into()))
        .collect();
    Ok(answer.json(serde_json::json!({"ready": true, "labelLogs": logs})))
}

async fn get_metrics(manager: Manager, caller: Caller) -> Result<HttpResponse, Problem> {
    reads_all_labels(&caller)?;
    measure::state(&manager).await;
    Ok(kit::metrics::answer())
}

async fn get_artifact(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> actix_web::Result<HttpResponse> {
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
            reads_label(&caller, &label)?;
            let visible = |entry: &Entry| caller.may_read_tenant(&entry.tenant_domain);
            synapse_artifacts::artifact(&manager, api_id, &label, asked, visible)
                .await
                .map_err(|error| message("Error retrieving artifacts", &error))?
        }
        _ => None,
    };
    let mut answer = json(&manager);
    Ok(answer.body(found.unwrap_or_default()))
}

async fn get_artifacts(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> actix_web::Result<HttpResponse> {
    let parameters = Parameters::of(&request);
    let label = parameters.text("gatewayLabel")?;
    let Some(label) = label.and_then(|label| Label::parse(label).ok()) else {
        let none = serde_json::json!({"count": 0, "list": [], "pagination": null});
        return Ok(json(&manager).body(none.to_string()));
    };
    reads_label(&caller, &label)?;
    let encoding = accepted(&request);
    let visible = |entry: &Entry| caller.may_read_tenant(&entry.tenant_domain);
    let sent = synapse_artifacts::all(&manager, &label, encoding, &visible).await;
    let sent = sent.map_err(|error| message("Error retrieving artifacts", &error))?;
    let mut answer = json(&manager);
    encoded(&mut answer, encoding);
    Ok(answer.streaming(sent))
}

async fn get_attributes(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> actix_web::Result<HttpResponse> {
    let parameters = Parameters::of(&request);
    let name = (
        parameters.text("apiName")?.unwrap_or_default(),
        parameters.text("version")?.unwrap_or_default(),
        parameters.text("tenantDomain")?.unwrap_or_default(),
    );
    if !caller.may_read_tenant(name.2) {
        return Err(tenant_not_allowed(name.2).into());
    }
    let visible = |label: &Label| caller.may_read_label(label.as_str());
    let found = synapse_artifacts::attributes(&manager, name, visible).await;
    let found = found.map_err(|error| message("Error retrieving attributes", &error))?;
    Ok(json(&manager).json(found))
}

async fn get_label_log(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    let follow = parameters.flag("follow")?;
    send_log(manager, &caller, &request, &parameters, (follow, false)).await
}

async fn get_index(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    send_log(manager, &caller, &request, &parameters, (false, true)).await
}

async fn send_log(
    manager: Manager,
    caller: &Caller,
    request: &HttpRequest,
    parameters: &Parameters,
    (follow, index): (bool, bool),
) -> Result<HttpResponse, Problem> {
    let pull = Pull {
        wanted: Wanted {
            label: parameters.label("gatewayLabel")?,
            tenants: tenants(caller, parameters.text("tenantDomain")?)?,
            artifacts_of: parameters.tenants("artifactsOf")?,
            index,
            encoding: accepted(request),
        },
        after: parameters.number("after", 0)?.unwrap_or(0),
        limit: parameters.number("limit", 1)?,
        follow,
    };
    let label = &pull.wanted.label;
    reads_label(caller, label)?;
    let least = parameters.number("minSeq", 0)?.unwrap_or(0);
    // A reader that is further than this instance has heard of later commits from another one.
    if (!follow && least == 0) || pull.after > manager.logs.seq(label) {
        manager.logs.current().await.map_err(unavailable)?;
    }
    if let Err(answer) = reached(&manager, label, least).await {
        return Ok(answer);
    }
    let seq = manager.logs.seq(label);
    let mut answer = HttpResponse::Ok();
    told_stale(&mut answer, &manager);
    if !follow {
        // Weak: the same entries in another encoding, of other tenants, or without artifacts, have
        // the same.
        let tag = format!("W/\"{}:{seq}\"", manager.store.dc());
        answer.insert_header((ETAG, tag.clone()));
        answer.insert_header((CACHE_CONTROL, "private, no-cache"));
        answer.insert_header((VARY, "Accept-Encoding, Authorization"));
        if has_tag(request, &tag) {
            answer.status(StatusCode::NOT_MODIFIED);
            return Ok(answer.finish());
        }
    }
    encoded(&mut answer, pull.wanted.encoding);
    let lines = stream(&manager, pull).await.map_err(|error| match error {
        Cut::Full => Problem::unavailable("too-many-readers", error.to_string()),
        error => unavailable(error),
    })?;
    answer.content_type("application/x-ndjson");
    Ok(answer.streaming(lines))
}

async fn get_digest(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    let label = parameters.label("gatewayLabel")?;
    let least = parameters.number("minSeq", 0)?.unwrap_or(0);
    reads_label(&caller, &label)?;
    let tenants = tenants(&caller, parameters.text("tenantDomain")?)?;
    if least == 0 {
        manager.logs.current().await.map_err(unavailable)?;
    }
    if let Err(answer) = reached(&manager, &label, least).await {
        return Ok(answer);
    }
    let (seq, digest) = manager.logs.digest(&label, tenants.as_deref());
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
    caller: Caller,
    notice: web::Json<GatewayNotice>,
) -> Result<HttpResponse, Problem> {
    let notice = notice.into_inner();
    checked_id("gatewayId", &notice.gateway_id)?;
    speaks_for(&caller, &notice.gateway_id)?;
    bounded(&notice)?;
    for label in notice
        .environment_labels
        .iter()
        .chain(notice.applied.keys())
    {
        reads_label(&caller, label)?;
    }
    measure::gateway(&notice);
    let held = repairs::held_now(&notice);
    let reply = manager.registry.gateway(notice, kit::clock::now_ms()).await;
    let mut reply = reply.map_err(not_recorded)?;
    // Another process with the gateway's id does not hold what that one holds.
    if ![CONFLICT, UNREGISTERED].contains(&reply.status.as_str()) {
        reply.accepted_repairs = repairs::accepted(&manager.store, &reply.gateway_id, &held).await;
    }
    Ok(HttpResponse::Ok().json(reply))
}

async fn post_deployments(
    manager: Manager,
    caller: Caller,
    notices: web::Json<DeploymentNotices>,
) -> Result<HttpResponse, Problem> {
    if notices.list.len() > MAX_NOTICES {
        return Err(bad("list", format!("has more than {MAX_NOTICES} items")));
    }
    for notice in &notices.list {
        checked_id("gatewayId", &notice.gateway_id)?;
        checked_id("apiId", &notice.api_id)?;
        speaks_for(&caller, &notice.gateway_id)?;
    }
    let reply = manager.registry.deployments(&notices).await;
    let reply = reply.map_err(not_recorded)?;
    measure::deployments(&manager, &notices, kit::clock::now_ms());
    Ok(HttpResponse::Ok().json(reply))
}

/// What a gateway tells of itself is kept as it is, so it must not be long.
fn bounded(notice: &GatewayNotice) -> Result<(), Problem> {
    let properties = serde_json::to_string(&notice.gateway_properties).map_or(0, |text| text.len());
    for (name, found, most) in [
        ("gatewayProperties", properties, MAX_PROPERTIES),
        (
            "environmentLabels",
            notice.environment_labels.len(),
            MAX_LABELS,
        ),
        ("applied", notice.applied.len(), MAX_LABELS),
        (
            "urls",
            notice.urls.iter().map(String::len).sum(),
            MAX_PROPERTIES,
        ),
        (
            "loadingTenants",
            notice.loading_tenants.iter().map(String::len).sum(),
            MAX_PROPERTIES,
        ),
    ] {
        if found > most {
            return Err(bad(name, format!("is longer than {most}")));
        }
    }
    Ok(())
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
    answer.insert_header((VARY, "Accept-Encoding, Authorization"));
    if let Some(name) = encoding.name() {
        answer.insert_header((CONTENT_ENCODING, name));
    }
}

fn has_tag(request: &HttpRequest, tag: &str) -> bool {
    let header = request.headers().get(IF_NONE_MATCH);
    let tags = header.and_then(|value| value.to_str().ok());
    tags.is_some_and(|tags| {
        let mut tags = tags.split(',').map(str::trim);
        let tag = tag.trim_start_matches("W/");
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
        let time = UNIX_EPOCH + Duration::from_millis(since);
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
