//! `lockstep wait`.

use std::process::ExitCode;

use crate::control::{Control, ControlArguments};
use crate::print;

/// Wait until enough gateways have a revision deployed.
///
/// Exit code 0 when it is reached; 1 when the time is over before, or a newer revision or the
/// API's removal has come.
#[derive(Debug, clap::Args)]
pub struct WaitArguments {
    /// Its NAME:VERSION, NAME:VERSION@TENANT, or its id
    api: String,
    /// Number as `lockstep list` shows it
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    revision: u64,
    /// How many gateways are enough: a number, or a share such as 80% of those that should have it
    #[arg(long, value_name = "N|N%", default_value = "100%")]
    quorum: String,
    /// Seconds, at most 300
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(..=300))]
    timeout: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

pub async fn run(arguments: WaitArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    let rollout = control.rollout(
        &arguments.api,
        arguments.revision,
        &arguments.quorum,
        arguments.timeout,
    );
    let rollout = rollout.await?;
    if arguments.json {
        print::json(&rollout)?;
    } else {
        print::rollout(&arguments.api, &rollout);
    }
    Ok(if rollout.reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(kit::process::EXIT_FAILURE)
    })
}
