//! The gateway REST API of API Manager 4.x: JSON about what answers requests, an API that does not is
//! 404.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use kit::access::Caller;
use serde_json::json;

use super::Serving;
use super::pieces::Standing;
use super::rest::{Failure, Parameters, asked, json_answer, json_text, standing_of};
use crate::commands::{Commands, Redeployed};

pub(super) async fn redeploy(
    commands: web::Data<Commands>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let asked = asked(&parameters, &caller)?;
    let name = asked.name.clone();
    match commands.redeploy(asked).await? {
        Redeployed::Done => {
            let payload = format!("{name} redeployed from the gateway");
            Ok(deploy_response(StatusCode::OK, "DEPLOYED", &payload))
        }
        Redeployed::Refused(reason) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(deploy_response(status, "ERROR", &reason))
        }
        Redeployed::Unknown => Err(not_deployed(&name)),
    }
}

pub(super) async fn undeploy(
    commands: web::Data<Commands>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let asked = asked(&parameters, &caller)?;
    let name = asked.name.clone();
    if !commands.undeploy(asked).await? {
        return Err(not_deployed(&name));
    }
    let payload = format!("{name} Undeployed from the gateway");
    Ok(deploy_response(StatusCode::OK, "UNDEPLOYED", &payload))
}

/// The definition of the API as it answers requests.
pub(super) async fn artifact(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let definition = |it: Standing| vec![("api", json!(it.deployed.definitions.first()))];
    show(&commands, &serving, &parameters, &caller, definition).await
}

pub(super) async fn endpoints(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let endpoints = |it: Standing| {
        vec![
            ("endpoints", json!(it.deployed.endpoints)),
            ("endpointStates", json!(it.states)),
        ]
    };
    show(&commands, &serving, &parameters, &caller, endpoints).await
}

pub(super) async fn local_entries(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let entries = |it: Standing| vec![("localEntries", json!(it.deployed.local_entries))];
    show(&commands, &serving, &parameters, &caller, entries).await
}

pub(super) async fn sequences(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let sequences = |it: Standing| vec![("sequences", json!(it.deployed.sequences))];
    show(&commands, &serving, &parameters, &caller, sequences).await
}

async fn show(
    commands: &Commands,
    serving: &Serving,
    parameters: &Parameters,
    caller: &Caller,
    members: impl FnOnce(Standing) -> Vec<(&'static str, serde_json::Value)>,
) -> Result<HttpResponse, Failure> {
    let asked = asked(parameters, caller)?;
    let name = asked.name.clone();
    let shown = commands.show(asked).await?;
    let Some(shown) = shown.filter(|shown| shown.live.is_some()) else {
        return Err(not_deployed(&name));
    };
    let standing = standing_of(shown, serving).await?;
    let text = json_text(&members(standing));
    Ok(json_answer(StatusCode::OK, &text))
}

fn deploy_response(status: StatusCode, deploy_status: &str, payload: &str) -> HttpResponse {
    let text = json_text(&[
        ("deployStatus", json!(deploy_status)),
        ("jsonPayload", json!(payload)),
    ]);
    json_answer(status, &text)
}

fn not_deployed(name: &str) -> Failure {
    Failure::not_found(format!("{name} is not deployed in the Gateway"))
}
