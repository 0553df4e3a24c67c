//! Gateways that speak up: registration, heartbeats, deployment status.
//!
//! Notices that come in together are written together: a thousand gateways that start at once cost
//! few transactions. Each is answered when what it said is committed. What counts of it `batch` decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use artifact::{
    CONFLICT, DeploymentAction, DeploymentNotice, DeploymentNotices, DeploymentState, Digest,
    GatewayNotice, GatewayNoticeReply, NoticeKind, NoticesReply, UNREGISTERED,
};
use store::{DeploymentRow, GatewayRow, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::batch::{Batch, Notice};
use crate::instances::{self, Standing};

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
    written: oneshot::Sender<Result<Standing, RegistryError>>,
}

impl Registry {
    /// `expiry` is how long a gateway may be silent, milliseconds.
    pub(crate) fn new(store: Store, expiry: i64) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let written = watch::Sender::new(());
        tokio::spawn(write(store, expiry, waiting, written.clone()));
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
        let (kind, gateway_id) = (notice.payload_type, notice.gateway_id.clone());
        let notice = Notice::Gateway(kind, gateway_row(notice, now));
        let status = match (kind, self.put(notice).await?) {
            (NoticeKind::Register, _) => "REGISTERED",
            (NoticeKind::Deregister, _) => "DEREGISTERED",
            (NoticeKind::Heartbeat, Standing::Speaks) => "ACKNOWLEDGED",
            (NoticeKind::Heartbeat, Standing::Unregistered) => UNREGISTERED,
            (NoticeKind::Heartbeat, Standing::Conflict) => CONFLICT,
        };
        Ok(GatewayNoticeReply {
            status: status.to_owned(),
            gateway_id,
            accepted_repairs: Vec::new(),
        })
    }

    /// Records what gateways did. Notices that name no revision of Lockstep's say nothing about
    /// one; when all are such, the batch is dropped, and the reply says so.
    pub(crate) async fn deployments(
        &self,
        notices: &DeploymentNotices,
    ) -> Result<NoticesReply, RegistryError> {
        let rows: Vec<DeploymentRow> = notices.list.iter().filter_map(deployment_row).collect();
        let mut dropped = rows.is_empty() && !notices.list.is_empty();
        if !rows.is_empty() {
            let notice = Notice::Deployments(notices.instance.clone(), rows);
            dropped = self.put(notice).await? != Standing::Speaks;
        }
        let status = if dropped { "DROPPED" } else { "RECEIVED" };
        Ok(NoticesReply {
            status: status.to_owned(),
        })
    }

    async fn put(&self, notice: Notice) -> Result<Standing, RegistryError> {
        let (written, answer) = oneshot::channel();
        let waiting = Waiting { notice, written };
        let put = self.queue.try_send(waiting);
        put.map_err(|_| RegistryError::Full)?;
        answer.await.unwrap_or(Err(RegistryError::Full))
    }
}

/// Writes what waits, again and again.
async fn write(
    store: Store,
    expiry: i64,
    mut waiting: mpsc::Receiver<Waiting>,
    told: watch::Sender<()>,
) {
    while let Some(first) = waiting.recv().await {
        let mut notices = Vec::new();
        let mut rows = 0;
        let mut next = Some(first);
        while let Some(waits) = next {
            // Who has gone away says it again, perhaps to another instance, which must count.
            if !waits.written.is_closed() {
                rows += waits.notice.rows();
                notices.push(waits);
            }
            next = if rows < TOGETHER {
                waiting.try_recv().ok()
            } else {
                None
            };
        }
        let result = write_together(&store, expiry, &mut notices).await;
        if let Err(error) = &result {
            tracing::warn!(%error, notices = notices.len(), "what gateways said cannot be written");
        }
        told.send_replace(());
        match result {
            Ok(standings) => {
                for (waits, standing) in notices.into_iter().zip(standings) {
                    let _ = waits.written.send(Ok(standing));
                }
            }
            Err(error) => {
                let error = RegistryError::Store(Arc::new(error));
                for waits in notices {
                    let _ = waits.written.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Writes notices, which are taken, and tells how those who said them stand.
async fn write_together(
    store: &Store,
    expiry: i64,
    notices: &mut [Waiting],
) -> Result<Vec<Standing>, StoreError> {
    let ids: BTreeSet<&str> = notices
        .iter()
        .flat_map(|waits| waits.notice.ids())
        .collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let known = if ids.is_empty() {
        Vec::new()
    } else {
        store.gateways_of(&ids).await?
    };
    let mut batch = Batch::new(known, kit::clock::now_ms(), expiry);
    let nothing = || Notice::Deployments(None, Vec::new());
    let standings = notices
        .iter_mut()
        .map(|waits| batch.add(std::mem::replace(&mut waits.notice, nothing())))
        .collect();
    store.record(&batch.said).await?;
    Ok(standings)
}

pub(crate) fn gateway_row(mut notice: GatewayNotice, now: i64) -> GatewayRow {
    instances::without_note(&mut notice.gateway_properties);
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
pub(crate) fn deployment_row(notice: &DeploymentNotice) -> Option<DeploymentRow> {
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
