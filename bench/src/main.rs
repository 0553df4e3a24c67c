//! Measures the programs against what the machine can do: each scenario times a piece of the
//! project and, in turns with it in the same run, a floor that does only what cannot be left out.

mod broker;
mod churning;
mod data;
mod dataplane;
mod fanning;
mod machine;
mod meter;
mod ours;
mod peers;
mod plot;
mod probe;
mod process;
mod propagating;
mod reconciling;
mod report;
mod rounds;
mod samples;
mod starting;
mod storing;
mod storming;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use report::Report;

/// That of `gateway-agent`: some gateways run in this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "bench", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What scenarios start.
    #[command(hide = true)]
    Gateways(ours::hosted::Arguments),
    #[command(flatten)]
    Scenario(Scenario),
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// The store and the relay of its outbox, against plain rows and a plain client of the broker.
    Store(storing::Arguments),
    /// Many gateways that pull everything at once, beside nginx with the same bytes in a file.
    Storm(storming::Arguments),
    /// Requests through a gateway, beside nginx, Envoy and the back end itself.
    Dataplane(dataplane::Arguments),
    /// From the commit of a change to the first answer by it, beside Envoy, etcd and NATS.
    Propagation(Options),
    /// Finding out that nothing has changed, beside rsync.
    Reconcile(Options),
    /// A gateway until it serves everything, from zero and from its snapshot, beside rsync and etcd.
    Startup(Options),
    /// One change until the last of many gateways has deployed it, beside NATS and etcd.
    FanOut(Options),
    /// A hundred changes a second: lag, processor time and memory, and whether they grow.
    Churn(Options),
    /// All of them, one after the other.
    All(Options),
}

/// What every scenario is asked.
#[derive(Clone, Debug, Default, Args)]
struct Options {
    /// Write all figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write charts into this directory, as SVG.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Less of everything: a minute at most, less exact, and without the sizes that aims are for.
    #[arg(long)]
    quick: bool,
}

/// Success when everything was measured, whether the aims were met or not.
fn main() -> anyhow::Result<ExitCode> {
    let Arguments { command } = Arguments::parse();
    kit::tls::install_provider();
    kit::process::allow_many_files();
    let runtime = tokio::runtime::Runtime::new().context("the runtime does not start")?;
    let scenario = match command {
        Command::Scenario(scenario) => scenario,
        Command::Gateways(arguments) => {
            runtime.block_on(ours::hosted::run(arguments))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let options = scenario.options().clone();
    let mut reports = Vec::new();
    for scenario in scenario.each() {
        let name = scenario.name();
        // Of the runtime's own threads, like the work of the programs.
        let mut measuring = runtime.spawn(scenario.run());
        let measured = runtime.block_on(async {
            let interrupted = kit::shutdown::on_signal()?;
            tokio::select! {
                measured = &mut measuring => measured.context("the scenario was cut off")?,
                () = interrupted.cancelled() => {
                    // What it has started ends with it.
                    measuring.abort();
                    let _ = measuring.await;
                    anyhow::bail!("interrupted")
                }
            }
        });
        let mut report = measured?;
        report.scenario = name.into();
        show(&report);
        if let Some(directory) = &options.plot {
            plot::write(&report, directory)?;
        }
        reports.push(report);
    }
    if let Some(file) = options.json {
        let text = match &reports[..] {
            [report] => serde_json::to_vec_pretty(report)?,
            reports => serde_json::to_vec_pretty(reports)?,
        };
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    Ok(if reports.iter().all(|report| report.missing.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Scenario {
    fn options(&self) -> &Options {
        match self {
            Self::Store(store) => &store.options,
            Self::Storm(storm) => &storm.options,
            Self::Dataplane(dataplane) => &dataplane.options,
            Self::Propagation(options)
            | Self::Reconcile(options)
            | Self::Startup(options)
            | Self::FanOut(options)
            | Self::Churn(options)
            | Self::All(options) => options,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::Storm(_) => "storm",
            Self::Dataplane(_) => "dataplane",
            Self::Propagation(_) => "propagation",
            Self::Reconcile(_) => "reconcile",
            Self::Startup(_) => "startup",
            Self::FanOut(_) => "fan-out",
            Self::Churn(_) => "churn",
            Self::All(_) => "all",
        }
    }

    /// What is to be run for it.
    fn each(self) -> Vec<Self> {
        let Self::All(options) = self else {
            return vec![self];
        };
        vec![
            Self::Dataplane(dataplane::Arguments::of(&options)),
            Self::Propagation(options.clone()),
            Self::Reconcile(options.clone()),
            Self::Startup(options.clone()),
            Self::FanOut(options.clone()),
            Self::Churn(options.clone()),
            Self::Storm(storming::Arguments::of(&options)),
            Self::Store(storing::Arguments::of(&options)),
        ]
    }

    async fn run(self) -> anyhow::Result<Report> {
        match self {
            Self::Store(store) => Box::pin(storing::run(&store)).await,
            Self::Storm(storm) => Box::pin(storming::run(&storm)).await,
            Self::Dataplane(dataplane) => Box::pin(dataplane::run(&dataplane)).await,
            Self::Propagation(options) => Box::pin(propagating::run(&options)).await,
            Self::Reconcile(options) => Box::pin(reconciling::run(&options)).await,
            Self::Startup(options) => Box::pin(starting::run(&options)).await,
            Self::FanOut(options) => Box::pin(fanning::run(&options)).await,
            Self::Churn(options) => Box::pin(churning::run(&options)).await,
            Self::All(_) => anyhow::bail!("each scenario is run by itself"),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the result of the program")]
fn show(report: &Report) {
    println!("{report}");
}
