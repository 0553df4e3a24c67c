//! Gateway environments, `[[apim.gateway.environment]]`: the gateways that a saver publishes directly to.

use std::collections::HashSet;

use reqwest::Url;
use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError};
use crate::secret::Secret;

/// The list in deployment.toml.
pub(super) const LIST: &str = "apim.gateway.environment";

/// A gateway environment as API Manager names it. Its other keys have no effect here.
#[derive(Clone, Debug, Deserialize)]
pub struct GatewayEnvironment {
    /// A label, too.
    pub name: String,
    /// `https://HOST:PORT/services/`; [`GatewayEnvironment::base_url`] reads it.
    pub service_url: String,
    pub username: String,
    pub password: Secret,
    /// A bearer token, instead of the two.
    pub token: Secret,
    /// PEM file; empty: the platform's roots and the development authority.
    pub ca_certificate: String,
}

impl GatewayEnvironment {
    /// Where the gateway's management interface is: `service_url` cut at `/services`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        let url = &self.service_url;
        let base = url.split_once("/services").map_or(url.as_str(), |(b, _)| b);
        base.trim_end_matches('/')
    }

    /// A rule that is broken: the key, and the rule.
    fn broken(&self) -> Option<(&'static str, &'static str)> {
        if self.name.is_empty() {
            return Some(("name", "must not be empty; it is the label of the gateway"));
        }
        if self.service_url.contains("${") {
            let rule = "must be an address; Carbon's own ${…} is not known here, \
                        $env{…}, $ref{…} and $secret{…} are";
            return Some(("service_url", rule));
        }
        let is_address = |url: &Url| {
            url.scheme() == "https"
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
        };
        if !Url::parse(self.base_url()).is_ok_and(|url| is_address(&url)) {
            let rule = "must be https://HOST:PORT/services/, the gateway's management port";
            return Some(("service_url", rule));
        }
        if self.username.is_empty() != self.password.is_empty() {
            let rule = "username and password belong together; one of them is empty";
            return Some(("username", rule));
        }
        if !self.username.is_empty() && !self.token.is_empty() {
            return Some(("token", "username and token exclude one another"));
        }
        None
    }
}

/// The keys of an entry with their defaults: API Manager's, and `token` and `ca_certificate`.
pub(super) fn entry() -> Table {
    let texts = [
        "name",
        "type",
        "display_name",
        "description",
        "provider",
        "gateway_type",
        "service_url",
        "username",
        "password",
        "token",
        "ca_certificate",
        "ws_endpoint",
        "wss_endpoint",
        "http_endpoint",
        "https_endpoint",
    ];
    let texts = texts.map(|name| (name.to_owned(), Value::String(String::new())));
    let flags = ["display_in_api_console", "show_as_token_endpoint_url"];
    let flags = flags.map(|name| (name.to_owned(), Value::Boolean(true)));
    texts.into_iter().chain(flags).collect()
}

/// Environments that nothing is published to are not looked at: API Manager's own may have what is
/// not known here.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let publisher = &config.apim.sync_runtime_artifacts.publisher;
    let environments = config.direct_environments();
    if publisher.publish_directly_to_gateway && environments.is_empty() {
        return Err(ConfigError::Rule {
            key: "apim.sync_runtime_artifacts.publisher.publish_directly_to_gateway",
            rule: "needs at least one [[apim.gateway.environment]]".to_owned(),
        });
    }
    let mut names = HashSet::new();
    for (index, environment) in environments.iter().enumerate() {
        let mut broken = environment.broken();
        if broken.is_none() && !names.insert(&environment.name) {
            broken = Some(("name", "is that of another environment, too"));
        }
        if let Some((key, rule)) = broken {
            return Err(ConfigError::Entry {
                key: format!("{LIST}.{index}.{key}"),
                rule: rule.to_owned(),
            });
        }
    }
    Ok(())
}
