//! Waiting until every gateway has done what was published.

use std::collections::HashMap;
use std::time::Duration;

use artifact::{ApiOverview, DeploymentState, Instruction};
use serde::Serialize;
use tokio::time::Instant;

use crate::control::Control;

/// How the wait ended.
#[derive(Clone, Debug, Serialize)]
pub struct Waited {
    pub converged: bool,
    /// Milliseconds.
    pub took: u64,
    /// Gateways that have done everything.
    pub gateways: usize,
    /// Why not: one line for each gateway and API.
    pub missing: Vec<Missing>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    pub api: String,
    /// `None`: no gateway carries a label of the API.
    pub gateway: Option<String>,
    pub reason: String,
}

/// Waits until all gateways have deployed these revisions (by API id), or newer ones.
///
/// Ends early when nothing can change any more: every gateway that has not deployed has refused.
pub async fn converged(
    control: &Control,
    wanted: &HashMap<String, u64>,
    limit: Duration,
) -> anyhow::Result<Waited> {
    let started = Instant::now();
    let ids: Vec<String> = wanted.keys().cloned().collect();
    loop {
        let overview = control.overview(Some(&ids)).await?;
        let apis: Vec<&ApiOverview> = overview
            .apis
            .iter()
            .filter(|api| wanted.get(&api.api_id).is_some_and(|n| api.revision >= *n))
            .collect();
        let missing: Vec<Missing> = apis.iter().flat_map(|api| missing(api)).collect();
        let pending = apis.len() < ids.len()
            || apis.iter().any(|api| {
                api.gateways
                    .iter()
                    .any(|g| g.state == DeploymentState::Pending)
            });
        let over = started.elapsed() >= limit;
        if over || !pending {
            let gateways: std::collections::BTreeSet<&str> = apis
                .iter()
                .flat_map(|api| &api.gateways)
                .map(|status| status.gateway_id.as_str())
                .collect();
            return Ok(Waited {
                converged: missing.is_empty() && !pending,
                took: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                gateways: gateways.len(),
                missing,
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is missing of one API.
pub fn missing(api: &ApiOverview) -> Vec<Missing> {
    let name = format!("{} {}", api.name, api.version);
    if api.gateways.is_empty() && api.instruction == Instruction::Publish {
        let labels: Vec<&str> = api.labels.iter().map(artifact::Label::as_str).collect();
        return vec![Missing {
            api: name,
            gateway: None,
            reason: format!("no gateway carries the label {}", labels.join(", ")),
        }];
    }
    let of = |status: &artifact::DeploymentStatus| {
        let reason = match (status.state, &status.reason) {
            (DeploymentState::Failed, Some(reason)) => format!("refused: {reason}"),
            (_, Some(reason)) => reason.clone(),
            (DeploymentState::Pending, None) => "has not answered yet".to_owned(),
            (state, None) => state.as_str().to_owned(),
        };
        Missing {
            api: name.clone(),
            gateway: Some(status.gateway_id.clone()),
            reason,
        }
    };
    api.gateways
        .iter()
        .filter(|status| {
            matches!(
                status.state,
                DeploymentState::Pending | DeploymentState::Failed
            )
        })
        .map(of)
        .collect()
}
