//! What a caller may do within its role: labels, tenants, and whom it speaks for.

use std::collections::HashSet;

use actix_web::http::StatusCode;
use artifact::{Instruction, Label, SUPER_TENANT, retain_held};
use kit::access::Caller;
use kit::problem::Problem;
use store::{GatewayRow, Snapshot};

/// What a caller may not do although it has the role.
pub(crate) fn forbidden(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, detail)
}

pub(crate) fn reads_label(caller: &Caller, label: &Label) -> Result<(), Problem> {
    if caller.may_read_label(label.as_str()) {
        return Ok(());
    }
    let detail = format!("this user may not read the label {label}");
    Err(forbidden("label-not-allowed", detail))
}

/// What is told of all labels is for those who may read all.
pub(crate) fn reads_all_labels(caller: &Caller) -> Result<(), Problem> {
    if caller.labels.is_empty() {
        return Ok(());
    }
    let detail = "this tells of all labels, and this user may read only some of them";
    Err(forbidden("label-not-allowed", detail))
}

/// The tenants whose APIs an answer may hold: the one that is asked for, else those of the
/// caller; `None` for all.
pub(crate) fn tenants(
    caller: &Caller,
    asked: Option<&str>,
) -> Result<Option<Vec<String>>, Problem> {
    match asked {
        Some(tenant) if caller.may_read_tenant(tenant) => Ok(Some(vec![tenant.to_owned()])),
        Some(tenant) => Err(tenant_not_allowed(tenant)),
        None if caller.tenants.is_empty() => Ok(None),
        None => Ok(Some(caller.tenants.clone())),
    }
}

/// What is done to a whole label is for those who may read all tenants.
pub(crate) fn reads_all_tenants(caller: &Caller) -> Result<(), Problem> {
    if caller.tenants.is_empty() {
        return Ok(());
    }
    let detail = "this is about all tenants, and this user may read only some of them";
    Err(forbidden("tenant-not-allowed", detail))
}

pub(crate) fn tenant_not_allowed(tenant: &str) -> Problem {
    let detail = format!("this user may not read the tenant {tenant}");
    forbidden("tenant-not-allowed", detail)
}

pub(crate) fn speaks_for(caller: &Caller, gateway_id: &str) -> Result<(), Problem> {
    if caller.speaks_for(gateway_id) {
        return Ok(());
    }
    let detail = "gatewayId: this user may speak for another gateway only";
    Err(forbidden("gateway-not-allowed", detail))
}

/// Whether the caller reads what goes by one of these labels.
pub(crate) fn reads_any<'a>(caller: &Caller, labels: impl IntoIterator<Item = &'a Label>) -> bool {
    let mut labels = labels.into_iter();
    caller.labels.is_empty() || labels.any(|label| caller.may_read_label(label.as_str()))
}

/// Leaves of gateways, and of what each says of labels, what the caller may read.
pub(crate) fn readable_gateways(caller: &Caller, gateways: &mut Vec<GatewayRow>) {
    gateways.retain(|gateway| reads_any(caller, &gateway.labels));
    let may_read = |label: &Label| caller.may_read_label(label.as_str());
    for gateway in gateways {
        gateway.labels.retain(may_read);
        gateway.applied.retain(|label, _| may_read(label));
        // They may be other tenants'.
        retain_held(&mut gateway.properties, may_read, caller.tenants.is_empty());
    }
}

/// Leaves of the tenants that a gateway has loaded those that the caller may read, and what names
/// none.
pub(crate) fn readable_tenants(caller: &Caller, tenants: &mut Vec<String>) {
    tenants.retain(|item| {
        let name = item.strip_prefix('!').unwrap_or(item);
        ["*", SUPER_TENANT].contains(&name) || caller.may_read_tenant(name)
    });
}

/// Leaves of APIs and gateways what the caller may read.
pub(crate) fn readable(caller: &Caller, rows: &mut Snapshot) {
    let Snapshot {
        apis,
        labels,
        gateways,
        deployments,
    } = rows;
    readable_gateways(caller, gateways);
    labels.retain(|row| caller.may_read_label(row.label.as_str()));
    let known: HashSet<&str> = gateways.iter().map(|row| row.gateway_id.as_str()).collect();
    deployments.retain(|row| known.contains(row.gateway_id.as_str()));
    apis.retain(|api| {
        let published = labels
            .iter()
            .filter(|row| row.api_id == api.api_id && row.instruction == Instruction::Publish);
        caller.may_read_tenant(&api.tenant_domain)
            && reads_any(caller, published.map(|row| &row.label))
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use artifact::{DeploymentState, Digest};
    use kit::access::Roles;
    use store::{ApiRow, DeploymentRow, LabelRow};

    use super::*;

    fn api(id: &str, tenant: &str) -> ApiRow {
        ApiRow {
            api_id: id.into(),
            name: id.into(),
            version: "1".into(),
            tenant_domain: tenant.into(),
            context: String::new(),
            instruction: Instruction::Publish,
            revision: 1,
            digest: Digest::of(b"x"),
            saved: 0,
            announced: None,
        }
    }

    fn entry(api: &str, label: &str, instruction: Instruction) -> LabelRow {
        LabelRow {
            label: Label::parse(label).unwrap(),
            api_id: api.into(),
            seq: 1,
            instruction,
            revision: 1,
            digest: Digest::of(b"x"),
        }
    }

    fn gateway(id: &str, labels: &[&str]) -> GatewayRow {
        let labels = labels.iter().map(|name| Label::parse(*name).unwrap());
        GatewayRow {
            gateway_id: id.into(),
            labels: labels.collect(),
            urls: Vec::new(),
            tenants: Vec::new(),
            properties: serde_json::Map::new(),
            applied: BTreeMap::new(),
            registered: 0,
            last_seen: 0,
        }
    }

    fn deployment(gateway: &str) -> DeploymentRow {
        DeploymentRow {
            gateway_id: gateway.into(),
            api_id: "a".into(),
            revision: 1,
            received: Digest::of(b"x"),
            deployed: None,
            state: DeploymentState::Deployed,
            reason: None,
            since: 0,
        }
    }

    /// Ids of the APIs, gateways and deployments that a caller with these limits reads.
    fn read(labels: &[&str], tenants: &[&str]) -> (Vec<String>, Vec<String>, usize) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let caller = Caller {
            name: "u".into(),
            roles: Roles::default(),
            gateway_id: None,
            labels: owned(labels),
            tenants: owned(tenants),
        };
        let mut rows = Snapshot {
            apis: vec![api("a", "one"), api("b", "two"), api("c", "one")],
            labels: vec![
                entry("a", "L1", Instruction::Publish),
                entry("b", "L1", Instruction::Publish),
                entry("c", "L1", Instruction::Remove),
                entry("c", "L2", Instruction::Publish),
            ],
            gateways: vec![gateway("g", &["L1", "L2"]), gateway("h", &["L2"])],
            deployments: vec![deployment("g"), deployment("h")],
        };
        readable(&caller, &mut rows);
        let apis = rows.apis.into_iter().map(|api| api.api_id).collect();
        let gateways = rows.gateways.into_iter().map(|row| row.gateway_id);
        (apis, gateways.collect(), rows.deployments.len())
    }

    #[test]
    fn names_of_other_tenants_are_not_told() {
        let caller = Caller {
            name: "olga".into(),
            roles: kit::access::Roles::default(),
            gateway_id: None,
            labels: Vec::new(),
            tenants: vec!["one".into()],
        };
        let left = |items: &[&str]| {
            let mut items = items.iter().map(|item| (*item).to_owned()).collect();
            readable_tenants(&caller, &mut items);
            items.join(",")
        };
        assert_eq!(left(&["carbon.super", "one", "two"]), "carbon.super,one");
        assert_eq!(left(&["*", "!one", "!two"]), "*,!one");
    }

    #[test]
    fn what_is_held_of_other_labels_is_not_told() {
        let caller = Caller {
            name: "u".into(),
            roles: Roles::default(),
            gateway_id: None,
            labels: vec!["L2".into()],
            tenants: Vec::new(),
        };
        let mut row = gateway("g", &["L1", "L2"]);
        let said = serde_json::json!({"reconciliation": {"held": {"L1": 1, "L2": 2}}});
        row.properties = serde_json::from_value(said).unwrap();
        let mut rows = vec![row];
        readable_gateways(&caller, &mut rows);
        let told = serde_json::json!({"held": {"L2": 2}});
        assert_eq!(rows[0].properties["reconciliation"], told);
    }

    #[test]
    fn a_caller_reads_what_its_labels_and_tenants_let_it() {
        let ids = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).into()).collect() };
        let all = (ids(&["a", "b", "c"]), ids(&["g", "h"]), 2);
        assert_eq!(read(&[], &[]), all);
        assert_eq!(read(&["L1"], &[]), (ids(&["a", "b"]), ids(&["g"]), 1));
        assert_eq!(read(&["L2"], &[]), (ids(&["c"]), ids(&["g", "h"]), 2));
        assert_eq!(read(&[], &["one"]).0, ids(&["a", "c"]));
        assert_eq!(read(&["L1"], &["one"]).0, ids(&["a"]));
        assert_eq!(read(&["L9"], &[]), (Vec::new(), Vec::new(), 0));
    }
}
