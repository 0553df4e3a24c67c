//! The ways that a change takes, each with a server that answers by it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use store::{Save, SaveMode, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::FIRST_REVISION;
use super::subscriber::Subscriber;
use crate::broker::Broker;
use crate::data::Maker;
use crate::dataplane::routes::{self, Search};
use crate::ours::Ground;
use crate::ours::apis::{Plain, saves};
use crate::ours::gateway::{Gateway, Settings};
use crate::ours::manager::Manager;
use crate::peers::envoy::Envoy;
use crate::peers::etcd::Etcd;
use crate::peers::nats::{Bucket, Nats};
use crate::peers::nginx::Nginx;
use crate::peers::rabbitmq::RabbitMq;
use crate::probe;
use crate::process::Process;
use crate::report::Report;

/// A way from the commit to the answer.
pub enum Way {
    /// Event, pull, deploy.
    Events {
        gateway: Gateway,
    },
    /// Event to the traffic manager, watch stream to the gateway.
    Stream {
        gateway: Gateway,
    },
    /// A file with all routes, replaced by a rename.
    Envoy {
        envoy: Box<Envoy>,
        file: PathBuf,
        routes: Mutex<Vec<Plain>>,
    },
    Etcd {
        subscriber: Subscriber,
    },
    Nats {
        subscriber: Subscriber,
        bucket: Box<Bucket>,
    },
    /// One confirmed event, and one GET of the artifact.
    Floor,
}

/// What stands behind the ways.
pub struct Site {
    pub back_end: Nginx,
    store: Store,
    relay: publisher_saver::Relay,
    relaying: CancellationToken,
    broker: Broker,
    rabbitmq: RabbitMq,
    manager: Process,
    etcd: Option<Etcd>,
    nats: Option<Nats>,
    /// Of the floor.
    artifact: Nginx,
    client: reqwest::Client,
    maker: Maker,
    files: TempDir,
    _ground: Ground,
}

/// A change of one API, ready to be committed.
pub struct Change {
    api: Plain,
    key: String,
    text: String,
    save: Save,
}

impl Change {
    pub fn new(api: Plain, way: &Way, size: usize) -> anyhow::Result<Self> {
        let mut saves = saves(&[api], &[&label(way.name(), size)])?;
        let save = saves.pop().context("nothing to save")?;
        Ok(Self {
            api,
            key: key(api, size),
            text: save.text.clone(),
            save,
        })
    }
}

impl Way {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Events { .. } => EVENTS,
            Self::Stream { .. } => STREAM,
            Self::Envoy { .. } => "Envoy",
            Self::Etcd { .. } => "etcd",
            Self::Nats { .. } => "NATS",
            Self::Floor => "floor",
        }
    }

    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Events { .. } | Self::Stream { .. })
    }

    /// The numbers of its APIs: no two of our gateways have one in common.
    pub fn apis(&self, size: usize) -> Range<usize> {
        range(self.name(), size)
    }

    /// Where requests are answered.
    pub fn port(&self) -> u16 {
        match self {
            Self::Events { gateway } | Self::Stream { gateway } => gateway.port,
            Self::Envoy { envoy, .. } => envoy.port,
            Self::Etcd { subscriber } | Self::Nats { subscriber, .. } => subscriber.port,
            Self::Floor => 0,
        }
    }
}

const EVENTS: &str = "Lockstep, events";
const STREAM: &str = "Lockstep, watch stream";

fn range(way: &str, size: usize) -> Range<usize> {
    let start = size * 10 + if way == STREAM { 1_000_000 } else { 0 };
    start..start + size
}

fn label(way: &str, size: usize) -> String {
    let kind = if way == STREAM { "Stream" } else { "Events" };
    format!("{kind} {size}")
}

fn key(api: Plain, size: usize) -> String {
    format!("{size}/{}", api.number)
}

impl Site {
    /// Starts everything; `None` where something is missing without which nothing can be measured.
    ///
    /// # Errors
    /// When a program of this project fails.
    pub async fn start(
        sizes: &[usize],
        report: &mut Report,
    ) -> anyhow::Result<Option<(Self, Vec<(usize, Way)>)>> {
        let back_end = Nginx::start(1, |_, port| Ok(back_end(port))).await;
        let back_end = match back_end {
            Ok(back_end) => back_end,
            Err(error) => {
                report.missing("nginx as the back end", &error);
                return Ok(None);
            }
        };
        let rabbitmq = match RabbitMq::start().await {
            Ok(rabbitmq) => rabbitmq,
            Err(error) => {
                report.missing("RabbitMQ", &error);
                return Ok(None);
            }
        };
        let server = test_servers::Server {
            kind: test_servers::Kind::RabbitMq,
            port: rabbitmq.port,
        };
        let broker = Broker::at(server).await?;
        report.server(back_end.version.clone());
        report.server(broker.version.clone());
        let ground = Ground::new().await?.with_broker(&broker.event_hub())?;
        let plain = |number| Plain {
            number,
            revision: FIRST_REVISION,
            back_end: back_end.port,
        };
        for way in [EVENTS, STREAM] {
            for &size in sizes {
                let apis: Vec<Plain> = range(way, size).map(plain).collect();
                ground.save(&saves(&apis, &[&label(way, size)])?).await?;
            }
        }
        let store = ground.announced_store().await?;
        let manager = Manager::start(&ground).await?;
        let mut ways = Vec::new();
        for &size in sizes {
            for way in [EVENTS, STREAM] {
                let label = label(way, size);
                let settings = Settings {
                    id: &label,
                    label: &label,
                    threads: None,
                    hears: way == EVENTS,
                    snapshot: true,
                };
                let gateway = Gateway::start(&ground, manager.port, settings).await?;
                ways.push((
                    size,
                    match way {
                        EVENTS => Way::Events { gateway },
                        _ => Way::Stream { gateway },
                    },
                ));
            }
        }
        let relay = publisher_saver::Relay::new(store.clone(), broker.bus()?);
        let relaying = CancellationToken::new();
        tokio::spawn(relay.clone().run(relaying.clone()));
        let text = plain(0).artifact().to_text()?;
        let artifact = Nginx::start(1, |directory, port| {
            std::fs::write(directory.join("artifact"), text)?;
            let root = directory.display();
            Ok(format!(
                "server {{ listen 127.0.0.1:{port}; root {root}; }}\n"
            ))
        })
        .await?;
        let mut site = Self {
            back_end,
            store,
            relay,
            relaying,
            broker,
            rabbitmq,
            manager: manager.process,
            etcd: None,
            nats: None,
            artifact,
            client: reqwest::Client::builder().no_proxy().build()?,
            maker: Maker::new()?,
            files: tempfile::tempdir()?,
            _ground: ground,
        };
        match Etcd::start().await {
            Ok(etcd) => site.etcd = Some(etcd),
            Err(error) => report.missing("etcd", &error),
        }
        match Nats::start().await {
            Ok(nats) => site.nats = Some(nats),
            Err(error) => report.missing("NATS", &error),
        }
        for &size in sizes {
            let apis: Vec<Plain> = range(EVENTS, size)
                .map(|number| Plain {
                    number,
                    revision: FIRST_REVISION,
                    back_end: site.back_end.port,
                })
                .collect();
            site.peers(size, &apis, &mut ways, report).await?;
        }
        ways.push((1, Way::Floor));
        for (size, way) in &ways {
            site.answers(*size, way).await?;
        }
        Ok(Some((site, ways)))
    }

    /// Starts the peers with so many APIs.
    async fn peers(
        &self,
        size: usize,
        apis: &[Plain],
        ways: &mut Vec<(usize, Way)>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let file = self.files.path().join(format!("{size}.json"));
        write(&file, apis)?;
        let rds = json!({
            "route_config_name": "apis",
            "config_source": {"resource_api_version": "V3", "path_config_source": {"path": file}},
        });
        match Envoy::start(1, self.back_end.port, ("rds", rds)).await {
            Ok(envoy) => {
                report.server(envoy.version.clone());
                let routes = Mutex::new(apis.to_vec());
                let envoy = Box::new(envoy);
                ways.push((
                    size,
                    Way::Envoy {
                        envoy,
                        file,
                        routes,
                    },
                ));
            }
            Err(error) => report.missing("Envoy", &error),
        }
        let artifact = |api: &Plain| Ok((key(*api, size), api.artifact().to_text()?));
        let artifacts: Vec<(String, String)> =
            apis.iter().map(artifact).collect::<anyhow::Result<_>>()?;
        let texts: Vec<String> = artifacts.iter().map(|(_, text)| text.clone()).collect();
        if let Some(etcd) = &self.etcd {
            report.server(etcd.version.clone());
            etcd.put_all(&artifacts).await?;
            let values = etcd.watch(&format!("{size}/")).await?;
            let subscriber = Subscriber::start(&texts, values).await?;
            ways.push((size, Way::Etcd { subscriber }));
        }
        if let Some(nats) = &self.nats {
            report.server(nats.version.clone());
            let bucket = nats.bucket(&format!("apis-{size}")).await?;
            bucket.put_all(&artifacts).await?;
            let subscriber = Subscriber::start(&texts, bucket.watch().await?).await?;
            let bucket = Box::new(bucket);
            ways.push((size, Way::Nats { subscriber, bucket }));
        }
        Ok(())
    }

    /// Waits until the last API is answered by its first revision.
    async fn answers(&self, size: usize, way: &Way) -> anyhow::Result<()> {
        if let Way::Floor = way {
            return Ok(());
        }
        let last = Plain {
            number: way.apis(size).end - 1,
            revision: FIRST_REVISION,
            back_end: self.back_end.port,
        };
        let (port, path) = (way.port(), format!("{}/menu", last.prefix()));
        let mark = format!("/revision-{FIRST_REVISION}");
        let (asked, _) = tokio::sync::oneshot::channel();
        let answers =
            tokio::task::spawn_blocking(move || probe::until(port, &path, &mark, asked)).await?;
        answers.with_context(|| format!("{}, {size} APIs", way.name()))?;
        Ok(())
    }

    /// Commits a change; returns when this program was told that it is committed.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn commit(&self, way: &Way, change: &Change) -> anyhow::Result<Instant> {
        match way {
            Way::Events { .. } | Way::Stream { .. } => {
                let saves = std::slice::from_ref(&change.save);
                let now = kit::clock::now_ms();
                let outcomes = self.store.save(saves, SaveMode::Atomic, now).await?;
                let committed = Instant::now();
                self.relay.wake();
                let refused = outcomes.iter().any(store::SaveOutcome::is_refusal);
                anyhow::ensure!(!refused, "a change is refused");
                return Ok(committed);
            }
            Way::Envoy { file, routes, .. } => {
                let mut routes = routes.lock().map_err(|_| anyhow::anyhow!("a panic"))?;
                let of_api = routes
                    .iter_mut()
                    .find(|api| api.number == change.api.number);
                *of_api.context("no such route")? = change.api;
                let aside = file.with_extension("new");
                write(&aside, &routes)?;
                let committed = Instant::now();
                std::fs::rename(aside, file)?;
                return Ok(committed);
            }
            Way::Etcd { .. } => {
                let etcd = self.etcd.as_ref().context("etcd is away")?;
                etcd.put(&change.key, &change.text).await?;
            }
            Way::Nats { bucket, .. } => bucket.put(&change.key, &change.text).await?,
            Way::Floor => {}
        }
        Ok(Instant::now())
    }

    /// Milliseconds of the floor: an event that is confirmed and heard, then a GET.
    ///
    /// # Errors
    /// When the broker or the server fails.
    pub async fn floor(&self, change: &Change) -> anyhow::Result<f64> {
        let now = kit::clock::now_ms();
        let announcement = self.maker.announcement(&change.save, 1, now);
        let message = self.broker.message(&events::Event::of(&announcement))?;
        let heard = self.broker.heard();
        let url = format!("http://127.0.0.1:{}/artifact", self.artifact.port);
        let begun = Instant::now();
        let heard = async {
            self.broker.has_heard(heard + 1).await?;
            let answer = self.client.get(url).send().await?.error_for_status()?;
            anyhow::ensure!(!answer.bytes().await?.is_empty(), "an empty artifact");
            anyhow::Ok(())
        };
        tokio::try_join!(self.broker.send_plainly(vec![message]), heard)?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    }

    /// Ends everything.
    pub async fn stop(self, ways: Vec<Way>) {
        for way in ways {
            match way {
                Way::Events { gateway } | Way::Stream { gateway } => gateway.process.stop().await,
                Way::Envoy { envoy, .. } => envoy.process.stop().await,
                Way::Etcd { .. } | Way::Nats { .. } | Way::Floor => {}
            }
        }
        self.relaying.cancel();
        self.manager.stop().await;
        drop(self.broker);
        self.rabbitmq.stop().await;
        for process in [
            self.etcd.map(|etcd| etcd.process),
            self.nats.map(|nats| nats.process),
            Some(self.back_end.process),
            Some(self.artifact.process),
        ]
        .into_iter()
        .flatten()
        {
            process.stop().await;
        }
    }
}

/// A file of Envoy's with all routes, on the disk when this returns.
fn write(file: &std::path::Path, apis: &[Plain]) -> anyhow::Result<()> {
    let mut routes = routes::envoy(apis, Search::List);
    routes["@type"] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration".into();
    let text = serde_json::to_vec(&json!({"version_info": "1", "resources": [routes]}))?;
    let mut written = std::fs::File::create(file)?;
    std::io::Write::write_all(&mut written, &text)?;
    written.sync_all()?;
    Ok(())
}

/// Answers any path with itself.
fn back_end(port: u16) -> String {
    format!(
        "server {{\n  listen 127.0.0.1:{port} backlog=8192;\n  default_type text/plain;\n\
           location / {{ return 200 \"$request_uri\"; }}\n}}\n"
    )
}
