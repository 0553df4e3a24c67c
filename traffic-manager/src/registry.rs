//! Gateways that speak up: registration, heartbeats, deployment status.

use artifact::{
    DeploymentAction, DeploymentNotice, DeploymentNotices, DeploymentState, GatewayNotice,
    GatewayNoticeReply, NoticeKind, NoticesReply,
};
use store::{DeploymentRow, StoreError};

use crate::TrafficManager;

/// Records a registration or heartbeat; forgets a gateway that ends.
pub(crate) async fn gateway(
    manager: &TrafficManager,
    notice: &GatewayNotice,
    now: i64,
) -> Result<GatewayNoticeReply, StoreError> {
    if notice.payload_type == NoticeKind::Deregister {
        manager.store.forget_gateway(&notice.gateway_id).await?;
    } else {
        manager.store.record_gateway(notice, now).await?;
    }
    let status = match notice.payload_type {
        NoticeKind::Register => "REGISTERED",
        NoticeKind::Heartbeat => "ACKNOWLEDGED",
        NoticeKind::Deregister => "DEREGISTERED",
    };
    Ok(GatewayNoticeReply {
        status: status.to_owned(),
        gateway_id: notice.gateway_id.clone(),
    })
}

/// Records what gateways did.
pub(crate) async fn deployments(
    manager: &TrafficManager,
    notices: &DeploymentNotices,
) -> Result<NoticesReply, StoreError> {
    let rows: Vec<DeploymentRow> = notices.list.iter().map(row).collect();
    manager.store.record_deployments(&rows).await?;
    Ok(NoticesReply {
        status: "RECEIVED".to_owned(),
    })
}

fn row(notice: &DeploymentNotice) -> DeploymentRow {
    let state = match (notice.deployment_status.as_str(), notice.action) {
        ("SUCCESS", DeploymentAction::Deploy) => DeploymentState::Deployed,
        ("SUCCESS", DeploymentAction::Undeploy) => DeploymentState::Undeployed,
        _ => DeploymentState::Failed,
    };
    DeploymentRow {
        gateway_id: notice.gateway_id.clone(),
        api_id: notice.api_id.clone(),
        revision: notice.revision,
        received: notice.revision_id,
        deployed: notice.deployed_revision_id,
        state,
        reason: notice.error_message.clone(),
        since: notice.time_stamp,
    }
}
