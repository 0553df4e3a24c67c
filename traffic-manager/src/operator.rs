//! What operators ask and do: `/api/lockstep/v1`.

use actix_web::{HttpResponse, web};
use kit::access::{Access, Caller, Role};
use kit::problem::Problem;
use serde::Deserialize;

use crate::TrafficManager;
use crate::http::problem;
use crate::permissions::{forbidden, readable};

pub(crate) fn routes(app: &mut web::ServiceConfig, access: &Access) {
    app.service(
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
        return Err(forbidden("role-missing", detail));
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
