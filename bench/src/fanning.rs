//! The scenario `fan-out`: one change, until the last of many gateways has deployed it.

mod sides;

use crate::Options;
use crate::peers::etcd::Etcd;
use crate::peers::nats::Nats;
use crate::peers::rabbitmq::RabbitMq;
use crate::report::{Aim, Measured, Report, Unit};
use crate::rounds::turns;
use crate::samples::Samples;
use sides::{Servers, Side, Way};

/// How much is measured.
struct Effort {
    rounds: usize,
    /// In each turn.
    changes: usize,
    /// How many gateways there are.
    sizes: &'static [usize],
}

const FULL: Effort = Effort {
    rounds: 10,
    changes: 5,
    sizes: &[1, 100, 1000],
};
const QUICK: Effort = Effort {
    rounds: 2,
    changes: 5,
    sizes: &[1, 100],
};
/// The size that the aims are of.
const MANY: usize = 1000;

/// Measures.
///
/// # Errors
/// When a side fails while it is measured. One that is not there is reported as missing.
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
    let mut servers = Servers {
        rabbitmq,
        nats: None,
        etcd: None,
    };
    match Nats::start().await {
        Ok(nats) => {
            report.server(nats.version.clone());
            servers.nats = Some(nats);
        }
        Err(error) => report.missing("NATS", &error),
    }
    match Etcd::start().await {
        Ok(etcd) => {
            report.server(etcd.version.clone());
            servers.etcd = Some(etcd);
        }
        Err(error) => report.missing("etcd", &error),
    }
    for &size in effort.sizes {
        // One size after the other: gateways hear of changes of others, too.
        let sides = servers.sides(size, &mut report).await?;
        measure(&effort, size, sides, &servers, &mut report).await?;
    }
    servers.stop().await;
    Ok(report)
}

/// What one side has taken.
#[derive(Default)]
struct Times {
    /// Milliseconds since the change was begun.
    since_begin: Samples,
    /// Milliseconds since the commit, as the one who changes is told.
    since_commit: Samples,
}

async fn measure(
    effort: &Effort,
    size: usize,
    mut sides: Vec<Side>,
    servers: &Servers,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut times: Vec<Times> = sides.iter().map(|_| Times::default()).collect();
    let mut revision = 1;
    for turn in turns(sides.len(), effort.rounds) {
        let (mut since_begin, mut since_commit) = (Vec::new(), Vec::new());
        for _ in 0..effort.changes {
            revision += 1;
            let change = sides[turn.side].change(revision, servers).await?;
            let since = |start| {
                let taken = change.last.saturating_duration_since(start);
                taken.as_secs_f64() * 1000.0
            };
            since_begin.push(since(change.begun));
            since_commit.push(since(change.committed));
        }
        if turn.counts {
            times[turn.side].since_begin.round(since_begin);
            times[turn.side].since_commit.round(since_commit);
        }
    }
    let all: Vec<(Way, Times)> = sides.iter().map(|side| side.way()).zip(times).collect();
    tell(size, &all, report);
    for side in sides {
        side.stop().await;
    }
    Ok(())
}

/// One kind of figure.
type Choice = fn(&Times) -> &Samples;

fn tell(size: usize, all: &[(Way, Times)], report: &mut Report) {
    let kinds: [(&str, Choice); 2] = [
        ("save to the last", |times| &times.since_begin),
        ("commit to the last", |times| &times.since_commit),
    ];
    for (kind, samples) in kinds {
        for (way, times) in all.iter().filter(|(way, _)| way.is_ours()) {
            let what = format!("{kind} of {size}");
            let mut measured =
                Measured::alone(what, way.name(), Unit::Milliseconds, samples(times));
            for (other, times) in all.iter().filter(|(other, _)| !other.is_ours()) {
                measured = measured.beside_peer(other.name(), samples(times));
                if size == MANY && kind == "save to the last" {
                    measured = measured.with_aim(match other {
                        Way::Nats => Aim::Under(1.5),
                        _ => Aim::Under(1.0),
                    });
                }
            }
            report.measured.push(measured);
        }
    }
}
