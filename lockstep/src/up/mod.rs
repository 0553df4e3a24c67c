//! `lockstep up`: saver, traffic manager, gateways and a sample back end in one process.

mod cluster;
mod self_check;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use artifact::{
    ArtifactResult, GatewayStatus, Label, Outcome, Overview, PublishItem, PublishRequest,
};
use kit::config::Config;
use kit::process::{ProcessArguments, Sharing};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::source::{Source, read_paths};
use crate::{print, samples, wait};
use cluster::Cluster;
use self_check::{Check, checks};

/// Run everything on this machine and show real APIs answering.
#[derive(Debug, clap::Args)]
pub struct UpArguments {
    #[command(flatten)]
    process: ProcessArguments,
    /// Where the database and the development certificate are kept
    /// [default: lockstep-data; with --once a new directory that is removed at the end]
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Publish these to all gateways instead of the samples; repeat it for several. What the data
    /// directory holds already stays published
    #[arg(long, value_name = "PATH")]
    artifacts: Vec<PathBuf>,
    /// How many gateways; each has a label of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    gateways: u16,
    /// End after a self-check request to each API on each gateway: exit code 0 if all is well, 1
    /// if not, 2 if an artifact was rejected
    #[arg(long)]
    once: bool,
    /// Where the artifacts' back-end addresses lead
    #[arg(long, value_enum, default_value_t = BackEndChoice::Sandbox)]
    back_ends: BackEndChoice,
    /// How long to wait for the gateways
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Where calls to back ends go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackEndChoice {
    /// Addresses on this machine are called; the sample back end answers for all others, and for
    /// localhost:9443, where WSO2's samples are
    Sandbox,
    /// Every address is called as it is written
    Real,
}

/// Runs the command.
pub async fn run(arguments: UpArguments) -> anyhow::Result<ExitCode> {
    let shutdown = kit::shutdown::on_signal()?;
    let mut config = arguments.process.config()?;
    if arguments.process.print_config {
        if let Some(directory) = &arguments.data_dir {
            config.lockstep.data_dir.clone_from(directory);
        }
        kit::process::print_config(&config)?;
        return Ok(ExitCode::SUCCESS);
    }
    let temporary = (arguments.once && arguments.data_dir.is_none())
        .then(temporary_directory)
        .transpose()?;
    if let Some(directory) = temporary.as_ref().or(arguments.data_dir.as_ref()) {
        config.lockstep.data_dir.clone_from(directory);
    }
    let result = run_with(&arguments, &config, &shutdown).await;
    if let Some(directory) = temporary {
        let _ = std::fs::remove_dir_all(directory);
    }
    result
}

fn temporary_directory() -> anyhow::Result<PathBuf> {
    let name = format!("lockstep-{}", uuid::Uuid::new_v4());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory)
        .with_context(|| format!("{}: cannot be made", directory.display()))?;
    Ok(directory)
}

async fn run_with(
    arguments: &UpArguments,
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let _in_use = kit::process::open_data_dir(config, Sharing::Alone)?;
    let token = shutdown.child_token();
    let (cluster, mut parts) =
        Cluster::start(config, arguments.gateways, arguments.back_ends, token).await?;
    let work = async {
        let code = bring_up(arguments, &cluster).await?;
        if !arguments.once && code == ExitCode::SUCCESS {
            print::line("\nServing until Ctrl-C.");
            shutdown.cancelled().await;
        }
        anyhow::Ok(code)
    };
    let result = tokio::select! {
        result = work => result,
        ended = parts.ended() => ended,
        () = shutdown.cancelled() => match arguments.once {
            false => Ok(ExitCode::SUCCESS),
            true => Err(anyhow::anyhow!("interrupted before the self-check was over")),
        },
    };
    if shutdown.is_cancelled() {
        print::line("Stopping.");
    }
    let ended = parts.stop(cluster).await;
    let code = result?;
    ended?;
    Ok(code)
}

/// Publishes, waits, reports, and with `--once` checks.
async fn bring_up(arguments: &UpArguments, cluster: &Cluster) -> anyhow::Result<ExitCode> {
    print::line(&cluster.addresses());
    let known = cluster.manager.store.api_count().await?;
    let results = if !arguments.artifacts.is_empty() {
        publish_artifacts(arguments, cluster).await?
    } else if known == 0 {
        publish_samples(cluster).await?
    } else {
        print::line(&format!("{known} API(s) are published already."));
        Vec::new()
    };
    let rejected: Vec<&ArtifactResult> = results
        .iter()
        .filter(|r| r.outcome == Outcome::Rejected)
        .collect();
    for result in &rejected {
        let reason = result.reason.as_deref().unwrap_or("?");
        print::line(&format!("REJECTED {}: {reason}", result.source));
    }
    let limit = Duration::from_secs(arguments.timeout);
    let started = Instant::now();
    let overview = converge(cluster, limit).await?;
    print::line(&print::api_table(&overview).to_string());
    print::findings(&results, false);
    let missing = |api| wait::missing(api, &overview.gateways);
    let mut missing: Vec<_> = overview.apis.iter().flat_map(missing).collect();
    missing.extend(cluster.unready());
    if overview.apis.is_empty() && !rejected.is_empty() {
        print::line("Nothing of it could be published.");
        return Ok(ExitCode::from(kit::process::EXIT_USAGE));
    }
    if missing.is_empty() {
        print::line(&format!(
            "Converged: {} API(s) on {} gateway(s), {} ms.",
            overview.apis.len(),
            overview.gateways.len(),
            started.elapsed().as_millis()
        ));
    } else {
        print::line("NOT converged:");
        for missing in &missing {
            let gateway = missing.gateway.as_deref().unwrap_or("(no gateway)");
            print::line(&format!("  {gateway}: {}: {}", missing.api, missing.reason));
        }
    }
    let checks = checks(cluster, &overview).await?;
    if arguments.once {
        let failed = self_check::run(cluster, &checks).await?;
        return Ok(
            if failed == 0 && missing.is_empty() && rejected.is_empty() {
                ExitCode::SUCCESS
            } else if failed == 0 && missing.is_empty() {
                ExitCode::from(kit::process::EXIT_USAGE)
            } else {
                ExitCode::from(kit::process::EXIT_FAILURE)
            },
        );
    }
    print::line("\nTry:");
    for line in examples(cluster, &checks) {
        print::line(&format!("  {line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// One request for each API, on the first gateway that has it.
fn examples(cluster: &Cluster, checks: &[Check]) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    checks
        .iter()
        .filter(|check| seen.insert(check.api_id.clone()))
        .filter_map(|check| check.curl(&cluster.authority))
        .collect()
}

async fn publish_samples(cluster: &Cluster) -> anyhow::Result<Vec<ArtifactResult>> {
    let mut by_labels: BTreeMap<Vec<Label>, Vec<PublishItem>> = BTreeMap::new();
    for (item, labels) in samples::samples(&cluster.labels()) {
        by_labels.entry(labels).or_default().push(item);
    }
    print::line("Publishing the samples (conf/samples).");
    let mut results = Vec::new();
    for (labels, items) in by_labels {
        results.extend(publish(cluster, labels, items).await?);
    }
    Ok(results)
}

async fn publish_artifacts(
    arguments: &UpArguments,
    cluster: &Cluster,
) -> anyhow::Result<Vec<ArtifactResult>> {
    let sources = read_paths(&arguments.artifacts);
    if !sources.left_out.is_empty() {
        print::left_out(&sources.left_out, false);
    }
    let mut items = Vec::new();
    let mut bad = Vec::new();
    for source in sources.list {
        match source {
            Source::Artifact { item, .. } => items.push(item),
            Source::Bad { source, reason } => bad.push(ArtifactResult::rejected(source, reason)),
        }
    }
    print::line(&format!("Publishing {} artifact(s).", items.len()));
    let mut results = publish(cluster, cluster.labels(), items).await?;
    results.extend(bad);
    Ok(results)
}

async fn publish(
    cluster: &Cluster,
    labels: Vec<Label>,
    items: Vec<PublishItem>,
) -> anyhow::Result<Vec<ArtifactResult>> {
    let request = PublishRequest {
        labels,
        atomic: false,
        dry_run: false,
        items,
    };
    let now = kit::clock::now_ms();
    let report = publisher_saver::publish(&cluster.saver, &request, now).await?;
    Ok(report.results)
}

/// Waits until every gateway is online and has answered for every API, or the time is over.
async fn converge(cluster: &Cluster, limit: Duration) -> anyhow::Result<Overview> {
    let started = Instant::now();
    let spinner = print::spinner("waiting for the gateways");
    loop {
        let mut overview = cluster.manager.overview(None, kit::clock::now_ms()).await?;
        // Gateways of an earlier start with more of them are not waited for.
        overview
            .gateways
            .retain(|gateway| cluster.has(&gateway.gateway_id));
        for api in &mut overview.apis {
            api.gateways
                .retain(|status| cluster.has(&status.gateway_id));
        }
        let pending = overview
            .apis
            .iter()
            .flat_map(|api| &api.gateways)
            .filter(|status| status.state == artifact::DeploymentState::Pending)
            .count();
        let online = overview.gateways.iter();
        let online = online
            .filter(|gateway| gateway.status == GatewayStatus::Online)
            .count();
        if online == cluster.agents() && cluster.unready().is_empty() && pending == 0 {
            spinner.finish_and_clear();
            return Ok(overview);
        }
        if started.elapsed() >= limit {
            spinner.finish_and_clear();
            if online < cluster.agents() {
                bail!(
                    "only {online} of {} gateways are online after {limit:?}",
                    cluster.agents()
                );
            }
            return Ok(overview);
        }
        spinner.tick();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
