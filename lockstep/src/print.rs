//! What the commands print: tables and lines for people, JSON for machines.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};

use artifact::{
    ApiOverview, ArtifactResult, DeploymentState, Finding, GatewayOverview, GatewayStatus,
    Instruction, Outcome, Overview, PublishReport, RemoveReport, Severity,
};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::wait::{Waited, missing};

/// Standard output and error without the print macros' panic: a reader may have gone (`| head`).
macro_rules! say {
    ($($text:tt)*) => { let _ = writeln!(std::io::stdout(), $($text)*); };
}
macro_rules! tell {
    ($($text:tt)*) => { let _ = writeln!(std::io::stderr(), $($text)*); };
}

mod direct;
mod operator;
mod repair;

pub use operator::{explanation, gateways, rollout};
pub use repair::{carried, repairs};

/// One JSON document on standard output.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Something to know besides the result, on standard error.
pub fn note(text: &str) {
    tell!("note: {text}");
}

pub fn line(text: &str) {
    say!("{text}");
}

/// A spinner on a terminal, nothing elsewhere.
#[must_use]
pub fn spinner(text: &'static str) -> ProgressBar {
    if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner().with_message(text)
    } else {
        ProgressBar::hidden()
    }
}

pub fn left_out(files: &[String], all: bool) {
    let count = files.len();
    if all {
        for file in files {
            note(&format!(
                "left out, no API artifact and referred to by none: {file}"
            ));
        }
    } else {
        let first = files.first().map_or("", String::as_str);
        note(&format!(
            "left out {count} file(s) that are no API artifacts and referred to by none, \
             such as {first} (all: --verbose)"
        ));
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Saved => "saved",
        Outcome::Unchanged => "unchanged",
        Outcome::WouldCreate => "would create",
        Outcome::WouldUpdate => "would update",
        Outcome::Checked => "checked",
        Outcome::Rejected => "REJECTED",
        Outcome::NotSaved => "not saved",
        Outcome::Unknown => "UNKNOWN",
    }
}

/// A text from an artifact without what would steer a terminal.
fn shown(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(steers, "\u{fffd}")
}

fn table(header: Vec<&str>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// Results as a table, then rejections with their reasons, then findings.
pub fn publish_report(report: &PublishReport, verbose: bool) {
    let mut rows = table(vec![
        "result", "API", "version", "context", "revision", "source",
    ]);
    for result in report
        .results
        .iter()
        .filter(|r| r.outcome != Outcome::Rejected)
    {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        rows.add_row(vec![
            outcome_word(result.outcome).to_owned(),
            shown(&text(&result.name)),
            shown(&text(&result.version)),
            shown(&text(&result.context)),
            result.revision.map_or_else(String::new, |n| n.to_string()),
            result.source.clone(),
        ]);
    }
    if rows.row_count() > 0 {
        say!("{rows}");
    }
    for result in report.results.iter().filter(|r| !r.removed_from.is_empty()) {
        let labels: Vec<&str> = result
            .removed_from
            .iter()
            .map(artifact::Label::as_str)
            .collect();
        say!(
            "{} {}: removed from {}, which no --label names",
            shown(result.name.as_deref().unwrap_or("?")),
            shown(result.version.as_deref().unwrap_or("")),
            labels.join(", ")
        );
    }
    findings(&report.results, verbose);
    for result in report
        .results
        .iter()
        .filter(|r| r.outcome == Outcome::Rejected)
    {
        say!(
            "REJECTED {}: {}",
            result.source,
            result.reason.as_deref().unwrap_or("?")
        );
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for result in &report.results {
        *counts.entry(outcome_word(result.outcome)).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(word, n)| format!("{n} {word}"))
        .collect();
    say!("{}", counts.join(", "));
    let names = report.results.iter().filter_map(|result| {
        let version = result.version.as_deref().unwrap_or_default();
        let name = format!("{} {version}", result.name.as_deref()?);
        Some((result.api_id.as_deref()?, name))
    });
    direct::reports(&report.gateways, &names.collect());
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Refused => "refused",
        Severity::NotExecuted => "not executed",
        Severity::Ignored => "without effect",
    }
}

/// Findings: every one with its place, or grouped by what they say.
pub fn findings(results: &[ArtifactResult], verbose: bool) {
    let of = |result: &ArtifactResult| {
        let name = result.name.clone().unwrap_or_else(|| result.source.clone());
        format!("{name} {}", result.version.clone().unwrap_or_default())
    };
    let all: Vec<(String, &Finding)> = results
        .iter()
        .filter(|result| result.outcome != Outcome::Rejected)
        .flat_map(|result| {
            result
                .findings
                .iter()
                .map(move |finding| (of(result), finding))
        })
        .collect();
    if all.is_empty() {
        return;
    }
    if verbose {
        say!("findings:");
        for (api, finding) in &all {
            let word = severity_word(finding.severity);
            say!("  {word}: {api}: {}: {}", finding.place, finding.message);
        }
        return;
    }
    let mut groups: BTreeMap<(Severity, &str), Vec<(&str, &str)>> = BTreeMap::new();
    for (api, finding) in &all {
        let apis = groups
            .entry((finding.severity, finding.message.as_str()))
            .or_default();
        if !apis.iter().any(|(known, _)| known == api) {
            apis.push((api, &finding.place));
        }
    }
    say!(
        "findings ({}; each with its place: publish --verbose):",
        all.len()
    );
    for ((severity, message), apis) in groups {
        let who = match apis.as_slice() {
            [(api, place)] => format!("{api}: {place}"),
            [(first, _), others @ ..] => format!("{first} and {} more", others.len()),
            [] => String::new(),
        };
        say!("  {}: {message} [{who}]", severity_word(severity));
    }
}

pub fn waited(waited: &Waited) {
    if waited.converged {
        let mut told = match (waited.deployed, waited.undeployed) {
            (0, 0) if waited.not_loaded > 0 => "deployed nowhere yet".to_owned(),
            (0, 0) => "nothing to wait for".to_owned(),
            (deployed, 0) => format!("deployed on {deployed} gateway(s)"),
            (0, undeployed) => format!("undeployed on {undeployed} gateway(s)"),
            (deployed, undeployed) => {
                format!("deployed on {deployed} gateway(s), undeployed on {undeployed}")
            }
        };
        if waited.not_loaded > 0 {
            let lazy = waited.not_loaded;
            told += &format!(", by {lazy} gateway(s) at the first request of its tenant,");
        }
        say!("{told} after {} ms", waited.took);
        return;
    }
    say!("NOT converged after {} ms:", waited.took);
    for missing in &waited.missing {
        let gateway = missing.gateway.as_deref().unwrap_or("(no gateway)");
        say!("  {gateway}: {}: {}", missing.api, missing.reason);
    }
}

pub fn removed(report: &RemoveReport) {
    let labels: Vec<&str> = report.labels.iter().map(|l| l.label.as_str()).collect();
    say!(
        "removed {} {} from {}",
        report.name,
        report.version,
        labels.join(", ")
    );
    let name = format!("{} {}", report.name, report.version);
    let names = BTreeMap::from([(report.api_id.as_str(), name)]);
    direct::reports(&report.gateways, &names);
}

/// APIs by gateways, then the gateways, then what is not as it should be.
pub fn overview(overview: &Overview) {
    say!("{}", api_table(overview));
    if overview.apis.is_empty() {
        say!("nothing is published");
    }
    let mut rows = table(vec!["gateway", "status", "labels", "serves at"]);
    for gateway in &overview.gateways {
        let labels: Vec<&str> = gateway.labels.iter().map(artifact::Label::as_str).collect();
        let status = status(gateway);
        rows.add_row(vec![
            gateway.gateway_id.as_str(),
            status,
            &labels.join(", "),
            &gateway.urls.join(" "),
        ]);
    }
    say!("{rows}");
    conflicts(&overview.gateways);
    let missing = |api| missing(api, &overview.gateways);
    for missing in overview.apis.iter().flat_map(missing) {
        let gateway = missing.gateway.as_deref().unwrap_or("(no gateway)");
        say!("{gateway}: {}: {}", missing.api, missing.reason);
    }
}

/// How a gateway is.
fn status(gateway: &GatewayOverview) -> &'static str {
    match gateway.status {
        _ if gateway.other.is_some() => "CONFLICT",
        GatewayStatus::Online => "online",
        GatewayStatus::Offline => "OFFLINE",
    }
}

/// Ids that two processes have.
fn conflicts<'a>(gateways: impl IntoIterator<Item = &'a GatewayOverview>) {
    for gateway in gateways {
        if let Some(other) = &gateway.other {
            say!(
                "{}: a second process has this id: {}; what it runs is not known. Give each gateway its \
                 own ([gateway] id).",
                shown(&gateway.gateway_id),
                shown(&other.urls.join(" "))
            );
        }
    }
}

/// What is deployed where: a row for each API, a column for each gateway.
#[must_use]
pub fn api_table(overview: &Overview) -> Table {
    let mut header = vec!["API", "version", "tenant", "context", "labels", "rev"];
    header.extend(overview.gateways.iter().map(|g| g.gateway_id.as_str()));
    let mut rows = table(header);
    for api in &overview.apis {
        let labels: Vec<&str> = api.labels.iter().map(artifact::Label::as_str).collect();
        let mut row = vec![
            shown(&api.name),
            shown(&api.version),
            shown(&api.tenant_domain),
            match api.instruction {
                Instruction::Publish => shown(&api.context),
                Instruction::Remove => "(removed)".to_owned(),
            },
            labels.join(", "),
            api.revision.to_string(),
        ];
        let gateways = overview.gateways.iter();
        row.extend(gateways.map(|gateway| cell(api, &gateway.gateway_id)));
        rows.add_row(row);
    }
    rows
}

fn cell(api: &ApiOverview, gateway: &str) -> String {
    let status = api
        .gateways
        .iter()
        .find(|status| status.gateway_id == gateway);
    match status {
        None => "-".to_owned(),
        Some(status) if !status.online => format!("{} (offline)", status.state.as_str()),
        Some(status) if status.state == DeploymentState::Failed => "FAILED".to_owned(),
        Some(status) => status.state.as_str().to_owned(),
    }
}
