//! The scenario `storm`: many gateways start at once and pull everything.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use futures_util::future::try_join_all;

use crate::Options;
use crate::data::Maker;
use crate::ours::Ground;
use crate::ours::manager::Manager;
use crate::ours::puller::Puller;
use crate::peers::nginx::Nginx;
use crate::report::{Aim, Measured, Missing, Report, Unit};
use crate::samples::Samples;

#[derive(Debug, Default, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// How many gateways pull at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5000))]
    gateways: Option<u16>,
    /// How many APIs there are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    apis: Option<u16>,
}

impl Arguments {
    /// All of it.
    pub fn of(options: &Options) -> Self {
        Self {
            options: options.clone(),
            ..Self::default()
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    gateways: u16,
    apis: u16,
}

const FULL: Effort = Effort {
    rounds: 5,
    gateways: 1000,
    apis: 1000,
};
const QUICK: Effort = Effort {
    rounds: 2,
    gateways: 100,
    apis: 200,
};
/// The size of each artifact, bytes.
const ARTIFACT: usize = 8 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// One storm on one side.
struct Storm {
    /// Seconds until the last gateway had everything.
    seconds: f64,
    bytes: u64,
    /// Milliseconds of each gateway.
    each: Vec<f64>,
}

/// Measures.
///
/// # Errors
/// When a server fails while it is measured. One that is not there is reported as missing.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let effort = if arguments.options.quick { QUICK } else { FULL };
    let gateways = usize::from(arguments.gateways.unwrap_or(effort.gateways));
    let apis = usize::from(arguments.apis.unwrap_or(effort.apis));
    let mut report = Report::new();
    let ground = Ground::new().await?;
    ground
        .save(&Maker::new()?.new_saves(apis, ARTIFACT)?)
        .await?;
    // The same bytes for the other side: one whole answer, which is looked at here.
    let manager = Manager::start(&ground).await?;
    let body = manager.puller()?.body().await?;
    manager.process.kill().await;
    check(&body, apis)?;
    let nginx = match serving(ground.directory(), &body).await {
        Ok(nginx) => Some(nginx),
        Err(error) => {
            report.missing.push(Missing {
                what: "nginx".into(),
                reason: format!("{error:#}"),
            });
            None
        }
    };
    if let Some(nginx) = &nginx {
        report.servers.push(nginx.version.clone());
    }
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    let (mut reads, mut memory) = (Samples::default(), Samples::default());
    for round in 0..=effort.rounds {
        // Cold: nothing in memory yet.
        let manager = Manager::start(&ground).await?;
        let storm = storm(&manager.puller()?.expecting(body.len()), gateways).await?;
        // The first round warms up both sides' files and is not counted.
        if round > 0 {
            ours.add(&storm);
            reads.round(vec![manager.database_reads().await?]);
            memory.round(vec![manager.process.peak_memory()? / MIB]);
        }
        manager.process.kill().await;
        let Some(nginx) = &nginx else { continue };
        let storm = self::storm(
            &Puller::new(ground.directory(), nginx.port, "/log.zst", "")?.expecting(body.len()),
            gateways,
        )
        .await?;
        if round > 0 {
            theirs.add(&storm);
        }
    }
    let what = format!("{gateways} gateways, {apis} APIs");
    let mut add = |measured: Measured| report.measured.push(measured);
    let beside = |measured: Measured, samples: &Samples| match nginx {
        Some(_) => measured.beside_peer("nginx", samples),
        None => measured,
    };
    let rate = Measured::alone(
        format!("{what}: bytes"),
        "SQLite, cold",
        Unit::MebibytesPerSecond,
        &ours.rate,
    );
    add(beside(rate, &theirs.rate).with_aim(Aim::AtLeast(0.7)));
    let last = Measured::alone(
        "until the last has all",
        "SQLite, cold",
        Unit::Milliseconds,
        &ours.last,
    );
    add(beside(last, &theirs.last));
    let each = Measured::alone(
        "one gateway",
        "SQLite, cold",
        Unit::Milliseconds,
        &ours.each,
    );
    add(beside(each, &theirs.each));
    add(Measured::alone(
        "artifacts read from the database",
        "SQLite, cold",
        Unit::Count,
        &reads,
    ));
    add(Measured::alone(
        "peak memory of the traffic manager",
        "SQLite, cold",
        Unit::Mebibytes,
        &memory,
    ));
    let answer = body.len() as f64 / MIB;
    report
        .servers
        .push(format!("one answer: {answer:.2} MiB in zstd"));
    if let Some(nginx) = nginx {
        nginx.process.stop().await;
    }
    Ok(report)
}

/// nginx with one file, the least that a server of these bytes has to do: the traffic manager's
/// certificate, as many workers, and the kernel sends the file where it can.
async fn serving(data_dir: &Path, body: &[u8]) -> anyhow::Result<Nginx> {
    let identity = kit::tls::development_identity(data_dir, "localhost")?;
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    Nginx::start(kit::server::WORKERS, |directory, port| {
        std::fs::write(directory.join("log.zst"), body)?;
        Ok(format!(
            "server {{\n    listen 127.0.0.1:{port} ssl backlog=8192;\n    root {};\n\
               ssl_certificate {certificate};\n    ssl_certificate_key {key};\n\
               ssl_protocols TLSv1.3;\n  }}\n",
            directory.display()
        ))
    })
    .await
}

/// The samples of one side.
#[derive(Default)]
struct Figures {
    rate: Samples,
    last: Samples,
    each: Samples,
}

impl Figures {
    fn add(&mut self, storm: &Storm) {
        self.rate
            .round(vec![storm.bytes as f64 / MIB / storm.seconds]);
        self.last.round(vec![storm.seconds * 1000.0]);
        self.each.round(storm.each.clone());
    }
}

/// Lets them all pull at once, each on a connection of its own.
async fn storm(puller: &Puller, gateways: usize) -> anyhow::Result<Storm> {
    let begun = Instant::now();
    let pulls = (0..gateways).map(|_| {
        let puller = puller.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let bytes = puller.pull().await?;
            anyhow::Ok((bytes, begun.elapsed().as_secs_f64() * 1000.0))
        })
    });
    let pulled = try_join_all(pulls).await.context("a gateway was cut off")?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut bytes = 0;
    let mut each = Vec::with_capacity(gateways);
    for pulled in pulled {
        let (received, milliseconds) = pulled?;
        bytes += received;
        each.push(milliseconds);
    }
    Ok(Storm {
        seconds,
        bytes,
        each,
    })
}

/// Whether an answer has everything.
fn check(body: &[u8], apis: usize) -> anyhow::Result<()> {
    let text = zstd::decode_all(body).context("the answer is not zstd")?;
    let text = String::from_utf8(text)?;
    let entries = text.lines().count().saturating_sub(1);
    ensure!(entries == apis, "the answer has {entries} of {apis} APIs");
    let end = format!("{{\"completeTo\":{apis}}}\n");
    ensure!(text.ends_with(&end), "the answer has no end");
    Ok(())
}
