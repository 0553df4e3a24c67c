//! `lockstep gateways`.

use std::process::ExitCode;

use crate::control::{Control, ControlArguments};
use crate::print;

/// Show the gateways: what they carry, whether they are there, how far they are behind.
#[derive(Debug, clap::Args)]
pub struct GatewaysArguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

pub async fn run(arguments: GatewaysArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    let gateways = control.gateways().await?;
    if arguments.json {
        print::json(&gateways)?;
    } else {
        print::gateways(&gateways, kit::clock::now_ms());
    }
    Ok(ExitCode::SUCCESS)
}
