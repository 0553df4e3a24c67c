//! Measures the programs against what the machine can do: each scenario times a piece of the
//! project and, in turns with it in the same run, a floor that does only what cannot be left out.

mod data;
mod dataplane;
mod machine;
mod ours;
mod peers;
mod process;
mod report;
mod rounds;
mod samples;
mod storing;
mod storming;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use report::Report;

#[derive(Debug, Parser)]
#[command(name = "bench", about, version)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// The store and the relay of its outbox, against plain rows and a plain client of the broker.
    Store(storing::Arguments),
    /// Many gateways that pull everything at once, beside nginx with the same bytes in a file.
    Storm(storming::Arguments),
    /// Requests through a gateway, beside nginx, Envoy and the back end itself.
    Dataplane(dataplane::Arguments),
}

/// What every scenario is asked.
#[derive(Clone, Debug, Args)]
struct Options {
    /// Write all figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds: within a minute, and less exact.
    #[arg(long)]
    quick: bool,
}

/// Success when everything was measured, whether the aims were met or not.
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    kit::tls::install_provider();
    kit::process::allow_many_files();
    let options = match &arguments.scenario {
        Scenario::Store(store) => store.options.clone(),
        Scenario::Storm(storm) => storm.options.clone(),
        Scenario::Dataplane(dataplane) => dataplane.options.clone(),
    };
    let runtime = tokio::runtime::Runtime::new().context("the runtime does not start")?;
    let report = runtime.block_on(async {
        // Of the runtime's own threads, like the work of the programs.
        let measured = tokio::spawn(async move {
            match arguments.scenario {
                Scenario::Store(store) => storing::run(&store).await,
                Scenario::Storm(storm) => storming::run(&storm).await,
                Scenario::Dataplane(dataplane) => dataplane::run(&dataplane).await,
            }
        });
        measured.await.context("the scenario was cut off")?
    })?;
    show(&report);
    if let Some(file) = options.json {
        let text = serde_json::to_vec_pretty(&report)?;
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    Ok(if report.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "the result of the program")]
fn show(report: &Report) {
    println!("{report}");
}
