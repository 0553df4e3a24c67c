//! Whether enough gateways have a revision deployed. Pure.

use std::str::FromStr;

use artifact::{
    ApiOverview, DeploymentState, DeploymentStatus, GatewayOverview, Instruction, Rollout,
};

/// How many gateways are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quorum {
    /// At least 1.
    Gateways(usize),
    /// 1 to 100, of those that should have it.
    Percent(usize),
}

impl Quorum {
    /// What is a quorum.
    pub(super) const RULE: &str = "a number of gateways of at least 1, or 1% to 100%";
    pub(super) const ALL: Self = Self::Percent(100);

    /// How many of so many.
    fn of(self, wanted: usize) -> usize {
        match self {
            Self::Gateways(number) => number,
            Self::Percent(percent) => wanted.saturating_mul(percent).div_ceil(100).max(1),
        }
    }
}

/// It is none.
#[derive(Debug)]
pub(super) struct NoQuorum;

impl FromStr for Quorum {
    type Err = NoQuorum;

    fn from_str(text: &str) -> Result<Self, NoQuorum> {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        match text.strip_suffix('%') {
            Some(percent) => number(percent)
                .filter(|percent| *percent <= 100)
                .map(Self::Percent),
            None => number(text).map(Self::Gateways),
        }
        .ok_or(NoQuorum)
    }
}

/// How far the gateways are with a revision, and whether that can be the end of the wait.
pub(super) fn judge(
    api: &ApiOverview,
    gateways: &[GatewayOverview],
    revision: u64,
    quorum: Quorum,
) -> (Rollout, bool) {
    // Those that carry a label that publishes it; others have it taken down.
    let carries = |status: &&DeploymentStatus| {
        gateways.iter().any(|gateway| {
            gateway.gateway_id == status.gateway_id
                && gateway
                    .labels
                    .iter()
                    .any(|label| api.labels.contains(label))
        })
    };
    // Who has not loaded its tenant does not have to have it.
    let (wanted, lazy): (Vec<&DeploymentStatus>, Vec<_>) = api
        .gateways
        .iter()
        .filter(carries)
        .partition(|status| status.state != DeploymentState::NotLoaded);
    let nobody = wanted.is_empty() && !lazy.is_empty();
    let superseded = superseded(api, revision);
    // What is said of a newer revision says nothing about this one.
    let has = |status: &&&DeploymentStatus| {
        superseded.is_none() && status.state == DeploymentState::Deployed
    };
    let deployed = wanted.iter().filter(has).count();
    let enough = match quorum {
        // A share of nobody: the first request brings the newest revision.
        Quorum::Percent(_) if nobody => 0,
        quorum => quorum.of(wanted.len()),
    };
    let carried = !wanted.is_empty() || nobody;
    let reached = superseded.is_none() && carried && deployed >= enough;
    let reason = match &superseded {
        Some(superseded) => Some(superseded.clone()),
        None if reached => None,
        None if !carried => Some("no gateway carries a label that publishes the API".to_owned()),
        None if enough > wanted.len() => Some(format!(
            "{enough} gateway(s) are asked for; {} carry a label that publishes the API{}",
            wanted.len(),
            if lazy.is_empty() {
                ""
            } else {
                " and have loaded its tenant"
            }
        )),
        None => Some(format!(
            "{deployed} of {} gateway(s) have deployed it; {enough} are enough",
            wanted.len()
        )),
    };
    let missing = wanted.iter().filter(|status| !has(status));
    let over = reached || superseded.is_some();
    let rollout = Rollout {
        api_id: api.api_id.clone(),
        revision,
        reached,
        deployed,
        wanted: wanted.len(),
        quorum: enough,
        missing: missing.copied().cloned().collect(),
        superseded,
        reason,
    };
    (rollout, over)
}

fn superseded(api: &ApiOverview, revision: u64) -> Option<String> {
    match (api.instruction, api.revision) {
        (Instruction::Remove, removal) => Some(format!("the API was removed (revision {removal})")),
        (Instruction::Publish, newest) if newest > revision => {
            Some(format!("revision {newest} was published"))
        }
        (Instruction::Publish, _) => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use DeploymentState::{Deployed, Failed, NotLoaded, Pending, Undeployed};
    use artifact::{Digest, GatewayStatus, Label};

    use super::*;

    pub(crate) fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    pub(crate) fn status(id: &str, state: DeploymentState, online: bool) -> DeploymentStatus {
        DeploymentStatus {
            gateway_id: id.into(),
            state,
            desired: Digest::of(b"2"),
            received: None,
            deployed: None,
            reason: None,
            since: None,
            online,
        }
    }

    pub(crate) fn gateway(id: &str, labels: &[&str]) -> GatewayOverview {
        GatewayOverview {
            gateway_id: id.into(),
            labels: labels.iter().map(|name| label(name)).collect(),
            urls: Vec::new(),
            status: GatewayStatus::Online,
            registered: 0,
            last_seen: 0,
            other: None,
        }
    }

    pub(crate) fn api(
        revision: u64,
        labels: &[&str],
        gateways: Vec<DeploymentStatus>,
    ) -> ApiOverview {
        ApiOverview {
            api_id: "u".into(),
            name: "A".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            context: "/a".into(),
            instruction: Instruction::Publish,
            revision,
            digest: Digest::of(b"2"),
            labels: labels.iter().map(|name| label(name)).collect(),
            saved: 0,
            gateways,
        }
    }

    #[test]
    fn a_quorum_is_a_number_or_a_share() {
        for (text, wanted, enough) in [
            ("1", 9, 1),
            ("12", 9, 12),
            ("100%", 9, 9),
            ("80%", 9, 8),
            ("80%", 5, 4),
            ("1%", 3, 1),
            ("50%", 0, 1),
        ] {
            let quorum: Quorum = text.parse().unwrap();
            assert_eq!(quorum.of(wanted), enough, "{text} of {wanted}");
        }
        for text in ["", "0", "-1", "0%", "101%", "%", "1.5", "all"] {
            assert!(text.parse::<Quorum>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_reached_when_enough_of_those_that_should_have_it_have_it() {
        let gateways = [
            gateway("a", &["L1"]),
            gateway("b", &["L1", "L2"]),
            gateway("c", &["L1"]),
            gateway("d", &["L2"]),
        ];
        let statuses = vec![
            status("a", Deployed, true),
            status("b", Failed, true),
            status("c", Deployed, false),
            status("d", Undeployed, true),
        ];
        let api = api(2, &["L1"], statuses);
        let judged = |quorum: &str| judge(&api, &gateways, 2, quorum.parse().unwrap());
        let (rollout, over) = judged("100%");
        assert_eq!((rollout.deployed, rollout.wanted, over), (2, 3, false));
        assert_eq!(rollout.missing[0].gateway_id, "b");
        assert_eq!(rollout.missing.len(), 1);
        let reason = rollout.reason.unwrap();
        assert_eq!(reason, "2 of 3 gateway(s) have deployed it; 3 are enough");
        for (quorum, reached) in [("2", true), ("66%", true), ("67%", false), ("4", false)] {
            let (rollout, over) = judged(quorum);
            assert_eq!((rollout.reached, over), (reached, reached), "{quorum}");
            assert_eq!(rollout.reason.is_none(), reached);
        }
    }

    #[test]
    fn who_has_not_loaded_the_tenant_is_not_waited_for() {
        let gateways = [gateway("a", &["L1"]), gateway("b", &["L1"])];
        let judged = |state, quorum: &str| {
            let statuses = vec![status("a", state, true), status("b", NotLoaded, true)];
            judge(
                &api(2, &["L1"], statuses),
                &gateways,
                2,
                quorum.parse().unwrap(),
            )
        };
        let (rollout, over) = judged(Deployed, "100%");
        assert_eq!((rollout.deployed, rollout.wanted, over), (1, 1, true));
        assert!(!judged(Pending, "100%").1);
        // Nobody has: the first request brings it.
        let (rollout, over) = judged(NotLoaded, "100%");
        assert_eq!((rollout.wanted, rollout.quorum, over), (0, 0, true));
        assert!(rollout.reached && rollout.reason.is_none());
        let (rollout, over) = judged(NotLoaded, "1");
        assert!(!over);
        assert_eq!(
            rollout.reason.as_deref(),
            Some(
                "1 gateway(s) are asked for; 0 carry a label that publishes the API and have \
                 loaded its tenant"
            )
        );
    }

    #[test]
    fn nobody_is_not_enough() {
        let gateways = [gateway("a", &["L2"])];
        let (rollout, over) = judge(&api(2, &["L1"], Vec::new()), &gateways, 2, Quorum::ALL);
        assert!(!rollout.reached && !over, "a gateway may still come");
        assert_eq!(rollout.wanted, 0);
        let reason = rollout.reason.unwrap();
        assert_eq!(reason, "no gateway carries a label that publishes the API");
    }

    #[test]
    fn a_newer_revision_or_a_removal_ends_the_wait() {
        let gateways = [gateway("a", &["L1"])];
        let newer = api(3, &["L1"], vec![status("a", Deployed, true)]);
        let (rollout, over) = judge(&newer, &gateways, 2, Quorum::ALL);
        assert!(over && !rollout.reached);
        assert_eq!((rollout.deployed, rollout.missing.len()), (0, 1));
        assert_eq!(
            rollout.superseded.as_deref(),
            Some("revision 3 was published")
        );
        let removed = ApiOverview {
            instruction: Instruction::Remove,
            ..api(3, &[], vec![status("a", Pending, true)])
        };
        let (rollout, over) = judge(&removed, &gateways, 2, Quorum::ALL);
        assert!(over && !rollout.reached);
        let superseded = rollout.superseded.unwrap();
        assert_eq!(superseded, "the API was removed (revision 3)");
    }
}
