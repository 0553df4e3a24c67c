//! What both versions of the gateway REST API have in common: routes, roles, parameters, errors.

use std::time::Duration;

use actix_web::body::EitherBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpResponse, Resource, ResponseError, web};
use artifact::SUPER_TENANT;
use kit::access::{Access, Caller, Role};
use kit::time_limit::within;
use serde_json::json;
use synapse::endpoint::EndpointStatus;

use super::pieces::{Standing, standing};
use super::{Serving, health, v1, v2};
use crate::commands::{Asked, Ended};
use crate::data_plane::endpoints_of;
use crate::kept::KeptError;
use crate::sync_core::Shown;

/// Until an answer begins: commands wait for the batch that is being deployed.
const TIME: Duration = Duration::from_secs(60);

pub(super) type Parameters = web::Query<Vec<(String, String)>>;

/// Adds the gateway REST API. API Manager strips `v1/` and `v1.2/` from its paths, so clients write
/// them in three ways.
pub(super) fn routes(app: &mut web::ServiceConfig, access: &Access) {
    let startup = "/v2/server-startup-healthcheck";
    let v1 = |name: &str| web::resource(["/v1", "/v1.2", ""].map(|v| format!("{v}/{name}")));
    let v2 = |name: &str| web::resource(format!("/v2/{name}"));
    let reads = |resource: Resource| resource.wrap(access.require(&[Role::Viewer]));
    let changes =
        |resource: Resource| resource.wrap(access.require(&[Role::Operator, Role::Publisher]));
    app.service(
        web::scope("/api/am/gateway")
            .wrap(from_fn(refusals))
            .wrap(from_fn(|request, next| within(TIME, request, next)))
            .app_data(
                web::QueryConfig::default()
                    .error_handler(|error, _| Failure::bad_request(error.to_string()).into()),
            )
            .service(web::resource(startup).route(web::get().to(health::get_startup_health)))
            .service(changes(
                v1("redeploy-api").route(web::post().to(v1::redeploy)),
            ))
            .service(changes(
                v1("undeploy-api").route(web::post().to(v1::undeploy)),
            ))
            .service(reads(v1("api-artifact").route(web::get().to(v1::artifact))))
            .service(reads(v1("end-points").route(web::get().to(v1::endpoints))))
            .service(reads(
                v1("local-entry").route(web::get().to(v1::local_entries)),
            ))
            .service(reads(v1("sequence").route(web::get().to(v1::sequences))))
            .service(changes(
                v2("redeploy-api").route(web::post().to(v2::redeploy)),
            ))
            .service(changes(
                v2("undeploy-api").route(web::post().to(v2::undeploy)),
            ))
            .service(reads(v2("api-artifact").route(web::get().to(v2::artifact))))
            .service(reads(v2("end-points").route(web::get().to(v2::endpoints))))
            .service(reads(
                v2("local-entry").route(web::get().to(v2::local_entries)),
            ))
            .service(reads(v2("sequence").route(web::get().to(v2::sequences)))),
    );
}

/// An error in WSO2's shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {message}: {description}")]
pub(super) struct Failure {
    code: StatusCode,
    message: &'static str,
    description: String,
}

impl Failure {
    fn new(code: StatusCode, description: impl Into<String>) -> Self {
        Self {
            code,
            message: code.canonical_reason().unwrap_or_default(),
            description: description.into(),
        }
    }

    fn bad_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, description)
    }

    pub(super) fn not_found(description: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, description)
    }

    /// API Manager's answer when its storage fails, with the reason.
    pub(super) fn internal(description: impl Into<String>) -> Self {
        Self {
            message: "Internal server error",
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, description)
        }
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ended.to_string())
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.code
    }

    fn error_response(&self) -> HttpResponse {
        json_answer(
            self.code,
            &json_text(&[
                ("code", json!(self.code.as_u16())),
                ("message", json!(self.message)),
                ("description", json!(self.description)),
                ("moreInfo", json!("")),
                ("error", json!([])),
            ]),
        )
    }
}

/// An object whose members are in this order, which `serde_json` does not promise of its own.
pub(super) fn json_text(members: &[(&str, serde_json::Value)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", json!(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

pub(super) fn json_answer(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("application/json")
        .body(text.to_owned())
}

/// Puts refusals of the guards into WSO2's shape; their headers stay.
async fn refusals<B: actix_web::body::MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let answer = next.call(request).await?;
    let content_type = answer.headers().get(CONTENT_TYPE);
    if content_type.is_none_or(|value| value != kit::problem::CONTENT_TYPE) {
        return Ok(answer.map_into_left_body());
    }
    let failure = match answer.status() {
        // As API Manager says it, to the letter.
        status @ StatusCode::UNAUTHORIZED => Failure {
            message: "",
            ..Failure::new(status, "Unauthenticated request")
        },
        status @ StatusCode::FORBIDDEN => Failure::new(status, "this user may not do that"),
        status @ StatusCode::TOO_MANY_REQUESTS => Failure::new(status, "too many failed logins"),
        _ => return Ok(answer.map_into_left_body()),
    };
    let said = answer.headers().clone();
    let mut shaped = answer.into_response(failure.error_response());
    for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
        for value in said.get_all(&name) {
            shaped.headers_mut().append(name.clone(), value.clone());
        }
    }
    Ok(shaped.map_into_right_body())
}

/// The API that the parameters name.
///
/// # Errors
/// When `apiName` or `version` is missing or empty, one is doubled, or the caller may not see the
/// tenant.
pub(super) fn asked(parameters: &Parameters, caller: &Caller) -> Result<Asked, Failure> {
    let text = |name: &str| {
        let mut values = parameters.iter().filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => Err(Failure::bad_request(format!(
                "{name}: is given more than once"
            ))),
            None => Ok(first.filter(|value| !value.is_empty())),
        }
    };
    let required = |name: &str| {
        text(name)?.ok_or_else(|| Failure::bad_request(format!("{name}: may not be null")))
    };
    let tenant = text("tenantDomain")?.unwrap_or(SUPER_TENANT);
    if !caller.may_read_tenant(tenant) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "this user may not see the tenant",
        ));
    }
    Ok(Asked {
        tenant: tenant.to_owned(),
        name: required("apiName")?.to_owned(),
        version: required("version")?.to_owned(),
        labels: caller.labels.clone(),
        by: caller.name.clone(),
    })
}

/// What there is of an API, off the threads that answer.
pub(super) async fn standing_of(shown: Shown, serving: &Serving) -> Result<Standing, Failure> {
    let serving = serving.clone();
    let made = web::block(move || {
        let mut standing = standing(&shown)?;
        if let Some(routes) = &serving.0 {
            let endpoints = endpoints_of(routes, &shown.newest.entry.api_id, kit::clock::now_ms());
            standing.states = endpoints.iter().map(state_of).collect();
        }
        Ok::<_, KeptError>(standing)
    });
    made.await
        .map_err(|error| Failure::internal(error.to_string()))?
        .map_err(|error| Failure::internal(error.to_string()))
}

/// How an endpoint stands: the words of the original engine; `nextRetry` is milliseconds since the
/// epoch.
fn state_of(endpoint: &EndpointStatus) -> serde_json::Value {
    json!({
        "children": endpoint.children,
        "name": endpoint.name,
        "nextRetry": endpoint.next_retry,
        "ready": endpoint.ready,
        "state": endpoint.state.as_str(),
        "type": endpoint.kind.as_str(),
    })
}
