//! The management interfaces as the operator's command uses them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use artifact::{PublishReport, PublishRequest, RemoveReport};
use kit::config::Config;
use kit::credentials::Credentials;
use kit::http_client::Trust;
use kit::process::Usage;
use kit::secret::Secret;
use kit::server::NO_SUCH_RESOURCE;

mod reads;

/// Where the management interfaces are, and whom to trust.
#[derive(Clone, Debug, clap::Args)]
pub struct ControlArguments {
    /// The traffic manager [default: https://localhost:9443, shifted by --offset]
    #[arg(long, value_name = "URL", env = "LOCKSTEP_SERVER")]
    pub server: Option<String>,
    /// The publisher-saver, where it is a process of its own [default: as --server]
    #[arg(long, value_name = "URL", env = "LOCKSTEP_PUBLISHER")]
    pub publisher: Option<String>,
    /// Authority (PEM) of the servers' certificates [default: DATA_DIR/tls/ca.pem if it is there]
    #[arg(long, value_name = "FILE", env = "LOCKSTEP_CACERT")]
    pub cacert: Option<PathBuf>,
    /// Data directory of `lockstep up`, for its development certificate and users
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Who you are [default: the development user admin of DATA_DIR/access, if it is there]
    #[arg(long, value_name = "NAME", env = "LOCKSTEP_USER")]
    pub user: Option<String>,
    /// File with the user's password [default: the environment variable LOCKSTEP_PASSWORD, else
    /// DATA_DIR/access/NAME]
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// File with a bearer token, instead of user and password; without any of them the environment
    /// variable LOCKSTEP_TOKEN is taken
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub token_file: Option<PathBuf>,
    /// Added to the default port, as `[server] offset`
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub offset: u16,
}

/// A client of the management interfaces.
#[derive(Clone, Debug)]
pub struct Control {
    client: reqwest::Client,
    server: String,
    publisher: String,
    /// Who the servers are told is calling, for messages.
    user: String,
}

/// The server does not let this user do that; trying again does not help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// A publish checks and saves everything that it is sent before it answers.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(300);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

impl Control {
    /// # Errors
    /// When the offset is too large or the authority cannot be read.
    pub fn new(arguments: &ControlArguments) -> anyhow::Result<Self> {
        let mut config = Config::load(None)?;
        config.server.offset = arguments.offset;
        let default = format!(
            "https://localhost:{}",
            config.traffic_manager_address()?.port()
        );
        let server = arguments.server.clone().unwrap_or(default);
        for url in [Some(&server), arguments.publisher.as_ref()]
            .into_iter()
            .flatten()
        {
            let parsed = reqwest::Url::parse(url);
            if !parsed.is_ok_and(|url| ["http", "https"].contains(&url.scheme())) {
                bail!(Usage(format!(
                    "{url:?} is not the URL of a server (https://HOST:PORT)"
                )));
            }
        }
        let data_dir = arguments
            .data_dir
            .clone()
            .unwrap_or(config.lockstep.data_dir);
        let trust = match &arguments.cacert {
            Some(file) => Trust::Only(file.clone()),
            None => Trust::platform_and_development(&data_dir),
        };
        let credentials = credentials(arguments, &data_dir)?;
        let client = kit::http_client::client(&trust, &credentials);
        Ok(Self {
            client: client.map_err(|error| Usage(error.to_string()))?,
            user: shown(arguments, &credentials),
            publisher: trimmed(arguments.publisher.as_ref().unwrap_or(&server)),
            server: trimmed(&server),
        })
    }

    /// Where artifacts are published.
    #[must_use]
    pub fn publisher(&self) -> &str {
        &self.publisher
    }

    pub async fn publish(&self, request: &PublishRequest) -> anyhow::Result<PublishReport> {
        let url = format!("{}/api/lockstep/v1/publish", self.publisher);
        let request = self
            .client
            .post(&url)
            .timeout(PUBLISH_TIMEOUT)
            .json(request);
        self.answer(request, &self.publisher).await
    }

    pub async fn remove(
        &self,
        name: &str,
        version: &str,
        tenant: Option<&str>,
    ) -> anyhow::Result<RemoveReport> {
        let url = format!("{}/api/lockstep/v1/apis", self.publisher);
        let mut query = vec![("name", name), ("version", version)];
        query.extend(tenant.map(|tenant| ("tenant", tenant)));
        let request = self.client.delete(&url).query(&query);
        self.answer(request.timeout(PUBLISH_TIMEOUT), &self.publisher)
            .await
    }

    async fn answer<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        server: &str,
    ) -> anyhow::Result<T> {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let cause = kit::http_client::cause(&error);
                if cause.contains("certificate") {
                    bail!(
                        "{server} has a certificate that is not trusted ({cause}); name its \
                         authority with --cacert FILE, or the data directory with --data-dir DIR"
                    );
                }
                bail!(
                    "{server} cannot be reached: {cause}; is `lockstep up` running? \
                     (other places: --server https://…, --offset)"
                );
            }
        };
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let (code, said) = kit::http_client::refused(answer).await;
            return Err(self.refused(server, status, code.as_deref(), &said));
        }
        answer
            .json()
            .await
            .with_context(|| format!("{server}: the answer is not what was expected"))
    }
}

impl Control {
    fn refused(&self, server: &str, status: u16, code: Option<&str>, said: &str) -> anyhow::Error {
        let user = &self.user;
        match (status, code) {
            (404, Some(NO_SUCH_RESOURCE)) => anyhow!(
                "{server} does not serve this request; name the publisher-saver with --publisher"
            ),
            (401, _) => Refused(format!(
                "{server} does not let {user} in: {said}; say who you are with --user and \
                 --password-file, or --token-file"
            ))
            .into(),
            (403, _) => {
                Refused(format!("{server} does not allow {user} to do this: {said}")).into()
            }
            (429, _) => Refused(format!("{server}: {said}")).into(),
            _ => anyhow!("{server}: {said}"),
        }
    }
}

/// Files first, then the environment, then the development user.
fn credentials(arguments: &ControlArguments, data_dir: &Path) -> anyhow::Result<Credentials> {
    if let Some(file) = &arguments.token_file {
        return Ok(Credentials::bearer(secret(file)?));
    }
    let Some(user) = &arguments.user else {
        if let Ok(token) = std::env::var("LOCKSTEP_TOKEN") {
            return Ok(Credentials::bearer(Secret::new(token.trim())));
        }
        return Ok(Credentials::development(data_dir, DEVELOPMENT_USER).unwrap_or_default());
    };
    if let Some(file) = &arguments.password_file {
        return Ok(Credentials::basic(user, secret(file)?));
    }
    if let Ok(password) = std::env::var("LOCKSTEP_PASSWORD") {
        return Ok(Credentials::basic(user, Secret::new(password)));
    }
    Credentials::development(data_dir, user).ok_or_else(|| {
        let rule = format!(
            "--user {user} needs a password: name its file with --password-file, or set \
             LOCKSTEP_PASSWORD"
        );
        Usage(rule).into()
    })
}

/// The development user of the operator's command.
const DEVELOPMENT_USER: &str = "admin";

fn shown(arguments: &ControlArguments, credentials: &Credentials) -> String {
    match &arguments.user {
        _ if credentials.is_none() => "somebody without credentials".to_owned(),
        _ if arguments.token_file.is_some() => "the user with this token".to_owned(),
        Some(user) => format!("the user {user}"),
        None if std::env::var_os("LOCKSTEP_TOKEN").is_some() => {
            "the user with the token of LOCKSTEP_TOKEN".to_owned()
        }
        None => format!("the development user {DEVELOPMENT_USER}"),
    }
}

/// The content of a file without the newline at its end.
fn secret(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage(format!("{}: cannot be read: {error}", file.display())))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
