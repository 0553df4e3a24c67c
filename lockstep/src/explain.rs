//! `lockstep explain`.

use std::process::ExitCode;

use crate::control::{Control, ControlArguments};
use crate::print;

/// Tell why an API is, or is not, on a gateway.
///
/// The first line is the conclusion; the others are what it stands on, in the order in which it
/// happens: published, registered, label, announced, pulled, deployed, online.
#[derive(Debug, clap::Args)]
pub struct ExplainArguments {
    /// Its NAME:VERSION, NAME:VERSION@TENANT, or its id
    api: String,
    /// Id as `lockstep gateways` shows it
    gateway: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

pub async fn run(arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    let explanation = control.explain(&arguments.api, &arguments.gateway).await?;
    if arguments.json {
        print::json(&explanation)?;
    } else {
        print::explanation(&explanation, kit::clock::now_ms());
    }
    Ok(ExitCode::SUCCESS)
}
