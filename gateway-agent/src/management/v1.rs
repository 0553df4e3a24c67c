//! The gateway REST API of API Manager 3.2.0: raw texts as `application/json`, an unknown API is 400.

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
        Redeployed::Done => Ok(text(&format!(
            "{name} redeployed successfully in the Gateway"
        ))),
        Redeployed::Refused(reason) => Err(Failure::internal(reason)),
        Redeployed::Unknown => Ok(unknown(&name)),
    }
}

pub(super) async fn undeploy(
    commands: web::Data<Commands>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let asked = asked(&parameters, &caller)?;
    let name = asked.name.clone();
    if commands.undeploy(asked).await? {
        Ok(text(&format!("{name} Undeployed from the gateway")))
    } else {
        Ok(unknown(&name))
    }
}

/// Every kind of piece.
pub(super) async fn artifact(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    let kinds = [endpoints_of, local_entries_of, sequences_of, definitions_of];
    show(&commands, &serving, &parameters, &caller, &kinds).await
}

pub(super) async fn endpoints(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    show(&commands, &serving, &parameters, &caller, &[endpoints_of]).await
}

pub(super) async fn local_entries(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    show(
        &commands,
        &serving,
        &parameters,
        &caller,
        &[local_entries_of],
    )
    .await
}

pub(super) async fn sequences(
    commands: web::Data<Commands>,
    serving: web::Data<Serving>,
    parameters: Parameters,
    caller: Caller,
) -> Result<HttpResponse, Failure> {
    show(&commands, &serving, &parameters, &caller, &[sequences_of]).await
}

type Members = Vec<(&'static str, serde_json::Value)>;

async fn show(
    commands: &Commands,
    serving: &Serving,
    parameters: &Parameters,
    caller: &Caller,
    kinds: &[fn(&Standing) -> Members],
) -> Result<HttpResponse, Failure> {
    let asked = asked(parameters, caller)?;
    let name = asked.name.clone();
    let Some(shown) = commands.show(asked).await? else {
        return Ok(unknown(&name));
    };
    let standing = standing_of(shown, serving).await?;
    let members: Vec<_> = kinds.iter().flat_map(|kind| kind(&standing)).collect();
    Ok(json_answer(StatusCode::OK, &json_text(&members)))
}

// The names are API Manager's, spelled as it spells them; those of definitions and states are Lockstep's.

fn endpoints_of(standing: &Standing) -> Members {
    vec![
        ("Deployed Endpoints", json!(standing.deployed.endpoints)),
        ("UnDeployed Endpoints", json!(standing.undeployed.endpoints)),
        ("Endpoint States", json!(standing.states)),
    ]
}

fn local_entries_of(standing: &Standing) -> Members {
    let Standing {
        deployed,
        undeployed,
        ..
    } = standing;
    vec![
        ("Deployed Local Entries", json!(deployed.local_entries)),
        ("Undeployed Local Entries", json!(undeployed.local_entries)),
    ]
}

fn sequences_of(standing: &Standing) -> Members {
    vec![
        ("Deployed Sequences", json!(standing.deployed.sequences)),
        ("Undeployed Sequences", json!(standing.undeployed.sequences)),
    ]
}

fn definitions_of(standing: &Standing) -> Members {
    let Standing {
        deployed,
        undeployed,
        ..
    } = standing;
    vec![
        ("Deployed API Definitions", json!(deployed.definitions)),
        ("Undeployed API Definitions", json!(undeployed.definitions)),
    ]
}

fn text(text: &str) -> HttpResponse {
    json_answer(StatusCode::OK, text)
}

fn unknown(name: &str) -> HttpResponse {
    let text = format!("{name} is not deployed in the Gateway");
    json_answer(StatusCode::BAD_REQUEST, &text)
}
