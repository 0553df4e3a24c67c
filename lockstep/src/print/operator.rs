//! What `explain`, `wait` and `gateways` print.

use std::io::Write as _;

use artifact::{Explanation, GatewayDetail, Rollout, held_repairs};

use super::{conflicts, shown, status, table};

/// The conclusion, then the steps that lead to it. `now` is in milliseconds since the epoch.
pub fn explanation(explanation: &Explanation, now: i64) {
    say!("{}", shown(&explanation.conclusion));
    for step in &explanation.steps {
        let mark = match step.ok {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let when = step.time.map(|time| format!(" ({})", ago(time, now)));
        say!(
            "  {:<10} {mark:<3} {}{}",
            step.step.as_str(),
            shown(&step.detail),
            when.unwrap_or_default()
        );
    }
}

/// How the wait for a revision ended, then who has not deployed it.
pub fn rollout(api: &str, rollout: &Rollout) {
    let Rollout {
        revision,
        deployed,
        wanted,
        ..
    } = rollout;
    if rollout.reached {
        say!("revision {revision} of {api} is deployed on {deployed} of {wanted} gateway(s)");
    } else {
        let reason = rollout.reason.as_deref().unwrap_or("the time is over");
        say!("NOT reached: revision {revision} of {api}: {reason}");
    }
    for status in &rollout.missing {
        let offline = if status.online { "" } else { ", offline" };
        let reason = status.reason.as_ref().map(|reason| format!(": {reason}"));
        say!(
            "  {}: {}{offline}{}",
            shown(&status.gateway_id),
            status.state.as_str(),
            shown(&reason.unwrap_or_default())
        );
    }
}

/// A row for each gateway, then what they hold.
pub fn gateways(gateways: &[GatewayDetail], now: i64) {
    let mut rows = table(vec![
        "gateway",
        "status",
        "last heartbeat",
        "labels",
        "behind",
        "serves at",
    ]);
    for gateway in gateways {
        let overview = &gateway.overview;
        let labels: Vec<&str> = overview
            .labels
            .iter()
            .map(artifact::Label::as_str)
            .collect();
        let behind: u64 = gateway.behind.values().sum();
        rows.add_row(vec![
            shown(&overview.gateway_id),
            status(overview).to_owned(),
            ago(overview.last_seen, now),
            labels.join(", "),
            behind.to_string(),
            overview.urls.join(" "),
        ]);
    }
    say!("{rows}");
    conflicts(gateways.iter().map(|gateway| &gateway.overview));
    if gateways.is_empty() {
        say!("no gateway is registered");
    }
    for gateway in gateways {
        for (label, held) in held_repairs(&gateway.properties) {
            say!(
                "{}: a repair of {label} ({}) is held until an operator accepts it (lockstep repair): {}",
                shown(&gateway.overview.gateway_id),
                held.repair.short(),
                shown(&held.reason)
            );
        }
    }
}

/// How long ago something was, in words; times in milliseconds.
pub(super) fn ago(time: i64, now: i64) -> String {
    match now.saturating_sub(time).max(0) / 1000 {
        0 => "just now".to_owned(),
        seconds @ ..120 => format!("{seconds} s ago"),
        seconds @ ..7200 => format!("{} min ago", seconds / 60),
        seconds @ ..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_how_long_ago_it_was() {
        let second = 1000;
        for (passed, words) in [
            (-5, "just now"),
            (0, "just now"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7200, "2 h ago"),
            (400_000, "4 days ago"),
        ] {
            assert_eq!(ago(7, 7 + passed * second), words);
        }
    }
}
