//! What operators ask and do: `/api/lockstep/v1`.
//!
//! Handlers read, pure functions judge: `explain`, `convergence`, `rollout`. `openapi` describes
//! all of it, and a test holds it against the table of routes.

mod apis;
mod convergence;
mod explain;
mod gateways;
mod openapi;
mod paging;
mod repairs;
mod rollout;
mod wait;

use actix_web::http::Method;
use actix_web::{Route, guard, web};
use kit::access::{Access, Caller, Role};
use kit::problem::Problem;
use store::{Snapshot, Which};

use crate::TrafficManager;
use crate::http::problem;
use crate::permissions::readable;

/// Where all of it is.
const PREFIX: &str = "/api/lockstep/v1";

type Manager = web::Data<TrafficManager>;

/// Who looks.
const VIEWER: &[Role] = &[Role::Viewer];
/// Publishers look what became of what they have published, by its ids.
const READERS: &[Role] = &[Role::Viewer, Role::Publisher];
const OPERATOR: &[Role] = &[Role::Operator];

/// A route: its path below [`PREFIX`], who may take it, and what answers.
struct Entry {
    method: Method,
    path: &'static str,
    roles: &'static [Role],
    route: Route,
}

/// All routes.
fn table() -> Vec<Entry> {
    let get = |path, roles, route| Entry {
        method: Method::GET,
        path,
        roles,
        route,
    };
    vec![
        get("/gateways", READERS, web::get().to(gateways::get_gateways)),
        get(
            "/gateways/{id}",
            VIEWER,
            web::get().to(gateways::get_gateway),
        ),
        Entry {
            method: Method::DELETE,
            path: "/gateways/{id}",
            roles: OPERATOR,
            route: web::delete().to(gateways::delete_gateway),
        },
        get("/repairs", VIEWER, web::get().to(repairs::get_repairs)),
        Entry {
            method: Method::POST,
            path: "/repairs/{gateway}/{repair}/accept",
            roles: OPERATOR,
            route: web::post().to(repairs::post_accept),
        },
        get("/labels", VIEWER, web::get().to(gateways::get_labels)),
        get("/apis", READERS, web::get().to(apis::get_apis)),
        get("/apis/{id}", READERS, web::get().to(apis::get_api)),
        get(
            "/apis/{id}/revisions",
            VIEWER,
            web::get().to(apis::get_revisions),
        ),
        get(
            "/apis/{id}/revisions/{n}",
            VIEWER,
            web::get().to(apis::get_revision),
        ),
        get(
            "/apis/{id}/convergence",
            READERS,
            web::get().to(apis::get_convergence),
        ),
        get("/explain", READERS, web::get().to(apis::get_explanation)),
        get(
            "/rollouts/{api}/{revision}/wait",
            READERS,
            web::get().to(wait::get_rollout),
        ),
        get(
            "/openapi.json",
            &[Role::Viewer, Role::Publisher, Role::Operator],
            web::get().to(openapi::get_openapi),
        ),
    ]
}

/// Adds the routes, each guarded by method and role: other methods of a path may be another's.
pub(crate) fn routes(app: &mut web::ServiceConfig, access: &Access) {
    for entry in table() {
        let method = entry.method.clone();
        let resource = web::resource(format!("{PREFIX}{}", entry.path))
            .guard(guard::fn_guard(move |context| {
                context.head().method == method
            }))
            .wrap(access.require(entry.roles))
            .route(entry.route);
        app.service(resource);
    }
}

/// One API with all that concerns it and the caller may read, by its id.
async fn snapshot(
    manager: &TrafficManager,
    caller: &Caller,
    api_id: &str,
) -> Result<Snapshot, Problem> {
    let which = Which::These(&[api_id]);
    let mut rows = manager.store.snapshot(which).await.map_err(problem)?;
    readable(caller, &mut rows);
    if rows.apis.is_empty() {
        return Err(api_not_found(&format!("with the id {api_id}")));
    }
    Ok(rows)
}

/// The same by its id or by `name:version` or `name:version@tenant`.
async fn named(
    manager: &TrafficManager,
    caller: &Caller,
    wanted: &str,
) -> Result<Snapshot, Problem> {
    let which = Which::These(&[wanted]);
    let mut rows = manager.store.snapshot(which).await.map_err(problem)?;
    readable(caller, &mut rows);
    if !rows.apis.is_empty() {
        return Ok(rows);
    }
    let unknown = || {
        api_not_found(&format!(
            "{wanted}; an API is named by its id, name:version or name:version@tenant"
        ))
    };
    let (name, version) = wanted.rsplit_once(':').ok_or_else(unknown)?;
    let (version, tenant) = match version.rsplit_once('@') {
        Some((version, tenant)) => (version, tenant),
        None => (version, artifact::SUPER_TENANT),
    };
    manager.logs.refresh().await.map_err(problem)?;
    let id = manager.logs.named(name, version, tenant);
    let found = snapshot(manager, caller, &id.ok_or_else(unknown)?).await;
    found.map_err(|problem| match problem.status {
        // Not to be told from one that there is none of.
        404 => unknown(),
        _ => problem,
    })
}

fn api_not_found(what: &str) -> Problem {
    Problem::not_found("api-not-found", format!("there is no API {what}"))
}

fn gateway_not_found(id: &str) -> Problem {
    let detail = format!("no gateway {id} is registered");
    Problem::not_found("gateway-not-found", detail)
}
