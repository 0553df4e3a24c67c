//! Configuration: `conf/deployment.toml`, compiled in as the default, under the user's file.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config_document::overlay;
pub use crate::config_sections::*;

const DEFAULT: &str = include_str!("../../../conf/deployment.toml");

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: cannot be read: {reason}")]
    Read { file: PathBuf, reason: String },
    #[error("{file}:{line}:{column}: {message}")]
    Invalid {
        file: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{key}: {rule}")]
    Rule { key: &'static str, rule: String },
    #[error("the compiled-in deployment.toml: {0}")]
    Default(String),
}

impl Config {
    /// The default configuration, or `file` over it.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        match file {
            None => Self::from_text("", Path::new("deployment.toml")),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Read {
                    file: file.to_owned(),
                    reason: error.to_string(),
                })?;
                Self::from_text(&text, file)
            }
        }
    }

    /// `text` over the default; `file` is its name in errors.
    pub fn from_text(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let default: toml::Table = DEFAULT
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Default(error.to_string()))?;
        let merged = overlay(&default, text, file)?;
        let config: Self =
            merged
                .try_into()
                .map_err(|error: toml::de::Error| ConfigError::Invalid {
                    file: file.to_owned(),
                    line: 1,
                    column: 1,
                    message: error.message().to_owned(),
                })?;
        config.check().map_err(|error| placed(error, text, file))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let rule = |key, rule: &str| {
            Err(ConfigError::Rule {
                key,
                rule: rule.to_owned(),
            })
        };
        let sync = &self.apim.sync_runtime_artifacts;
        if sync.publisher.artifact_saver != "DBSaver" {
            return rule("artifact_saver", "unknown saver; known: DBSaver");
        }
        if sync.publisher.publish_directly_to_gateway {
            return rule(
                "publish_directly_to_gateway",
                "true is not available in this version; gateways pull what was published",
            );
        }
        if sync.gateway.artifact_retriever != "DBRetriever" {
            return rule(
                "artifact_retriever",
                "unknown retriever; known: DBRetriever",
            );
        }
        if !["sync", "async"].contains(&sync.gateway.data_retrieval_mode.as_str()) {
            return rule("data_retrieval_mode", "must be \"sync\" or \"async\"");
        }
        if self.gateway.security.mode != "off" {
            return rule(
                "gateway.security.mode",
                "only \"off\" is available in this version",
            );
        }
        if self.database.apim_db.r#type != "sqlite" {
            return rule(
                "database.apim_db.type",
                "only \"sqlite\" is available in this version",
            );
        }
        let url = &self.database.apim_db.url;
        if url.contains("://") && !url.starts_with("sqlite://") || url.contains(":memory:") {
            return rule(
                "database.apim_db.url",
                "must be sqlite:PATH, a file that lasts",
            );
        }
        if self.management.max_body_size < 1024 * 1024 {
            return rule("management.max_body_size", "must be at least 1048576");
        }
        if self.synapse_properties.global_timeout_interval == 0 {
            let key = "synapse_properties.synapse.global_timeout_interval";
            return rule(key, "must be at least 1");
        }
        self.gateway_http_address()?;
        self.gateway_https_address()?;
        if self.lockstep.dc.is_empty() || self.lockstep.dc.len() > 64 {
            return rule("lockstep.dc", "must have 1 to 64 bytes");
        }
        let address: IpAddr = parse_ip("management.bind_address", &self.management.bind_address)?;
        if !address.is_loopback() && !self.management.allow_remote_without_authentication {
            return rule(
                "management.bind_address",
                "the management interface has no authentication yet, so it listens on loopback \
                 addresses only; set allow_remote_without_authentication = true to open it anyway",
            );
        }
        Ok(())
    }

    /// The port with the offset, or an error that names the key.
    fn port(&self, key: &'static str, port: u16) -> Result<u16, ConfigError> {
        // Port 0 asks the operating system for a free one; an offset means nothing there.
        if port == 0 {
            return Ok(0);
        }
        port.checked_add(self.server.offset)
            .ok_or_else(|| ConfigError::Rule {
                key,
                rule: format!("port {port} + offset {} is above 65535", self.server.offset),
            })
    }

    fn management_address(&self, key: &'static str, port: u16) -> Result<SocketAddr, ConfigError> {
        let address = parse_ip("management.bind_address", &self.management.bind_address)?;
        Ok(SocketAddr::new(address, self.port(key, port)?))
    }

    /// Where the traffic manager (and `lockstep up`) listens.
    pub fn traffic_manager_address(&self) -> Result<SocketAddr, ConfigError> {
        let port = self.transport.https.properties.port;
        self.management_address("transport.https.properties.port", port)
    }

    /// Where the publisher-saver listens when it runs as a process of its own.
    pub fn publisher_saver_address(&self) -> Result<SocketAddr, ConfigError> {
        self.management_address("publisher_saver.port", self.publisher_saver.port)
    }

    /// Where the gateway's health and readiness are.
    pub fn gateway_management_address(&self) -> Result<SocketAddr, ConfigError> {
        self.management_address("gateway.management_port", self.gateway.management_port)
    }

    /// Where the gateway serves HTTP.
    pub fn gateway_http_address(&self) -> Result<SocketAddr, ConfigError> {
        let parameters = &self.transport.passthru_http.listener.parameters;
        let key = "transport.passthru_http.listener.parameters";
        Ok(SocketAddr::new(
            parse_ip(key, &parameters.bind_address)?,
            self.port(key, parameters.port)?,
        ))
    }

    /// Where the gateway serves HTTPS.
    pub fn gateway_https_address(&self) -> Result<SocketAddr, ConfigError> {
        let parameters = &self.transport.passthru_https.listener.parameters;
        let key = "transport.passthru_https.listener.parameters";
        Ok(SocketAddr::new(
            parse_ip(key, &parameters.bind_address)?,
            self.port(key, parameters.port)?,
        ))
    }

    /// Where the sample back end of `lockstep up` listens, on loopback.
    pub fn sample_back_end_address(&self) -> Result<SocketAddr, ConfigError> {
        let port = self.port("sample_back_end.port", self.sample_back_end.port)?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The SQLite file.
    #[must_use]
    pub fn database_file(&self) -> PathBuf {
        let url = &self.database.apim_db.url;
        if url.is_empty() {
            return self.lockstep.data_dir.join("lockstep.db");
        }
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        PathBuf::from(path.strip_prefix("//").unwrap_or(path))
    }

    /// Base URL of the traffic manager: the event hub's `service_url` cut at `/services`.
    #[must_use]
    pub fn traffic_manager_url(&self) -> String {
        let url = &self.apim.event_hub.service_url;
        let base = url.split_once("/services").map_or(url.as_str(), |(b, _)| b);
        base.trim_end_matches('/').to_owned()
    }

    /// How long a back end may take whose endpoint names no timeout of its own.
    #[must_use]
    pub fn global_timeout(&self) -> Duration {
        Duration::from_millis(self.synapse_properties.global_timeout_interval)
    }
}

/// A broken rule with the line of the key in the user's file, if it stands there.
fn placed(error: ConfigError, text: &str, file: &Path) -> ConfigError {
    let ConfigError::Rule { key, rule } = &error else {
        return error;
    };
    let name = key.rsplit('.').next().unwrap_or(key);
    let found = text.lines().zip(1..).find_map(|(content, line)| {
        let (written, _) = content.split_once('=')?;
        let last = written.rsplit('.').next()?.trim().trim_matches('"');
        let column = written.chars().count() - written.trim_start().chars().count() + 1;
        (last == name).then_some((line, column))
    });
    match found {
        None => error,
        Some((line, column)) => ConfigError::Invalid {
            file: file.to_owned(),
            line,
            column,
            message: format!("{key}: {rule}"),
        },
    }
}

fn parse_ip(key: &'static str, text: &str) -> Result<IpAddr, ConfigError> {
    let text = if text == "localhost" {
        "127.0.0.1"
    } else {
        text
    };
    text.parse().map_err(|_| ConfigError::Rule {
        key,
        rule: format!("must be an IP address, found {text:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::from_text(text, Path::new("d.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_shipped_file_is_the_default_and_lays_over_itself() {
        let config = Config::load(None).unwrap();
        assert_eq!(config.traffic_manager_address().unwrap().port(), 9443);
        assert_eq!(config.gateway_http_address().unwrap().port(), 8280);
        assert_eq!(config.gateway_https_address().unwrap().port(), 8243);
        assert_eq!(config.traffic_manager_url(), "https://localhost:9443");
        Config::from_text(DEFAULT, Path::new("d.toml")).unwrap();
    }

    #[test]
    fn the_offset_shifts_every_port() {
        let config = Config::from_text("[server]\noffset = 10", Path::new("d.toml")).unwrap();
        assert_eq!(config.traffic_manager_address().unwrap().port(), 9453);
        assert_eq!(config.publisher_saver_address().unwrap().port(), 9454);
        assert_eq!(config.gateway_management_address().unwrap().port(), 9455);
        assert_eq!(config.gateway_http_address().unwrap().port(), 8290);
        assert!(error("server.offset = 60000").contains("8280 + offset 60000 is above 65535"));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
        assert_eq!(
            error("[server]\n  ofset = 1"),
            "d.toml:2:3: unknown key server.ofset; did you mean offset?"
        );
        assert_eq!(
            error("[apim.sync_runtime_artifacts.gatway]\nx = 1"),
            "d.toml:1:30: unknown key apim.sync_runtime_artifacts.gatway; did you mean gateway?"
        );
        assert!(error("zzz = 1").starts_with("d.toml:1:1: unknown key zzz; known here: "));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        assert_eq!(
            error("[server]\noffset = \"one\""),
            "d.toml:2:10: server.offset: must be a whole number, found \"one\""
        );
        assert!(error("[server\n").starts_with("d.toml:1:"));
        assert!(error("[apim.event_hub]\nservice_url = \"$env{X}\"").contains("placeholders"));
        assert!(error("[management]\nbind_address = \"0.0.0.0\"").contains("no authentication"));
        assert_eq!(
            error("[server]\noffset = 70000"),
            "d.toml:2:10: server.offset: must be at most 65535, found 70000"
        );
        assert_eq!(
            error("[server]\noffset = -1"),
            "d.toml:2:10: server.offset: must not be negative, found -1"
        );
        assert_eq!(
            error("\n[management]\nmax_body_size = 0"),
            "d.toml:3:1: management.max_body_size: must be at least 1048576"
        );
        assert!(
            error("[database.apim_db]\nurl = \"postgres://x\"").contains("must be sqlite:PATH")
        );
    }

    #[test]
    fn quoted_numbers_and_booleans_are_taken_as_wso2_writes_them() {
        let text = "[apim.sync_runtime_artifacts.publisher]\npublish_directly_to_gateway = \"false\"\n\
                    [apim.sync_runtime_artifacts.gateway]\nevent_waiting_time = \"5000\"";
        let config = Config::from_text(text, Path::new("d.toml")).unwrap();
        let gateway = &config.apim.sync_runtime_artifacts.gateway;
        assert_eq!(gateway.event_waiting_time, 5000);
    }
}
