//! Roles: what a caller may do.

use std::collections::BTreeSet;
use std::fmt;

/// What a user may do at the management interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Pulls label logs and reports what it has deployed.
    Gateway,
    /// Publishes and removes.
    Publisher,
    /// Reads label logs, forgets gateways, and whatever a viewer may.
    Operator,
    /// Reads what is published and deployed.
    Viewer,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Publisher, Self::Operator, Self::Viewer];

    /// As it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// The role that is written so; `None` if there is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The roles of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Whether they hold `role`, directly or because an operator may do all that a viewer may.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role) || (role == Role::Viewer && self.0.contains(&Role::Operator))
    }

    /// The first of `wanted` that they hold.
    #[must_use]
    pub fn first_of(&self, wanted: &[Role]) -> Option<Role> {
        wanted.iter().copied().find(|role| self.has(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

/// `gateway or operator`, for people.
pub(super) fn either(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_may_do_what_a_viewer_may_and_nobody_else_more_than_his_own() {
        for held in Role::ALL {
            let roles = Roles::from_iter([held]);
            for wanted in Role::ALL {
                let expected = held == wanted || (held == Role::Operator && wanted == Role::Viewer);
                assert_eq!(roles.has(wanted), expected, "{held} as {wanted}");
            }
            assert_eq!(Role::parse(held.as_str()), Some(held));
        }
        assert_eq!(Role::parse("Operator"), None);
        let roles = Roles::from_iter([Role::Operator]);
        let wanted = [Role::Gateway, Role::Viewer];
        assert_eq!(roles.first_of(&wanted), Some(Role::Viewer));
        assert_eq!(either(&wanted), "gateway or viewer");
    }
}
