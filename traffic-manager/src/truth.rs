//! Truth per gateway and API, made from what was saved and what gateways said. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::instances;
use artifact::{
    ApiOverview, DeploymentState, DeploymentStatus, GatewayOverview, GatewayStatus, Instruction,
    Label, Overview, TenantList,
};
use store::{ApiRow, DeploymentRow, GatewayRow, LabelRow, Snapshot};

/// Puts the rows together. `expiry` is how long a gateway may be silent, milliseconds.
#[must_use]
pub fn overview(rows: &Snapshot, now: i64, expiry: i64) -> Overview {
    let Snapshot {
        apis,
        labels,
        gateways,
        deployments,
    } = rows;
    let mut by_api: HashMap<&str, Vec<&LabelRow>> = HashMap::new();
    for row in labels {
        by_api.entry(&row.api_id).or_default().push(row);
    }
    let said: HashMap<(&str, &str), &DeploymentRow> = deployments
        .iter()
        .map(|row| ((row.gateway_id.as_str(), row.api_id.as_str()), row))
        .collect();
    let online = |gateway: &GatewayRow| online(gateway, now, expiry);
    let overview_of = |api: &ApiRow| {
        let rows = by_api
            .get(api.api_id.as_str())
            .map_or(&[][..], Vec::as_slice);
        let published: BTreeSet<&Label> = rows
            .iter()
            .filter(|row| row.instruction == Instruction::Publish)
            .map(|row| &row.label)
            .collect();
        ApiOverview {
            api_id: api.api_id.clone(),
            name: api.name.clone(),
            version: api.version.clone(),
            tenant_domain: api.tenant_domain.clone(),
            context: api.context.clone(),
            instruction: api.instruction,
            revision: api.revision,
            digest: api.digest,
            labels: published.into_iter().cloned().collect(),
            saved: api.saved,
            gateways: gateways
                .iter()
                .filter_map(|gateway| {
                    let desired = desired(rows, &gateway.labels)?;
                    let row = said.get(&(gateway.gateway_id.as_str(), api.api_id.as_str()));
                    let loaded = has_loaded(gateway, &api.tenant_domain);
                    let row = row.copied();
                    Some(status(gateway, row, desired, loaded, online(gateway)))
                })
                .collect(),
        }
    };
    Overview {
        gateways: gateways
            .iter()
            .map(|row| gateway(row, now, expiry))
            .collect(),
        apis: apis.iter().map(overview_of).collect(),
    }
}

/// Whether a gateway has sent a heartbeat within the expiry time.
pub(crate) fn online(gateway: &GatewayRow, now: i64, expiry: i64) -> bool {
    now - gateway.last_seen <= expiry
}

pub(crate) fn gateway(row: &GatewayRow, now: i64, expiry: i64) -> GatewayOverview {
    GatewayOverview {
        gateway_id: row.gateway_id.clone(),
        labels: row.labels.clone(),
        urls: row.urls.clone(),
        status: if online(row, now, expiry) {
            GatewayStatus::Online
        } else {
            GatewayStatus::Offline
        },
        registered: row.registered,
        last_seen: row.last_seen,
        other: instances::other(row, now, expiry),
    }
}

/// What a gateway with these labels should run of an API: the newest Publish of any of them, a
/// Remove only when no label has it any more; nothing when none of them ever had it.
pub(crate) fn desired<'a>(rows: &[&'a LabelRow], labels: &[Label]) -> Option<&'a LabelRow> {
    let carried = || rows.iter().filter(|row| labels.contains(&row.label));
    let newest = |instruction| {
        carried()
            .filter(|row| row.instruction == instruction)
            .max_by_key(|row| row.revision)
            .copied()
    };
    newest(Instruction::Publish).or_else(|| newest(Instruction::Remove))
}

/// Whether a gateway has loaded a tenant, by its own word.
pub(crate) fn has_loaded(gateway: &GatewayRow, tenant: &str) -> bool {
    let items = gateway.tenants.iter().map(String::as_str);
    // What is no such list is another gateway's way of telling.
    gateway.tenants.is_empty() || TenantList::of(items).is_ok_and(|list| list.has(tenant))
}

/// How an API stands on a gateway that should have done `desired`; `loaded` tells whether it has
/// loaded the API's tenant.
pub(crate) fn status(
    gateway: &GatewayRow,
    said: Option<&DeploymentRow>,
    desired: &LabelRow,
    loaded: bool,
    online: bool,
) -> DeploymentStatus {
    let current = said.filter(|row| {
        let fits = match desired.instruction {
            Instruction::Publish => row.state != DeploymentState::Undeployed,
            Instruction::Remove => row.state == DeploymentState::Undeployed,
        };
        row.received == desired.digest && fits
    });
    // What it said before it unloaded the tenant is not true any more; that an API is gone, is.
    let gone = current.is_some_and(|row| row.state == DeploymentState::Undeployed);
    if !loaded && !gone {
        return DeploymentStatus {
            gateway_id: gateway.gateway_id.clone(),
            state: DeploymentState::NotLoaded,
            desired: desired.digest,
            received: said.map(|row| row.received),
            deployed: None,
            reason: Some("tenant not loaded".to_owned()),
            since: said.map(|row| row.since),
            online,
        };
    }
    let reason = match (current, online) {
        (Some(row), _) => row.reason.clone(),
        (None, false) => Some("offline: no heartbeat".to_owned()),
        (None, true) => None,
    };
    DeploymentStatus {
        gateway_id: gateway.gateway_id.clone(),
        state: current.map_or(DeploymentState::Pending, |row| row.state),
        desired: desired.digest,
        received: said.map(|row| row.received),
        deployed: said.and_then(|row| row.deployed),
        reason,
        since: said.map(|row| row.since),
        online,
    }
}

#[cfg(test)]
mod tests {
    use artifact::Digest;

    use super::*;

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn gateway(id: &str, labels: &[&str], last_seen: i64) -> GatewayRow {
        GatewayRow {
            gateway_id: id.into(),
            labels: labels.iter().map(|name| label(name)).collect(),
            urls: Vec::new(),
            tenants: Vec::new(),
            properties: serde_json::Map::new(),
            applied: std::collections::BTreeMap::new(),
            registered: 0,
            last_seen,
        }
    }

    fn entry(name: &str, instruction: Instruction, revision: u64) -> LabelRow {
        LabelRow {
            label: label(name),
            api_id: "u".into(),
            seq: revision,
            instruction,
            revision,
            digest: digest(&revision.to_string()),
        }
    }

    fn said(gateway: &str, received: &str, state: DeploymentState) -> DeploymentRow {
        DeploymentRow {
            gateway_id: gateway.into(),
            api_id: "u".into(),
            revision: 1,
            received: digest(received),
            deployed: None,
            state,
            reason: Some("why".into()),
            since: 5,
        }
    }

    fn api() -> ApiRow {
        ApiRow {
            api_id: "u".into(),
            name: "A".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            context: "/a".into(),
            instruction: Instruction::Publish,
            revision: 2,
            digest: digest("2"),
            saved: 0,
            announced: None,
        }
    }

    #[test]
    fn a_tenant_that_is_not_loaded_is_waited_for_by_nobody() {
        let with = |id: &str, tenants: &[&str]| GatewayRow {
            tenants: tenants.iter().map(|name| (*name).to_owned()).collect(),
            ..gateway(id, &["L1"], 100)
        };
        let of = |tenant: &str| ApiRow {
            tenant_domain: tenant.into(),
            ..api()
        };
        let states = |api: ApiRow, instruction, deployments: Vec<DeploymentRow>| {
            let rows = Snapshot {
                apis: vec![ApiRow { instruction, ..api }],
                labels: vec![entry("L1", instruction, 2)],
                gateways: vec![
                    with("all", &[]),
                    with("named", &["carbon.super", "a"]),
                    with("excluded", &["*", "!a"]),
                ],
                deployments,
            };
            let made = overview(&rows, 100, 50);
            let converged = made.apis[0].converged();
            let states = made.apis[0].gateways.iter().map(|status| status.state);
            (states.collect::<Vec<_>>(), converged)
        };
        use DeploymentState::{Deployed, NotLoaded, Pending, Undeployed};
        let all = || ["all", "named", "excluded"].map(|id| said(id, "2", Deployed));
        let publish = Instruction::Publish;
        assert_eq!(
            states(of("carbon.super"), publish, all().into()),
            (vec![Deployed; 3], true)
        );
        assert_eq!(
            states(of("a"), publish, all().into()),
            (vec![Deployed, Deployed, NotLoaded], true)
        );
        assert_eq!(
            states(of("b"), publish, Vec::new()),
            (vec![Pending, NotLoaded, Pending], false)
        );
        let gone = ["all", "named", "excluded"].map(|id| said(id, "2", Undeployed));
        assert_eq!(
            states(of("a"), Instruction::Remove, gone.into()),
            (vec![Undeployed; 3], true)
        );
    }

    #[test]
    fn tells_for_each_gateway_of_the_labels_how_far_it_is() {
        let rows = Snapshot {
            apis: vec![api()],
            labels: vec![
                entry("L1", Instruction::Publish, 2),
                entry("L2", Instruction::Remove, 2),
            ],
            gateways: vec![
                gateway("done", &["L1"], 100),
                gateway("refused", &["L1", "L2"], 100),
                gateway("behind", &["L1"], 100),
                gateway("gone", &["L1"], 0),
                gateway("removed", &["L2"], 100),
                gateway("other", &["L3"], 100),
            ],
            deployments: vec![
                said("done", "2", DeploymentState::Deployed),
                said("refused", "2", DeploymentState::Failed),
                said("behind", "1", DeploymentState::Deployed),
                said("removed", "2", DeploymentState::Undeployed),
            ],
        };
        let made = overview(&rows, 100, 50);
        let api = &made.apis[0];
        let states: Vec<_> = api
            .gateways
            .iter()
            .map(|status| (status.gateway_id.as_str(), status.state, status.online))
            .collect();
        assert_eq!(
            states,
            [
                ("done", DeploymentState::Deployed, true),
                ("refused", DeploymentState::Failed, true),
                ("behind", DeploymentState::Pending, true),
                ("gone", DeploymentState::Pending, false),
                ("removed", DeploymentState::Undeployed, true),
            ]
        );
        assert_eq!(
            api.gateways[3].reason.as_deref(),
            Some("offline: no heartbeat")
        );
        assert_eq!(api.labels, [label("L1")]);
        assert!(!api.converged());
    }
}
