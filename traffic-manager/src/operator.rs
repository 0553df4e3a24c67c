//! What operators ask and do: `/api/lockstep/v1`.

use actix_web::{HttpResponse, web};
use kit::problem::Problem;
use serde::Deserialize;

use crate::TrafficManager;
use crate::http::problem;

pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.route("/api/lockstep/v1/overview", web::get().to(get_overview))
        .route(
            "/api/lockstep/v1/gateways",
            web::delete().to(delete_gateway),
        );
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
