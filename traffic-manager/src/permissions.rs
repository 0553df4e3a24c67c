//! What a caller may do within its role: labels, tenants, and whom it speaks for.

use std::collections::HashSet;

use actix_web::http::StatusCode;
use artifact::{Label, Overview};
use kit::access::Caller;
use kit::problem::Problem;

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

/// Leaves of an overview what the caller may read.
pub(crate) fn readable(caller: &Caller, overview: &mut Overview) {
    let reads = |labels: &[Label]| {
        let mut labels = labels.iter().map(Label::as_str);
        caller.labels.is_empty() || labels.any(|label| caller.may_read_label(label))
    };
    overview.gateways.retain(|gateway| reads(&gateway.labels));
    let known: HashSet<&str> = overview
        .gateways
        .iter()
        .map(|gateway| gateway.gateway_id.as_str())
        .collect();
    overview.apis.retain_mut(|api| {
        api.gateways
            .retain(|status| known.contains(status.gateway_id.as_str()));
        caller.may_read_tenant(&api.tenant_domain) && reads(&api.labels)
    });
}
