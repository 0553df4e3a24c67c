//! How the back ends of all deployed APIs stand: for operators and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metrics::gauge;
use synapse::endpoint::{EndpointStatus, State};
use tokio::time::MissedTickBehavior;

use crate::driver::Routes;

/// How often the metrics are brought up to date.
const EVERY: Duration = Duration::from_secs(10);

/// The endpoints of one deployed API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiEndpoints {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub endpoints: Vec<EndpointStatus>,
}

/// The endpoints of one API; none where it does not answer requests.
#[must_use]
pub fn endpoints_of(routes: &Routes, api_id: &str, now: i64) -> Vec<EndpointStatus> {
    let table = routes.load();
    let mut deployments = table.iter().map(|(_, routed)| &routed.deployment);
    let deployment = deployments.find(|deployment| deployment.api_id == api_id);
    deployment.map_or_else(Vec::new, |it| it.plan.endpoint_states(now))
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

/// Tells how many endpoints are in which state, and names those that are not ready; for good.
pub(crate) async fn measure(gateway: String, routes: Routes) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut named = BTreeSet::new();
    loop {
        ticks.tick().await;
        named = tell(
            &gateway,
            &endpoint_states(&routes, kit::clock::now_ms()),
            &named,
        );
    }
}

/// The labels of an endpoint that is not ready: tenant, API, version, endpoint.
type Named = [String; 4];

/// Returns those that it has named; those of `before` that are ready or gone become 0.
fn tell(gateway: &str, apis: &[ApiEndpoints], before: &BTreeSet<Named>) -> BTreeSet<Named> {
    let mut counts = [State::Active, State::Timeout, State::Suspended, State::Off]
        .map(|state| (state.as_str(), 0_u32));
    let mut unready = BTreeSet::new();
    for api in apis {
        for endpoint in &api.endpoints {
            for (state, count) in &mut counts {
                *count += u32::from(*state == endpoint.state.as_str());
            }
            if !endpoint.ready {
                unready.insert([
                    api.tenant_domain.clone(),
                    api.name.clone(),
                    api.version.clone(),
                    endpoint.name.clone(),
                ]);
            }
        }
    }
    for (state, count) in counts {
        gauge!("lockstep_endpoints", "gateway" => gateway.to_owned(), "state" => state)
            .set(f64::from(count));
    }
    for named in unready.union(before) {
        let [tenant, api, version, endpoint] = named.clone();
        let value = f64::from(u8::from(unready.contains(named)));
        gauge!(
            "lockstep_endpoint_unready",
            "gateway" => gateway.to_owned(),
            "tenant" => tenant, "api" => api, "version" => version, "endpoint" => endpoint
        )
        .set(value);
    }
    unready
}

#[cfg(test)]
mod tests {
    use synapse::endpoint::Kind;

    use super::*;

    #[test]
    fn what_is_ready_again_is_not_named_any_more() {
        let apis = |ready| {
            let endpoint = EndpointStatus {
                name: "E".into(),
                kind: Kind::Http,
                state: if ready {
                    State::Active
                } else {
                    State::Suspended
                },
                ready,
                next_retry: None,
                children: Vec::new(),
            };
            [ApiEndpoints {
                api_id: "a".into(),
                name: "A".into(),
                version: "1".into(),
                tenant_domain: "t".into(),
                endpoints: vec![endpoint],
            }]
        };
        let named = tell("g", &apis(false), &BTreeSet::new());
        let [only] = <[Named; 1]>::try_from(named.iter().cloned().collect::<Vec<_>>()).unwrap();
        assert_eq!(only, ["t", "A", "1", "E"]);
        assert!(tell("g", &apis(true), &named).is_empty());
    }
}
