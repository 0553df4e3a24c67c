//! Telling the traffic manager what was deployed, and that this gateway is alive.

use std::collections::HashMap;
use std::time::Duration;

use artifact::{
    CONFLICT, DeploymentNotice, DeploymentNotices, GatewayNotice, GatewayNoticeReply, INSTANCE,
    Label, NoticeKind, UNREGISTERED,
};
use kit::backoff::{Backoff, spread};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::applied::Applied;
use crate::reconciliation::Reconciliation;

/// What reporting needs to know.
#[derive(Clone, Debug)]
pub struct Reporter {
    pub client: reqwest::Client,
    pub traffic_manager: String,
    pub gateway_id: String,
    pub labels: Vec<Label>,
    /// Where clients reach this gateway.
    pub urls: Vec<String>,
    pub applied: Applied,
    pub reconciliation: Reconciliation,
    pub heartbeat: Duration,
    pub batch_size: usize,
    pub batch_interval: Duration,
}

/// What is remembered of what was said.
struct Said {
    /// Names this process, so that another one with the gateway's id is told apart.
    instance: String,
    /// The newest about each API: said again where the traffic manager does not know it any more.
    all: HashMap<String, DeploymentNotice>,
    /// Another process has the gateway's id.
    conflict: bool,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After deployments the next heartbeat comes this soon, for it tells how far the logs have been
/// applied.
const BEAT_AFTER_DEPLOYMENTS: Duration = Duration::from_secs(1);

impl Reporter {
    /// Sends notices in batches and heartbeats in between, until shutdown; then that the
    /// gateway has ended.
    ///
    /// Notices wait while the traffic manager is away. Only the newest about each API is kept:
    /// that is what counts, and it bounds the memory.
    pub async fn run(
        self,
        mut notices: mpsc::UnboundedReceiver<DeploymentNotice>,
        shutdown: CancellationToken,
    ) {
        let backoff = Backoff {
            first: Duration::from_millis(500),
            most: Duration::from_secs(15),
        };
        let mut waiting: HashMap<String, DeploymentNotice> = HashMap::new();
        let mut said = Said {
            instance: uuid::Uuid::new_v4().to_string(),
            all: HashMap::new(),
            conflict: false,
        };
        let mut kind = NoticeKind::Register;
        let mut open = true;
        let mut next_beat = Instant::now();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let sent = self
                .speak(&mut kind, &mut said, &mut waiting, &mut next_beat)
                .await;
            let mut wake = match sent {
                Ok(()) => {
                    failures = 0;
                    next_beat
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error, failures, "cannot report to the traffic manager");
                    Instant::now() + backoff.wait_with_jitter(failures, spread())
                }
            };
            // A first notice starts a batch, unless a failure is being waited out.
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep_until(wake) => break,
                    notice = notices.recv(), if open => match notice {
                        Some(notice) => {
                            said.all.insert(notice.api_id.clone(), notice.clone());
                            waiting.insert(notice.api_id.clone(), notice);
                        }
                        None => open = false,
                    },
                };
                if failures == 0 && waiting.len() >= self.batch_size {
                    break;
                }
                if failures == 0 {
                    wake = wake.min(Instant::now() + self.batch_interval);
                }
            }
        }
        // The gateway ends in good order: nobody has to wait for it, or for what it had to say.
        let notice = self.notice(NoticeKind::Deregister, &said);
        if let Err(error) = self.post("notify-gateway", &notice).await {
            tracing::warn!(%error, "ended without telling the traffic manager");
        }
    }

    fn notice(&self, payload_type: NoticeKind, said: &Said) -> GatewayNotice {
        GatewayNotice {
            payload_type,
            gateway_id: self.gateway_id.clone(),
            environment_labels: self.labels.clone(),
            time_stamp: kit::clock::now_ms(),
            gateway_properties: self.properties(&said.instance),
            loading_tenants: Vec::new(),
            urls: self.urls.clone(),
            applied: self.applied.positions(),
        }
    }

    /// What people want to know of a gateway besides.
    fn properties(&self, instance: &str) -> Map<String, Value> {
        let mut properties = Map::new();
        properties.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        properties.insert(INSTANCE.into(), instance.into());
        let reconciled = serde_json::to_value(self.reconciliation.now());
        properties.insert("reconciliation".into(), reconciled.unwrap_or_default());
        properties
    }

    /// Registers or beats when it is time, then sends what waits.
    async fn speak(
        &self,
        kind: &mut NoticeKind,
        said: &mut Said,
        waiting: &mut HashMap<String, DeploymentNotice>,
        next_beat: &mut Instant,
    ) -> Result<(), String> {
        while *kind == NoticeKind::Register || Instant::now() >= *next_beat {
            let notice = self.notice(*kind, said);
            let reply = self.post("notify-gateway", &notice).await;
            let reply = reply.map_err(|error| error.to_string())?;
            let status = serde_json::from_str(&reply).map(|reply: GatewayNoticeReply| reply.status);
            let status = status.unwrap_or_default();
            self.tell_conflict(status == CONFLICT, said);
            if status == UNREGISTERED && *kind == NoticeKind::Heartbeat {
                tracing::warn!(
                    "the traffic manager has forgotten this gateway, telling it everything"
                );
                *kind = NoticeKind::Register;
                waiting.clone_from(&said.all);
                continue;
            }
            // A second registration would make the traffic manager forget what follows.
            *kind = NoticeKind::Heartbeat;
            *next_beat = Instant::now() + self.heartbeat;
        }
        if !waiting.is_empty() {
            *next_beat =
                (*next_beat).min(Instant::now() + BEAT_AFTER_DEPLOYMENTS.min(self.heartbeat));
        }
        let mut size = self.batch_size.max(1);
        while !waiting.is_empty() {
            let batch = waiting.values().take(size);
            let list: Vec<DeploymentNotice> = batch.cloned().collect();
            let notices = DeploymentNotices {
                count: list.len(),
                instance: Some(said.instance.clone()),
                list,
            };
            match self.post("notify-api-deployment-status", &notices).await {
                Ok(_) => {}
                Err(PostError::Rejected(_)) if size > 1 => {
                    // One of them is at fault: find it.
                    size = 1;
                    continue;
                }
                Err(PostError::Rejected(reason)) => {
                    let api_id = &notices.list[0].api_id;
                    tracing::error!(
                        api_id,
                        reason,
                        "the traffic manager rejects a report, dropping it"
                    );
                }
                Err(error) => return Err(error.to_string()),
            }
            for notice in &notices.list {
                waiting.remove(&notice.api_id);
            }
        }
        Ok(())
    }

    fn tell_conflict(&self, conflict: bool, said: &mut Said) {
        let gateway_id = &self.gateway_id;
        match (said.conflict, conflict) {
            (false, true) => tracing::error!(
                gateway_id,
                "ANOTHER GATEWAY HAS THIS ID: what this one runs is not known to the traffic manager; \
                 give each one its own ([gateway] id)"
            ),
            (true, false) => tracing::info!(gateway_id, "no other gateway has this id any more"),
            _ => {}
        }
        said.conflict = conflict;
    }

    /// Returns the body of the answer.
    async fn post(
        &self,
        resource: &str,
        body: &impl serde::Serialize,
    ) -> Result<String, PostError> {
        let url = format!("{}/internal/data/v1/{resource}", self.traffic_manager);
        let request = self.client.post(url).timeout(REQUEST_TIMEOUT).json(body);
        match request.send().await {
            Err(error) => Err(PostError::Failed(kit::http_client::cause(&error))),
            Ok(answer) if answer.status().is_success() => {
                let text = answer.text().await;
                text.map_err(|error| PostError::Failed(kit::http_client::cause(&error)))
            }
            Ok(answer) => {
                let rejected = matches!(answer.status().as_u16(), 400 | 413 | 422);
                let reason = kit::http_client::failure(answer).await;
                Err(if rejected {
                    PostError::Rejected(reason)
                } else {
                    PostError::Failed(reason)
                })
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PostError {
    /// Saying it again will not help.
    #[error("rejected: {0}")]
    Rejected(String),
    #[error("{0}")]
    Failed(String),
}
