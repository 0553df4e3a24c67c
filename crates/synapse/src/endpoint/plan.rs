//! What a plan's endpoints have in common with those of another revision, and how they stand.

use std::collections::HashMap;

use super::{EndpointStatus, Kind, State};
use crate::plan::{Address, Endpoint, EndpointKind, EndpointRef, Plan};

/// Groups inside each other that are looked into.
const MAX_DEPTH: usize = 16;

impl Plan {
    /// Goes on with the endpoint states of the revision that this plan takes the place of: an
    /// endpoint that is defined as before stays suspended, a group goes on where it was; and with
    /// its tokens, each of which is found by the credentials that it was got with. To be
    /// called before the plan serves; afterwards it has no effect.
    pub fn take_over_states(&self, older: &Self) {
        self.tokens.take_over(&older.tokens);
        let before: HashMap<_, _> = older
            .endpoints
            .iter()
            .map(|endpoint| (&endpoint.identity, endpoint))
            .collect();
        for endpoint in &self.endpoints {
            if let Some(older) = before.get(&endpoint.identity) {
                endpoint.shared.take_over(&older.shared);
            }
        }
    }

    /// Every endpoint of the artifact as it stands at `now` (milliseconds since the epoch): the
    /// named ones, then those written inline.
    #[must_use]
    pub fn endpoint_states(&self, now: i64) -> Vec<EndpointStatus> {
        self.endpoints
            .iter()
            .filter_map(|endpoint| self.endpoint_status(endpoint, now))
            .collect()
    }

    fn endpoint_status(&self, endpoint: &Endpoint, now: i64) -> Option<EndpointStatus> {
        let machine = endpoint.shared.get().machine().clone();
        let status = EndpointStatus {
            name: endpoint.name.clone(),
            kind: Kind::Other,
            state: machine.state(),
            ready: machine.is_ready(now),
            next_retry: machine.next_retry(),
            children: Vec::new(),
        };
        match &endpoint.kind {
            EndpointKind::NotExecuted(_) => Some(status),
            EndpointKind::Indirect(_) => None,
            // Where the message itself says where to go, there is no endpoint to look at.
            EndpointKind::Leaf(leaf)
                if endpoint.name.is_empty() && matches!(leaf.address, Address::To) =>
            {
                None
            }
            EndpointKind::Leaf(leaf) => Some(EndpointStatus {
                kind: match leaf.address {
                    Address::Http { .. } => Kind::Http,
                    Address::Fixed(_) => Kind::Address,
                    Address::To => Kind::Default,
                },
                ..status
            }),
            EndpointKind::Group(group) => {
                let ready = self.any_ready(endpoint, now, 0);
                Some(EndpointStatus {
                    kind: match group.algorithm {
                        super::Algorithm::First { .. } => Kind::Failover,
                        _ => Kind::LoadBalance,
                    },
                    state: if ready {
                        State::Active
                    } else {
                        State::Suspended
                    },
                    ready,
                    next_retry: None,
                    children: group
                        .children
                        .iter()
                        .filter_map(|child| self.referred(child))
                        .map(|child| child.name.clone())
                        .collect(),
                    ..status
                })
            }
        }
    }

    fn any_ready(&self, endpoint: &Endpoint, now: i64, depth: usize) -> bool {
        match &endpoint.kind {
            _ if depth > MAX_DEPTH => false,
            EndpointKind::Group(group) => group.children.iter().any(|child| {
                self.referred(child)
                    .is_some_and(|child| self.any_ready(child, now, depth + 1))
            }),
            EndpointKind::Indirect(other) => self
                .referred(other)
                .is_some_and(|other| self.any_ready(other, now, depth + 1)),
            _ => endpoint.shared.get().machine().is_ready(now),
        }
    }

    fn referred(&self, reference: &EndpointRef) -> Option<&Endpoint> {
        match reference {
            EndpointRef::Own(at) => self.endpoints.get(*at),
            _ => None,
        }
    }
}
