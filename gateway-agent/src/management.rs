//! Health and readiness of the gateway.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, web};
use events::Counters;
use kit::config::Config;
use kit::server::{Frame, Running, StartError};
use tokio::sync::watch;

use crate::deploy::Progress;
use crate::snapshot::ledger::Recorder;

#[derive(Clone)]
struct State {
    progress: watch::Receiver<Progress>,
    /// Async mode is ready at once.
    waits: bool,
    /// What came from the broker; `None` without one.
    events: Option<Arc<Counters>>,
    /// What became of the snapshot; `None` without one.
    snapshot: Option<Recorder>,
}

/// Binds the gateway's management interface.
pub(crate) fn serve(
    config: &Config,
    progress: watch::Receiver<Progress>,
    events: Option<Arc<Counters>>,
    snapshot: Option<Recorder>,
) -> Result<Running, StartError> {
    let listener = kit::server::bind(config.gateway_management_address()?)?;
    let mode = &config
        .apim
        .sync_runtime_artifacts
        .gateway
        .data_retrieval_mode;
    let state = State {
        progress,
        waits: mode == "sync",
        events,
        snapshot,
    };
    kit::serve!(
        move || {
            App::new()
                .app_data(web::Data::new(state.clone()))
                .route("/healthz", web::get().to(|| async { "ok\n" }))
                .route("/readyz", web::get().to(get_ready))
        },
        listener,
        Frame::of(config)?
    )
}

async fn get_ready(state: web::Data<State>) -> HttpResponse {
    let progress = state.progress.borrow().clone();
    let ready = !state.waits || progress.missing.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(serde_json::json!({
        "ready": ready,
        "missing": progress.missing,
        "deployed": progress.deployed,
        "failed": progress.failed,
        "from_snapshot": progress.from_snapshot,
        "pulled": progress.pulled,
        "snapshot": state.snapshot.as_ref().map(Recorder::status),
        "events": state.events.as_ref().map(|events| events.now()),
    }))
}
