//! The same requests on every side: directly at the back end, through nginx, Envoy and this gateway
//! with few and with many APIs.

use std::time::Duration;

use anyhow::Context;

use super::routes::{self, Search};
use super::site::{LABELS, Site, THREADS, answers};
use super::{FEW, MANY, MIB, paths};
use crate::ours::apis::Plain;
use crate::peers::envoy::Envoy;
use crate::peers::nginx::Nginx;
use crate::peers::wrk::{Load, Wrk};
use crate::process::Process;
use crate::report::{Aim, Measured, Report, Unit};
use crate::rounds::turns;
use crate::samples::Samples;

const CONNECTIONS: usize = 32;

/// Someone who answers the requests.
struct Side {
    name: String,
    port: u16,
    apis: usize,
    /// `None` for the back end, which is no side's own.
    process: Option<Process>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    /// Requests per second.
    rate: Samples,
    /// Requests per second of processor time.
    efficiency: Samples,
    /// Microseconds of processor time per request.
    cost: Samples,
    /// Milliseconds.
    p50: Samples,
    p99: Samples,
    /// MiB.
    memory: Samples,
}

/// Measures all sides in turns.
///
/// # Errors
/// When a side fails while it is measured.
pub async fn measure(site: &Site<'_>, quick: bool, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, seconds) = if quick { (2, 1) } else { (7, 10) };
    let load = Load {
        connections: CONNECTIONS,
        time: Duration::from_secs(seconds),
    };
    let (all, back_end) = (&site.all, site.back_end.port);
    let scripts = [
        Wrk::new(&paths(&all[..FEW])).await,
        Wrk::new(&paths(all)).await,
    ];
    let [few, many] = match scripts {
        [Ok(few), Ok(many)] => [few, many],
        [Err(error), _] | [_, Err(error)] => {
            report.missing("wrk", &error);
            return Ok(());
        }
    };
    let mut sides = vec![Side::new("direct", FEW, back_end, None)];
    peers(&mut sides, all, back_end, report).await;
    for (apis, label) in LABELS {
        let gateway = site.gateway("proxy", label).await?;
        let name = format!("Lockstep, {apis} APIs");
        sides.push(Side::new(&name, apis, gateway.port, Some(gateway.process)));
    }
    for side in &sides {
        let last = &all[side.apis - 1];
        answers(side.port, std::slice::from_ref(last))
            .await
            .with_context(|| side.name.clone())?;
    }
    for turn in turns(sides.len(), rounds) {
        let side = &mut sides[turn.side];
        let wrk = if side.apis == FEW { &few } else { &many };
        side.take(wrk, load, turn.counts)
            .await
            .with_context(|| side.name.clone())?;
    }
    tell(&sides, report);
    for side in sides {
        if let Some(process) = side.process {
            process.stop().await;
        }
    }
    Ok(())
}

/// Starts nginx and Envoy.
async fn peers(sides: &mut Vec<Side>, all: &[Plain], back_end: u16, report: &mut Report) {
    for apis in [FEW, MANY] {
        let routes = |_: &std::path::Path, port| Ok(routes::nginx(&all[..apis], back_end, port));
        let name = format!("nginx, {apis} routes");
        match Nginx::start(THREADS, routes).await {
            Ok(nginx) => {
                report.server(nginx.version);
                sides.push(Side::new(&name, apis, nginx.port, Some(nginx.process)));
            }
            Err(error) => report.missing(&name, &error),
        }
    }
    for (apis, search, kind) in [
        (FEW, Search::List, ""),
        (MANY, Search::List, " in a list"),
        (MANY, Search::Tree, " in a tree"),
    ] {
        let name = format!("Envoy, {apis} routes{kind}");
        let routes = routes::envoy(&all[..apis], search);
        match Envoy::start(THREADS, back_end, ("route_config", routes)).await {
            Ok(envoy) => {
                report.server(envoy.version);
                sides.push(Side::new(&name, apis, envoy.port, Some(envoy.process)));
            }
            Err(error) => report.missing(&name, &error),
        }
    }
}

impl Side {
    fn new(name: &str, apis: usize, port: u16, process: Option<Process>) -> Self {
        Self {
            name: name.to_owned(),
            port,
            apis,
            process,
            figures: Figures::default(),
        }
    }

    async fn take(&mut self, wrk: &Wrk, load: Load, counts: bool) -> anyhow::Result<()> {
        let used = |process: &Option<Process>| process.as_ref().map(Process::processor_seconds);
        let before = used(&self.process).transpose()?;
        let counted = wrk.run(self.port, load).await?;
        let after = used(&self.process).transpose()?;
        if !counts {
            return Ok(());
        }
        let figures = &mut self.figures;
        figures.rate.round(vec![counted.requests_per_second()]);
        figures.p50.round(vec![counted.p50 / 1000.0]);
        figures.p99.round(vec![counted.p99 / 1000.0]);
        if let (Some(before), Some(after), Some(process)) = (before, after, &self.process) {
            let requests = counted.requests as f64;
            figures.cost.round(vec![(after - before) * 1e6 / requests]);
            figures.efficiency.round(vec![requests / (after - before)]);
            figures.memory.round(vec![process.memory()? / MIB]);
        }
        Ok(())
    }
}

/// One kind of figure.
type Choice = fn(&Figures) -> &Samples;

/// The figures of this gateway beside those of the others.
fn tell(sides: &[Side], report: &mut Report) {
    let ours: Vec<&Side> = sides.iter().filter(|side| side.is_ours()).collect();
    let kinds: [(&str, Unit, Choice); 6] = [
        ("requests", Unit::PerSecond, |figures| &figures.rate),
        ("requests per CPU second", Unit::PerSecond, |figures| {
            &figures.efficiency
        }),
        ("CPU per request", Unit::Microseconds, |figures| {
            &figures.cost
        }),
        ("p50 of a round", Unit::Milliseconds, |figures| &figures.p50),
        ("p99 of a round", Unit::Milliseconds, |figures| &figures.p99),
        ("memory", Unit::Mebibytes, |figures| &figures.memory),
    ];
    for (what, unit, samples) in kinds {
        for &side in &ours {
            let mut measured = Measured::alone(what, &side.name, unit, samples(&side.figures));
            for other in sides {
                let of_same_size = other.apis == side.apis && !other.is_ours();
                let of_few = other.is_ours() && other.apis < side.apis;
                if other.name == side.name || !(of_same_size || of_few || other.process.is_none()) {
                    continue;
                }
                if samples(&other.figures).is_empty() {
                    continue;
                }
                measured = measured.beside_peer(&other.name, samples(&other.figures));
                if let Some(aim) = aim(what, other) {
                    measured = measured.with_aim(aim);
                }
            }
            report.measured.push(measured);
        }
    }
}

impl Side {
    fn is_ours(&self) -> bool {
        self.name.starts_with("Lockstep")
    }
}

fn aim(what: &str, other: &Side) -> Option<Aim> {
    let is = |name: &str| other.name.starts_with(name);
    match what {
        "requests per CPU second" if is("nginx") => Some(Aim::AtLeast(0.7)),
        "requests per CPU second" if is("Envoy") => Some(Aim::AtLeast(1.0)),
        "requests per CPU second" if other.is_ours() => Some(Aim::AtLeast(0.9)),
        "p99 of a round" if is("Envoy") => Some(Aim::Under(1.25)),
        _ => None,
    }
}
