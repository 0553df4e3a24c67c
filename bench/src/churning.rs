//! The scenario `churn`: changes without end, and whether anything grows.

use std::time::{Duration, Instant};

use anyhow::ensure;
use store::Save;
use tokio::time::{MissedTickBehavior, interval};

use crate::Options;
use crate::ours::apis::{Plain, saves};
use crate::ours::gateway::Settings;
use crate::ours::hosted::Hosted;
use crate::ours::installation::{Committed, Installation};
use crate::peers::rabbitmq::RabbitMq;
use crate::process::{Process, own_memory, own_processor_seconds};
use crate::report::{Aim, Measured, Report, Unit};
use crate::samples::Samples;

/// How much is measured.
struct Effort {
    apis: usize,
    /// Parts of the run, one after the other; the figures of each stand for themselves.
    parts: usize,
    /// Seconds of each; one more goes before and is not counted.
    seconds: usize,
}

const FULL: Effort = Effort {
    apis: 10_000,
    parts: 6,
    seconds: 10,
};
const QUICK: Effort = Effort {
    apis: 1000,
    parts: 3,
    seconds: 2,
};
/// Changes a second.
const RATE: usize = 100;
const LABEL: &str = crate::data::LABEL;
const MIB: f64 = 1024.0 * 1024.0;

/// The sides: both have the same changes at the same time.
const EVENTS: &str = "Lockstep, events";
const STREAM: &str = "Lockstep, watch stream";

/// What has been seen of one process.
struct Watched<'a> {
    name: &'static str,
    /// `None`: this program.
    process: Option<&'a Process>,
    /// Milliseconds of processor time a second.
    processor: Samples,
    /// MiB.
    memory: Samples,
}

/// Measures.
///
/// # Errors
/// When a program fails while it is measured. The broker is reported where it is missing.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let effort = if options.quick { QUICK } else { FULL };
    let mut report = Report::new();
    let rabbitmq = match RabbitMq::start().await {
        Ok(rabbitmq) => rabbitmq,
        Err(error) => {
            report.missing("RabbitMQ", &error);
            return Ok(report);
        }
    };
    let plain = |revision| {
        move |number| Plain {
            number,
            revision,
            back_end: 9000,
        }
    };
    let apis: Vec<Plain> = (0..effort.apis).map(plain(1)).collect();
    let installation = Installation::start(&rabbitmq, &saves(&apis, &[LABEL])?).await?;
    report.server(installation.broker.clone());
    let settings = |id, hears| Settings {
        id,
        label: LABEL,
        threads: None,
        hears,
        snapshot: true,
    };
    let start = |id, hears| {
        let position = effort.apis as u64;
        let settings = settings(id, hears);
        Hosted::start(
            &installation.ground,
            installation.port,
            settings,
            1,
            position,
        )
    };
    let gateways = [start("events", true).await?, start("stream", false).await?];
    let parts = effort.parts + 1;
    let changes: Vec<Plain> = (0..parts * effort.seconds * RATE)
        // Another API each time, far from the last.
        .map(|change| plain(2 + change / effort.apis)(change * 7919 % effort.apis))
        .collect();
    // No API comes twice in a part.
    let changes = changes.chunks(effort.seconds * RATE);
    let changes: Vec<Vec<Save>> = changes
        .map(|part| saves(part, &[LABEL]))
        .collect::<anyhow::Result<_>>()?;
    let [events, stream] = &gateways;
    let mut watched: Vec<Watched> = [
        ("saver and relay", None),
        ("RabbitMQ", Some(&rabbitmq.process)),
        ("traffic manager", Some(&installation.manager)),
        ("gateway, events", Some(&events.process)),
        ("gateway, watch stream", Some(&stream.process)),
    ]
    .into_iter()
    .map(|(name, process)| Watched {
        name,
        process,
        processor: Samples::default(),
        memory: Samples::default(),
    })
    .collect();
    let mut lags: [Samples; 2] = Default::default();
    let mut rates = Samples::default();
    for (part, changes) in changes.iter().enumerate() {
        let counts = part > 0;
        let before = processor(&watched)?;
        let begun = Instant::now();
        let (committed, memory) = change(&installation, changes, &watched).await?;
        for (lags, gateway) in lags.iter_mut().zip(&gateways) {
            let mut all = Vec::with_capacity(committed.len());
            for Committed { position, at } in &committed {
                let applied = gateway.all_have(*position).await?;
                all.push(applied.saturating_duration_since(*at).as_secs_f64() * 1000.0);
            }
            if counts {
                lags.round(all);
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        if !counts {
            continue;
        }
        rates.round(vec![committed.len() as f64 / seconds]);
        let after = processor(&watched)?;
        for (at, watched) in watched.iter_mut().enumerate() {
            let used = (after[at] - before[at]) * 1000.0 / seconds;
            watched.processor.round(vec![used]);
            let memory = memory.iter().map(|memory| memory[at] / MIB);
            watched.memory.round(memory.collect());
        }
    }
    tell(&effort, &rates, &lags, &watched, &mut report);
    for gateway in gateways {
        gateway.process.stop().await;
    }
    installation.manager.stop().await;
    rabbitmq.stop().await;
    Ok(report)
}

/// Makes the changes at their rate; looks at the memory of all processes every second.
async fn change(
    installation: &Installation,
    changes: &[Save],
    watched: &[Watched<'_>],
) -> anyhow::Result<(Vec<Committed>, Vec<Vec<f64>>)> {
    let mut committed = Vec::with_capacity(changes.len());
    let mut memory = Vec::new();
    // Who is late makes up for it: the rate is that of the whole.
    let mut ticks = interval(Duration::from_secs(1) / RATE as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (number, save) in changes.iter().enumerate() {
        ticks.tick().await;
        let change = installation.commit(save).await?;
        let last = committed.last().map(|it: &Committed| it.position);
        ensure!(
            last.is_none_or(|last| last < change.position),
            "positions do not rise"
        );
        committed.push(change);
        if number % RATE == RATE - 1 {
            let of = |watched: &Watched| watched.process.map_or_else(own_memory, Process::memory);
            memory.push(watched.iter().map(of).collect::<anyhow::Result<_>>()?);
        }
    }
    Ok((committed, memory))
}

/// Seconds of processor time that each has used so far.
fn processor(watched: &[Watched<'_>]) -> anyhow::Result<Vec<f64>> {
    let of = |watched: &Watched| {
        let process = watched.process;
        process.map_or_else(own_processor_seconds, Process::processor_seconds)
    };
    watched.iter().map(of).collect()
}

fn tell(
    effort: &Effort,
    rates: &Samples,
    lags: &[Samples],
    watched: &[Watched<'_>],
    report: &mut Report,
) {
    let Effort { apis, seconds, .. } = effort;
    let what = format!("changes, {apis} APIs");
    let rate = Measured::alone(what, "SQLite", Unit::PerSecond, rates);
    let rate = rate.with_own_aim(Aim::AtLeast(RATE as f64 * 0.98));
    report.measured.push(rate);
    let parts = |samples: &Samples| {
        let rounds = samples.rounds();
        let of = |rounds: Option<&Vec<f64>>| {
            let mut samples = Samples::default();
            samples.round(rounds.cloned().unwrap_or_default());
            samples
        };
        (of(rounds.first()), of(rounds.last()))
    };
    let first = format!("first {seconds} s");
    let last = |on: &str| format!("{on}, last {seconds} s");
    for (on, lag) in [EVENTS, STREAM].iter().zip(lags) {
        let what = "commit to deployed";
        report
            .measured
            .push(Measured::alone(what, on, Unit::Milliseconds, lag));
        let (begin, end) = parts(lag);
        let grown = Measured::alone(what, &last(on), Unit::Milliseconds, &end);
        report.measured.push(grown.beside_peer(&first, &begin));
    }
    for Watched {
        name,
        processor,
        memory,
        process: _,
    } in watched
    {
        let what = "processor time a second";
        report
            .measured
            .push(Measured::alone(what, name, Unit::Milliseconds, processor));
        let (begin, end) = parts(memory);
        let grown = Measured::alone("memory", &last(name), Unit::Mebibytes, &end);
        let grown = grown.beside_peer(&first, &begin).with_aim(Aim::Under(1.1));
        report.measured.push(grown);
    }
}
