//! The OpenAPI document of `/api/lockstep/v1`, as the traffic manager serves it.

use actix_web::HttpResponse;
use utoipa::OpenApi;

use super::{apis, gateways, repairs, wait};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockstep",
        description = "What is published, what each gateway runs of it, and why. Lists come in \
            parts: `next` of an answer is `after` of the next request. Ids in paths are \
            percent-encoded, slashes included. Times are milliseconds since the epoch. Errors are \
            `application/problem+json`; that of a wrong parameter names it. Who is not known gets 401, \
            who lacks the role 403; what one may not read is not there."
    ),
    paths(
        gateways::get_gateways,
        gateways::get_gateway,
        gateways::delete_gateway,
        gateways::get_labels,
        repairs::get_repairs,
        repairs::post_accept,
        apis::get_apis,
        apis::get_api,
        apis::get_revisions,
        apis::get_revision,
        apis::get_convergence,
        apis::get_explanation,
        wait::get_rollout,
        get_openapi,
    )
)]
struct Document;

/// This document.
#[utoipa::path(
    get, path = "/api/lockstep/v1/openapi.json", tag = "openapi",
    responses((status = 200, body = Object))
)]
pub(crate) async fn get_openapi() -> HttpResponse {
    HttpResponse::Ok().json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::{PREFIX, table};
    use super::*;

    /// Set to have the document written instead of compared.
    const WRITE: &str = "LOCKSTEP_WRITE_OPENAPI";

    #[test]
    fn the_checked_in_document_is_what_is_served() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let document = Document::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&file, document).unwrap();
            return;
        }
        let known = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            known == document,
            "openapi.json differs from the code; look at what changes, and have it written by: \
             {WRITE}=1 cargo test -p traffic-manager openapi"
        );
    }

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<(String, String)> = paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (method.clone(), path.clone()))
            })
            .collect();
        let routes: BTreeSet<(String, String)> = table()
            .into_iter()
            .map(|entry| {
                let method = entry.method.as_str().to_lowercase();
                (method, format!("{PREFIX}{}", entry.path))
            })
            .collect();
        assert_eq!(routes, described);
    }
}
