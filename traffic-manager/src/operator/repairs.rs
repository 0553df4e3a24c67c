//! Repairs that gateways hold, and an operator's word for them.

use actix_web::{HttpRequest, HttpResponse, web};
use artifact::{Acceptance, Digest, Page, RepairOverview};
use kit::access::Caller;
use kit::problem::Problem;
use store::AcceptedRepair;

use super::gateways::{online, rows};
use super::paging::Part;
use super::{Manager, gateway_not_found};
use crate::http::problem;
use crate::parameters::{Parameters, bad};
use crate::permissions::reads_all_tenants;
use crate::{TrafficManager, repairs};

/// Repairs that gateways hold until an operator accepts them, by gateway and label.
#[utoipa::path(
    get, path = "/api/lockstep/v1/repairs", tag = "repairs",
    params(
        ("gateway" = Option<String>, Query, description = "Only those of this gateway"),
        ("label" = Option<String>, Query, description = "Only those of this label"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("after" = Option<String>, Query, description = "`next` of the part before"),
    ),
    responses(
        (status = 200, body = Page<RepairOverview>),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_repairs(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    parameters.only(&["gateway", "label", "limit", "after"])?;
    let part = Part::of(&parameters)?;
    let gateway = parameters.text("gateway")?;
    let label = match parameters.text("label")? {
        Some(_) => Some(parameters.label("label")?),
        None => None,
    };
    let mut held = held(&manager, &caller, gateway).await?;
    held.retain(|held| label.as_ref().is_none_or(|label| held.label == *label));
    // No id holds a control character.
    let key = |held: &RepairOverview| format!("{}\n{}", held.gateway_id, held.label);
    Ok(HttpResponse::Ok().json(part.cut(held, key)))
}

/// Accepts a repair: the gateway carries it out when it has heard of it with its next heartbeat,
/// unless it holds another one by then.
#[utoipa::path(
    post, path = "/api/lockstep/v1/repairs/{gateway}/{repair}/accept", tag = "repairs",
    params(
        ("gateway" = String, Path, description = "Its id, percent-encoded, slashes included"),
        ("repair" = String, Path, description = "The whole digest of the repair"),
    ),
    responses(
        (status = 200, body = RepairOverview, description = "It is accepted; the gateway has not heard of it yet"),
        (status = 400, body = Problem, description = "The repair is no digest", content_type = "application/problem+json"),
        (status = 403, body = Problem, description = "The user may not do that, or may read some tenants only", content_type = "application/problem+json"),
        (status = 404, body = Problem, description = "The gateway is not registered, or does not hold this repair", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_accept(
    manager: Manager,
    caller: Caller,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (gateway_id, repair) = path.into_inner();
    let repair = Digest::parse(&repair).map_err(|error| bad("repair", error))?;
    reads_all_tenants(&caller)?;
    let held = held(&manager, &caller, Some(&gateway_id)).await?;
    let mut held = held.into_iter();
    let overview = held.find(|held| held.held.repair == repair);
    let mut overview = overview.ok_or_else(|| {
        let detail = format!("{gateway_id} does not hold the repair {repair}");
        Problem::not_found("repair-not-held", detail)
    })?;
    let row = AcceptedRepair {
        gateway_id,
        repair,
        since: overview.held.since,
        by: caller.name,
        accepted: kit::clock::now_ms(),
    };
    manager.store.accept_repair(&row).await.map_err(problem)?;
    tracing::info!(
        gateway_id = row.gateway_id,
        label = %overview.label,
        repair = repair.short(),
        removes = overview.held.removes,
        puts = overview.held.puts,
        by = row.by,
        "repair accepted"
    );
    overview.accepted = Some(Acceptance {
        by: row.by,
        time: row.accepted,
    });
    Ok(HttpResponse::Ok().json(overview))
}

/// What gateways, or the one with an id, hold of the labels that the caller may read.
async fn held(
    manager: &TrafficManager,
    caller: &Caller,
    gateway_id: Option<&str>,
) -> Result<Vec<RepairOverview>, Problem> {
    let mut rows = rows(manager, caller).await?;
    if let Some(id) = gateway_id {
        rows.retain(|row| row.gateway_id == id);
        if rows.is_empty() {
            return Err(gateway_not_found(id));
        }
    }
    rows.retain(|row| !repairs::held(row).is_empty());
    let holding: Vec<&str> = rows.iter().map(|row| row.gateway_id.as_str()).collect();
    let accepted = manager.store.accepted_repairs(&holding).await;
    let accepted = accepted.map_err(problem)?;
    let all = rows.iter().flat_map(|row| {
        let online = online(manager, row);
        repairs::overview(row, online, &accepted)
    });
    Ok(all.collect())
}
