//! `lockstep publish`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use artifact::{
    ArtifactResult, DEFAULT_LABEL, Finding, Label, Outcome, PublishItem, PublishReport,
    PublishRequest,
};
use indicatif::{ProgressBar, ProgressStyle};
use publisher_saver::check::check_batch;

use crate::control::{Control, ControlArguments};
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
    /// Check and show what would change; save nothing
    #[arg(long)]
    dry_run: bool,
    /// Save all or, when one is rejected, none
    #[arg(long)]
    atomic: bool,
    /// Return when every gateway of the labels has deployed it, or fail after SECONDS
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

/// Artifacts of one request; a bar moves from request to request.
const CHUNK: usize = 50;

/// Runs the command; exit code 2 when an input was rejected, 1 when waiting failed.
pub async fn run(arguments: PublishArguments) -> anyhow::Result<ExitCode> {
    let sources = read_paths(&arguments.paths);
    let control = Control::new(&arguments.control)?;
    let (report, reached) = publish(&arguments, &control, sources).await?;
    let waited = match arguments.wait {
        Some(seconds) if reached => {
            Some(wait_for(&control, &report, Duration::from_secs(seconds)).await?)
        }
        _ => None,
    };
    if arguments.json {
        print::json(&serde_json::json!({"results": report.results, "waited": waited}))?;
    } else {
        print::publish_report(&report, arguments.verbose);
        if let Some(waited) = &waited {
            print::waited(waited);
        }
    }
    let rejected = report
        .results
        .iter()
        .any(|r| r.outcome == Outcome::Rejected);
    Ok(if rejected {
        ExitCode::from(kit::process::EXIT_USAGE)
    } else if waited.is_some_and(|waited| !waited.converged) {
        ExitCode::from(kit::process::EXIT_FAILURE)
    } else {
        ExitCode::SUCCESS
    })
}

/// Checks here, then sends what passed. The flag tells whether a server was asked.
async fn publish(
    arguments: &PublishArguments,
    control: &Control,
    sources: Sources,
) -> anyhow::Result<(PublishReport, bool)> {
    let quiet = arguments.json;
    if !sources.left_out.is_empty() && !quiet {
        print::left_out(&sources.left_out, arguments.verbose);
    }
    // Results in the order of the sources: bad ones at once, the others when they are known.
    let mut results: Vec<Option<ArtifactResult>> = Vec::new();
    let mut items: Vec<PublishItem> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    let mut said: HashMap<String, Vec<Finding>> = HashMap::new();
    for source in sources.list {
        match source {
            Source::Bad { source, reason } => results.push(Some(rejected(source, reason))),
            Source::Artifact { item, findings } => {
                places.push(results.len());
                results.push(None);
                said.insert(item.source.clone(), findings);
                items.push(item);
            }
        }
    }
    let mut checked = Vec::new();
    for (result, (place, item)) in check_batch(&items)
        .into_iter()
        .zip(places.into_iter().zip(items))
    {
        match result {
            Ok(fine) => checked.push((place, item, fine)),
            Err(result) => results[place] = Some(*result),
        }
    }
    let any_rejected = results.iter().flatten().count() > 0;
    let mut reached = true;
    if arguments.atomic && any_rejected && !arguments.dry_run {
        for (place, _, fine) in checked {
            results[place] = Some(fine.result(Outcome::NotSaved));
        }
    } else {
        let size = if arguments.atomic { usize::MAX } else { CHUNK };
        let bar = progress_bar(checked.len(), quiet);
        for chunk in checked.chunks(size.min(checked.len().max(1))) {
            let request = PublishRequest {
                labels: arguments.labels.clone(),
                atomic: arguments.atomic,
                dry_run: arguments.dry_run,
                items: chunk.iter().map(|(_, item, _)| item.clone()).collect(),
            };
            let answer = if reached {
                control.publish(&request).await
            } else {
                Err(anyhow::anyhow!("not asked"))
            };
            match answer {
                Ok(report) => {
                    for ((place, _, _), result) in chunk.iter().zip(report.results) {
                        results[*place] = Some(result);
                    }
                }
                Err(error) if arguments.dry_run => {
                    if reached && !quiet {
                        print::note(&format!(
                            "{error:#}\nChecked without a server: what would change is not known."
                        ));
                    }
                    reached = false;
                    for (place, _, fine) in chunk {
                        results[*place] = Some(fine.result(Outcome::Checked));
                    }
                }
                Err(error) => {
                    bar.abandon();
                    let saved = results.iter().flatten();
                    let saved = saved
                        .filter(|result| result.outcome == Outcome::Saved)
                        .count();
                    return Err(error).with_context(|| format!("published {saved} so far"));
                }
            }
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
    }
    let mut results: Vec<ArtifactResult> = results.into_iter().flatten().collect();
    for result in &mut results {
        if let Some(findings) = said.remove(&result.source) {
            merge(&mut result.findings, findings);
        }
    }
    Ok((PublishReport { results }, reached))
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

pub(crate) fn rejected(source: String, reason: String) -> ArtifactResult {
    ArtifactResult {
        source,
        outcome: Outcome::Rejected,
        api_id: None,
        name: None,
        version: None,
        context: None,
        revision: None,
        digest: None,
        labels: Vec::new(),
        reason: Some(reason),
        findings: Vec::new(),
    }
}

fn progress_bar(length: usize, quiet: bool) -> ProgressBar {
    if quiet || length <= CHUNK || !std::io::stderr().is_terminal() {
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
