//! The publisher's HTTP interface: `/api/lockstep/v1/publish` and `/api/lockstep/v1/apis`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use artifact::PublishRequest;
use kit::access::{Access, Role};
use kit::problem::Problem;
use kit::time_limit::within;
use serde::Deserialize;

use crate::Saver;
use crate::publish::{SaveError, publish, remove};

/// Until a publish is answered, its body included.
const TIME: Duration = Duration::from_secs(300);

/// Adds the routes that publish and remove.
pub fn routes(app: &mut web::ServiceConfig, saver: &Saver, access: &Access, max_body_size: usize) {
    let json = web::JsonConfig::default()
        .limit(max_body_size)
        .error_handler(|error, _| Problem::bad_request("bad-request", error.to_string()).into());
    app.app_data(web::Data::new(saver.clone()))
        .app_data(json)
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            Problem::bad_request("bad-parameter", error.to_string()).into()
        }))
        .service(
            web::resource("/api/lockstep/v1/publish")
                .wrap(from_fn(|request, next| within(TIME, request, next)))
                .wrap(access.require(&[Role::Publisher]))
                .route(web::post().to(post_publish)),
        )
        .service(
            web::resource("/api/lockstep/v1/apis")
                .wrap(access.require(&[Role::Publisher]))
                .route(web::delete().to(delete_api)),
        );
}

/// Adds `/healthz` and `/readyz` of the process of its own.
pub(crate) fn health_routes(app: &mut web::ServiceConfig, saver: &Saver) {
    app.app_data(web::Data::new(saver.clone()))
        .route("/healthz", web::get().to(|| async { "ok\n" }))
        .route("/readyz", web::get().to(get_ready));
}

async fn get_ready(saver: web::Data<Saver>) -> Result<HttpResponse, Problem> {
    let waiting = saver.store.outbox_length().await.map_err(problem)?;
    let mut state = serde_json::json!({
        "ready": true,
        "outbox": waiting,
        "announced": saver.relay.sent(),
    });
    // Anybody may ask, so no names.
    if let Some(file_system) = &saver.file_system {
        let labels = file_system.status();
        let failed: usize = labels.values().map(|label| label.failed.len()).sum();
        let unwritable = labels.values().filter(|it| it.reason.is_some()).count();
        state["synapseDirectories"] = serde_json::json!({
            "labels": labels.len(),
            "failedApis": failed,
            "unwritable": unwritable,
        });
    }
    Ok(HttpResponse::Ok().json(state))
}

async fn post_publish(
    saver: web::Data<Saver>,
    request: web::Json<PublishRequest>,
) -> Result<HttpResponse, Problem> {
    // In a task of its own: a client that goes away does not cut it off in the middle.
    let saving = async move { publish(&saver, &request, kit::clock::now_ms()).await };
    let report = tokio::spawn(saving)
        .await
        .map_err(|_| save_problem(&SaveError::CheckFailed))?
        .map_err(|error| save_problem(&error))?;
    for result in &report.results {
        tracing::info!(
            source = result.source,
            name = result.name,
            version = result.version,
            outcome = ?result.outcome,
            revision = result.revision,
            "publish"
        );
    }
    Ok(HttpResponse::Ok().json(report))
}

#[derive(Deserialize)]
struct ApiName {
    name: String,
    version: String,
    tenant: Option<String>,
}

async fn delete_api(
    saver: web::Data<Saver>,
    api: web::Query<ApiName>,
) -> Result<HttpResponse, Problem> {
    let removing = async move {
        let tenant = api.tenant.as_deref();
        remove(
            &saver,
            &api.name,
            &api.version,
            tenant,
            kit::clock::now_ms(),
        )
        .await
    };
    let report = tokio::spawn(removing)
        .await
        .map_err(|_| save_problem(&SaveError::CheckFailed))?
        .map_err(|error| save_problem(&error))?;
    tracing::info!(name = report.name, version = report.version, "remove");
    Ok(HttpResponse::Ok().json(report))
}

fn save_problem(error: &SaveError) -> Problem {
    match error {
        SaveError::NoLabels => Problem::bad_request("no-labels", error.to_string()),
        SaveError::NotPublished { .. } => Problem::not_found("not-published", error.to_string()),
        SaveError::CheckFailed => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "check-failed",
            error.to_string(),
        ),
        SaveError::Store(_) => Problem::unavailable("store-failed", error.to_string()),
    }
}

fn problem(error: store::StoreError) -> Problem {
    save_problem(&SaveError::Store(error))
}
