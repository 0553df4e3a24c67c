//! What a client of the management interfaces shows of itself.

use std::path::{Path, PathBuf};

use crate::access::{AccessError, development};
use crate::config::Config;
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
    /// When the development users cannot be made.
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
}
