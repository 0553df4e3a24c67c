//! `lockstep remove`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use crate::control::{Control, ControlArguments};
use crate::{print, wait};

/// Remove a published API from all its labels.
#[derive(Debug, clap::Args)]
pub struct RemoveArguments {
    /// Name as `lockstep list` shows it
    name: String,
    /// Version as `lockstep list` shows it
    version: String,
    /// Tenant domain [default: carbon.super]
    #[arg(long, value_name = "T")]
    tenant: Option<String>,
    /// Return when every gateway has undeployed it, or fail after SECONDS [default: 60]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "60")]
    wait: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

pub async fn run(arguments: RemoveArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    let report = control
        .remove(
            &arguments.name,
            &arguments.version,
            arguments.tenant.as_deref(),
        )
        .await?;
    let waited = match arguments.wait {
        None => None,
        Some(seconds) => {
            let wanted = HashMap::from([(report.api_id.clone(), report.revision)]);
            Some(wait::converged(&control, &wanted, Duration::from_secs(seconds)).await?)
        }
    };
    if arguments.json {
        print::json(&serde_json::json!({"removed": report, "waited": waited}))?;
    } else {
        print::removed(&report);
        if let Some(waited) = &waited {
            print::waited(waited);
        }
    }
    Ok(match waited {
        Some(waited) if !waited.converged => ExitCode::from(kit::process::EXIT_FAILURE),
        _ => ExitCode::SUCCESS,
    })
}
