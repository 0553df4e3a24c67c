//! The scenario `reconcile`: finding out that nothing has changed.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use artifact::{Artifact, Digest, LabelDigest};
use kit::credentials::Credentials;
use kit::http_client::Trust;
use serde::Deserialize;
use tempfile::TempDir;

use crate::Options;
use crate::meter::Meter;
use crate::ours::Ground;
use crate::ours::apis::{Plain, saves};
use crate::ours::manager::Manager;
use crate::peers::rsync;
use crate::report::{Aim, Measured, Report, Unit};
use crate::rounds::turns;
use crate::samples::Samples;

const APIS: usize = 10_000;
const LABEL: &str = "All";
/// Comparisons in a turn; rsync is asked once.
const COMPARISONS: usize = 20;

/// What the traffic manager answers.
#[derive(Deserialize)]
struct Told {
    count: u64,
    digest: Digest,
}

/// Measures.
///
/// # Errors
/// When a side fails while it is measured. One that is not there is reported as missing.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let rounds = if options.quick { 3 } else { 15 };
    let mut report = Report::new();
    let apis: Vec<Plain> = (0..APIS)
        .map(|number| Plain {
            number,
            revision: 1,
            back_end: 9000,
        })
        .collect();
    let saves = saves(&apis, &[LABEL])?;
    let ground = Ground::new().await?;
    ground.save(&saves).await?;
    let manager = Manager::start(&ground).await?;
    let gateway = Gateway::new(&ground, &manager, &saves).await?;
    let directories = match rsync::version().await {
        Ok(version) => {
            report.server(version);
            Some(Directories::new(&saves)?)
        }
        Err(error) => {
            report.missing("rsync", &error);
            None
        }
    };
    let (mut time, mut bytes) = (Samples::default(), Samples::default());
    let (mut their_time, mut their_bytes) = (Samples::default(), Samples::default());
    for turn in turns(2, rounds) {
        if turn.side == 0 {
            let (mut times, mut all_bytes) = (Vec::new(), Vec::new());
            for _ in 0..COMPARISONS {
                let before = gateway.meter.bytes();
                times.push(gateway.compare().await?);
                all_bytes.push((gateway.meter.bytes() - before) as f64);
            }
            if turn.counts {
                time.round(times);
                bytes.round(all_bytes);
            }
        } else if let Some(Directories { from, to }) = &directories {
            let synced = rsync::sync(from.path(), to.path()).await?;
            // The first run copies.
            if turn.counts {
                ensure!(synced.files == 0.0, "rsync has found something to do");
                their_time.round(vec![synced.milliseconds]);
                their_bytes.round(vec![synced.bytes]);
            }
        }
    }
    let what = format!("nothing has changed, {APIS} APIs");
    let time = Measured::alone(&what, "Lockstep", Unit::Milliseconds, &time);
    let time = time.with_own_aim(Aim::Under(5.0));
    let bytes = Measured::alone(&what, "Lockstep", Unit::Bytes, &bytes);
    let bytes = bytes.with_own_aim(Aim::Under(1024.0));
    let (time, bytes) = match directories {
        None => (time, bytes),
        Some(_) => (
            time.beside_peer("rsync", &their_time)
                .with_aim(Aim::Under(0.05)),
            bytes.beside_peer("rsync", &their_bytes),
        ),
    };
    report.measured.extend([time, bytes]);
    // With its connection, for whose end the traffic manager would wait.
    drop(gateway);
    manager.process.stop().await;
    Ok(report)
}

/// What a gateway does for it, with its own HTTP client.
struct Gateway {
    client: reqwest::Client,
    url: String,
    meter: Meter,
    /// What it has applied.
    applied: Vec<(String, Digest)>,
}

impl Gateway {
    async fn new(
        ground: &Ground,
        manager: &Manager<'_>,
        saves: &[store::Save],
    ) -> anyhow::Result<Self> {
        let directory = ground.directory();
        let meter = Meter::before(manager.port).await?;
        let path = format!("internal/data/v1/label-log/digest?gatewayLabel={LABEL}");
        let applied = saves.iter().map(|save| {
            let digest = Digest::of(save.text.as_bytes());
            (save.artifact.api_id.clone(), digest)
        });
        let credentials = Credentials::development(directory, "gateway");
        let credentials = credentials.context("there is no development user for gateways")?;
        let authority = Trust::Only(kit::tls::development_ca(directory));
        Ok(Self {
            client: kit::http_client::client(&authority, &credentials)?,
            url: format!("https://localhost:{}/{path}", meter.port),
            meter,
            applied: applied.collect(),
        })
    }

    /// Milliseconds of a comparison.
    async fn compare(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let answer = self.client.get(&self.url).send().await?;
        let told = answer.error_for_status()?.bytes().await?;
        let told: Told = serde_json::from_slice(&told)?;
        let applied = self.applied.iter();
        let own = LabelDigest::of(applied.map(|(id, digest)| (id.as_str(), *digest)));
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        ensure!(
            (own.count, own.digest) == (told.count, told.digest),
            "the digests differ"
        );
        Ok(milliseconds)
    }
}

/// The same artifacts as files.
struct Directories {
    from: TempDir,
    to: TempDir,
}

impl Directories {
    fn new(saves: &[store::Save]) -> anyhow::Result<Self> {
        let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for store::Save { artifact, text, .. } in saves {
            let Artifact { name, .. } = artifact;
            std::fs::write(Path::new(from.path()).join(format!("{name}.json")), text)?;
        }
        Ok(Self { from, to })
    }
}
