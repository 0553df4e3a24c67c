//! Many gateways in one process, which tells when each has applied what: this program, started
//! again with the hidden command `gateways`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use events::{AmqpBus, AmqpOptions, Bus};
use gateway_agent::Agent;
use gateway_agent::data_plane::BackEndPolicy;
use kit::access::Access;
use kit::config::Config;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Ground;
use super::gateway::Settings;
use crate::process::{PATIENCE, Process};

/// What the process of gateways is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Of one gateway; the others have its id with a number.
    #[arg(long)]
    conf: PathBuf,
    #[arg(long)]
    count: usize,
}

/// Runs the gateways until it is told to end. Prints a line `NUMBER POSITION` whenever one has
/// applied its label's log up to there.
///
/// # Errors
/// When one does not start, or ends.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    kit::telemetry::init("error,lapin=off");
    let shutdown = kit::shutdown::on_signal()?;
    let mut config = Config::load(Some(&arguments.conf))?;
    let access = Access::of(&config)?;
    let id = config.gateway.id.clone();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..arguments.count {
        config.gateway.id = format!("{id}-{number}");
        let events = AmqpOptions::of(&config, "gateway-agent")?;
        let events = events.map(|options| Bus::Amqp(AmqpBus::new(options)));
        let agent = Agent::start(
            &config,
            BackEndPolicy::Real,
            events.as_ref(),
            access.clone(),
            shutdown.clone(),
        )?;
        tokio::spawn(tell(number, agent.applied.clone()));
        running.spawn(async move {
            // Its connection to the broker lasts as long as it.
            let _events = events;
            agent.run().await
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a gateway panicked")??;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the process is for")]
async fn tell(number: usize, mut applied: watch::Receiver<gateway_agent::applied::Positions>) {
    while applied.changed().await.is_ok() {
        // They have one label each.
        let position = applied.borrow_and_update().values().copied().next();
        if let Some(position) = position {
            println!("{number} {position}");
        }
    }
}

/// A process of gateways of one label.
#[derive(Debug)]
pub struct Hosted {
    pub process: Process,
    reached: watch::Receiver<Reached>,
    _reading: tokio_util::task::AbortOnDropHandle<()>,
}

/// How far the gateways are.
#[derive(Clone, Debug, Default)]
struct Reached {
    /// By the gateway's number; 0 where nothing has been told.
    positions: Vec<u64>,
    /// How far all are, and since when.
    last: u64,
    all: Vec<(u64, Instant)>,
}

impl Hosted {
    /// Starts so many; returns when all have applied the log up to `position`.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn start(
        ground: &Ground,
        manager: u16,
        settings: Settings<'_>,
        count: usize,
        position: u64,
    ) -> anyhow::Result<Self> {
        let conf = ground.gateway_conf(manager, settings)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("gateways").arg("--conf").arg(conf);
        command.args(["--count", &count.to_string()]);
        let mut process = Process::start("gateways", &mut command)?;
        let mut lines = process.lines().context("they have no output")?;
        let (sender, reached) = watch::channel(Reached::of(count));
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let now = Instant::now();
                let told = line.split_once(' ');
                let told = told.and_then(|(number, position)| {
                    Some((number.parse().ok()?, position.parse().ok()?))
                });
                if let Some((number, position)) = told {
                    sender.send_if_modified(|reached| reached.told(number, position, now));
                }
            }
        });
        let hosted = Self {
            process,
            reached,
            _reading: tokio_util::task::AbortOnDropHandle::new(reading),
        };
        hosted.all_have(position).await?;
        Ok(hosted)
    }

    /// When the last of them had applied the log up to `position`; waits for that.
    ///
    /// # Errors
    /// When one of them does not get there.
    pub async fn all_have(&self, position: u64) -> anyhow::Result<Instant> {
        let mut reached = self.reached.clone();
        let waiting = timeout(PATIENCE, reached.wait_for(|it| it.last >= position)).await;
        let behind = || {
            let positions = self.reached.borrow();
            let behind = positions.positions.iter().filter(|it| **it < position);
            format!("{} gateways have not reached {position}", behind.count())
        };
        let reached = waiting.with_context(behind)?.with_context(behind)?;
        let at = reached.all.iter().find(|(all, _)| *all >= position);
        at.map(|(_, at)| *at).with_context(behind)
    }
}

impl Reached {
    fn of(count: usize) -> Self {
        Self {
            positions: vec![0; count],
            ..Self::default()
        }
    }

    /// Whether all are farther now.
    fn told(&mut self, number: usize, position: u64, now: Instant) -> bool {
        if let Some(own) = self.positions.get_mut(number) {
            *own = position;
        }
        let last = self.positions.iter().copied().min().unwrap_or_default();
        if last <= self.last {
            return false;
        }
        self.last = last;
        self.all.push((last, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_where_the_last_is() {
        let mut reached = Reached::of(2);
        let begun = Instant::now();
        assert!(!reached.told(0, 7, begun));
        assert!(reached.told(1, 5, begun));
        assert!(!reached.told(0, 9, begun));
        assert!(reached.told(1, 8, begun));
        let all: Vec<u64> = reached.all.iter().map(|(all, _)| *all).collect();
        assert_eq!((all, reached.last), (vec![5, 8], 8));
        assert!(!reached.told(2, 1, begun));
    }
}
