//! How far the gateways are with the newest revision of an API. Pure.

use artifact::{
    ApiOverview, Convergence, DeploymentState, DeploymentStatus, GatewayOverview, Label, Share,
};

/// Judges an API by what its gateways have said; `gateways` are all that there are.
pub(super) fn convergence(api: &ApiOverview, gateways: &[GatewayOverview]) -> Convergence {
    let (mut online, mut offline) = (Share::default(), Share::default());
    let mut missing = Vec::new();
    // Who has not loaded the tenant does not have to have the API.
    let loaded = |status: &&DeploymentStatus| status.state != DeploymentState::NotLoaded;
    for status in api.gateways.iter().filter(loaded) {
        let share = if status.online {
            &mut online
        } else {
            &mut offline
        };
        share.wanted += 1;
        if done(status) {
            share.done += 1;
        } else {
            missing.push(status.clone());
        }
    }
    let carried = |label: &&Label| gateways.iter().any(|g| g.labels.contains(label));
    let uncarried: Vec<Label> = api
        .labels
        .iter()
        .filter(|label| !carried(label))
        .cloned()
        .collect();
    Convergence {
        api_id: api.api_id.clone(),
        name: api.name.clone(),
        version: api.version.clone(),
        tenant_domain: api.tenant_domain.clone(),
        instruction: api.instruction,
        revision: api.revision,
        digest: api.digest,
        converged: missing.is_empty() && uncarried.is_empty(),
        online,
        offline,
        uncarried,
        missing,
    }
}

/// Both are said of the desired revision only: that it answers, or that the API was taken down.
fn done(status: &DeploymentStatus) -> bool {
    matches!(
        status.state,
        DeploymentState::Deployed | DeploymentState::Undeployed
    )
}

#[cfg(test)]
mod tests {
    use artifact::DeploymentState::{Deployed, Failed, NotLoaded, Pending, Undeployed};

    use super::super::rollout::tests::{api, gateway, status};
    use super::*;

    #[test]
    fn counts_those_that_are_there_apart_from_those_that_are_silent() {
        let statuses = vec![
            status("a", Deployed, true),
            status("b", Failed, true),
            status("c", Deployed, false),
            status("d", Pending, false),
            status("e", Undeployed, true),
            status("f", NotLoaded, true),
        ];
        let gateways = [gateway("a", &["L1"])];
        let made = convergence(&api(2, &["L1", "L2"], statuses), &gateways);
        assert_eq!(made.online, Share { done: 2, wanted: 3 });
        assert_eq!(made.offline, Share { done: 1, wanted: 2 });
        let missing: Vec<&str> = made.missing.iter().map(|s| s.gateway_id.as_str()).collect();
        assert_eq!(missing, ["b", "d"]);
        assert_eq!(made.uncarried, [Label::parse("L2").unwrap()]);
        assert!(!made.converged);
    }

    #[test]
    fn a_label_that_nobody_carries_is_not_converged() {
        let gateways = [gateway("a", &["L1"])];
        assert!(!convergence(&api(1, &["L2"], Vec::new()), &gateways).converged);
        let done = vec![status("a", Deployed, true)];
        assert!(convergence(&api(1, &["L1"], done), &gateways).converged);
        assert!(convergence(&api(1, &[], Vec::new()), &gateways).converged);
    }
}
