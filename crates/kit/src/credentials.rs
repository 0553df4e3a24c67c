//! What a client of the management interfaces shows of itself.

use std::path::{Path, PathBuf};

use crate::access::{AccessError, development};
use crate::config::{Config, ConfigError, GatewayEnvironment};
use crate::secret::Secret;

/// A name and a password, or a bearer token; besides or instead a client certificate.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    pub(crate) authorization: Option<Authorization>,
    /// PEM files of the certificate chain and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Authorization {
    Basic { name: String, password: Secret },
    Bearer(Secret),
}

impl Credentials {
    /// Nothing: for interfaces that are open to everybody.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn basic(name: impl Into<String>, password: Secret) -> Self {
        Self {
            authorization: Some(Authorization::Basic {
                name: name.into(),
                password,
            }),
            certificate: None,
        }
    }

    #[must_use]
    pub fn bearer(token: Secret) -> Self {
        Self {
            authorization: Some(Authorization::Bearer(token)),
            certificate: None,
        }
    }

    /// The same and a client certificate, from PEM files.
    #[must_use]
    pub fn with_certificate(mut self, certificate: PathBuf, key: PathBuf) -> Self {
        self.certificate = Some((certificate, key));
        self
    }

    /// Whether they show nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.authorization.is_none() && self.certificate.is_none()
    }

    /// A development user of this data directory, if it is there.
    #[must_use]
    pub fn development(data_dir: &Path, name: &str) -> Option<Self> {
        Some(Self::basic(name, development::password(data_dir, name)?))
    }

    /// What a gateway shows to the traffic manager: `[apim.event_hub.service]`, else the name and
    /// password of `[apim.event_hub]`, else the development user `gateway`, which is made if it is
    /// not there.
    ///
    /// # Errors
    /// When the development users cannot be made, or there are none because others are configured.
    pub fn of_gateway(config: &Config) -> Result<Self, AccessError> {
        let hub = &config.apim.event_hub;
        let service = &hub.service;
        let shown = if !service.token.is_empty() {
            Self::bearer(service.token.clone())
        } else if !service.username.is_empty() {
            Self::basic(&service.username, service.password.clone())
        } else if !service.client_certificate.is_empty() {
            Self::none()
        } else if !hub.username.is_empty() {
            Self::basic(&hub.username, hub.password.clone())
        } else if config.has_users() {
            return Err(AccessError::Config(ConfigError::Rule {
                key: "apim.event_hub.service.username",
                rule: "must not be empty: with users configured there is no development user for \
                       the gateway; client_certificate or token would do, too"
                    .to_owned(),
            }));
        } else {
            let data_dir = &config.lockstep.data_dir;
            development::make(data_dir)?;
            Self::development(data_dir, "gateway").unwrap_or_default()
        };
        if service.client_certificate.is_empty() {
            return Ok(shown);
        }
        let certificate = (&service.client_certificate).into();
        Ok(shown.with_certificate(certificate, (&service.client_key).into()))
    }

    /// What a saver shows to the gateway of an environment that it publishes directly to: what is
    /// given there, else the development user `publisher`, which is made if it is not there.
    ///
    /// # Errors
    /// When the development users cannot be made, or there are none because others are configured.
    pub fn of_environment(
        config: &Config,
        environment: &GatewayEnvironment,
    ) -> Result<Self, AccessError> {
        if !environment.token.is_empty() {
            return Ok(Self::bearer(environment.token.clone()));
        }
        if !environment.username.is_empty() {
            let password = environment.password.clone();
            return Ok(Self::basic(&environment.username, password));
        }
        if config.has_users() {
            let name = &environment.name;
            return Err(AccessError::Config(ConfigError::Entry {
                key: format!("apim.gateway.environment {name:?}: username"),
                rule: "must not be empty: with users configured there is no development user for \
                       the saver; token would do, too"
                    .to_owned(),
            }));
        }
        let data_dir = &config.lockstep.data_dir;
        development::make(data_dir)?;
        Ok(Self::development(data_dir, "publisher").unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, data_dir: &Path) -> Result<Credentials, AccessError> {
        let mut config = Config::from_text(text, Path::new("d.toml")).unwrap();
        config.lockstep.data_dir = data_dir.to_owned();
        Credentials::of_gateway(&config)
    }

    #[test]
    fn a_gateway_shows_what_is_given_for_it_else_the_event_hubs_else_the_development_user() {
        let directory = tempfile::tempdir().unwrap();
        let name = |text: &str| match of(text, directory.path()).unwrap().authorization {
            Some(Authorization::Basic { name, .. }) => name,
            Some(Authorization::Bearer(_)) => "(token)".to_owned(),
            None => "(none)".to_owned(),
        };
        let hub = "apim.event_hub.username = \"hub\"\napim.event_hub.password = \"p\"\n";
        let service = "[apim.event_hub.service]\n";
        assert_eq!(name(hub), "hub");
        assert!(!directory.path().join("access").exists());
        assert_eq!(name(""), "gateway");
        let basic = "username = \"s\"\npassword = \"p\"";
        assert_eq!(name(&format!("{hub}{service}{basic}")), "s");
        assert_eq!(name(&format!("{hub}{service}token = \"t\"")), "(token)");
        let certificate = "client_certificate = \"c.pem\"\nclient_key = \"k.pem\"";
        assert_eq!(name(&format!("{hub}{service}{certificate}")), "(none)");
        let user = "[[apim.internal.user]]\nusername = \"a\"\ncertificate_name = \"a\"\n\
                    roles = [\"viewer\"]\n";
        let error = of(user, directory.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("apim.event_hub.service.username: must not"),
            "{error}"
        );
    }
}
