//! The management interfaces as the operator's command uses them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use artifact::{Overview, PublishReport, PublishRequest, RemoveReport};
use kit::config::Config;
use kit::http_client::Trust;
use kit::process::Usage;

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
    /// Data directory of `lockstep up`, for its development certificate
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
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
}

/// A publish checks and saves everything that it is sent before it answers.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(300);
/// Ids of one overview request.
const MAX_IDS: usize = 50;
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
        Ok(Self {
            client: kit::http_client::client(&trust).map_err(|error| Usage(error.to_string()))?,
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

    pub async fn forget(&self, gateway_id: &str) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/api/lockstep/v1/gateways", self.server);
        let request = self.client.delete(&url).timeout(READ_TIMEOUT);
        self.answer(request.query(&[("id", gateway_id)]), &self.server)
            .await
    }

    /// The overview of all APIs, or of those with these ids.
    pub async fn overview(&self, ids: Option<&[String]>) -> anyhow::Result<Overview> {
        let url = format!("{}/api/lockstep/v1/overview", self.server);
        let mut request = self.client.get(&url).timeout(READ_TIMEOUT);
        // Ids that do not fit a URL: the caller picks its own out of all.
        let fits = |ids: &&[String]| {
            ids.len() <= MAX_IDS && ids.iter().all(|id| !id.contains(',') && id.len() < 64)
        };
        if let Some(ids) = ids.filter(fits) {
            request = request.query(&[("apiId", ids.join(","))]);
        }
        self.answer(request, &self.server).await
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
        if answer.status() == reqwest::StatusCode::NOT_FOUND
            && answer.headers().get("content-type").is_none()
        {
            bail!(
                "{server} does not serve this request; name the publisher-saver with --publisher"
            );
        }
        if !answer.status().is_success() {
            bail!("{server}: {}", kit::http_client::failure(answer).await);
        }
        answer
            .json()
            .await
            .with_context(|| format!("{server}: the answer is not what was expected"))
    }
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
