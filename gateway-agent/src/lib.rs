//! Follows the label logs, deploys what they say, serves traffic.
//!
//! The files stand in the order of the flow: `configured` is what the configuration asks for,
//! `hints` are what events say, `sync_core` decides what to pull, apply and repair, `driver` does
//! that: `pull` asks the traffic manager, or `file_system` reads a shared directory instead,
//! `compile` makes plans, `snapshot` keeps what has been applied on disk, `report` tells the
//! traffic manager, `data_plane` serves clients, or `sidecar` writes the directory of another
//! server that does; `tenants` are loaded when a request needs them. `management` takes what
//! operators say on the gateway itself as `commands`. No database here: a gateway lives without
//! one.

pub mod applied;
pub mod commands;
mod compile;
mod configured;
pub mod data_plane;
pub mod driver;
mod file_system;
mod handing;
mod hints;
pub mod kept;
mod lines;
mod management;
pub mod overrides;
pub mod patience;
mod pull;
pub mod reconciliation;
pub mod report;
mod sidecar;
pub mod snapshot;
pub mod sync_core;
pub mod tenants;
mod text;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use artifact::Label;
use commands::Commands;
use events::{Bus, Subscription};
use kit::access::Access;
use kit::config::Config;
use kit::credentials::Credentials;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use applied::{Applied, Positions};
use data_plane::{
    Addresses, BackEndPolicy, BackEnds, Correlation, Gateway, NoCredentials, Tunnels,
};
use driver::{Driver, Retriever, no_routes};
use file_system::Files;
use management::Health;
use overrides::Overrides;
use overrides::folder::Folder;
use patience::Patience;
use pull::Source;
use reconciliation::Reconciliation;
use report::Reporter;
use snapshot::Settings;
use snapshot::ledger::{Ledger, Recorder};
use snapshot::writer::Writer;
use sync_core::{Core, Progress};
use tenants::Tenants;

/// A running gateway.
#[derive(Debug)]
pub struct Agent {
    pub id: String,
    pub labels: Vec<Label>,
    /// Where it serves clients; `None` where another server does that.
    pub addresses: Option<Addresses>,
    pub management: SocketAddr,
    pub progress: watch::Receiver<Progress>,
    pub applied: watch::Receiver<Positions>,
    shutdown: CancellationToken,
    serving: JoinSet<anyhow::Result<()>>,
    reporting: tokio::task::JoinHandle<()>,
    /// Cancelled after the others have ended, so that the last reports leave.
    reporting_ends: CancellationToken,
}

impl Agent {
    /// Binds the ports and starts everything. `events` say when there is something to pull; without
    /// them the label logs' watch streams are followed. `access` guards the REST API.
    ///
    /// # Errors
    /// When a port is in use, a label is none, or a certificate cannot be read.
    pub fn start(
        config: &Config,
        policy: BackEndPolicy,
        events: Option<&Bus>,
        access: Access,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let sync = &config.apim.sync_runtime_artifacts.gateway;
        let labels = configured::labels(&sync.gateway_labels)?;
        let listeners = match configured::serves(config) {
            true => Some(data_plane::bind(config)?),
            false => None,
        };
        // First of all: on a new machine this makes the certificate that the rest refers to.
        let identity = kit::server::management_identity(config)?;
        let addresses = match &listeners {
            Some(listeners) => Some(listeners.addresses()?),
            None => None,
        };
        let id = configured::gateway_id(config, addresses.map(|it| it.http));
        let client = kit::http_client::client(
            &configured::trust(config),
            &Credentials::of_gateway(config)?,
        )?;
        let traffic_manager = config.traffic_manager_url();

        let (notice_sender, notices) = mpsc::unbounded_channel();
        let settings = Settings::of(config, &id, &labels);
        let recorder = settings.as_ref().map(|_| Recorder::default());
        let lazy = config.lazy_tenants()?;
        let core = Core::new(configured::core_settings(
            config,
            &id,
            &labels,
            lazy.as_ref(),
        ));
        let (tenants, asks) = lazy
            .as_ref()
            .map(|lazy| Tenants::new(lazy.patience, core.tenants()))
            .unzip();
        let (progress_sender, progress) = watch::channel(Progress {
            missing: labels.clone(),
            ..Progress::default()
        });
        let routes = no_routes();
        // Version-less APIs of API Manager call their own gateway by HTTPS.
        let development = kit::tls::development_ca(&config.lockstep.data_dir);
        let authorities = match policy {
            BackEndPolicy::Sandbox { .. } if development.exists() => {
                kit::tls::certificates(&development)?
            }
            BackEndPolicy::Sandbox { .. } | BackEndPolicy::Real => Vec::new(),
        };
        let waits = sync.data_retrieval_mode == "sync";
        let patience = Patience::new(waits, sync.max_retry_count);
        let gateway = Gateway {
            routes: Arc::clone(&routes),
            tenants: tenants.clone(),
            back_ends: BackEnds::new(
                Duration::from_millis(config.gateway.limits.connect_timeout),
                config.global_timeout(),
                policy,
                authorities,
            )?,
            progress: progress.clone(),
            patience: patience.clone(),
            trace_header: config.gateway.trace_header,
            settings: Arc::new(configured::engine_settings(config, addresses)),
            admission: Arc::new(NoCredentials),
            started: kit::clock::now_ms(),
            messages: Arc::default(),
            limits: configured::request_limits(config),
            trusted_proxies: Arc::new(config.trusted_proxies()),
            correlation: Correlation::new(
                config
                    .gateway
                    .correlation_header
                    .parse()
                    .context("gateway.correlation_header")?,
            ),
            access_log: match configured::serves(config) {
                true => configured::access_log(config)?,
                false => None,
            },
            tunnels: Tunnels::new(Duration::from_millis(
                config.gateway.limits.tunnel_idle_timeout,
            )),
        };
        // Subscribed before the first pull: no event falls between.
        let events = events.filter(|_| config.retriever_directory().is_none());
        let subscription = events.map(Bus::subscribe);
        let counters = subscription.as_ref().map(Subscription::counters);
        let (commands, commanded) = Commands::channel();
        let reconciliation = Reconciliation::new(&id);
        let (overriding, overrides) = watch::channel(Vec::new());
        let health = Health {
            overrides,
            progress: progress.clone(),
            patience: patience.clone(),
            events: counters,
            snapshot: recorder.clone(),
            reconciliation: reconciliation.clone(),
            tenants: tenants.clone(),
        };
        let management = management::serve(
            config,
            access,
            commands.clone(),
            health,
            management::Repairs {
                gateway_id: id.clone(),
                reconciliation: reconciliation.clone(),
                commands: commands.clone(),
            },
            management::Serving(listeners.is_some().then(|| Arc::clone(&routes))),
        )?;
        let management_address = management.address;
        let tls = kit::tls::server_config(&identity, None)?;
        if listeners.is_some() && config.gateway.security.mode == "off" {
            tracing::warn!(
                "API keys and tokens are not checked: [gateway.security] mode is \"off\""
            );
        }
        let limits = &config.gateway.limits;
        let limits = data_plane::Limits {
            header_size: limits.max_header_size,
            headers: limits.max_headers,
            header_timeout: Duration::from_millis(limits.header_timeout),
            idle: Duration::from_millis(limits.idle_timeout),
            slow_client: Duration::from_millis(limits.slow_client_timeout),
            drain: Duration::from_millis(limits.drain_timeout),
        };

        let mut serving = JoinSet::new();
        let token = shutdown.clone();
        if let Some(listeners) = listeners {
            let measured = data_plane::measure(id.clone(), Arc::clone(&routes));
            let until = shutdown.clone();
            serving.spawn(async move {
                until.run_until_cancelled(measured).await;
                Ok(())
            });
            serving.spawn(async move {
                data_plane::serve(listeners, gateway, tls, limits, token)
                    .await
                    .context("the data plane ended")
            });
        }
        let token = shutdown.clone();
        serving.spawn(async move {
            management
                .until(token)
                .await
                .context("the management interface ended")
        });
        let applied = Applied::default();
        let positions = applied.watch();
        let retriever = match config.retriever_directory() {
            None => Retriever::TrafficManager(Source {
                client: client.clone(),
                traffic_manager: traffic_manager.clone(),
                silence: configured::silence(config),
                artifacts_of: lazy.as_ref().map(|lazy| lazy.eager.to_string()),
            }),
            Some(root) => {
                let files = Files::new(&labels);
                let interval = Duration::from_millis(sync.file_poll_interval.max(100));
                let polling = files.clone().poll(root, interval, shutdown.clone());
                serving.spawn(async move {
                    polling.await;
                    Ok(())
                });
                Retriever::Files(files)
            }
        };
        let sidecar = (!configured::serves(config)).then(|| {
            let (sidecar, said) = mpsc::unbounded_channel();
            let writer = sidecar::Writer {
                root: config.gateway.synapse_directory.clone(),
                gateway_id: id.clone(),
                guard: configured::guard(config),
                notices: notice_sender.clone(),
            };
            serving.spawn(async move {
                writer.run(said).await;
                Ok(())
            });
            sidecar
        });
        let mut driver = Driver {
            core,
            retriever,
            dc: config.lockstep.dc.clone(),
            routes,
            notices: notice_sender,
            progress: progress_sender,
            applied: applied.clone(),
            patience,
            reconciliation: reconciliation.clone(),
            sidecar,
            last_report: 0,
            folder: Some(Folder::new(configured::overrides_folder(config))),
            overrides: Overrides::default(),
            overriding,
            ledger: recorder.clone().map(Ledger::new),
            tenants: tenants.clone(),
        };
        let token = shutdown.clone();
        serving.spawn(async move {
            let writer = restore(settings, recorder, &mut driver).await?;
            let writing = tokio::spawn(async move {
                if let Some(writer) = writer {
                    writer.run().await;
                }
            });
            driver.run(subscription, commanded, asks, token).await?;
            writing.await.context("writing the snapshot ended")
        });

        let notification = &config.apim.gateway_notification;
        let reporter = Reporter {
            client,
            traffic_manager,
            gateway_id: id.clone(),
            labels: labels.clone(),
            urls: addresses.map_or_else(Vec::new, |it| {
                vec![
                    format!("http://{}", it.http),
                    format!("https://{}", it.https),
                ]
            }),
            applied,
            reconciliation,
            commands,
            tenants: tenants.as_ref().map(Tenants::watch),
            heartbeat: Duration::from_millis(notification.heartbeat.notify_interval.max(100)),
            batch_size: notification.deployment_ack.batch_size.max(1),
            batch_interval: Duration::from_millis(notification.deployment_ack.batch_interval),
            loaded: Vec::new(),
        };
        let reporting_ends = CancellationToken::new();
        let reporting = tokio::spawn(reporter.run(notices, reporting_ends.clone()));
        Ok(Self {
            id,
            labels,
            addresses,
            management: management_address,
            progress,
            applied: positions,
            shutdown,
            serving,
            reporting,
            reporting_ends,
        })
    }

    /// Serves until shutdown: stops accepting, lets requests in flight end, sends the last
    /// reports.
    ///
    /// # Errors
    /// When a part ends before it should; the others are ended then.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.serving.join_next().await {
            let ended = ended.context("a part of the gateway panicked").flatten();
            if ended.is_err() && result.is_ok() {
                result = ended;
                self.shutdown.cancel();
            }
        }
        self.reporting_ends.cancel();
        self.reporting.await.context("reporting ended")?;
        result
    }
}

/// Deploys what the snapshot holds, and gives the writer that goes on from there.
async fn restore(
    settings: Option<Settings>,
    recorder: Option<Recorder>,
    driver: &mut Driver,
) -> anyhow::Result<Option<Writer>> {
    let (Some(settings), Some(recorder)) = (settings, recorder) else {
        return Ok(None);
    };
    let (settings, opened) = tokio::task::spawn_blocking(move || {
        let opened = snapshot::open::open(&settings);
        (settings, opened)
    })
    .await
    .context("the snapshot cannot be opened")?;
    if let Some(state) = &opened.state {
        driver.restore(state.clone()).await?;
    }
    Ok(Writer::new(settings, opened, recorder))
}
