//! What `repair` prints.

use std::io::Write as _;

use artifact::{HeldRepair, RepairOverview};

use super::operator::ago;
use super::{shown, table};
use crate::repair::Carried;

/// So many APIs of a repair are named.
const NAMED: usize = 5;

/// A row for each held repair, then why. `now` is in milliseconds since the epoch.
pub fn repairs(held: &[RepairOverview], now: i64) {
    if held.is_empty() {
        say!("no repair waits to be accepted");
        return;
    }
    let mut rows = table(vec![
        "gateway",
        "label",
        "repair",
        "removes",
        "puts",
        "held since",
        "status",
    ]);
    for repair in held {
        let status = match &repair.accepted {
            Some(accepted) => format!("accepted by {} {}", accepted.by, ago(accepted.time, now)),
            None if repair.online => "waits".to_owned(),
            None => "waits, OFFLINE".to_owned(),
        };
        rows.add_row(vec![
            shown(&repair.gateway_id),
            repair.label.to_string(),
            repair.held.repair.short(),
            repair.held.removes.to_string(),
            repair.held.puts.to_string(),
            ago(repair.held.since, now),
            shown(&status),
        ]);
    }
    say!("{rows}");
    for repair in held {
        say!(
            "{}: {}: {}",
            repair.held.repair.short(),
            shown(&repair.gateway_id),
            shown(&repair.held.reason)
        );
        say!("    {}", shown(&concerned(&repair.held)));
    }
    say!("To have one carried out: lockstep repair --accept REPAIR");
}

/// The ids of the first APIs.
fn concerned(held: &HeldRepair) -> String {
    let all = held.removes.saturating_add(held.puts);
    let first: Vec<&str> = held.apis.iter().take(NAMED).map(String::as_str).collect();
    let more = all.saturating_sub(first.len() as u64);
    match more {
        0 => format!("concerns {}", first.join(", ")),
        more => format!("concerns {} and {more} more", first.join(", ")),
    }
}

/// A line for each repair that was accepted.
pub fn carried(carried: &[Carried]) {
    for outcome in carried {
        let what = format!("{} of {}", outcome.repair.short(), outcome.label);
        let gateway = shown(&outcome.gateway_id);
        let Some(reason) = &outcome.reason else {
            let (took, removes, puts) = (outcome.took, outcome.removes, outcome.puts);
            say!("{gateway}: carried out {what} after {took} ms (removes {removes}, puts {puts})");
            continue;
        };
        say!("{gateway}: NOT carried out: {what}: {}", shown(reason));
    }
}
