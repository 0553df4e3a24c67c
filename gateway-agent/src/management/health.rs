//! Health and readiness, open to everybody, and metrics.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use events::Counters;
use kit::access::Caller;
use kit::problem::Problem;
use tokio::sync::watch;

use crate::overrides::folder::FileStatus;
use crate::patience::Patience;
use crate::reconciliation::Reconciliation;
use crate::snapshot::ledger::Recorder;
use crate::sync_core::Progress;
use crate::tenants::Tenants;

/// What readiness is judged by.
#[derive(Clone)]
pub(crate) struct Health {
    pub progress: watch::Receiver<Progress>,
    /// Whether it waits for its label logs.
    pub patience: Patience,
    /// What came from the broker; `None` without one.
    pub events: Option<Arc<Counters>>,
    /// What became of the snapshot; `None` without one.
    pub snapshot: Option<Recorder>,
    /// Files that override what is published.
    pub overrides: watch::Receiver<Vec<FileStatus>>,
    /// What comparing with the traffic manager has found.
    pub reconciliation: Reconciliation,
    /// `None` where every tenant is loaded at the start.
    pub tenants: Option<Tenants>,
}

impl Health {
    fn ready(&self) -> bool {
        !self.patience.lasts() || self.progress.borrow().missing.is_empty()
    }
}

pub(super) async fn get_ready(health: web::Data<Health>) -> HttpResponse {
    let ready = health.ready();
    let progress = health.progress.borrow().clone();
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
        "gave_up_waiting": health.patience.is_over() && !progress.missing.is_empty(),
        "from_snapshot": progress.from_snapshot,
        "pulled": progress.pulled,
        "snapshot": health.snapshot.as_ref().map(Recorder::status),
        "overrides": *health.overrides.borrow(),
        "reconciliation": health.reconciliation.now().without_ids(),
        "tenants": health.tenants.as_ref().map(Tenants::counts),
        "events": health.events.as_ref().map(|events| events.now()),
    }))
}

/// Those of the process: gateways that share it are told apart by the label `gateway`.
pub(super) async fn get_metrics(caller: Caller) -> Result<HttpResponse, Problem> {
    if !caller.labels.is_empty() {
        let detail = "this tells of all labels, and this user may read only some of them";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "label-not-allowed",
            detail,
        ));
    }
    Ok(kit::metrics::answer())
}

/// As API Manager 4.x answers probes: 200 once ready, 500 before, without a body.
pub(super) async fn get_startup_health(health: web::Data<Health>) -> HttpResponse {
    if health.ready() {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::InternalServerError().finish()
    }
}
