//! The HTTP interface: `/internal/data/v1` for gateways, `/api/lockstep/v1` for operators.

use std::collections::HashSet;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use artifact::{DeploymentNotices, GatewayNotice, Label, Overview};
use kit::access::{Access, Caller, Role};
use kit::problem::Problem;
use serde::Deserialize;
use store::StoreError;

use crate::label_log::{Pull, stream};
use crate::{TrafficManager, registry};

/// The longest body that a gateway's notices may have.
const MAX_NOTICE_BYTES: usize = 4 * 1024 * 1024;

/// Adds all routes of the traffic manager, health included.
pub fn routes(app: &mut web::ServiceConfig, manager: &TrafficManager, access: &Access) {
    let json = || {
        web::JsonConfig::default()
            .limit(MAX_NOTICE_BYTES)
            .error_handler(|error, _| Problem::bad_request("bad-request", error.to_string()).into())
    };
    app.app_data(web::Data::new(manager.clone()))
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            Problem::bad_request("bad-parameter", error.to_string()).into()
        }))
        .route("/healthz", web::get().to(|| async { "ok\n" }))
        .service(
            web::resource("/readyz")
                .wrap(access.recognize())
                .route(web::get().to(get_ready)),
        )
        .service(
            web::scope("/internal/data/v1")
                .app_data(json())
                .service(
                    web::resource("/label-log")
                        .wrap(access.require(&[Role::Gateway, Role::Operator]))
                        .route(web::get().to(get_label_log)),
                )
                .service(
                    web::resource("/notify-gateway")
                        .wrap(access.require(&[Role::Gateway]))
                        .route(web::post().to(post_gateway)),
                )
                .service(
                    web::resource("/notify-api-deployment-status")
                        .wrap(access.require(&[Role::Gateway]))
                        .route(web::post().to(post_deployments)),
                ),
        )
        .service(
            web::resource("/api/lockstep/v1/overview")
                .wrap(access.require(&[Role::Viewer, Role::Publisher]))
                .route(web::get().to(get_overview)),
        )
        .service(
            web::resource("/api/lockstep/v1/gateways")
                .wrap(access.require(&[Role::Operator]))
                .route(web::delete().to(delete_gateway)),
        );
}

/// What a caller may not do although it has the role.
fn forbidden(code: &str, detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, detail)
}

fn reads_label(caller: &Caller, label: &Label) -> Result<(), Problem> {
    if caller.may_read_label(label.as_str()) {
        return Ok(());
    }
    let detail = format!("this user may not read the label {label}");
    Err(forbidden("label-not-allowed", detail))
}

/// A label log holds the APIs of all tenants.
fn reads_all_tenants(caller: &Caller) -> Result<(), Problem> {
    if caller.tenants.is_empty() {
        return Ok(());
    }
    let detail = "a label log holds all tenants, and this user may read only some of them";
    Err(forbidden("tenant-not-allowed", detail.to_owned()))
}

fn speaks_for(caller: &Caller, gateway_id: &str) -> Result<(), Problem> {
    if caller.speaks_for(gateway_id) {
        return Ok(());
    }
    let detail = "gatewayId: this user may speak for another gateway only";
    Err(forbidden("gateway-not-allowed", detail.to_owned()))
}

/// Leaves of an overview what the caller may read.
fn readable(caller: &Caller, overview: &mut Overview) {
    let reads = |labels: &[Label]| {
        let mut labels = labels.iter().map(Label::as_str);
        caller.labels.is_empty() || labels.any(|label| caller.may_read_label(label))
    };
    overview.gateways.retain(|gateway| reads(&gateway.labels));
    let known: HashSet<&str> = overview
        .gateways
        .iter()
        .map(|gateway| gateway.gateway_id.as_str())
        .collect();
    overview.apis.retain_mut(|api| {
        api.gateways
            .retain(|status| known.contains(status.gateway_id.as_str()));
        caller.may_read_tenant(&api.tenant_domain) && reads(&api.labels)
    });
}

/// Names of labels are for users; everybody is told how many there are.
async fn get_ready(
    manager: web::Data<TrafficManager>,
    caller: Option<Caller>,
) -> Result<HttpResponse, Problem> {
    let labels = manager.store.label_seqs().await.map_err(problem)?;
    let Some(caller) = caller else {
        let state = serde_json::json!({"ready": true, "labelLogs": labels.len()});
        return Ok(HttpResponse::Ok().json(state));
    };
    let labels: serde_json::Map<String, serde_json::Value> = labels
        .into_iter()
        .filter(|(label, _)| caller.may_read_label(label.as_str()))
        .map(|(label, seq)| (label.to_string(), seq.into()))
        .collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({"ready": true, "labelLogs": labels})))
}

#[derive(Deserialize)]
struct LabelLogQuery {
    #[serde(rename = "gatewayLabel")]
    gateway_label: Label,
    #[serde(default)]
    after: u64,
    limit: Option<u64>,
    #[serde(default)]
    follow: bool,
}

async fn get_label_log(
    manager: web::Data<TrafficManager>,
    caller: Caller,
    query: web::Query<LabelLogQuery>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    reads_label(&caller, &query.gateway_label)?;
    reads_all_tenants(&caller)?;
    if query.limit == Some(0) {
        return Err(Problem::bad_request(
            "bad-parameter",
            "limit: must be at least 1",
        ));
    }
    let pull = Pull {
        label: query.gateway_label,
        after: query.after,
        limit: query.limit,
        follow: query.follow,
    };
    let lines = stream(&manager, pull).await.map_err(problem)?;
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(lines))
}

async fn post_gateway(
    manager: web::Data<TrafficManager>,
    caller: Caller,
    notice: web::Json<GatewayNotice>,
) -> Result<HttpResponse, Problem> {
    let id = &notice.gateway_id;
    speaks_for(&caller, id)?;
    for label in &notice.environment_labels {
        reads_label(&caller, label)?;
    }
    if id.is_empty() || id.len() > 255 || id.trim() != id || id.contains(char::is_control) {
        return Err(Problem::bad_request(
            "bad-gateway-id",
            "gatewayId must have 1 to 255 bytes, no control characters, no blanks at its ends",
        ));
    }
    let reply = registry::gateway(&manager, &notice, kit::clock::now_ms())
        .await
        .map_err(problem)?;
    Ok(HttpResponse::Ok().json(reply))
}

async fn post_deployments(
    manager: web::Data<TrafficManager>,
    caller: Caller,
    notices: web::Json<DeploymentNotices>,
) -> Result<HttpResponse, Problem> {
    for notice in &notices.list {
        speaks_for(&caller, &notice.gateway_id)?;
    }
    let reply = registry::deployments(&manager, &notices)
        .await
        .map_err(problem)?;
    Ok(HttpResponse::Ok().json(reply))
}

#[derive(Deserialize)]
struct OverviewQuery {
    /// Comma-separated ids; all APIs without it.
    #[serde(rename = "apiId")]
    api_id: Option<String>,
}

async fn get_overview(
    manager: web::Data<TrafficManager>,
    caller: Caller,
    query: web::Query<OverviewQuery>,
) -> Result<HttpResponse, Problem> {
    // Publishers may look what became of what they have published, by its ids.
    if query.api_id.is_none() && !caller.roles.has(Role::Viewer) {
        let detail = "this needs the role viewer; a publisher has to name APIs with apiId";
        return Err(forbidden("role-missing", detail.to_owned()));
    }
    let ids: Option<Vec<&str>> = query.api_id.as_ref().map(|ids| ids.split(',').collect());
    let mut made = manager
        .overview(ids.as_deref(), kit::clock::now_ms())
        .await
        .map_err(problem)?;
    readable(&caller, &mut made);
    Ok(HttpResponse::Ok().json(made))
}

#[derive(Deserialize)]
struct GatewayQuery {
    id: String,
}

async fn delete_gateway(
    manager: web::Data<TrafficManager>,
    query: web::Query<GatewayQuery>,
) -> Result<HttpResponse, Problem> {
    let id = &query.id;
    if manager.store.forget_gateway(id).await.map_err(problem)? {
        tracing::info!(gateway_id = id, "gateway forgotten");
        return Ok(HttpResponse::Ok().json(serde_json::json!({"forgotten": id})));
    }
    let detail = format!("no gateway {id} is registered");
    Err(Problem::not_found("gateway-not-found", detail))
}

fn problem(error: StoreError) -> Problem {
    tracing::warn!(%error, "the store failed");
    Problem::unavailable("store-failed", error.to_string())
}
