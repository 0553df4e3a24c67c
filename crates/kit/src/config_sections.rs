//! The sections of deployment.toml as types.

use std::path::PathBuf;

use serde::Deserialize;

/// The whole of deployment.toml. Sections and keys are described there.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    pub server: Server,
    pub lockstep: Lockstep,
    pub management: Management,
    pub transport: Transport,
    pub publisher_saver: PublisherSaver,
    pub apim: Apim,
    pub traffic_manager: TrafficManager,
    pub database: Databases,
    pub gateway: Gateway,
    pub(crate) sample_back_end: PortOnly,
    pub(crate) synapse_properties: SynapseProperties,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    pub hostname: String,
    pub offset: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Lockstep {
    pub dc: String,
    pub data_dir: PathBuf,
    pub history_size: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Management {
    pub bind_address: String,
    pub allow_remote_without_authentication: bool,
    pub max_body_size: usize,
    pub tls: ManagementTls,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ManagementTls {
    pub certificate: String,
    pub key: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Transport {
    pub(crate) https: TransportHttps,
    pub(crate) passthru_http: Passthru,
    pub(crate) passthru_https: Passthru,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TransportHttps {
    pub(crate) properties: PortOnly,
}

#[derive(Clone, Debug, Deserialize)]
pub struct PortOnly {
    pub(crate) port: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Passthru {
    pub(crate) listener: PassthruListener,
}

#[derive(Clone, Debug, Deserialize)]
pub struct PassthruListener {
    pub(crate) parameters: ListenerParameters,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ListenerParameters {
    pub(crate) bind_address: String,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub struct PublisherSaver {
    pub(crate) port: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Apim {
    pub sync_runtime_artifacts: SyncRuntimeArtifacts,
    pub event_hub: EventHub,
    pub gateway_notification: GatewayNotification,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SyncRuntimeArtifacts {
    pub publisher: SyncPublisher,
    pub gateway: SyncGateway,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SyncPublisher {
    pub artifact_saver: String,
    pub publish_directly_to_gateway: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SyncGateway {
    pub artifact_retriever: String,
    pub gateway_labels: Vec<String>,
    pub data_retrieval_mode: String,
    pub deployment_retry_duration: u64,
    pub max_retry_duration: u64,
    pub event_waiting_time: u64,
    pub reconcile_interval: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct EventHub {
    pub service_url: String,
    pub ca_certificate: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct GatewayNotification {
    pub heartbeat: Heartbeat,
    pub deployment_ack: DeploymentAck,
    pub cleanup: Cleanup,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Heartbeat {
    pub notify_interval: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct DeploymentAck {
    pub batch_size: usize,
    pub batch_interval: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Cleanup {
    pub expiry_time: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TrafficManager {
    pub log_poll_interval: u64,
    pub watch_heartbeat_interval: u64,
    pub page_size: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Databases {
    pub apim_db: Database,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Database {
    pub r#type: String,
    pub url: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Gateway {
    pub id: String,
    pub management_port: u16,
    pub trace_header: bool,
    pub security: Security,
    pub limits: Limits,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Security {
    pub mode: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    pub max_header_size: usize,
    pub header_timeout: u64,
    pub connect_timeout: u64,
    pub drain_timeout: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SynapseProperties {
    #[serde(rename = "synapse.global_timeout_interval")]
    pub(crate) global_timeout_interval: u64,
}
