//! The HTTP interface: `/internal/data/v1` for gateways, `/api/lockstep/v1` for operators.

use actix_web::{HttpResponse, web};
use artifact::{DeploymentNotices, GatewayNotice, Label};
use kit::problem::Problem;
use serde::Deserialize;
use store::StoreError;

use crate::label_log::{Pull, stream};
use crate::{TrafficManager, registry};

/// The longest body that a gateway's notices may have.
const MAX_NOTICE_BYTES: usize = 4 * 1024 * 1024;

/// Adds all routes of the traffic manager, health included.
pub fn routes(app: &mut web::ServiceConfig, manager: &TrafficManager) {
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
        .route("/readyz", web::get().to(get_ready))
        .service(
            web::scope("/internal/data/v1")
                .app_data(json())
                .route("/label-log", web::get().to(get_label_log))
                .route("/notify-gateway", web::post().to(post_gateway))
                .route(
                    "/notify-api-deployment-status",
                    web::post().to(post_deployments),
                ),
        )
        .route("/api/lockstep/v1/overview", web::get().to(get_overview))
        .route(
            "/api/lockstep/v1/gateways",
            web::delete().to(delete_gateway),
        );
}

async fn get_ready(manager: web::Data<TrafficManager>) -> Result<HttpResponse, Problem> {
    let labels = manager.store.label_seqs().await.map_err(problem)?;
    let labels: serde_json::Map<String, serde_json::Value> = labels
        .into_iter()
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
    query: web::Query<LabelLogQuery>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
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
    notice: web::Json<GatewayNotice>,
) -> Result<HttpResponse, Problem> {
    let id = &notice.gateway_id;
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
    notices: web::Json<DeploymentNotices>,
) -> Result<HttpResponse, Problem> {
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
    query: web::Query<OverviewQuery>,
) -> Result<HttpResponse, Problem> {
    let ids: Option<Vec<&str>> = query.api_id.as_ref().map(|ids| ids.split(',').collect());
    let made = manager
        .overview(ids.as_deref(), kit::clock::now_ms())
        .await
        .map_err(problem)?;
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
