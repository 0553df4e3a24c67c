//! The sections of deployment.toml as types.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::Effective;
use super::effective::url_without_credentials;
use super::environments::GatewayEnvironment;
use super::users::UserEntry;
use crate::access::User;
use crate::secret::Secret;

/// The whole of deployment.toml. Sections and keys are described there.
#[derive(Clone, Deserialize)]
pub struct Config {
    #[serde(skip)]
    pub(super) effective: Effective,
    /// The users of `[[apim.internal.user]]` and of `[management] users_file`.
    #[serde(skip)]
    pub(crate) users: Vec<User>,
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
    pub max_body_size: usize,
    /// Users besides `[[apim.internal.user]]`, as `[[user]]`; empty: none.
    pub users_file: String,
    pub tls: ManagementTls,
    pub limits: ManagementLimits,
}

/// Limits of each management server.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ManagementLimits {
    /// Open connections at most.
    pub max_connections: usize,
    /// Requests at most that have not been answered with a head yet.
    pub max_in_flight: usize,
    /// Milliseconds that a client has to send its header.
    pub header_timeout: u64,
    /// Milliseconds after which a peer is cut that takes nothing of what is sent.
    pub slow_client_timeout: u64,
    /// Milliseconds that an idle connection is kept.
    pub keep_alive: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ManagementTls {
    pub certificate: String,
    pub key: String,
    /// PEM; empty: clients are not asked for certificates.
    pub client_authority: String,
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
    pub(crate) internal: Internal,
    pub(crate) gateway: ApimGateway,
    pub cors: Cors,
    pub sync_runtime_artifacts: SyncRuntimeArtifacts,
    pub event_hub: EventHub,
    pub gateway_notification: GatewayNotification,
}

/// For APIs that do not say it themselves.
#[derive(Clone, Debug, Deserialize)]
pub struct Cors {
    pub enable: bool,
    pub allow_origins: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub allow_credentials: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Internal {
    pub(crate) user: Vec<UserEntry>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ApimGateway {
    pub(crate) environment: Vec<GatewayEnvironment>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SyncRuntimeArtifacts {
    pub publisher: SyncPublisher,
    pub gateway: SyncGateway,
    pub tenant_loading: TenantLoading,
}

/// The artifact savers that there are.
pub(super) const SAVERS: [&str; 2] = ["DBSaver", "FileSystemSaver"];
/// The artifact retrievers that there are.
pub(super) const RETRIEVERS: [&str; 2] = ["DBRetriever", "FileSystemRetriever"];

#[derive(Clone, Debug, Deserialize)]
pub struct SyncPublisher {
    /// One of [`SAVERS`].
    pub artifact_saver: String,
    /// Empty: `synapse` below the data directory ([`Config::file_system_directory`]).
    pub(crate) file_system_directory: String,
    pub publish_directly_to_gateway: bool,
    /// Milliseconds that one gateway may take for what a request has saved.
    pub direct_publish_timeout: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SyncGateway {
    pub artifact_retriever: String,
    pub gateway_labels: Vec<String>,
    pub data_retrieval_mode: String,
    pub deployment_retry_duration: u64,
    pub max_retry_duration: u64,
    /// At least 1.
    pub max_retry_count: u32,
    pub event_waiting_time: u64,
    pub reconcile_interval: u64,
    /// 0 to 100.
    pub max_delete_percent: u8,
    /// Of `FileSystemRetriever`; empty: `synapse` below the data directory
    /// ([`Config::retriever_directory`]).
    pub(crate) file_system_directory: String,
    /// Milliseconds between two looks into it.
    pub file_poll_interval: u64,
}

/// Which tenants' APIs a gateway has from the start; [`Config::lazy_tenants`] reads it.
#[derive(Clone, Debug, Deserialize)]
pub struct TenantLoading {
    pub(crate) enable: bool,
    pub(crate) tenants: String,
    /// Milliseconds, at least 1000.
    pub(crate) idle_time: u64,
    /// Milliseconds, at least 1.
    pub(crate) request_timeout: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct EventHub {
    /// `false`: as if there were no endpoints.
    pub enable: bool,
    pub service_url: String,
    /// PEM file for `service_url`; empty: the platform's roots and the development authority.
    pub ca_certificate: String,
    /// As they are written; [`Config::event_hub_endpoints`] reads them.
    pub event_listening_endpoints: Vec<String>,
    pub username: String,
    pub password: Secret,
    pub virtual_host: String,
    pub topic: String,
    /// Seconds between two frames of an idle connection; 0: none are sent.
    pub heartbeat: u16,
    /// Milliseconds between two looks whether an earlier endpoint is back.
    pub failback_interval: u64,
    pub tls: EventHubTls,
    pub service: EventHubService,
}

/// PEM files for encrypted connections to the broker.
#[derive(Clone, Debug, Deserialize)]
pub struct EventHubTls {
    /// Empty: as for `service_url`.
    pub ca_certificate: String,
    /// Empty, as is the key: the client shows none.
    pub client_certificate: String,
    pub client_key: String,
}

/// How a gateway proves to the traffic manager who it is.
#[derive(Clone, Debug, Deserialize)]
pub struct EventHubService {
    pub username: String,
    pub password: Secret,
    /// A bearer token, instead of the two.
    pub token: Secret,
    /// PEM; with `client_key`, or both empty.
    pub client_certificate: String,
    pub client_key: String,
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
    /// Bytes.
    pub artifact_cache_size: u64,
    /// Open pulls and watch streams.
    pub max_readers: usize,
}

/// [`Config::artifacts_database`] chooses between them.
#[derive(Clone, Debug, Deserialize)]
pub struct Databases {
    pub apim_db: Database,
    pub sync_runtime_artifacts_db: Database,
}

/// A database as WSO2 names it. `driver` and `validationQuery` are accepted and have no effect.
#[derive(Clone, Deserialize)]
pub struct Database {
    /// `mysql`, `mariadb`, `postgre`, `postgresql`, `postgres`, `sqlite` …; empty: the URL tells.
    /// The store judges it.
    pub r#type: String,
    /// A JDBC URL or `sqlite:PATH`, not read here; empty: the embedded file.
    pub url: String,
    pub username: String,
    pub password: Secret,
    pub pool_options: PoolOptions,
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Database")
            .field("type", &self.r#type)
            .field("url", &url_without_credentials(&self.url))
            .field("username", &self.username)
            .field("password", &self.password)
            .field("pool_options", &self.pool_options)
            .finish()
    }
}

/// The keys of Tomcat's connection pool that have an effect; its others are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolOptions {
    /// Connections at most, at least 1.
    pub max_active: u32,
    /// Milliseconds to wait for a free one, at least 1.
    pub max_wait: u64,
    /// Connections kept open, at most `max_active`.
    pub min_idle: u32,
    /// Whether a connection is tried before each use.
    pub test_on_borrow: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Gateway {
    pub id: String,
    pub management_port: u16,
    /// `native` or `synapse-directory`.
    pub deployer: String,
    /// Of `synapse-directory`: the server's `repository/deployment/server`.
    pub synapse_directory: PathBuf,
    /// Empty: below the data directory.
    pub synapse_configs: String,
    pub trace_header: bool,
    /// The header of correlation ids.
    pub correlation_header: String,
    /// Addresses and networks whose X-Forwarded-… headers are believed.
    pub trusted_proxies: Vec<String>,
    pub security: Security,
    pub limits: Limits,
    pub access_log: AccessLog,
    pub snapshot: Snapshot,
}

/// A line for each request that the gateway has answered.
#[derive(Clone, Debug, Deserialize)]
pub struct AccessLog {
    pub enable: bool,
    /// Empty: `log/access.log` below the data directory; `-`: standard output.
    pub path: String,
    /// One of [`ACCESS_LOG_FORMATS`].
    pub format: String,
    /// Whether paths are written with their query.
    pub query: bool,
}

/// The formats of access logs that there are.
pub(super) const ACCESS_LOG_FORMATS: [&str; 2] = ["combined", "json"];

/// The last known good of a gateway on its disk.
#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    pub enable: bool,
    /// Empty: `snapshot` below the data directory.
    pub directory: String,
    /// 64 hex digits; empty: one is made beside the snapshot.
    pub key: Secret,
    pub encrypt: bool,
    /// Older states that are kept.
    pub generations: usize,
    /// Bytes of one gateway's snapshot with its generations.
    pub max_size: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Security {
    /// `off` or `enforce`.
    pub mode: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    pub max_header_size: usize,
    pub max_headers: usize,
    /// Bytes; 0: unlimited.
    pub max_request_body_size: u64,
    pub header_timeout: u64,
    /// Milliseconds that a client's connection is kept without a request.
    pub idle_timeout: u64,
    /// Milliseconds that a client may send nothing of its body, or take nothing of its answer.
    pub slow_client_timeout: u64,
    pub connect_timeout: u64,
    /// Milliseconds that a back end may send nothing of a response that it has begun; 0: any time.
    pub response_timeout: u64,
    /// Milliseconds without a byte in either direction of a WebSocket.
    pub tunnel_idle_timeout: u64,
    pub drain_timeout: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SynapseProperties {
    #[serde(rename = "synapse.global_timeout_interval")]
    pub(crate) global_timeout_interval: u64,
}
