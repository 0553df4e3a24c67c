//! `lockstep forget`.

use std::process::ExitCode;

use crate::control::{Control, ControlArguments};
use crate::print;

/// Forget a gateway that is gone for good, so that nothing waits for it.
///
/// A gateway that ends in good order is forgotten by itself; one that comes back registers anew.
#[derive(Debug, clap::Args)]
pub struct ForgetArguments {
    /// Id as `lockstep list` shows it
    gateway: String,
    #[command(flatten)]
    control: ControlArguments,
}

pub async fn run(arguments: ForgetArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    control.forget(&arguments.gateway).await?;
    print::line(&format!("forgotten: {}", arguments.gateway));
    Ok(ExitCode::SUCCESS)
}
