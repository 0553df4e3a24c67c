//! Who is calling, for handlers.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::role::{Role, Roles};
use crate::problem::Problem;

/// A user that has proved who it is. Handlers behind a guard get it as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub roles: Roles,
    /// `None`: any.
    pub gateway_id: Option<String>,
    /// Empty: all.
    pub labels: Vec<String>,
    /// Empty: all.
    pub tenants: Vec<String>,
}

impl Caller {
    /// Whether it may read what belongs to the label.
    #[must_use]
    pub fn may_read_label(&self, label: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|known| known == label)
    }

    /// Whether it may read what belongs to the tenant.
    #[must_use]
    pub fn may_read_tenant(&self, tenant: &str) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|known| known == tenant)
    }

    /// Whether it may speak for the gateway with this id.
    #[must_use]
    pub fn speaks_for(&self, gateway_id: &str) -> bool {
        self.roles.has(Role::Gateway) && self.gateway_id.as_ref().is_none_or(|id| id == gateway_id)
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// A route without a guard has no caller, and is closed.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(|| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "no-caller",
                "nobody has said who is calling",
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_no_limit_is_everything() {
        let mut caller = Caller {
            name: "g".into(),
            roles: Roles::from_iter([Role::Gateway]),
            gateway_id: None,
            labels: Vec::new(),
            tenants: Vec::new(),
        };
        assert!(caller.may_read_label("L") && caller.may_read_tenant("t"));
        assert!(caller.speaks_for("any"));
        caller.labels = vec!["L".into()];
        caller.tenants = vec!["t".into()];
        caller.gateway_id = Some("g1".into());
        assert!(caller.may_read_label("L") && !caller.may_read_label("l"));
        assert!(caller.may_read_tenant("t") && !caller.may_read_tenant("T"));
        assert!(caller.speaks_for("g1") && !caller.speaks_for("g2"));
        caller.roles = Roles::from_iter([Role::Operator, Role::Publisher]);
        assert!(!caller.speaks_for("g1"), "only gateways speak for gateways");
    }
}
