//! APIs: what is published, its history, and what gateways made of it.

use actix_web::{HttpRequest, HttpResponse, web};
use artifact::{
    ApiOverview, Artifact, Convergence, Explanation, Overview, Page, RevisionDetail,
    RevisionOverview,
};
use kit::access::{Caller, Role};
use kit::problem::Problem;
use store::{Filter, RevisionRow, Snapshot, Which};

use super::explain::{Facts, explain};
use super::paging::{Part, not_ours};
use super::{Manager, api_not_found, convergence, gateway_not_found, gateways, named, snapshot};
use crate::http::problem;
use crate::parameters::{Parameters, bad};
use crate::permissions::{forbidden, readable};
use crate::{TrafficManager, repairs, truth};

/// The most ids of one request.
const MAX_IDS: usize = 1000;

/// What is published, and for each gateway its status, by tenant, name and version.
#[utoipa::path(
    get, path = "/api/lockstep/v1/apis", tag = "apis",
    params(
        ("apiId" = Option<String>, Query, description = "Only these, separated by commas"),
        ("name" = Option<String>, Query, description = "Only those of this name"),
        ("label" = Option<String>, Query, description = "Only those that are published to it"),
        ("tenant" = Option<String>, Query, description = "Only those of this tenant domain"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("after" = Option<String>, Query, description = "`next` of the part before"),
    ),
    responses(
        (status = 200, body = Page<ApiOverview>),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_apis(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    // Publishers may look what became of what they have published, by its ids.
    if parameters.text("apiId")?.is_none() && !caller.roles.has(Role::Viewer) {
        let detail = "this needs the role viewer; a publisher has to name APIs with apiId";
        return Err(forbidden("role-missing", detail));
    }
    parameters.only(&["apiId", "name", "label", "tenant", "limit", "after"])?;
    let part = Part::of(&parameters)?;
    let filter = filter(&parameters)?;
    let mut rows = match parameters.list("apiId")? {
        Some(ids) => these(&manager, &caller, &ids, filter, &part).await?,
        None => matching(&manager, &caller, filter, &part).await?,
    };
    let apis = std::mem::take(&mut rows.apis);
    let Page { list, next } = part.page(apis, |api| api.api_id.clone());
    rows.apis = list;
    let list = overview(&manager, &rows).apis;
    Ok(HttpResponse::Ok().json(Page { list, next }))
}

fn filter(parameters: &Parameters) -> Result<Filter<'_>, Problem> {
    let given = |name: &str| match parameters.text(name)? {
        Some(_) => parameters.required(name),
        None => Ok(""),
    };
    let filter = Filter {
        name: given("name")?,
        tenant_domain: given("tenant")?,
        label: given("label")?,
    };
    if !filter.label.is_empty() {
        parameters.label("label")?;
    }
    Ok(filter)
}

/// One more than the part has, if there are as many that the caller may read. Read on until then:
/// a cursor never names what may not be read.
async fn matching(
    manager: &TrafficManager,
    caller: &Caller,
    filter: Filter<'_>,
    part: &Part,
) -> Result<Snapshot, Problem> {
    let limit = part.limit + 1;
    let most = u32::try_from(limit).unwrap_or(u32::MAX);
    let mut found = Snapshot::default();
    let mut behind = part.after.clone();
    loop {
        let which = Which::Matching(filter, behind.as_deref(), most);
        let mut rows = manager.store.snapshot(which).await.map_err(problem)?;
        let read = rows.apis.len();
        behind = rows.apis.last().map(|api| api.api_id.clone());
        readable(caller, &mut rows);
        found.apis.extend(rows.apis);
        found.labels.extend(rows.labels);
        found.deployments.extend(rows.deployments);
        found.gateways = rows.gateways;
        if read < limit || found.apis.len() >= limit {
            break;
        }
    }
    if let (true, Some(after)) = (found.apis.is_empty(), &part.after) {
        let known = snapshot(manager, caller, after).await;
        known.map_err(|problem| match problem.status {
            404 => not_ours(),
            _ => problem,
        })?;
    }
    Ok(found)
}

async fn these(
    manager: &TrafficManager,
    caller: &Caller,
    ids: &[&str],
    filter: Filter<'_>,
    part: &Part,
) -> Result<Snapshot, Problem> {
    if ids.len() > MAX_IDS {
        return Err(bad("apiId", format!("has more than {MAX_IDS} ids")));
    }
    if ids.contains(&"") {
        return Err(bad("apiId", "has an empty id"));
    }
    let rows = manager.store.snapshot(Which::These(ids)).await;
    let mut rows = rows.map_err(problem)?;
    readable(caller, &mut rows);
    if let Some(after) = &part.after {
        let last = rows.apis.iter().position(|api| api.api_id == *after);
        rows.apis.drain(..=last.ok_or_else(not_ours)?);
    }
    let all = |filter: &str, value: &str| filter.is_empty() || filter == value;
    let labels = &rows.labels;
    rows.apis.retain(|api| {
        let published = || {
            labels.iter().any(|row| {
                row.api_id == api.api_id
                    && row.instruction == artifact::Instruction::Publish
                    && row.label.as_str() == filter.label
            })
        };
        all(filter.name, &api.name)
            && all(filter.tenant_domain, &api.tenant_domain)
            && (filter.label.is_empty() || published())
    });
    Ok(rows)
}

/// One API.
#[utoipa::path(
    get, path = "/api/lockstep/v1/apis/{id}", tag = "apis",
    params(("id" = String, Path, description = "Percent-encoded, slashes included")),
    responses(
        (status = 200, body = ApiOverview),
        (status = 404, body = Problem, description = "It was never published", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_api(
    manager: Manager,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = snapshot(&manager, &caller, &id).await?;
    let apis = overview(&manager, &rows).apis;
    let api = apis.into_iter().next();
    Ok(HttpResponse::Ok().json(api))
}

/// The revisions of an API that are kept, the newest first.
#[utoipa::path(
    get, path = "/api/lockstep/v1/apis/{id}/revisions", tag = "apis",
    params(
        ("id" = String, Path, description = "Percent-encoded, slashes included"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("after" = Option<String>, Query, description = "`next` of the part before"),
    ),
    responses(
        (status = 200, body = Page<RevisionOverview>),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 404, body = Problem, description = "It was never published", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_revisions(
    manager: Manager,
    caller: Caller,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    parameters.only(&["limit", "after"])?;
    let part = Part::of(&parameters)?;
    let rows = revisions(&manager, &caller, &id).await?;
    // The newest first.
    let page = part.cut(rows, |row| format!("{:020}", u64::MAX - row.revision));
    let list: Vec<RevisionOverview> = page.list.iter().map(shown).collect();
    let next = page.next;
    Ok(HttpResponse::Ok().json(Page { list, next }))
}

/// A revision with its artifact, its secrets masked.
#[utoipa::path(
    get, path = "/api/lockstep/v1/apis/{id}/revisions/{n}", tag = "apis",
    params(
        ("id" = String, Path, description = "Percent-encoded, slashes included"),
        ("n" = u64, Path, description = "Number of the revision"),
    ),
    responses(
        (status = 200, body = RevisionDetail),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 404, body = Problem, description = "It is not kept, or never was", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_revision(
    manager: Manager,
    caller: Caller,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, n) = path.into_inner();
    let number = revision_number("n", &n)?;
    let rows = revisions(&manager, &caller, &id).await?;
    let row = rows.iter().find(|row| row.revision == number);
    let gone = || {
        let detail = format!("revision {number} of the API {id} is not kept, or never was");
        Problem::not_found("revision-not-found", detail)
    };
    let row = row.ok_or_else(gone)?;
    let wanted = [(id.as_str(), number, row.bytes)];
    let bytes = manager.store.artifacts(&wanted).await.map_err(problem)?;
    let bytes = bytes.into_iter().next().flatten().ok_or_else(gone)?;
    let text = String::from_utf8(bytes).ok();
    let artifact = text.and_then(|text| Artifact::parse(&text).ok());
    let artifact = artifact.and_then(|artifact| serde_json::to_value(artifact.masked()).ok());
    let overview = shown(row);
    Ok(HttpResponse::Ok().json(RevisionDetail { overview, artifact }))
}

/// How far the gateways are with the newest revision.
#[utoipa::path(
    get, path = "/api/lockstep/v1/apis/{id}/convergence", tag = "apis",
    params(("id" = String, Path, description = "Percent-encoded, slashes included")),
    responses(
        (status = 200, body = Convergence),
        (status = 404, body = Problem, description = "It was never published", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_convergence(
    manager: Manager,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let rows = snapshot(&manager, &caller, &id).await?;
    let Overview { gateways, apis } = overview(&manager, &rows);
    let api = apis.first();
    // Of labels that the caller may not read, it is not known here who carries them.
    let made = api.map(|api| {
        let mut api = api.clone();
        api.labels
            .retain(|label| caller.may_read_label(label.as_str()));
        convergence::convergence(&api, &gateways)
    });
    Ok(HttpResponse::Ok().json(made))
}

/// Why an API is, or is not, on a gateway.
#[utoipa::path(
    get, path = "/api/lockstep/v1/explain", tag = "apis",
    params(
        ("api" = String, Query, description = "Its id, `name:version` or `name:version@tenant`"),
        ("gateway" = String, Query, description = "Its id"),
    ),
    responses(
        (status = 200, body = Explanation),
        (status = 400, body = Problem, description = "A parameter is wrong", content_type = "application/problem+json"),
        (status = 404, body = Problem, description = "No such API, or no such gateway", content_type = "application/problem+json"),
        (status = 503, body = Problem, description = "The database does not answer", content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_explanation(
    manager: Manager,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request);
    parameters.only(&["api", "gateway"])?;
    let gateway_id = parameters.required("gateway")?;
    let rows = named(&manager, &caller, parameters.required("api")?).await;
    let rows = match rows {
        Err(unknown) if unknown.status == 404 => {
            return Err(unknown_or_held(&manager, &caller, gateway_id, unknown).await);
        }
        rows => rows?,
    };
    let api = rows.apis.first().ok_or_else(|| api_not_found("any more"))?;
    let mut gateways = rows.gateways.iter();
    let gateway = gateways.find(|row| row.gateway_id == gateway_id);
    let gateway = gateway.ok_or_else(|| gateway_not_found(gateway_id))?;
    let mut said = rows.deployments.iter();
    let revisions = manager.store.revisions(&api.api_id).await;
    let made = explain(&Facts {
        api,
        labels: &rows.labels,
        gateway,
        said: said.find(|row| row.gateway_id == gateway_id),
        revisions: &revisions.map_err(problem)?,
        online: truth::online(gateway, kit::clock::now_ms(), manager.settings.expiry),
    });
    Ok(HttpResponse::Ok().json(made))
}

/// A gateway may run an API that the database does not know: then it holds a repair.
async fn unknown_or_held(
    manager: &TrafficManager,
    caller: &Caller,
    gateway_id: &str,
    mut unknown: Problem,
) -> Problem {
    let rows = gateways::rows(manager, caller).await.unwrap_or_default();
    let gateway = rows.iter().find(|row| row.gateway_id == gateway_id);
    let held = gateway.map(repairs::held).unwrap_or_default();
    let removes: u64 = held.values().map(|held| held.removes).sum();
    if removes > 0 {
        unknown.detail += &format!(
            "; {gateway_id} holds repairs that take {removes} API(s) away, perhaps this one, until \
             an operator accepts them"
        );
    }
    unknown
}

/// Reads the number of a revision out of a path.
pub(super) fn revision_number(name: &str, text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    let rule = || format!("{text:?} is not a whole number of at least 1");
    number.ok_or_else(|| bad(name, rule()))
}

pub(super) fn overview(manager: &TrafficManager, rows: &Snapshot) -> Overview {
    truth::overview(rows, kit::clock::now_ms(), manager.settings.expiry)
}

/// The revisions of an API that the caller may read.
async fn revisions(
    manager: &TrafficManager,
    caller: &Caller,
    api_id: &str,
) -> Result<Vec<RevisionRow>, Problem> {
    snapshot(manager, caller, api_id).await?;
    manager.store.revisions(api_id).await.map_err(problem)
}

fn shown(row: &RevisionRow) -> RevisionOverview {
    RevisionOverview {
        revision: row.revision,
        instruction: row.instruction,
        digest: row.digest,
        bytes: row.bytes,
        saved: row.saved,
    }
}
