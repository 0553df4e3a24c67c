//! Configuration: `conf/deployment.toml`, compiled in as the default, under the user's file.

mod broker;
mod check;
mod document;
mod effective;
mod environments;
mod placeholder;
mod proxies;
mod resolve;
mod secrets;
mod sections;
mod tenants;
#[cfg(test)]
mod tests;
mod users;
mod values;

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use broker::BrokerEndpoint;
use check::check;
use document::{Document, SECRETS, Source};
use effective::{MASK, masked};
pub use environments::GatewayEnvironment;
pub use proxies::TrustedProxies;
use resolve::resolve;
pub use sections::*;
pub use tenants::LazyTenants;
pub use users::UserEntry;
pub(crate) use users::read_file as read_users_file;

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
    /// A rule that an entry of a list breaks.
    #[error("{key}: {rule}")]
    Entry { key: String, rule: String },
    #[error("the compiled-in deployment.toml: {0}")]
    Default(String),
}

/// Reads an environment variable.
type Environment<'a> = dyn Fn(&str) -> Result<String, VarError> + 'a;

/// What has been read, as far as it may be shown.
#[derive(Clone, Default)]
struct Effective {
    /// Every key, with a mask over what must not be shown.
    table: toml::Table,
    /// How values with placeholders are written, by full key.
    placeholders: BTreeMap<String, String>,
}

impl Config {
    /// The default configuration, or `file` over it, which may have placeholders: `$env{NAME}`,
    /// `$ref{key}`, `$secret{alias}`.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`Config::from_text`].
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

    /// `text` over the default; `file` is its name in errors. What the file should better not
    /// hold is logged as a warning.
    ///
    /// # Errors
    /// When the text is no TOML, has an unknown key, or a value breaks a rule.
    pub fn from_text(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let source = Source { text, file };
        let (config, plain) = Self::from_source(source, &|name| std::env::var(name))?;
        if !plain.is_empty() {
            tracing::warn!(
                file = %file.display(),
                aliases = plain.join(", "),
                "secrets stand in the configuration file in plain text"
            );
        }
        Ok(config)
    }

    /// The configuration and the aliases of the secrets that stand in the file in plain text.
    fn from_source(
        source: Source<'_>,
        environment: &Environment<'_>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let default: toml::Table = DEFAULT
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Default(error.to_string()))?;
        let mut document = Document::overlay(&default, source)?;
        let resolved = resolve(&mut document, environment)?;
        let mut table = masked(&document.values, &resolved.hidden);
        let covered = |alias: &String| (alias.clone(), MASK.into());
        let secrets: toml::Table = document.secrets.keys().map(covered).collect();
        table.insert(SECRETS.to_owned(), secrets.into());
        let mut values = std::mem::take(&mut document.values);
        users::as_lists(&mut table, "");
        users::as_lists(&mut values, "");
        let mut config: Self = values
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Default(error.message().to_owned()))?;
        config.effective = Effective {
            table,
            placeholders: resolved.written,
        };
        check(&config).map_err(|error| document.placed(error))?;
        config.users = users::all(&config, &document, environment)?;
        Ok((config, resolved.plain))
    }

    /// The configuration as it is in effect, as TOML. Passwords, what came from a secret, and
    /// credentials in addresses are shown as `********`.
    ///
    /// # Errors
    /// When it cannot be written as TOML.
    pub fn effective(&self) -> Result<String, ConfigError> {
        let mut table = self.effective.table.clone();
        // These two can be changed by arguments after the file has been read.
        let offset = i64::from(self.server.offset);
        let data_dir = self.lockstep.data_dir.display().to_string();
        for (section, key, value) in [
            ("server", "offset", toml::Value::from(offset)),
            ("lockstep", "data_dir", data_dir.into()),
        ] {
            let section = table.get_mut(section).and_then(toml::Value::as_table_mut);
            let shown = section.and_then(|section| section.get_mut(key));
            if let Some(shown) = shown.filter(|shown| shown.as_str() != Some(MASK)) {
                *shown = value;
            }
        }
        toml::to_string(&table).map_err(|error| ConfigError::Default(error.to_string()))
    }

    /// Whether any user is configured; if none is, there are development users.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// What an error may show of a value: the placeholders that it came from, or the value.
    fn shown(&self, key: &str, value: impl fmt::Display) -> String {
        let placeholders = self.effective.placeholders.get(key);
        placeholders.map_or_else(|| value.to_string(), Clone::clone)
    }

    /// The port with the offset, or an error that names the key.
    fn port(&self, key: &'static str, port: u16) -> Result<u16, ConfigError> {
        // Port 0 asks the operating system for a free one; an offset means nothing there.
        if port == 0 {
            return Ok(0);
        }
        port.checked_add(self.server.offset).ok_or_else(|| {
            let port = self.shown(key, port);
            let offset = self.shown("server.offset", self.server.offset);
            let rule = format!("port {port} + offset {offset} is above 65535");
            ConfigError::Rule { key, rule }
        })
    }

    fn management_address(&self, key: &'static str, port: u16) -> Result<SocketAddr, ConfigError> {
        let bind_address = &self.management.bind_address;
        let address = parse_ip(self, "management.bind_address", bind_address)?;
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
        let key = "transport.passthru_http.listener.parameters.bind_address";
        let address = parse_ip(self, key, &parameters.bind_address)?;
        let key = "transport.passthru_http.listener.parameters.port";
        Ok(SocketAddr::new(address, self.port(key, parameters.port)?))
    }

    /// Where the gateway serves HTTPS.
    pub fn gateway_https_address(&self) -> Result<SocketAddr, ConfigError> {
        let parameters = &self.transport.passthru_https.listener.parameters;
        let key = "transport.passthru_https.listener.parameters.bind_address";
        let address = parse_ip(self, key, &parameters.bind_address)?;
        let key = "transport.passthru_https.listener.parameters.port";
        Ok(SocketAddr::new(address, self.port(key, parameters.port)?))
    }

    /// Where the sample back end of `lockstep up` listens, on loopback.
    pub fn sample_back_end_address(&self) -> Result<SocketAddr, ConfigError> {
        let port = self.port("sample_back_end.port", self.sample_back_end.port)?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The database that holds the artifacts: `[database.sync_runtime_artifacts_db]` if its `url`
    /// or `type` is given, else `[database.apim_db]`. If its `url` is empty, that is the embedded
    /// SQLite file, [`Config::embedded_database`].
    #[must_use]
    pub fn artifacts_database(&self) -> &Database {
        self.named_artifacts_database().1
    }

    /// [`Config::artifacts_database`] with the key of its address.
    #[must_use]
    pub fn named_artifacts_database(&self) -> (&'static str, &Database) {
        let Databases {
            apim_db,
            sync_runtime_artifacts_db: own,
        } = &self.database;
        let given = !own.url.is_empty() || !own.r#type.is_empty();
        if given {
            ("database.sync_runtime_artifacts_db.url", own)
        } else {
            ("database.apim_db.url", apim_db)
        }
    }

    /// The file of the embedded database.
    #[must_use]
    pub fn embedded_database(&self) -> PathBuf {
        self.lockstep.data_dir.join("lockstep.db")
    }

    /// Where `FileSystemRetriever` finds Synapse directories; `None` for another retriever.
    #[must_use]
    pub fn retriever_directory(&self) -> Option<PathBuf> {
        let gateway = &self.apim.sync_runtime_artifacts.gateway;
        match gateway.artifact_retriever.as_str() {
            "FileSystemRetriever" if gateway.file_system_directory.is_empty() => {
                Some(self.lockstep.data_dir.join("synapse"))
            }
            "FileSystemRetriever" => Some((&gateway.file_system_directory).into()),
            _ => None,
        }
    }

    /// Where `FileSystemSaver` keeps a Synapse directory for each label; `None` with `DBSaver`, which
    /// keeps none.
    #[must_use]
    pub fn file_system_directory(&self) -> Option<PathBuf> {
        let publisher = &self.apim.sync_runtime_artifacts.publisher;
        let directory = &publisher.file_system_directory;
        match publisher.artifact_saver.as_str() {
            "FileSystemSaver" if directory.is_empty() => {
                Some(self.lockstep.data_dir.join("synapse"))
            }
            "FileSystemSaver" => Some(directory.into()),
            _ => None,
        }
    }

    /// The gateway environments that are published directly to; none unless that is asked for.
    #[must_use]
    pub fn direct_environments(&self) -> &[GatewayEnvironment] {
        let publisher = &self.apim.sync_runtime_artifacts.publisher;
        match publisher.publish_directly_to_gateway {
            true => &self.apim.gateway.environment,
            false => &[],
        }
    }

    /// The brokers that events go through, in order of preference; none if the list is empty or
    /// the event hub is not enabled.
    ///
    /// # Errors
    /// When one is no address of a broker, with its index in the list.
    pub fn event_hub_endpoints(&self) -> Result<Vec<BrokerEndpoint>, ConfigError> {
        let hub = &self.apim.event_hub;
        if !hub.enable {
            return Ok(Vec::new());
        }
        let parse = |(index, address): (usize, &String)| {
            BrokerEndpoint::parse(address).map_err(|rule| ConfigError::Rule {
                key: "apim.event_hub.event_listening_endpoints",
                rule: format!("[{index}]: {rule}"),
            })
        };
        let endpoints = hub.event_listening_endpoints.iter().enumerate();
        endpoints.map(parse).collect()
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

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.effective.table;
        formatter.debug_tuple("Config").field(shown).finish()
    }
}

fn parse_ip(config: &Config, key: &'static str, text: &str) -> Result<IpAddr, ConfigError> {
    let address = if text == "localhost" {
        "127.0.0.1"
    } else {
        text
    };
    address.parse().map_err(|_| {
        let shown = config.shown(key, text);
        let rule = format!("must be an IP address, found {shown:?}");
        ConfigError::Rule { key, rule }
    })
}
