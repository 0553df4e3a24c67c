//! Publishing directly: what has been saved goes to the gateways of the configured environments at
//! once. They would pull it anyway, so a gateway that fails is told of and undoes nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use artifact::{
    DirectAnswer, DirectEntry, DirectReport, Instruction, Label, LabelLogEntry, SavedTo,
};
use kit::config::{Config, ConfigError, GatewayEnvironment};
use kit::credentials::Credentials;
use kit::http_client::Trust;
use store::{ApiRow, LabelRow, Store, StoreError, Which};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Lines of one request …
const BATCH: usize = 256;
/// … and their bytes, but at least one line.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// How long an artifact is taken to be when it is read: so that few large ones are read at once.
const ABOUT: u64 = 1024 * 1024;

/// The gateways that are published directly to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectGateways {
    store: Store,
    gateways: Arc<[Gateway]>,
    /// What one gateway may take for all that a save has changed.
    patience: Duration,
}

#[derive(Debug)]
struct Gateway {
    environment: Label,
    /// Where entries are sent.
    url: String,
    client: reqwest::Client,
}

/// Why a gateway has not got all of it.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("cannot be reached: {0}")]
    Transport(String),
    #[error("{0}")]
    Answer(String),
    #[error("the answer is not what was expected: {0}")]
    Unexpected(String),
    #[error("no answer within {} ms", .0.as_millis())]
    TooSlow(Duration),
}

impl DirectGateways {
    /// The gateways of the configuration; `None` unless it asks for publishing directly.
    ///
    /// # Errors
    /// When an environment's name is no label, or its authority or credentials cannot be read.
    pub fn of(config: &Config, store: &Store) -> anyhow::Result<Option<Self>> {
        let environments = config.direct_environments();
        if environments.is_empty() {
            return Ok(None);
        }
        // On a new machine this makes the certificate that is trusted.
        kit::server::management_identity(config)?;
        let gateways = environments.iter().map(|it| Gateway::of(config, it));
        let gateways = gateways.collect::<anyhow::Result<_>>()?;
        let publisher = &config.apim.sync_runtime_artifacts.publisher;
        Ok(Some(Self {
            store: store.clone(),
            gateways,
            patience: Duration::from_millis(publisher.direct_publish_timeout),
        }))
    }

    /// Sends the newest entries of these APIs, which have been saved, to the gateways of their labels,
    /// side by side. One report for each gateway that any of them concerns.
    pub(crate) async fn push(&self, api_ids: &[&str]) -> Vec<DirectReport> {
        if api_ids.is_empty() {
            return Vec::new();
        }
        let report = |gateway: &Gateway| DirectReport {
            environment: gateway.environment.clone(),
            error: None,
            list: Vec::new(),
        };
        let labels: Vec<&Label> = self.gateways.iter().map(|it| &it.environment).collect();
        let saved = match Saved::read(&self.store, api_ids, &labels).await {
            Ok(saved) => Arc::new(saved),
            Err(error) => {
                tracing::warn!(%error, "what was saved cannot be read to publish it directly");
                let reason = format!("not sent, for it cannot be read again: {error}");
                let failed = |gateway: &Gateway| DirectReport {
                    error: Some(reason.clone()),
                    ..report(gateway)
                };
                return self.gateways.iter().map(failed).collect();
            }
        };
        let mut pushing = JoinSet::new();
        for (index, gateway) in self.gateways.iter().enumerate() {
            if !saved
                .rows
                .iter()
                .any(|row| row.label == gateway.environment)
            {
                continue;
            }
            let (gateways, saved) = (Arc::clone(&self.gateways), Arc::clone(&saved));
            let (patience, mut report) = (self.patience, report(gateway));
            pushing.spawn(async move {
                if let Some(gateway) = gateways.get(index) {
                    let pushed = timeout(patience, gateway.push(&saved, &mut report)).await;
                    if let Err(error) = pushed.unwrap_or(Err(PushError::TooSlow(patience))) {
                        let environment = gateway.environment.as_str();
                        tracing::warn!(environment, %error, "a gateway was not published to");
                        report.error = Some(error.to_string());
                    }
                }
                (index, report)
            });
        }
        let mut reports = pushing.join_all().await;
        reports.sort_by_key(|(index, _)| *index);
        reports.into_iter().map(|(_, report)| report).collect()
    }
}

/// What saves have left in the store of some APIs.
struct Saved {
    apis: HashMap<String, ApiRow>,
    /// The newest entries of the APIs in some labels, in the order of their logs: those that publish, and
    /// those that the newest revision removes.
    rows: Vec<LabelRow>,
    /// Where the APIs are published.
    published: Vec<LabelRow>,
    artifacts: HashMap<(String, u64), String>,
}

impl Saved {
    async fn read(store: &Store, api_ids: &[&str], labels: &[&Label]) -> Result<Self, StoreError> {
        let snapshot = store.snapshot(Which::These(api_ids)).await?;
        let apis = snapshot.apis.into_iter();
        let apis: HashMap<String, ApiRow> = apis.map(|api| (api.api_id.clone(), api)).collect();
        let publishes = |row: &LabelRow| row.instruction == Instruction::Publish;
        let concerns = |row: &&LabelRow| {
            let newest = apis
                .get(&row.api_id)
                .is_some_and(|it| it.revision == row.revision);
            (publishes(row) || newest) && labels.contains(&&row.label)
        };
        let mut rows: Vec<LabelRow> = snapshot.labels.iter().filter(concerns).cloned().collect();
        rows.sort_by_key(|row| row.seq);
        let wanted: BTreeSet<(&str, u64)> = rows
            .iter()
            .filter(|row| publishes(row))
            .map(|row| (row.api_id.as_str(), row.revision))
            .collect();
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|(api_id, revision)| (api_id, revision, ABOUT))
            .collect();
        let found = store.artifacts(&wanted).await?.into_iter().zip(&wanted);
        let artifacts = found.filter_map(|(bytes, (api_id, revision, _))| {
            let text = String::from_utf8(bytes?).ok()?;
            Some((((*api_id).to_owned(), *revision), text))
        });
        let artifacts = artifacts.collect();
        Ok(Self {
            apis,
            rows,
            published: snapshot.labels.into_iter().filter(publishes).collect(),
            artifacts,
        })
    }

    /// A row as it goes over the wire. `None` where its revision has left the history: something newer
    /// has been saved since, and is sent by who has saved it.
    fn entry(&self, row: &LabelRow) -> Option<DirectEntry> {
        let api = self.apis.get(&row.api_id)?;
        let (artifact, published_to) = match row.instruction {
            Instruction::Publish => {
                let text = self.artifacts.get(&(row.api_id.clone(), row.revision))?;
                (Some(text.clone()), Vec::new())
            }
            Instruction::Remove => {
                let others = self.published.iter();
                let others = others.filter(|other| other.api_id == row.api_id);
                let others = others.map(|other| SavedTo {
                    label: other.label.clone(),
                    seq: other.seq,
                });
                (None, others.collect())
            }
        };
        Some(DirectEntry {
            label: row.label.clone(),
            entry: LabelLogEntry {
                seq: row.seq,
                api_id: row.api_id.clone(),
                name: api.name.clone(),
                version: api.version.clone(),
                tenant_domain: api.tenant_domain.clone(),
                instruction: row.instruction,
                revision: row.revision,
                digest: row.digest,
                time: api.saved,
                artifact,
                published_to,
            },
        })
    }
}

impl Gateway {
    fn of(config: &Config, environment: &GatewayEnvironment) -> anyhow::Result<Self> {
        let name = &environment.name;
        let label = Label::parse(name.as_str()).map_err(|error| ConfigError::Entry {
            key: format!("apim.gateway.environment {name:?}: name"),
            rule: error.to_string(),
        })?;
        let trust = if environment.ca_certificate.is_empty() {
            Trust::platform_and_development(&config.lockstep.data_dir)
        } else {
            Trust::Only((&environment.ca_certificate).into())
        };
        let credentials = Credentials::of_environment(config, environment)?;
        let client = kit::http_client::client(&trust, &credentials)
            .with_context(|| format!("the gateway environment {name:?}"))?;
        Ok(Self {
            environment: label,
            url: format!("{}/api/lockstep/v1/entries", environment.base_url()),
            client,
        })
    }

    /// Sends the entries of its label, request by request; what the gateway says of them goes into the
    /// report.
    async fn push(&self, saved: &Saved, report: &mut DirectReport) -> Result<(), PushError> {
        let mut body = String::new();
        let mut lines = 0;
        for row in saved
            .rows
            .iter()
            .filter(|row| row.label == self.environment)
        {
            let Some(direct) = saved.entry(row) else {
                continue;
            };
            let line = direct.to_text();
            let line = line.map_err(|error| PushError::Unexpected(error.to_string()))?;
            if lines == BATCH || (lines > 0 && body.len() + line.len() > BATCH_BYTES) {
                self.send(std::mem::take(&mut body), lines, report).await?;
                lines = 0;
            }
            body.push_str(&line);
            body.push('\n');
            lines += 1;
        }
        match lines {
            0 => Ok(()),
            lines => self.send(body, lines, report).await,
        }
    }

    async fn send(
        &self,
        body: String,
        lines: usize,
        report: &mut DirectReport,
    ) -> Result<(), PushError> {
        let request = self.client.post(&self.url);
        let request = request.header("content-type", "application/x-ndjson");
        let answer = request.body(body).send().await;
        let answer =
            answer.map_err(|error| PushError::Transport(kit::http_client::cause(&error)))?;
        if !answer.status().is_success() {
            return Err(PushError::Answer(kit::http_client::failure(answer).await));
        }
        let answer = answer.json::<DirectAnswer>().await;
        let answer =
            answer.map_err(|error| PushError::Unexpected(kit::http_client::cause(&error)))?;
        if answer.list.len() != lines {
            let reason = format!("{} of {lines} entries are answered", answer.list.len());
            return Err(PushError::Unexpected(reason));
        }
        report.list.extend(answer.list);
        Ok(())
    }
}
