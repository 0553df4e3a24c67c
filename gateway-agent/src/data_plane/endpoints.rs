//! How the back ends of all deployed APIs stand: for operators and metrics.

use std::collections::BTreeMap;

use synapse::endpoint::EndpointStatus;

use crate::driver::Routes;

/// The endpoints of one deployed API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiEndpoints {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub endpoints: Vec<EndpointStatus>,
}

/// The endpoints of every API that answers requests, by API id. `now` is milliseconds since the
/// epoch.
#[must_use]
pub fn endpoint_states(routes: &Routes, now: i64) -> Vec<ApiEndpoints> {
    let table = routes.load();
    let deployments: BTreeMap<&str, _> = table
        .iter()
        .map(|(_, routed)| (routed.deployment.api_id.as_str(), &routed.deployment))
        .collect();
    deployments
        .into_values()
        .map(|deployment| ApiEndpoints {
            api_id: deployment.api_id.clone(),
            name: deployment.name.clone(),
            version: deployment.version.clone(),
            tenant_domain: deployment.tenant_domain.clone(),
            endpoints: deployment.plan.endpoint_states(now),
        })
        .collect()
}
