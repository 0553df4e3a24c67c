//! What the configuration says, in the terms of the parts of a gateway.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use artifact::Label;
use kit::backoff::Backoff;
use kit::config::{Config, ConfigError, LazyTenants};
use kit::http_client::Trust;
use synapse::mediate;

use crate::data_plane::access_log::{Destination, Format};
use crate::data_plane::{AccessLog, Addresses, RequestLimits};
use crate::sync_core::{self, Guard, Lazy, Waits};

pub(crate) fn request_limits(config: &Config) -> RequestLimits {
    let limits = &config.gateway.limits;
    RequestLimits {
        headers: limits.max_headers,
        body: match limits.max_request_body_size {
            0 => u64::MAX,
            size => size,
        },
        silence: Duration::from_millis(limits.slow_client_timeout),
        back_end_silence: (limits.response_timeout > 0)
            .then(|| Duration::from_millis(limits.response_timeout)),
    }
}

/// Starts the access log, where there is one.
pub(crate) fn access_log(config: &Config) -> anyhow::Result<Option<AccessLog>> {
    let log = &config.gateway.access_log;
    if !log.enable {
        return Ok(None);
    }
    let destination = match log.path.as_str() {
        "-" => Destination::StandardOutput,
        "" => Destination::File(config.lockstep.data_dir.join("log").join("access.log")),
        path => Destination::File(path.into()),
    };
    let format = match log.format.as_str() {
        "json" => Format::Json,
        _ => Format::Combined,
    };
    let started = AccessLog::start(destination.clone(), format, log.query);
    started
        .map(Some)
        .with_context(|| format!("gateway.access_log: {destination:?} cannot be opened"))
}

/// What the configuration says about how requests are mediated.
pub(crate) fn engine_settings(config: &Config, addresses: Option<Addresses>) -> mediate::Settings {
    let cors = &config.apim.cors;
    mediate::Settings {
        http_port: addresses.map_or(0, |it| it.http.port()),
        https_port: addresses.map_or(0, |it| it.https.port()),
        cors: mediate::CorsSettings {
            enable: cors.enable,
            allow_origins: cors.allow_origins.clone(),
            allow_methods: cors.allow_methods.clone(),
            allow_headers: cors.allow_headers.clone(),
            expose_headers: cors.expose_headers.clone(),
            allow_credentials: cors.allow_credentials,
        },
        security: match config.gateway.security.mode.as_str() {
            "enforce" => mediate::Security::Enforce,
            _ => mediate::Security::Off,
        },
    }
}

pub(crate) fn core_settings(
    config: &Config,
    id: &str,
    labels: &[Label],
    lazy: Option<&LazyTenants>,
) -> sync_core::Settings {
    let sync = &config.apim.sync_runtime_artifacts.gateway;
    sync_core::Settings {
        gateway_id: id.to_owned(),
        labels: labels.to_vec(),
        waits: Waits {
            retry: retry_backoff(config),
            event: Duration::from_millis(sync.event_waiting_time),
            reconcile: Duration::from_millis(sync.reconcile_interval.max(1000)),
        },
        guard: guard(config),
        lazy: lazy.map(|lazy| Lazy {
            eager: lazy.eager.clone(),
            idle: lazy.idle,
        }),
        seed: RandomState::new().hash_one(0_u8),
    }
}

pub(crate) fn guard(config: &Config) -> Guard {
    Guard {
        percent: config
            .apim
            .sync_runtime_artifacts
            .gateway
            .max_delete_percent,
    }
}

/// Where files lie that override what is published.
pub(crate) fn overrides_folder(config: &Config) -> PathBuf {
    let configs = match config.gateway.synapse_configs.as_str() {
        "" => config.lockstep.data_dir.join("synapse-configs"),
        configs => PathBuf::from(configs),
    };
    configs.join("default").join("api")
}

/// After this long without a sign of life an answer is given up.
pub(crate) fn silence(config: &Config) -> Duration {
    let heartbeat = config.traffic_manager.watch_heartbeat_interval;
    Duration::from_millis(heartbeat.saturating_mul(3).max(3000))
}

pub(crate) fn labels(names: &[String]) -> Result<Vec<Label>, ConfigError> {
    let mut labels = BTreeSet::new();
    for name in names {
        let label = Label::parse(name.as_str()).map_err(|error| ConfigError::Rule {
            key: "apim.sync_runtime_artifacts.gateway.gateway_labels",
            rule: error.to_string(),
        })?;
        labels.insert(label);
    }
    if labels.is_empty() {
        return Err(ConfigError::Rule {
            key: "apim.sync_runtime_artifacts.gateway.gateway_labels",
            rule: "name at least one label; a gateway without labels deploys nothing".into(),
        });
    }
    Ok(labels.into_iter().collect())
}

/// Whether it serves clients itself.
pub(crate) fn serves(config: &Config) -> bool {
    config.gateway.deployer == "native"
}

/// The configured id, else the host's name and the port where clients come.
pub(crate) fn gateway_id(config: &Config, http: Option<SocketAddr>) -> String {
    let port = http.map_or(0, |http| http.port());
    if !config.gateway.id.is_empty() {
        return config.gateway.id.clone();
    }
    // Every host may be called localhost in its configuration; the kernel knows its name.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => format!("{}:{port}", config.server.hostname),
        host => format!("{host}:{port}"),
    }
}

/// Whom the traffic manager's certificate is checked against: the configured authority only, or
/// the platform's roots and the development authority.
pub(crate) fn trust(config: &Config) -> Trust {
    let configured = &config.apim.event_hub.ca_certificate;
    if configured.is_empty() {
        Trust::platform_and_development(&config.lockstep.data_dir)
    } else {
        Trust::Only(configured.into())
    }
}

pub(crate) fn retry_backoff(config: &Config) -> Backoff {
    let sync = &config.apim.sync_runtime_artifacts.gateway;
    Backoff {
        first: Duration::from_millis(sync.deployment_retry_duration),
        most: Duration::from_millis(sync.max_retry_duration.max(sync.deployment_retry_duration)),
    }
}
