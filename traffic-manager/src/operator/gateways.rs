//! Gateways and the labels that they carry.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use artifact::{GatewayDetail, Label, LabelOverview, Page};
use kit::access::{Caller, Role};
use kit::problem::Problem;
use store::GatewayRow;

use super::paging::Part;
use super::{Manager, gateway_not_found};
use crate::http::problem;
use crate::parameters::Parameters;
use crate::permissions::{readable_gateways, readable_tenants, tenants};
use crate::{TrafficManager, instances, truth};

/// Gateways that have registered, by their ids.
///
/// What they tell beyond labels, addresses and status is for viewers; others get it empty.
#[utoipa::path(
    get, path = "/api/lockstep/v1/gateways", tag = "gateways",
    params(
        ("label" = Option<String>, Query, description = "Only those that carry it"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("after" = Option<String>, Query, description = "`next` of the part before"),
    ),
    responses(
        (status = 200, body = Page<GatewayDetail>),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_gateways(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    parameters.only(&["label", "limit", "after"])?;
    let part = Part::of(&parameters)?;
    let label = match parameters.text("label")? {
        Some(_) => Some(parameters.label("label")?),
        None => None,
    };
    let mut rows = rows(&manager, &caller).await?;
    rows.retain(|row| {
        label
            .as_ref()
            .is_none_or(|label| row.labels.contains(label))
    });
    let Page { list, next } = part.cut(rows, |row| row.gateway_id.clone());
    let viewer = caller.roles.has(Role::Viewer);
    let shown = |row| {
        let detail = detail(&manager, row);
        if viewer { detail } else { brief(detail) }
    };
    let list: Vec<GatewayDetail> = list.into_iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(Page { list, next }))
}

/// One gateway.
#[utoipa::path(
    get, path = "/api/lockstep/v1/gateways/{id}", tag = "gateways",
    params(("id" = String, Path, description = "Percent-encoded, slashes included")),
    responses(
        (status = 200, body = GatewayDetail),
        (status = 404, body = Problem, description = "It is not registered", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_gateway(
    manager: Manager,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut rows = rows(&manager, &caller).await?.into_iter();
    let row = rows.find(|row| row.gateway_id == *id);
    let row = row.ok_or_else(|| gateway_not_found(&id))?;
    Ok(HttpResponse::Ok().json(detail(&manager, row)))
}

/// Forgets a gateway that is gone for good; one that comes back registers anew.
#[utoipa::path(
    delete, path = "/api/lockstep/v1/gateways/{id}", tag = "gateways",
    params(("id" = String, Path, description = "Percent-encoded, slashes included")),
    responses(
        (status = 200, body = Object, description = "`forgotten`: the id"),
        (status = 404, body = Problem, description = "It is not registered", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_gateway(
    manager: Manager,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    // Who may not see it may not forget it.
    let rows = rows(&manager, &caller).await?;
    if rows.iter().all(|row| row.gateway_id != id) {
        return Err(gateway_not_found(&id));
    }
    if manager.store.forget_gateway(&id).await.map_err(problem)? {
        tracing::info!(gateway_id = id, "gateway forgotten");
        return Ok(HttpResponse::Ok().json(serde_json::json!({"forgotten": id})));
    }
    Err(gateway_not_found(&id))
}

/// Labels that something was published to or that a gateway carries; of their APIs, those are
/// counted that the caller may read.
#[utoipa::path(
    get, path = "/api/lockstep/v1/labels", tag = "gateways",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("after" = Option<String>, Query, description = "`next` of the part before"),
    ),
    responses(
        (status = 200, body = Page<LabelOverview>),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_labels(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    parameters.only(&["limit", "after"])?;
    let part = Part::of(&parameters)?;
    let tenants = tenants(&caller, None)?;
    let gateways = rows(&manager, &caller).await?;
    // Online and offline carriers of each.
    let mut labels: BTreeMap<Label, (usize, usize)> = manager
        .logs
        .seqs()
        .into_keys()
        .map(|label| (label, (0, 0)))
        .collect();
    for row in &gateways {
        let online = online(&manager, row);
        for label in &row.labels {
            let (live, silent) = labels.entry(label.clone()).or_default();
            *(if online { live } else { silent }) += 1;
        }
    }
    let mut labels: Vec<(Label, (usize, usize))> = labels.into_iter().collect();
    labels.retain(|(label, _)| caller.may_read_label(label.as_str()));
    let Page { list, next } = part.cut(labels, |(label, _)| label.to_string());
    let overview = |(label, (online, offline)): (Label, (usize, usize))| {
        let (seq, digest) = manager.logs.digest(&label, tenants.as_deref());
        LabelOverview {
            label,
            seq,
            apis: digest.count,
            digest: digest.digest,
            online,
            offline,
        }
    };
    let list: Vec<LabelOverview> = list.into_iter().map(overview).collect();
    Ok(HttpResponse::Ok().json(Page { list, next }))
}

/// The gateways that the caller may read, with the label logs at least as new as what they say.
pub(super) async fn rows(
    manager: &TrafficManager,
    caller: &Caller,
) -> Result<Vec<GatewayRow>, Problem> {
    let mut rows = manager.store.gateways().await.map_err(problem)?;
    manager.logs.refresh().await.map_err(problem)?;
    readable_gateways(caller, &mut rows);
    for row in &mut rows {
        readable_tenants(caller, &mut row.tenants);
    }
    Ok(rows)
}

pub(super) fn online(manager: &TrafficManager, row: &GatewayRow) -> bool {
    truth::online(row, kit::clock::now_ms(), manager.settings.expiry)
}

fn detail(manager: &TrafficManager, mut row: GatewayRow) -> GatewayDetail {
    let overview = truth::gateway(&row, kit::clock::now_ms(), manager.settings.expiry);
    instances::without_note(&mut row.properties);
    let behind = row.labels.iter().map(|label| {
        let applied = row.applied.get(label).copied().unwrap_or(0);
        let behind = manager.logs.seq(label).saturating_sub(applied);
        (label.clone(), behind)
    });
    GatewayDetail {
        behind: behind.collect(),
        overview,
        tenants: row.tenants,
        properties: row.properties,
        applied: row.applied,
    }
}

/// What publishers need to know whether somebody carries a label.
fn brief(detail: GatewayDetail) -> GatewayDetail {
    GatewayDetail {
        overview: detail.overview,
        tenants: Vec::new(),
        properties: serde_json::Map::new(),
        applied: BTreeMap::new(),
        behind: BTreeMap::new(),
    }
}
