//! The scenario `startup`: from nothing, or from its snapshot, to a gateway that serves everything.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use artifact::{Artifact, LogLine};
use store::Save;
use synapse::xml::Limits;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::Options;
use crate::dataplane::routes;
use crate::ours::Ground;
use crate::ours::apis::{Plain, saves_of};
use crate::ours::gateway::{Gateway, Settings};
use crate::ours::manager::Manager;
use crate::peers::etcd::Etcd;
use crate::peers::nginx::Nginx;
use crate::peers::rsync;
use crate::probe;
use crate::report::{Aim, Measured, Report, Unit};
use crate::rounds::turns;
use crate::samples::Samples;

/// How much is measured.
struct Effort {
    rounds: usize,
    apis: usize,
}

const FULL: Effort = Effort {
    rounds: 10,
    apis: 10_000,
};
const QUICK: Effort = Effort {
    rounds: 2,
    apis: 2000,
};
const LABEL: &str = crate::data::LABEL;
/// The gateway that has a snapshot.
const KEPT: &str = "kept";
/// Keys of one range that etcd is asked for.
const PAGE: usize = 1000;
const MIB: f64 = 1024.0 * 1024.0;

/// Who takes turns, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Zero,
    Snapshot,
    Rsync,
    Etcd,
    Floor,
}

const SIDES: [Side; 5] = [
    Side::Zero,
    Side::Snapshot,
    Side::Rsync,
    Side::Etcd,
    Side::Floor,
];

/// What stands behind the sides.
struct Site<'a> {
    apis: Vec<Plain>,
    ground: &'a Ground,
    manager: Manager<'a>,
    back_end: Nginx,
    client: reqwest::Client,
    /// The artifacts as files.
    files: Option<TempDir>,
    etcd: Option<Etcd>,
    /// The whole log in zstd, from nginx.
    log: Nginx,
}

/// One start of a gateway.
struct Start {
    milliseconds: f64,
    /// The most memory that it had, bytes.
    memory: f64,
}

/// Measures.
///
/// # Errors
/// When a side fails while it is measured. One that is not there is reported as missing.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let effort = if options.quick { QUICK } else { FULL };
    let mut report = Report::new();
    let ground = Ground::new().await?;
    let Some(site) = Site::new(&ground, effort.apis, &mut report).await? else {
        return Ok(report);
    };
    // Leaves the snapshot behind.
    site.start(KEPT, true).await?;
    let mut times: [Samples; SIDES.len()] = Default::default();
    let mut memory: [Samples; 2] = Default::default();
    for (number, turn) in turns(SIDES.len(), effort.rounds).enumerate() {
        let side = SIDES[turn.side];
        let milliseconds = match side {
            Side::Zero | Side::Snapshot => {
                let new = format!("new-{number}");
                let id = if side == Side::Zero { &new } else { KEPT };
                let start = site.start(id, !turn.counts).await?;
                if turn.counts {
                    memory[turn.side].round(vec![start.memory / MIB]);
                }
                Some(start.milliseconds)
            }
            Side::Rsync => site.rsync().await?,
            Side::Etcd => site.etcd().await?,
            Side::Floor => Some(site.floor().await?),
        };
        if turn.counts {
            times[turn.side].round(milliseconds.into_iter().collect());
        }
    }
    tell(effort.apis, &times, &memory, &mut report);
    site.stop().await;
    Ok(report)
}

fn tell(apis: usize, times: &[Samples], memory: &[Samples], report: &mut Report) {
    let [zero, snapshot, rsync, etcd, floor] = times else {
        return;
    };
    let what = format!("until all of {apis} APIs serve");
    let mut measured = Measured::alone(&what, "Lockstep, from zero", Unit::Milliseconds, zero);
    for (name, samples) in [("rsync", rsync), ("etcd", etcd), ("floor", floor)] {
        if !samples.is_empty() {
            measured = measured.beside_peer(name, samples);
        }
        if name == "rsync" {
            measured = measured.with_aim(Aim::Under(1.0));
        }
    }
    report.measured.push(measured);
    let on = "Lockstep, from the snapshot";
    let measured = Measured::alone(&what, on, Unit::Milliseconds, snapshot)
        .beside_peer("from zero", zero)
        .with_aim(Aim::Under(0.25));
    report.measured.push(measured);
    for (on, samples) in ["Lockstep, from zero", on].iter().zip(memory) {
        let what = "peak memory of the gateway";
        report
            .measured
            .push(Measured::alone(what, on, Unit::Mebibytes, samples));
    }
}

impl<'a> Site<'a> {
    /// `None` where something is missing without which nothing can be measured.
    async fn new(
        ground: &'a Ground,
        apis: usize,
        report: &mut Report,
    ) -> anyhow::Result<Option<Self>> {
        let back_end = match Nginx::start(1, |_, port| Ok(routes::back_end(port))).await {
            Ok(back_end) => back_end,
            Err(error) => {
                report.missing("nginx as the back end and as the floor", &error);
                return Ok(None);
            }
        };
        report.server(back_end.version.clone());
        let apis: Vec<Plain> = (0..apis)
            .map(|number| Plain {
                number,
                revision: 1,
                back_end: back_end.port,
            })
            .collect();
        let saves = saves_of(apis.iter().map(|api| api.with_resources()), &[LABEL])?;
        ground.save(&saves).await?;
        let manager = Manager::start(ground).await?;
        let body = manager.puller()?.body().await?;
        let bytes: usize = saves.iter().map(|save| save.text.len()).sum();
        report.server(format!(
            "the artifacts: {:.1} MiB, {:.1} KiB each; the log: {:.2} MiB in zstd",
            bytes as f64 / MIB,
            bytes as f64 / 1024.0 / apis.len() as f64,
            body.len() as f64 / MIB
        ));
        let log = Nginx::start(1, |directory, port| {
            std::fs::write(directory.join("log.zst"), &body)?;
            let root = directory.display();
            Ok(format!(
                "server {{ listen 127.0.0.1:{port}; root {root}; }}\n"
            ))
        })
        .await?;
        let mut site = Self {
            apis,
            ground,
            manager,
            back_end,
            client: reqwest::Client::builder().no_proxy().build()?,
            files: None,
            etcd: None,
            log,
        };
        match rsync::version().await {
            Ok(version) => {
                report.server(version);
                site.files = Some(files(&saves)?);
            }
            Err(error) => report.missing("rsync", &error),
        }
        match Etcd::start().await {
            Ok(etcd) => {
                report.server(etcd.version.clone());
                let artifacts = saves.iter().enumerate();
                let artifacts = artifacts.map(|(at, save)| (key(at), save.text.clone()));
                etcd.put_all(&artifacts.collect::<Vec<_>>()).await?;
                site.etcd = Some(etcd);
            }
            Err(error) => report.missing("etcd", &error),
        }
        Ok(Some(site))
    }

    /// From the start of the process to the first answer, which it gives when it has deployed everything.
    /// `all`: whether each API is asked then.
    async fn start(&self, id: &str, all: bool) -> anyhow::Result<Start> {
        let settings = Settings {
            id,
            label: LABEL,
            threads: None,
            hears: false,
            snapshot: true,
        };
        let begun = Instant::now();
        let gateway = Gateway::start(self.ground, self.manager.port, settings).await?;
        let port = gateway.port;
        let last = self.apis.last().context("there are no APIs")?;
        let path = format!("{}/menu", last.prefix());
        let (asked, _) = tokio::sync::oneshot::channel();
        let answered =
            spawn_blocking(move || probe::until(port, &path, "HTTP/1.1 200", asked)).await??;
        let milliseconds = answered.duration_since(begun).as_secs_f64() * 1000.0;
        if all {
            for api in &self.apis {
                let url = format!("http://127.0.0.1:{port}{}/menu", api.prefix());
                let answer = self.client.get(&url).send().await?;
                ensure!(answer.status() == 200, "{url}: {}", answer.status());
                answer.bytes().await?;
            }
        }
        let memory = gateway.process.peak_memory()?;
        // It brings its snapshot to the disk before it ends.
        gateway.process.stop().await;
        Ok(Start {
            milliseconds,
            memory,
        })
    }

    /// rsync into an empty directory.
    async fn rsync(&self) -> anyhow::Result<Option<f64>> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        let to = tempfile::tempdir()?;
        let synced = rsync::sync(files.path(), to.path()).await?;
        ensure!(
            synced.files == self.apis.len() as f64,
            "rsync has copied {} files",
            synced.files
        );
        Ok(Some(synced.milliseconds))
    }

    /// All values of etcd, page by page, parsed as they come.
    async fn etcd(&self) -> anyhow::Result<Option<f64>> {
        let Some(etcd) = &self.etcd else {
            return Ok(None);
        };
        let begun = Instant::now();
        for start in (0..self.apis.len()).step_by(PAGE) {
            let values = etcd.range(&key(start), &key(start + PAGE)).await?;
            ensure!(!values.is_empty(), "etcd lacks what is at {start}");
            spawn_blocking(move || {
                values.iter().try_for_each(|value| {
                    let text = std::str::from_utf8(value)?;
                    parse(text)
                })
            })
            .await??;
        }
        Ok(Some(begun.elapsed().as_secs_f64() * 1000.0))
    }

    /// One download, unpacked and parsed.
    async fn floor(&self) -> anyhow::Result<f64> {
        let url = format!("http://127.0.0.1:{}/log.zst", self.log.port);
        let begun = Instant::now();
        let answer = self.client.get(url).send().await?.error_for_status()?;
        let body = answer.bytes().await?;
        let parsed = spawn_blocking(move || {
            let text = String::from_utf8(zstd::decode_all(&*body)?)?;
            let mut parsed = 0;
            for line in text.lines() {
                if let LogLine::Entry(entry) = LogLine::parse(line)? {
                    parse(entry.artifact.as_deref().unwrap_or_default())?;
                    parsed += 1;
                }
            }
            anyhow::Ok(parsed)
        })
        .await??;
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        ensure!(parsed == self.apis.len(), "{parsed} artifacts were parsed");
        Ok(milliseconds)
    }

    async fn stop(self) {
        self.manager.process.stop().await;
        self.back_end.process.stop().await;
        self.log.process.stop().await;
        if let Some(etcd) = self.etcd {
            etcd.process.stop().await;
        }
    }
}

/// Keys in the order of their numbers.
fn key(number: usize) -> String {
    format!("apis/{number:08}")
}

/// Each artifact in a file.
fn files(saves: &[Save]) -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for Save { artifact, text, .. } in saves {
        let Artifact { name, .. } = artifact;
        std::fs::write(
            Path::new(directory.path()).join(format!("{name}.json")),
            text,
        )?;
    }
    Ok(directory)
}

/// The JSON and the XML in it, and nothing made of them.
fn parse(text: &str) -> anyhow::Result<()> {
    let artifact = Artifact::parse(text)?;
    let limits = Limits::default();
    let endpoints = artifact.endpoint_entries_to_be_add.iter();
    let endpoints = endpoints.map(|endpoint| endpoint.content.as_str());
    for xml in artifact
        .api_definition
        .as_deref()
        .into_iter()
        .chain(endpoints)
    {
        std::hint::black_box(synapse::xml::read(xml, &limits)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        assert!(key(9) < key(10) && key(999) < key(1000));
    }

    #[test]
    fn what_is_no_xml_is_not_parsed() {
        let api = Plain {
            number: 1,
            revision: 1,
            back_end: 9000,
        };
        let mut artifact = api.with_resources();
        parse(&artifact.to_text().unwrap()).unwrap();
        artifact.endpoint_entries_to_be_add[0].content = "<endpoint>".into();
        assert!(parse(&artifact.to_text().unwrap()).is_err());
    }
}
