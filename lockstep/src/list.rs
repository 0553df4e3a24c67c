//! `lockstep list`.

use std::process::ExitCode;

use artifact::Instruction;

use crate::control::{Control, ControlArguments};
use crate::print;

/// Show what is published, and what each gateway really runs.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Show removed APIs, too
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

pub async fn run(arguments: ListArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    let mut overview = control.overview(None).await?;
    if !arguments.all {
        // A removed API that some gateway still serves is what one wants to see.
        overview
            .apis
            .retain(|api| api.instruction == Instruction::Publish || !api.converged());
    }
    if arguments.json {
        print::json(&overview)?;
    } else {
        print::overview(&overview);
    }
    Ok(ExitCode::SUCCESS)
}
