//! The engine alone, without a network, in one thread: finding the API of a request, and making
//! plans of artifacts.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use artifact::Artifact;
use synapse::dispatch::{RequestHead, ResourceOutcome, RouteTable, Selection};
use synapse::xml::Limits;

use super::{FEW, MANY, paths, plain};
use crate::report::{Aim, Measured, Report, Unit};
use crate::rounds::turns;
use crate::samples::Samples;

/// Requests that are timed together: one takes less than the clock can tell.
const BATCH: usize = 1000;

/// Where a request goes, API and resource, with few and with many APIs.
///
/// # Errors
/// When a request goes nowhere.
pub fn dispatch(rounds: usize, batches: usize, report: &mut Report) -> anyhow::Result<()> {
    let sides = [Table::new(FEW)?, Table::new(MANY)?];
    let mut samples = [Samples::default(), Samples::default()];
    for turn in turns(sides.len(), rounds) {
        let table = &sides[turn.side];
        let mut paths = table.paths.iter().cycle();
        let mut round = Vec::with_capacity(batches);
        for _ in 0..batches {
            let begun = Instant::now();
            for path in paths.by_ref().take(BATCH) {
                table.find(black_box(path))?;
            }
            round.push(begun.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
        }
        if turn.counts {
            samples[turn.side].round(round);
        }
    }
    let [few, many] = samples;
    let alone = |apis: usize, samples| {
        let what = format!("dispatch among {apis} APIs");
        Measured::alone(what, "one thread", Unit::Nanoseconds, samples)
    };
    report.measured.push(alone(FEW, &few));
    report.measured.push(
        alone(MANY, &many)
            .with_own_aim(Aim::Under(1000.0))
            .beside_peer("among 10 APIs", &few),
    );
    Ok(())
}

/// From the text of an artifact, as it is stored and sent, to its plan.
///
/// # Errors
/// When an artifact is refused.
pub fn compile(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let texts: Vec<String> = (0..MANY)
        .map(|number| Ok(plain(number, 9000).artifact().to_text()?))
        .collect::<anyhow::Result<_>>()?;
    let bytes: usize = texts.iter().map(String::len).sum();
    let (mut rate, mut throughput) = (Samples::default(), Samples::default());
    for turn in turns(1, rounds) {
        let mut plans = Vec::with_capacity(texts.len());
        let begun = Instant::now();
        for text in &texts {
            plans.push(plan(text)?);
        }
        let seconds = begun.elapsed().as_secs_f64();
        drop(black_box(plans));
        if turn.counts {
            rate.round(vec![texts.len() as f64 / seconds]);
            throughput.round(vec![bytes as f64 / super::MIB / seconds]);
        }
    }
    let alone = |unit, samples| {
        let each = bytes as f64 / texts.len() as f64 / 1024.0;
        let what = format!("compile, artifacts of {each:.1} KiB");
        Measured::alone(what, "one thread", unit, samples)
    };
    report
        .measured
        .push(alone(Unit::PerSecond, &rate).with_own_aim(Aim::AtLeast(10_000.0)));
    report
        .measured
        .push(alone(Unit::MebibytesPerSecond, &throughput));
    Ok(())
}

fn plan(text: &str) -> anyhow::Result<std::sync::Arc<synapse::Plan>> {
    let artifact = Artifact::parse(text)?;
    let compilation = synapse::compile(&artifact, &Limits::default());
    let findings = compilation.findings;
    let plan = compilation.plan;
    plan.with_context(|| format!("{}: {findings:?}", artifact.name))
}

/// The route table of a gateway, and a request for each of its APIs.
struct Table {
    table: RouteTable<usize>,
    paths: Vec<String>,
}

impl Table {
    fn new(count: usize) -> anyhow::Result<Self> {
        let apis: Vec<_> = (0..count).map(|number| plain(number, 9000)).collect();
        let mut routes = Vec::with_capacity(count);
        for (number, api) in apis.iter().enumerate() {
            let plan = plan(&api.artifact().to_text()?)?;
            routes.extend(plan.apis.iter().map(|api| (api.route.clone(), number)));
        }
        ensure!(routes.len() == count, "{} routes", routes.len());
        Ok(Self {
            table: RouteTable::new(routes),
            paths: paths(&apis),
        })
    }

    /// The number of the API that gets a GET of this path.
    fn find(&self, path: &str) -> anyhow::Result<usize> {
        let head = RequestHead {
            method: "GET",
            target: path,
            host: Some("127.0.0.1:8280"),
            ..RequestHead::default()
        };
        match self.table.select(&head) {
            Selection::Api(selected)
                if matches!(selected.resource, ResourceOutcome::Found { .. }) =>
            {
                Ok(*selected.attached)
            }
            _ => bail!("{path} goes nowhere"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_finds_its_api() {
        let table = Table::new(FEW).unwrap();
        let mut found: Vec<usize> = table
            .paths
            .iter()
            .map(|path| table.find(path).unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, (0..FEW).collect::<Vec<_>>());
        assert!(table.find("/plain-10/1.0.0/menu").is_err());
    }
}
