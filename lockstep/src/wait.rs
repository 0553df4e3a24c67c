//! Waiting until every gateway has done what was published.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use artifact::{ApiOverview, DeploymentState, GatewayOverview, Label, Overview};
use serde::Serialize;
use tokio::time::Instant;

use crate::control::{Control, Refused};

/// How the wait ended.
#[derive(Clone, Debug, Serialize)]
pub struct Waited {
    pub converged: bool,
    /// Milliseconds.
    pub took: u64,
    /// Gateways that have deployed something of what was waited for.
    pub deployed: usize,
    /// Gateways that have undeployed something of it.
    pub undeployed: usize,
    /// Gateways that have not loaded the tenant of something of it, and are not waited for.
    pub not_loaded: usize,
    /// Why not: one line for each gateway and API.
    pub missing: Vec<Missing>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    pub api: String,
    /// `None`: it is not about one gateway.
    pub gateway: Option<String>,
    pub reason: String,
}

/// Waits until all gateways have done these revisions (by API id), or newer ones.
///
/// Ends early when nothing can change any more: every gateway that has not deployed has refused.
/// A traffic manager that fails to answer is asked again until the time is over.
pub async fn converged(
    control: &Control,
    wanted: &HashMap<String, u64>,
    limit: Duration,
) -> anyhow::Result<Waited> {
    let started = Instant::now();
    let ids: Vec<String> = wanted.keys().cloned().collect();
    let mut pause = Duration::from_millis(20);
    if wanted.is_empty() {
        let nothing = Overview {
            gateways: Vec::new(),
            apis: Vec::new(),
        };
        return Ok(judge(&nothing, wanted).0);
    }
    loop {
        let over = started.elapsed() >= limit;
        match control.overview(Some(&ids)).await {
            Err(error) if over || error.is::<Refused>() => return Err(error),
            Err(_) => {}
            Ok(overview) => {
                let (mut waited, pending) = judge(&overview, wanted);
                if over || !pending {
                    let took = started.elapsed().as_millis();
                    waited.took = u64::try_from(took).unwrap_or(u64::MAX);
                    return Ok(waited);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// How far the gateways are, and whether anything can still change.
fn judge(overview: &Overview, wanted: &HashMap<String, u64>) -> (Waited, bool) {
    let mut waited = Waited {
        converged: false,
        took: 0,
        deployed: 0,
        undeployed: 0,
        not_loaded: 0,
        missing: Vec::new(),
    };
    let mut seen = 0;
    let mut pending = false;
    let (mut deployed, mut undeployed) = (BTreeSet::new(), BTreeSet::new());
    let mut not_loaded = BTreeSet::new();
    for api in &overview.apis {
        if wanted.get(&api.api_id).is_none_or(|n| api.revision < *n) {
            continue;
        }
        seen += 1;
        let lacking = missing(api, &overview.gateways);
        // A gateway that carries the label may still be starting.
        pending |= lacking.iter().any(|missing| missing.gateway.is_none());
        waited.missing.extend(lacking);
        for status in &api.gateways {
            pending |= status.state == DeploymentState::Pending;
            match status.state {
                DeploymentState::Deployed => deployed.insert(&status.gateway_id),
                DeploymentState::Undeployed => undeployed.insert(&status.gateway_id),
                DeploymentState::NotLoaded => not_loaded.insert(&status.gateway_id),
                DeploymentState::Pending
                | DeploymentState::Failed
                | DeploymentState::Overridden => false,
            };
        }
    }
    if seen < wanted.len() {
        pending = true;
        waited.missing.push(Missing {
            api: format!("{} API(s)", wanted.len() - seen),
            gateway: None,
            reason: "the traffic manager does not know the revision yet".to_owned(),
        });
    }
    waited.converged = waited.missing.is_empty();
    (waited.deployed, waited.undeployed) = (deployed.len(), undeployed.len());
    waited.not_loaded = not_loaded.len();
    (waited, pending)
}

/// What is missing of one API: gateways that have not done it, labels that no gateway carries.
pub fn missing(api: &ApiOverview, gateways: &[GatewayOverview]) -> Vec<Missing> {
    let name = format!("{} {}", api.name, api.version);
    let carried = |label: &&Label| gateways.iter().any(|g| g.labels.contains(label));
    let nobody = api.labels.iter().filter(|label| !carried(label));
    let mut missing: Vec<Missing> = nobody
        .map(|label| Missing {
            api: name.clone(),
            gateway: None,
            reason: format!("no gateway carries the label {label}"),
        })
        .collect();
    for status in &api.gateways {
        let reason = match (status.state, &status.reason) {
            (DeploymentState::Failed, Some(reason)) => format!("refused: {reason}"),
            (DeploymentState::Pending, None) => "has not answered yet".to_owned(),
            (DeploymentState::Failed, None) => "refused".to_owned(),
            (DeploymentState::Overridden, reason) => {
                let reason = reason.as_deref().unwrap_or("by an operator on the gateway");
                format!("overridden: {reason}")
            }
            (DeploymentState::Pending, Some(_)) if !status.online => offline(&status.gateway_id),
            (DeploymentState::Pending, Some(reason)) => reason.clone(),
            (DeploymentState::Deployed | DeploymentState::Undeployed, _) if !status.online => {
                offline(&status.gateway_id)
            }
            (DeploymentState::Deployed | DeploymentState::Undeployed, _)
            // It is brought by the first request that needs it.
            | (DeploymentState::NotLoaded, _) => continue,
        };
        missing.push(Missing {
            api: name.clone(),
            gateway: Some(status.gateway_id.clone()),
            reason,
        });
    }
    missing
}

fn offline(gateway_id: &str) -> String {
    format!(
        "offline, no heartbeat: start it again, or if it is gone for good: \
         lockstep forget {gateway_id}"
    )
}
