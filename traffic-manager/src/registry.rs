//! Gateways that speak up: registration, heartbeats, deployment status.
//!
//! Notices that come in together are written together: a thousand gateways that start at once cost
//! few transactions. Each is answered when what it said is committed.

use std::sync::Arc;

use artifact::{
    DeploymentAction, DeploymentNotice, DeploymentNotices, DeploymentState, Digest, GatewayNotice,
    GatewayNoticeReply, NoticeKind, NoticesReply,
};
use store::{DeploymentRow, GatewayRow, Said, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};

/// Notices that wait to be written at most; who comes then is told to come again.
const WAITING: usize = 4096;
/// Rows that are written together, about.
const TOGETHER: usize = 2048;

/// Characters of a reason that are kept.
const MAX_REASON: usize = 4000;

/// What the registry has no room for, or could not write.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("too many notices wait to be written")]
    Full,
    #[error("the registry cannot be written: {0}")]
    Store(Arc<StoreError>),
}

/// Writes what gateways say. Cheap to clone; ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    queue: mpsc::Sender<Waiting>,
    /// Told whenever something was written.
    written: watch::Sender<()>,
}

#[derive(Debug)]
struct Waiting {
    notice: Notice,
    written: oneshot::Sender<Result<(), RegistryError>>,
}

#[derive(Debug)]
enum Notice {
    Gateway(NoticeKind, GatewayRow),
    Deployments(Vec<DeploymentRow>),
}

impl Registry {
    pub(crate) fn new(store: Store) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let written = watch::Sender::new(());
        tokio::spawn(write(store, waiting, written.clone()));
        Self { queue, written }
    }

    /// A receiver that is woken when this instance has written what gateways said.
    pub(crate) fn written(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    /// Whether what is said can still be written.
    pub(crate) fn is_alive(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Records a registration or heartbeat; forgets a gateway that ends.
    pub(crate) async fn gateway(
        &self,
        notice: GatewayNotice,
        now: i64,
    ) -> Result<GatewayNoticeReply, RegistryError> {
        let status = match notice.payload_type {
            NoticeKind::Register => "REGISTERED",
            NoticeKind::Heartbeat => "ACKNOWLEDGED",
            NoticeKind::Deregister => "DEREGISTERED",
        };
        let reply = GatewayNoticeReply {
            status: status.to_owned(),
            gateway_id: notice.gateway_id.clone(),
        };
        let kind = notice.payload_type;
        self.put(Notice::Gateway(kind, gateway_row(notice, now)))
            .await?;
        Ok(reply)
    }

    /// Records what gateways did. Notices that name no revision of Lockstep's say nothing about
    /// one; when all are such, the batch is dropped, and the reply says so.
    pub(crate) async fn deployments(
        &self,
        notices: &DeploymentNotices,
    ) -> Result<NoticesReply, RegistryError> {
        let rows: Vec<DeploymentRow> = notices.list.iter().filter_map(deployment_row).collect();
        let dropped = rows.is_empty() && !notices.list.is_empty();
        if !rows.is_empty() {
            self.put(Notice::Deployments(rows)).await?;
        }
        let status = if dropped { "DROPPED" } else { "RECEIVED" };
        Ok(NoticesReply {
            status: status.to_owned(),
        })
    }

    async fn put(&self, notice: Notice) -> Result<(), RegistryError> {
        let (written, answer) = oneshot::channel();
        let waiting = Waiting { notice, written };
        let put = self.queue.try_send(waiting);
        put.map_err(|_| RegistryError::Full)?;
        answer.await.unwrap_or(Err(RegistryError::Full))
    }
}

/// Writes what waits, again and again.
async fn write(store: Store, mut waiting: mpsc::Receiver<Waiting>, told: watch::Sender<()>) {
    while let Some(first) = waiting.recv().await {
        let mut said = Said::default();
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(Waiting { notice, written }) = next {
            // Who has gone away says it again, perhaps to another instance, which must count.
            if !written.is_closed() {
                add(&mut said, notice);
                answers.push(written);
            }
            let rows = said.started.len() + said.seen.len() + said.deployments.len();
            next = if rows < TOGETHER {
                waiting.try_recv().ok()
            } else {
                None
            };
        }
        let result = store.record(&said).await;
        if let Err(error) = &result {
            tracing::warn!(%error, notices = answers.len(), "what gateways said cannot be written");
        }
        told.send_replace(());
        let result = result.map_err(|error| RegistryError::Store(Arc::new(error)));
        for answer in answers {
            let _ = answer.send(result.clone());
        }
    }
}

/// Adds a notice to what was said before it: one that starts or ends has not said anything before.
fn add(said: &mut Said, notice: Notice) {
    match notice {
        Notice::Deployments(rows) => said.deployments.extend(rows),
        Notice::Gateway(NoticeKind::Heartbeat, row) => said.seen.push(row),
        Notice::Gateway(kind, row) => {
            let id = &row.gateway_id;
            said.deployments.retain(|row| row.gateway_id != *id);
            said.seen.retain(|row| row.gateway_id != *id);
            said.started.retain(|row| row.gateway_id != *id);
            if kind == NoticeKind::Register {
                said.started.push(row);
            } else {
                said.ended.push(row.gateway_id);
            }
        }
    }
}

fn gateway_row(notice: GatewayNotice, now: i64) -> GatewayRow {
    GatewayRow {
        gateway_id: notice.gateway_id,
        labels: notice.environment_labels,
        urls: notice.urls,
        tenants: notice.loading_tenants,
        properties: notice.gateway_properties,
        applied: notice.applied,
        registered: now,
        last_seen: now,
    }
}

/// `None` for a revision that is not named by its digest: another kind of gateway's.
fn deployment_row(notice: &DeploymentNotice) -> Option<DeploymentRow> {
    let state = match (notice.deployment_status.as_str(), notice.action) {
        ("SUCCESS", _) if notice.overridden => DeploymentState::Overridden,
        ("SUCCESS", DeploymentAction::Deploy) => DeploymentState::Deployed,
        ("SUCCESS", DeploymentAction::Undeploy) => DeploymentState::Undeployed,
        _ => DeploymentState::Failed,
    };
    let reason = match (&notice.error_code, &notice.error_message) {
        (Some(code), Some(message)) if !code.is_empty() => Some(format!("{code}: {message}")),
        (_, message) => message.clone(),
    };
    // Not every database takes every character.
    let reason = reason.map(|reason| {
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        reason.chars().take(MAX_REASON).map(shown).collect()
    });
    Some(DeploymentRow {
        gateway_id: notice.gateway_id.clone(),
        api_id: notice.api_id.clone(),
        revision: notice.revision,
        received: Digest::parse(&notice.revision_id).ok()?,
        deployed: notice.deployed_revision_id,
        state,
        reason,
        since: notice.time_stamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(id: &str, kind: NoticeKind) -> Notice {
        let notice = serde_json::json!({
            "payloadType": kind, "gatewayId": id, "environmentLabels": ["L1"], "timeStamp": 1,
        });
        Notice::Gateway(
            kind,
            gateway_row(serde_json::from_value(notice).unwrap(), 5),
        )
    }

    fn deployments(id: &str) -> Notice {
        let notice = serde_json::json!({
            "gatewayId": id, "apiId": "u", "tenantDomain": "carbon.super",
            "deploymentStatus": "SUCCESS", "action": "DEPLOY", "timeStamp": 1, "revision": 1,
            "revisionId": Digest::of(b"x"),
        });
        let notice: DeploymentNotice = serde_json::from_value(notice).unwrap();
        Notice::Deployments(vec![deployment_row(&notice).unwrap()])
    }

    #[test]
    fn what_a_gateway_said_before_it_started_or_ended_counts_no_more() {
        use NoticeKind::{Deregister, Heartbeat, Register};
        let mut said = Said::default();
        for notice in [
            gateway("a", Register),
            deployments("a"),
            gateway("b", Register),
            deployments("b"),
            gateway("a", Heartbeat),
            gateway("a", Deregister),
            gateway("b", Register),
            gateway("c", Heartbeat),
        ] {
            add(&mut said, notice);
        }
        let ids = |rows: &[GatewayRow]| -> Vec<String> {
            rows.iter().map(|row| row.gateway_id.clone()).collect()
        };
        assert_eq!(said.ended, ["a"]);
        assert_eq!(ids(&said.started), ["b"]);
        assert_eq!(ids(&said.seen), ["c"]);
        assert!(said.deployments.is_empty());
    }

    #[test]
    fn a_notice_in_the_shape_of_api_manager_is_read() {
        let notice: DeploymentNotice = serde_json::from_str(
            r#"{"gatewayId":"g","apiId":"u","tenantDomain":"carbon.super","deploymentStatus":"FAILURE",
                "timeStamp":1,"action":"DEPLOY","revisionId":"1b2f0c3e-revision","errorCode":"900967",
                "errorMessage":"General Error"}"#,
        )
        .unwrap();
        assert!(deployment_row(&notice).is_none(), "not a revision of ours");
        let ours = DeploymentNotice {
            revision_id: Digest::of(b"x").to_string(),
            ..notice
        };
        let row = deployment_row(&ours).unwrap();
        assert_eq!(row.state, DeploymentState::Failed);
        assert_eq!(row.reason.as_deref(), Some("900967: General Error"));
    }
}
