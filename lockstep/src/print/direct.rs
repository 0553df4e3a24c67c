//! What became of a save at the gateways that it was published directly to.

use std::collections::BTreeMap;
use std::io::Write as _;

use artifact::{DirectOutcome, DirectReport, DirectStatus};

use super::shown;

/// A line for each gateway; then what it has refused, and why an entry was kept.
pub(super) fn reports(reports: &[DirectReport], names: &BTreeMap<&str, String>) {
    for report in reports {
        say!("{}", line(report));
        for status in &report.list {
            let Some(reason) = &status.reason else {
                continue;
            };
            let api = names.get(status.api_id.as_str());
            let api = api.map_or(status.api_id.as_str(), String::as_str);
            let word = word(status.status);
            say!("  {word} {}: {}", shown(api), shown(reason));
        }
    }
}

fn line(report: &DirectReport) -> String {
    let mut counts: BTreeMap<DirectOutcome, usize> = BTreeMap::new();
    for DirectStatus { status, .. } in &report.list {
        *counts.entry(*status).or_default() += 1;
    }
    let counts = counts
        .iter()
        .map(|(status, n)| format!("{n} {}", word(*status)));
    let mut told: Vec<String> = counts.collect();
    if let Some(error) = &report.error {
        told.push(format!(
            "NOT REACHED: {}; what was saved it will pull",
            shown(error)
        ));
    }
    format!(
        "directly to {}: {}",
        shown(report.environment.as_str()),
        told.join(", ")
    )
}

fn word(outcome: DirectOutcome) -> &'static str {
    match outcome {
        DirectOutcome::Deployed => "deployed",
        DirectOutcome::Refused => "REFUSED",
        DirectOutcome::Kept => "kept",
        DirectOutcome::Removed => "removed",
    }
}

#[cfg(test)]
mod tests {
    use artifact::Label;

    use super::*;

    #[test]
    fn each_gateway_has_a_line() {
        let status = |status| DirectStatus {
            api_id: "a".into(),
            revision: 1,
            status,
            reason: None,
        };
        let mut report = DirectReport {
            environment: Label::parse("Label1").unwrap(),
            error: None,
            list: vec![
                status(DirectOutcome::Kept),
                status(DirectOutcome::Deployed),
                status(DirectOutcome::Kept),
            ],
        };
        assert_eq!(line(&report), "directly to Label1: 1 deployed, 2 kept");
        report.list.clear();
        report.error = Some("no answer within 100 ms".into());
        assert_eq!(
            line(&report),
            "directly to Label1: NOT REACHED: no answer within 100 ms; what was saved it will pull"
        );
    }
}
