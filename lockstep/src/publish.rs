//! `lockstep publish`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use artifact::{
    ArtifactResult, DEFAULT_LABEL, DirectReport, Finding, Label, Outcome, PublishItem,
    PublishReport, PublishRequest,
};
use indicatif::{ProgressBar, ProgressStyle};
use publisher_saver::check::check_batch;

use crate::control::{Control, ControlArguments, Refused};
use crate::print;
use crate::source::{Source, Sources, read_paths};
use crate::wait::{self, Waited};

/// Publish artifacts to the gateways of some labels.
///
/// PATH is a GatewayAPIDTO JSON file, an API XML file, an OpenAPI 3 document, a directory in
/// Synapse's layout (api/, sequences/, endpoints/, local-entries/), or a zip of any of these.
#[derive(Debug, clap::Args)]
pub struct PublishArguments {
    /// What to publish
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Label to publish to; repeat it for several. The API is removed from labels not named
    #[arg(long = "label", value_name = "LABEL", default_value = DEFAULT_LABEL)]
    labels: Vec<Label>,
    /// Check and show what would change; save nothing. Without a server it checks only
    #[arg(long)]
    dry_run: bool,
    /// Save all or, when one is rejected, none
    #[arg(long)]
    atomic: bool,
    /// Return when every gateway of the labels has deployed it, or fail after SECONDS [default: 60]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "60", conflicts_with = "dry_run")]
    wait: Option<u64>,
    /// Print every finding with its place
    #[arg(long, short)]
    verbose: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

/// Artifacts of one request, by number and by bytes; a bar moves from request to request.
const CHUNK: usize = 25;
/// A publish of more than this many shows a bar.
const HANDFUL: usize = 8;
const CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// Runs the command; exit code 2 when an input was rejected, 1 when sending or waiting failed, or,
/// without waiting, when a gateway that is published directly to has not taken it.
pub async fn run(arguments: PublishArguments) -> anyhow::Result<ExitCode> {
    let sources = read_paths(&arguments.paths);
    let control = Control::new(&arguments.control)?;
    let (report, sent) = publish(&arguments, &control, sources).await;
    // What is known is printed, whatever happens to the rest.
    let waited = match (arguments.wait, &sent) {
        (Some(seconds), Ok(true)) => {
            let waited = wait_for(&control, &report, Duration::from_secs(seconds)).await;
            waited.map(Some)
        }
        _ => Ok(None),
    };
    if arguments.json {
        let waited = waited.as_ref().ok();
        print::json(&serde_json::json!({
            "results": report.results,
            "gateways": report.gateways,
            "waited": waited,
        }))?;
    } else {
        print::publish_report(&report, arguments.verbose);
        if let Ok(Some(waited)) = &waited {
            print::waited(waited);
        }
    }
    sent?;
    let waited = waited.context("cannot tell what the gateways have deployed")?;
    let rejected = report
        .results
        .iter()
        .any(|r| r.outcome == Outcome::Rejected);
    let all_reached = report.gateways.iter().all(DirectReport::is_good);
    Ok(if rejected {
        ExitCode::from(kit::process::EXIT_USAGE)
    } else if waited.map_or(all_reached, |waited| waited.converged) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(kit::process::EXIT_FAILURE)
    })
}

/// An artifact that passed the checks, and where its result goes.
struct Passed {
    place: usize,
    item: PublishItem,
    result: ArtifactResult,
}

/// Checks here, then sends what passed. Besides the report, in the order of the sources: whether
/// a server was asked, or why sending ended early.
async fn publish(
    arguments: &PublishArguments,
    control: &Control,
    sources: Sources,
) -> (PublishReport, anyhow::Result<bool>) {
    let quiet = arguments.json;
    if !sources.left_out.is_empty() && !quiet {
        print::left_out(&sources.left_out, arguments.verbose);
    }
    let mut results: Vec<Option<ArtifactResult>> = Vec::new();
    let mut items: Vec<PublishItem> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    let mut said: HashMap<usize, Vec<Finding>> = HashMap::new();
    for source in sources.list {
        match source {
            Source::Bad { source, reason } => {
                results.push(Some(ArtifactResult::rejected(source, reason)));
            }
            Source::Artifact { item, findings } => {
                said.insert(results.len(), findings);
                places.push(results.len());
                results.push(None);
                items.push(item);
            }
        }
    }
    let mut passed = Vec::new();
    let checked = check_batch(&items).into_iter();
    for (result, (place, item)) in checked.zip(places.into_iter().zip(items)) {
        match result {
            Ok(fine) => passed.push(Passed {
                place,
                item,
                result: fine.result(Outcome::NotSaved),
            }),
            Err(result) => results[place] = Some(*result),
        }
    }
    let any_rejected = results.iter().flatten().count() > 0;
    let mut gateways = Vec::new();
    let sent = if arguments.atomic && any_rejected && !arguments.dry_run {
        Ok(true)
    } else {
        send(arguments, control, &mut passed, &mut gateways).await
    };
    let sent = match sent {
        Ok(true) if passed.len() > CHUNK && !arguments.atomic && !arguments.dry_run => {
            again(arguments, control, &mut passed, &mut gateways).await
        }
        sent => sent,
    };
    for passed in passed {
        results[passed.place] = Some(passed.result);
    }
    let mut report = PublishReport {
        results: results.into_iter().flatten().collect(),
        gateways,
    };
    for (place, result) in report.results.iter_mut().enumerate() {
        merge(
            &mut result.findings,
            said.remove(&place).unwrap_or_default(),
        );
    }
    (report, sent)
}

/// Sends what passed, request by request; a dry run does without a server if there is none. What
/// became of it at gateways that are published directly to is added to `gateways`.
async fn send(
    arguments: &PublishArguments,
    control: &Control,
    passed: &mut [Passed],
    gateways: &mut Vec<DirectReport>,
) -> anyhow::Result<bool> {
    let quiet = arguments.json;
    let bar = progress_bar(passed.len(), quiet);
    let mut rest = passed;
    while !rest.is_empty() {
        let size = if arguments.atomic {
            rest.len()
        } else {
            chunk_of(rest)
        };
        let (chunk, further) = rest.split_at_mut(size);
        rest = further;
        let request = PublishRequest {
            labels: arguments.labels.clone(),
            atomic: arguments.atomic,
            dry_run: arguments.dry_run,
            items: chunk.iter().map(|passed| passed.item.clone()).collect(),
        };
        match control.publish(&request).await {
            Ok(report) if report.results.len() == chunk.len() => {
                for (passed, result) in chunk.iter_mut().zip(report.results) {
                    passed.result = result;
                }
                DirectReport::merge(gateways, report.gateways);
            }
            Ok(_) => bail!("the publisher's answer does not fit the request"),
            Err(error) if arguments.dry_run => {
                if !quiet {
                    print::note(&format!(
                        "{error:#}\nChecked without a server: what would change is not known."
                    ));
                }
                for passed in chunk.iter_mut().chain(rest) {
                    passed.result.outcome = Outcome::Checked;
                }
                return Ok(false);
            }
            Err(error) if error.is::<Refused>() => {
                for passed in chunk.iter_mut().chain(rest) {
                    passed.result.outcome = Outcome::NotSaved;
                }
                return Err(error);
            }
            Err(error) => {
                for passed in chunk {
                    passed.result.outcome = Outcome::Unknown;
                }
                return Err(
                    error.context("what is shown as UNKNOWN may have been saved; try again")
                );
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(true)
}

/// Sends what a request has rejected once more: what stood in its way may have moved with a later
/// request of the same publish.
async fn again(
    arguments: &PublishArguments,
    control: &Control,
    passed: &mut [Passed],
    gateways: &mut Vec<DirectReport>,
) -> anyhow::Result<bool> {
    passed.sort_by_key(|passed| passed.result.outcome != Outcome::Rejected);
    let rejected = passed.partition_point(|passed| passed.result.outcome == Outcome::Rejected);
    send(arguments, control, &mut passed[..rejected], gateways).await
}

/// How many of the next artifacts go into one request.
fn chunk_of(passed: &[Passed]) -> usize {
    let mut bytes = 0;
    let fitting = passed.iter().take(CHUNK).take_while(|passed| {
        bytes += passed.item.artifact.len();
        bytes <= CHUNK_BYTES
    });
    fitting.count().max(1)
}

/// What was said while the artifact was put together goes first; the checker's finding about the
/// same missing piece says nothing more.
fn merge(checked: &mut Vec<Finding>, mut said: Vec<Finding>) {
    let missing = |finding: &Finding| {
        said.iter().any(|other| {
            let piece = other.message.strip_suffix(" cannot be found");
            piece.is_some_and(|piece| finding.message.starts_with(piece))
        })
    };
    checked.retain(|finding| !missing(finding));
    said.append(checked);
    *checked = said;
}

fn progress_bar(length: usize, quiet: bool) -> ProgressBar {
    if quiet || length <= HANDFUL || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} published, {eta} left");
    let bar = ProgressBar::new(length as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn wait_for(
    control: &Control,
    report: &PublishReport,
    limit: Duration,
) -> anyhow::Result<Waited> {
    let wanted = report
        .results
        .iter()
        .filter(|result| matches!(result.outcome, Outcome::Saved | Outcome::Unchanged))
        .filter_map(|result| Some((result.api_id.clone()?, result.revision?)))
        .collect();
    wait::converged(control, &wanted, limit).await
}
