//! The parts of `lockstep up` and how they hang together.

use std::path::PathBuf;
use std::process::ExitCode;

use actix_web::App;
use anyhow::Context;
use artifact::{DEFAULT_LABEL, Label};
use events::{AmqpBus, AmqpOptions, Bus, InProcessBus};
use gateway_agent::Agent;
use gateway_agent::data_plane::BackEndPolicy;
use gateway_agent::sync_core::Progress;
use kit::access::Access;
use kit::config::{Config, EventHubService};
use kit::secret::Secret;
use kit::server::{Frame, Running};
use publisher_saver::Saver;
use store::{Store, StoreOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use traffic_manager::TrafficManager;

use super::BackEndChoice;
use crate::sample_back_end;
use crate::wait::Missing;

/// Ports of neighbouring gateways are this far apart, so that 8243 + 10 i never meets 8280.
const PORT_STEP: u16 = 10;

/// API Manager's management port, where WSO2's own sample back ends are.
const WSO2_SAMPLES_PORT: u16 = 9443;

/// What is known about a gateway of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) id: String,
    pub(super) label: Label,
    pub(super) http: String,
    pub(super) https: String,
    pub(super) management: String,
    progress: watch::Receiver<Progress>,
}

/// What runs, as the command talks to it.
pub(super) struct Cluster {
    pub(super) saver: Saver,
    pub(super) manager: TrafficManager,
    pub(super) gateways: Vec<Gateway>,
    /// The development authority, which clients of all interfaces need.
    pub(super) authority: PathBuf,
    management: String,
    back_end: String,
    choice: BackEndChoice,
    /// Where the development users are; `None` if others are configured.
    development_users: Option<PathBuf>,
}

/// The running parts themselves. Gateways are ended first, then the control plane, so that last
/// reports are heard.
pub(super) struct Parts {
    gateways_end: CancellationToken,
    control_ends: CancellationToken,
    gateways: JoinSet<anyhow::Result<()>>,
    control: JoinSet<anyhow::Result<()>>,
}

impl Cluster {
    /// Binds every port and starts every part. Nothing is left running when one cannot start.
    pub(super) async fn start(
        config: &Config,
        gateways: u16,
        choice: BackEndChoice,
        shutdown: CancellationToken,
    ) -> anyhow::Result<(Self, Parts)> {
        let store = Store::open(&StoreOptions::of(config)?).await?;
        let broker =
            AmqpOptions::of(config, "lockstep")?.map(|options| Bus::Amqp(AmqpBus::new(options)));
        let bus = broker
            .clone()
            .unwrap_or_else(|| Bus::InProcess(InProcessBus::new()));
        let saver = Saver::of(config, store.clone(), bus.clone())?;
        let control_ends = CancellationToken::new();
        let manager = TrafficManager::new(config, store, control_ends.clone());

        let back_end = kit::server::bind(config.sample_back_end_address()?)?;
        let sample = back_end.local_addr()?;
        let access = Access::of(config)?;
        let management = serve_management(config, &saver, &manager, access.clone())?;
        let management_url = format!("https://localhost:{}", management.address.port());
        let authority = authority(config);

        let mut cluster = Self {
            saver: saver.clone(),
            manager: manager.clone(),
            gateways: Vec::new(),
            authority: authority.clone(),
            management: management_url.clone(),
            back_end: format!("http://{sample}"),
            choice,
            development_users: (!config.has_users())
                .then(|| kit::access::development::directory(&config.lockstep.data_dir)),
        };
        let mut parts = Parts {
            gateways_end: shutdown,
            control_ends: control_ends.clone(),
            gateways: JoinSet::new(),
            control: JoinSet::new(),
        };
        let policy = match choice {
            BackEndChoice::Real => BackEndPolicy::Real,
            BackEndChoice::Sandbox => BackEndPolicy::Sandbox {
                sample,
                known_ports: [
                    sample_back_end::PORT,
                    WSO2_SAMPLES_PORT,
                    management.address.port(),
                ],
            },
        };
        for index in 0..gateways {
            let config = gateway_config(config, index, &management_url, &authority)?;
            let ends = parts.gateways_end.child_token();
            let agent = Agent::start(&config, policy, broker.as_ref(), access.clone(), ends)?;
            let addresses = agent.addresses.context(
                "`lockstep up` serves with its own gateways: [gateway] deployer must be native",
            )?;
            cluster.gateways.push(Gateway {
                id: agent.id.clone(),
                label: label(index)?,
                http: format!("http://localhost:{}", addresses.http.port()),
                https: format!("https://localhost:{}", addresses.https.port()),
                management: format!("https://localhost:{}", agent.management.port()),
                progress: agent.progress.clone(),
            });
            parts.gateways.spawn(agent.run());
        }
        let control = &mut parts.control;
        let token = control_ends.clone();
        control.spawn(async move {
            let ended = management.until(token).await;
            ended.context("the management interface ended")
        });
        let token = control_ends.clone();
        control.spawn(async move {
            let ended = sample_back_end::serve(back_end, token).await;
            ended.context("the sample back end ended")
        });
        control.spawn(async move {
            manager.watch(Some(bus)).await;
            Ok(())
        });
        control.spawn(async move {
            saver.run(control_ends).await;
            Ok(())
        });
        Ok((cluster, parts))
    }

    pub(super) fn labels(&self) -> Vec<Label> {
        self.gateways
            .iter()
            .map(|gateway| gateway.label.clone())
            .collect()
    }

    pub(super) fn agents(&self) -> usize {
        self.gateways.len()
    }

    pub(super) fn has(&self, gateway_id: &str) -> bool {
        self.gateways.iter().any(|gateway| gateway.id == gateway_id)
    }

    /// Gateways that have not applied their label logs to the end.
    pub(super) fn unready(&self) -> Vec<Missing> {
        let mut unready = Vec::new();
        for gateway in &self.gateways {
            for label in &gateway.progress.borrow().missing {
                unready.push(Missing {
                    api: "all APIs".to_owned(),
                    gateway: Some(gateway.id.clone()),
                    reason: format!("the log of label {label} has not been applied"),
                });
            }
        }
        unready
    }

    /// What listens where.
    pub(super) fn addresses(&self) -> String {
        let mut lines = vec![
            format!(
                "management   {} (publish, label logs, status)",
                self.management
            ),
            match self.choice {
                BackEndChoice::Sandbox => format!(
                    "back end     {} (stands in for every back end that is not on this machine)",
                    self.back_end
                ),
                BackEndChoice::Real => format!("back end     {} (sample)", self.back_end),
            },
        ];
        if let Some(directory) = &self.development_users {
            lines.push(format!(
                "users        {}/NAME has the password of NAME: admin, viewer … (development)",
                directory.display()
            ));
        }
        lines.extend(self.gateways.iter().map(|gateway| {
            format!(
                "{:<12} {} {} {} (management)   label \"{}\"",
                gateway.id, gateway.http, gateway.https, gateway.management, gateway.label
            )
        }));
        lines.join("\n")
    }
}

impl Parts {
    /// Returns when a part ends although nobody asked it to.
    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitCode> {
        let ended = tokio::select! {
            Some(ended) = self.gateways.join_next() => ended,
            Some(ended) = self.control.join_next() => ended,
            else => return Err(anyhow::anyhow!("nothing runs")),
        };
        match ended.context("a part panicked").flatten() {
            // On shutdown the gateways end by themselves.
            Ok(()) if self.gateways_end.is_cancelled() => std::future::pending().await,
            Ok(()) => Err(anyhow::anyhow!("a part ended by itself")),
            Err(error) => Err(error),
        }
    }

    /// Ends everything: gateways drain and send their last reports, then the control plane goes.
    pub(super) async fn stop(mut self, cluster: Cluster) -> anyhow::Result<()> {
        self.gateways_end.cancel();
        let gateways = join(&mut self.gateways).await;
        self.control_ends.cancel();
        let control = join(&mut self.control).await;
        cluster.manager.store.close().await;
        gateways.and(control)
    }
}

async fn join(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.context("a part panicked").flatten();
        result = result.and(ended);
    }
    result
}

/// Saver and traffic manager on one interface.
fn serve_management(
    config: &Config,
    saver: &Saver,
    manager: &TrafficManager,
    access: Access,
) -> Result<Running, kit::server::StartError> {
    let listener = kit::server::bind(config.traffic_manager_address()?)?;
    let limit = config.management.max_body_size;
    let (saver, manager) = (saver.clone(), manager.clone());
    kit::serve!(
        move || {
            App::new().configure(|app| {
                traffic_manager::routes(app, &manager, &access);
                publisher_saver::routes(app, &saver, &access, limit);
            })
        },
        listener,
        Frame::of(config)?
    )
}

fn authority(config: &Config) -> PathBuf {
    let configured = &config.apim.event_hub.ca_certificate;
    if configured.is_empty() {
        kit::tls::development_ca(&config.lockstep.data_dir)
    } else {
        configured.into()
    }
}

/// The first gateway carries WSO2's default label, the others Label1, Label2 …
fn label(index: u16) -> anyhow::Result<Label> {
    let name = match index {
        0 => DEFAULT_LABEL.to_owned(),
        n => format!("Label{n}"),
    };
    Ok(Label::parse(name)?)
}

fn gateway_config(
    config: &Config,
    index: u16,
    management_url: &str,
    authority: &std::path::Path,
) -> anyhow::Result<Config> {
    let mut config = config.clone();
    config.server.offset = (index * PORT_STEP)
        .checked_add(config.server.offset)
        .context("the offset is too large for the gateways' ports")?;
    config.gateway.id = format!("gateway-{}", index + 1);
    config.gateway.trace_header = true;
    config.apim.event_hub.service_url = format!("{management_url}/services/");
    config.apim.event_hub.ca_certificate = authority.display().to_string();
    if !config.has_users() {
        // The name and password of the event hub are the broker's.
        let data_dir = &config.lockstep.data_dir;
        let password = kit::access::development::password(data_dir, "gateway");
        let service = &mut config.apim.event_hub.service;
        *service = EventHubService {
            username: "gateway".to_owned(),
            password: password.context("the development user gateway has no password")?,
            token: Secret::default(),
            client_certificate: String::new(),
            client_key: String::new(),
        };
    }
    let sync = &mut config.apim.sync_runtime_artifacts.gateway;
    sync.gateway_labels = vec![label(index)?.to_string()];
    // Everything is in this process: no reason to wait long for it.
    sync.deployment_retry_duration = sync.deployment_retry_duration.min(200);
    Ok(config)
}
