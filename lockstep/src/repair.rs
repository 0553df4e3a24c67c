//! `lockstep repair`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use artifact::{Digest, GatewayDetail, GatewayStatus, Label, RepairOverview, held_repairs};
use kit::process::Usage;
use serde::Serialize;
use tokio::time::Instant;

use crate::control::{Control, ControlArguments, Refused};
use crate::print;

/// Show the repairs that gateways hold, or accept them.
///
/// A gateway repairs by itself what differs from what is published, unless that would take many APIs
/// away, the label's index is empty, or the database has gone back to an older state: then it keeps
/// what it serves and holds the repair until an operator accepts it. A repair is named by its digest;
/// an acceptance counts for exactly what was shown, and anything else has to be accepted again.
///
/// Exit code 0 when what was accepted has been carried out; 1 when not.
#[derive(Debug, clap::Args)]
pub struct RepairArguments {
    /// Accept these, or the only one that is held, and wait until their gateways have carried them out; the
    /// first digits are enough, at least 6
    #[arg(long, value_name = "REPAIR", num_args = 0..)]
    accept: Option<Vec<String>>,
    /// Accept all that are held
    #[arg(long, requires = "accept")]
    all: bool,
    /// Only those of this gateway; id as `lockstep gateways` shows it
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
    /// Only those of this label
    #[arg(long)]
    label: Option<Label>,
    /// How long the gateways may take, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(..=3600))]
    timeout: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: ControlArguments,
}

/// What became of a repair that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    pub gateway_id: String,
    pub label: Label,
    pub repair: Digest,
    pub removes: u64,
    pub puts: u64,
    pub carried_out: bool,
    /// Milliseconds.
    pub took: u64,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

pub async fn run(arguments: RepairArguments) -> anyhow::Result<ExitCode> {
    let control = Control::new(&arguments.control)?;
    let (gateway, label) = (arguments.gateway.as_deref(), arguments.label.as_ref());
    let held = control.repairs(gateway, label).await?;
    let Some(names) = &arguments.accept else {
        if arguments.json {
            print::json(&held)?;
        } else {
            print::repairs(&held, kit::clock::now_ms());
        }
        return Ok(ExitCode::SUCCESS);
    };
    let chosen = chosen(held, names, arguments.all)?;
    let limit = Duration::from_secs(arguments.timeout);
    let carried = carry_out(&control, chosen, limit).await?;
    if arguments.json {
        print::json(&carried)?;
    } else {
        print::carried(&carried);
    }
    Ok(if carried.iter().all(|carried| carried.carried_out) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(kit::process::EXIT_FAILURE)
    })
}

/// The repairs that are meant: those named, on each gateway that holds them; all; or the only one.
fn chosen(
    held: Vec<RepairOverview>,
    names: &[String],
    all: bool,
) -> anyhow::Result<Vec<RepairOverview>> {
    if all && !names.is_empty() {
        bail!(Usage(
            "--all accepts whatever is held; leave the names away".into()
        ));
    }
    if names.is_empty() {
        if held.is_empty() {
            bail!("no repair is held that could be accepted");
        }
        if held.len() > 1 && !all {
            let rule = format!(
                "{} repairs are held ({}): name those to accept, or say --all",
                held.len(),
                told(&held)
            );
            bail!(Usage(rule));
        }
        return Ok(held);
    }
    let mut wanted = BTreeSet::new();
    for name in names {
        wanted.insert(meant(&held, name)?);
    }
    let mut held = held;
    held.retain(|held| wanted.contains(&held.held.repair));
    Ok(held)
}

/// The repair whose digest begins so.
fn meant(held: &[RepairOverview], name: &str) -> anyhow::Result<Digest> {
    let digits = name.to_ascii_lowercase();
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !(6..=64).contains(&digits.len()) || !hexadecimal {
        bail!(Usage(format!(
            "{name:?} names no repair: give 6 to 64 of its first hex digits, as `lockstep repair` shows them"
        )));
    }
    let repairs = held.iter().map(|held| held.held.repair);
    let found: BTreeSet<Digest> = repairs
        .filter(|repair| repair.to_string().starts_with(&digits))
        .collect();
    match found.len() {
        0 if held.is_empty() => Err(anyhow!("no repair {name} is held; none is held at all")),
        0 => Err(anyhow!("no repair {name} is held; held: {}", told(held))),
        1 => found.into_iter().next().ok_or_else(|| anyhow!("{name}")),
        n => Err(Usage(format!(
            "{name} begins {n} repairs; give more of its digits"
        ))
        .into()),
    }
}

/// Repairs by their short names, each with its label, for a message.
fn told(held: &[RepairOverview]) -> String {
    let named = held
        .iter()
        .map(|held| format!("{} of {}", held.held.repair.short(), held.label));
    let named: BTreeSet<String> = named.collect();
    named.into_iter().collect::<Vec<_>>().join(", ")
}

/// Accepts and waits. What cannot be accepted is told with the others.
async fn carry_out(
    control: &Control,
    chosen: Vec<RepairOverview>,
    limit: Duration,
) -> anyhow::Result<Vec<Carried>> {
    let started = Instant::now();
    // Who has registered since has started anew, and holds something new if anything.
    let before = control.gateways().await?;
    let mut waiting = Vec::new();
    let mut done = Vec::new();
    for held in chosen {
        let registered = before
            .iter()
            .find(|gateway| gateway.overview.gateway_id == held.gateway_id)
            .map(|gateway| gateway.overview.registered);
        match control.accept_repair(&held).await {
            Ok(accepted) => waiting.push((accepted, registered)),
            Err(error) if error.is::<Refused>() => return Err(error),
            Err(error) => done.push(outcome(&held, started, Some(error.to_string()))),
        }
    }
    let spinner = print::spinner("waiting for the gateways");
    let mut pause = Duration::from_millis(50);
    while !waiting.is_empty() {
        let over = started.elapsed() >= limit;
        match control.gateways().await {
            Err(error) if over || error.is::<Refused>() => return Err(error),
            Err(_) => {}
            Ok(gateways) => waiting.retain(|(held, registered)| {
                let reason = match standing(held, *registered, &gateways) {
                    Standing::CarriedOut => None,
                    Standing::Waits(_) if !over => return true,
                    Standing::Waits(reason) | Standing::Lost(reason) => Some(reason),
                };
                done.push(outcome(held, started, reason));
                false
            }),
        }
        if waiting.is_empty() {
            break;
        }
        spinner.tick();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    spinner.finish_and_clear();
    done.sort_by(|a, b| (&a.gateway_id, &a.label).cmp(&(&b.gateway_id, &b.label)));
    Ok(done)
}

fn outcome(held: &RepairOverview, started: Instant, reason: Option<String>) -> Carried {
    let took = started.elapsed().as_millis();
    Carried {
        gateway_id: held.gateway_id.clone(),
        label: held.label.clone(),
        repair: held.held.repair,
        removes: held.held.removes,
        puts: held.held.puts,
        carried_out: reason.is_none(),
        took: u64::try_from(took).unwrap_or(u64::MAX),
        reason,
    }
}

/// How an accepted repair stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    CarriedOut,
    Waits(String),
    /// It will not be carried out by this word.
    Lost(String),
}

/// Judges by what the gateway last said; `registered` is when it had started as it was accepted.
fn standing(
    held: &RepairOverview,
    registered: Option<i64>,
    gateways: &[GatewayDetail],
) -> Standing {
    let lost = |reason: &str| Standing::Lost(reason.to_owned());
    let mut gateways = gateways.iter();
    let gateway = gateways.find(|gateway| gateway.overview.gateway_id == held.gateway_id);
    let Some(gateway) = gateway else {
        return lost("the gateway has ended, or was forgotten");
    };
    if registered.is_some_and(|registered| registered != gateway.overview.registered) {
        return lost("the gateway has started anew; what it holds then has to be accepted again");
    }
    match held_repairs(&gateway.properties).get(&held.label) {
        None => Standing::CarriedOut,
        Some(now) if now.repair != held.held.repair => Standing::Lost(format!(
            "it holds another one now, {}: {}",
            now.repair.short(),
            now.reason
        )),
        Some(now) if now.since != held.held.since => {
            lost("it holds the same anew, which has to be accepted again")
        }
        Some(_) if gateway.overview.status == GatewayStatus::Offline => {
            Standing::Waits("offline, no heartbeat".to_owned())
        }
        Some(_) => Standing::Waits("it has not carried it out yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(gateway: &str, label: &str, repair: &str) -> RepairOverview {
        let repair = format!("{repair:0<64}");
        let held = serde_json::json!({"gatewayId": gateway, "label": label, "repair": repair,
            "reason": "r", "removes": 11, "puts": 0, "since": 5, "online": true, "accepted": null});
        serde_json::from_value(held).unwrap()
    }

    fn meant_by(names: &[&str], all: bool) -> Result<Vec<String>, String> {
        let all_held = vec![
            held("g", "L1", "abcdef1"),
            held("g", "L2", "abcdef2"),
            held("h", "L1", "abcdef1"),
        ];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let chosen = chosen(all_held, &names, all).map_err(|error| error.to_string())?;
        let one = |held: &RepairOverview| format!("{} {}", held.gateway_id, held.label);
        Ok(chosen.iter().map(one).collect())
    }

    #[test]
    fn what_is_named_is_accepted_and_nothing_else() {
        let error = |names: &[&str], all| meant_by(names, all).unwrap_err();
        assert_eq!(meant_by(&["ABCDEF1"], false).unwrap(), ["g L1", "h L1"]);
        assert_eq!(meant_by(&["abcdef2", "abcdef20"], false).unwrap(), ["g L2"]);
        assert_eq!(meant_by(&[], true).unwrap().len(), 3);
        assert!(error(&[], false).starts_with("3 repairs are held (abcdef100000 of L1, "));
        assert!(error(&["abcdef"], false).contains("begins 2 repairs"));
        let unknown = error(&["123456"], false);
        assert!(unknown.starts_with("no repair 123456 is held; held: abcdef1"));
        for name in ["abcde", "abcdeg", "", &"a".repeat(65)] {
            assert!(error(&[name], false).contains("names no repair"), "{name}");
        }
        assert!(error(&["abcdef1"], true).contains("leave the names away"));
        let only = vec![held("g", "L1", "1")];
        assert_eq!(chosen(only.clone(), &[], false).unwrap(), only);
        let nothing = chosen(Vec::new(), &[], true).unwrap_err();
        assert_eq!(
            nothing.to_string(),
            "no repair is held that could be accepted"
        );
    }

    fn gateway(registered: i64, status: &str, now: serde_json::Value) -> GatewayDetail {
        let gateway = serde_json::json!({"gatewayId": "g", "labels": ["L1"], "urls": [],
            "status": status, "registered": registered, "lastSeen": 0, "tenants": [],
            "properties": {"reconciliation": {"held": now}}, "applied": {}, "behind": {}});
        serde_json::from_value(gateway).unwrap()
    }

    #[test]
    fn a_repair_is_carried_out_when_the_gateway_that_held_it_holds_nothing() {
        let accepted = held("g", "L1", "a");
        let now = |repair: &str, since: i64| {
            let repair = format!("{repair:0<64}");
            serde_json::json!({"L1": {"repair": repair, "reason": "why", "removes": 1, "puts": 0,
                "since": since}})
        };
        let judged = |gateways: &[GatewayDetail]| standing(&accepted, Some(7), gateways);
        let nothing = serde_json::json!({});
        assert_eq!(
            judged(&[gateway(7, "online", nothing.clone())]),
            Standing::CarriedOut
        );
        let waits = |reason: &str| Standing::Waits(reason.to_owned());
        let same = gateway(7, "online", now("a", 5));
        assert_eq!(judged(&[same]), waits("it has not carried it out yet"));
        let silent = gateway(7, "offline", now("a", 5));
        assert_eq!(judged(&[silent]), waits("offline, no heartbeat"));
        let lost = |gateways: &[GatewayDetail]| match judged(gateways) {
            Standing::Lost(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(lost(&[]).contains("has ended"));
        assert!(lost(&[gateway(8, "online", nothing)]).contains("started anew"));
        assert!(lost(&[gateway(7, "online", now("b", 5))]).contains("another one now, b00000"));
        assert!(lost(&[gateway(7, "online", now("a", 6))]).contains("the same anew"));
    }
}
