//! Which endpoint takes a message: through keys and groups down to an address. Sources:
//! FailoverEndpoint, LoadbalanceEndpoint, IndirectEndpoint, AbstractEndpoint.informFailure.

use std::sync::Arc;

use super::endpoint::{Sending, missing};
use super::exchange::{Exchange, Fault};
use crate::endpoint::Algorithm;
use crate::plan::{Address, Endpoint, EndpointKind, EndpointRef, Group, NotExecuted, Plan};

/// Groups and keys behind each other; a key that leads to itself ends here.
const MAX_DEPTH: usize = 16;

/// Why no endpoint takes the message.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    NotExecuted(NotExecuted),
}

impl Exchange {
    /// Chooses the endpoint that a reference leads to, and notes it in `sending`.
    pub(super) fn choose(
        &mut self,
        reference: &EndpointRef,
        sending: &mut Sending,
    ) -> Result<(), Stop> {
        let plan = Arc::clone(&self.plan);
        let at = self.resolve(&plan, reference)?;
        let endpoint = plan.endpoints.get(at);
        if let Some(endpoint) = endpoint
            && let EndpointKind::Leaf(leaf) = &endpoint.kind
            && !self.is_ready(&plan, at, 0)
        {
            return Err(Stop::Fault(not_ready(endpoint, &leaf.address)));
        }
        self.descend(&plan, at, sending)
    }

    /// Chooses the next child after a failure, up the groups as far as needed. `again`: the child
    /// that failed may have the request once more.
    pub(super) fn choose_after(
        &mut self,
        sending: &mut Sending,
        fault: Fault,
        again: bool,
    ) -> Result<(), Stop> {
        let plan = Arc::clone(&self.plan);
        let code = fault.code;
        let mut stop = Stop::Fault(fault);
        let mut own = Some(sending.leaf);
        while let Some((at, child)) = sending.path.pop() {
            let Some((endpoint, group)) = group(&plan, at) else {
                return Err(stop);
            };
            if !(again && own.is_some()) {
                sending.tried.push((at, child));
            }
            if !group.failover {
                return Err(stop);
            }
            // Only what failed itself has codes for which it is not followed by the next.
            let followed = own.take().is_none_or(|leaf| retries(&plan, leaf, code));
            stop = if followed {
                match self.descend(&plan, at, sending) {
                    Ok(()) => return Ok(()),
                    Err(stop) => stop,
                }
            } else {
                Stop::Fault(none_ready(endpoint, group))
            };
        }
        Err(stop)
    }

    /// The endpoint behind a reference, through the keys that lead to it.
    fn resolve(&self, plan: &Plan, reference: &EndpointRef) -> Result<usize, Stop> {
        let mut reference = reference;
        for _ in 0..MAX_DEPTH {
            let at = match reference {
                EndpointRef::Own(at) => *at,
                EndpointRef::Missing(key) => return Err(Stop::Fault(missing(key))),
                EndpointRef::NotExecuted(element) => {
                    return Err(Stop::NotExecuted(element.clone()));
                }
                EndpointRef::Dynamic(expression) => {
                    let key = self.text_of(expression).unwrap_or_default();
                    match plan.endpoint_names.get(&key) {
                        Some(at) => *at,
                        None => return Err(Stop::Fault(missing(&key))),
                    }
                }
            };
            match plan.endpoints.get(at).map(|endpoint| &endpoint.kind) {
                Some(EndpointKind::Indirect(next)) => reference = next,
                Some(_) => return Ok(at),
                None => break,
            }
        }
        Err(Stop::Fault(missing("?")))
    }

    /// Down from an endpoint to a leaf.
    fn descend(&mut self, plan: &Plan, at: usize, sending: &mut Sending) -> Result<(), Stop> {
        let depth = sending.path.len();
        let found = self.descend_further(plan, at, sending);
        if found.is_err() {
            sending.path.truncate(depth);
        }
        found
    }

    fn descend_further(
        &mut self,
        plan: &Plan,
        at: usize,
        sending: &mut Sending,
    ) -> Result<(), Stop> {
        let Some((endpoint, group)) = group(plan, at) else {
            sending.leaf = at;
            return Ok(());
        };
        if sending.path.len() >= MAX_DEPTH {
            return Err(Stop::Fault(none_ready(endpoint, group)));
        }
        loop {
            let Some(child) = self.next_child(plan, at, endpoint, group, &sending.tried) else {
                return Err(Stop::Fault(none_ready(endpoint, group)));
            };
            let Some(reference) = group.children.get(child) else {
                return Err(Stop::Fault(none_ready(endpoint, group)));
            };
            sending.path.push((at, child));
            let found = self
                .resolve(plan, reference)
                .and_then(|next| self.descend(plan, next, sending));
            match found {
                Ok(()) => return Ok(()),
                Err(Stop::NotExecuted(element)) => return Err(Stop::NotExecuted(element)),
                Err(Stop::Fault(fault)) if !group.failover => return Err(Stop::Fault(fault)),
                Err(Stop::Fault(_)) => {
                    sending.path.pop();
                    sending.tried.push((at, child));
                }
            }
        }
    }

    fn next_child(
        &self,
        plan: &Plan,
        at: usize,
        endpoint: &Endpoint,
        group: &Group,
        tried: &[(usize, usize)],
    ) -> Option<usize> {
        let now = self.environment.now;
        let ready = |child: usize| {
            let reference = group.children.get(child);
            reference.is_some_and(|reference| self.leads_to_ready(plan, reference, 1))
        };
        let tried = |child: usize| tried.contains(&(at, child));
        let shared = endpoint.shared.get();
        if let Some(session) = group.session {
            let keys = self.request_keys(session.kind);
            let keys = keys.iter().map(String::as_str);
            let bound = shared.sessions().child(keys, now, session.timeout);
            if let Some(child) = bound.filter(|child| ready(*child) && !tried(*child)) {
                return Some(child);
            }
        }
        shared
            .balance()
            .next(&group.algorithm, group.children.len(), &ready, &tried)
    }

    fn leads_to_ready(&self, plan: &Plan, reference: &EndpointRef, depth: usize) -> bool {
        match self.resolve(plan, reference) {
            Ok(at) => self.is_ready(plan, at, depth),
            // Chosen, it answers 501; passed by, the answer would be a guess.
            Err(Stop::NotExecuted(_)) => true,
            Err(Stop::Fault(_)) => false,
        }
    }

    fn is_ready(&self, plan: &Plan, at: usize, depth: usize) -> bool {
        let Some(endpoint) = plan.endpoints.get(at) else {
            return false;
        };
        match &endpoint.kind {
            EndpointKind::Group(group) => {
                depth < MAX_DEPTH
                    && group
                        .children
                        .iter()
                        .any(|child| self.leads_to_ready(plan, child, depth + 1))
            }
            _ => {
                let now = self.environment.now;
                endpoint.shared.get().machine().is_ready(now)
            }
        }
    }
}

fn group(plan: &Plan, at: usize) -> Option<(&Endpoint, &Group)> {
    let endpoint = plan.endpoints.get(at)?;
    match &endpoint.kind {
        EndpointKind::Group(group) => Some((endpoint, group)),
        _ => None,
    }
}

/// Whether a group goes on after this endpoint's failure (`AbstractEndpoint.isRetry`).
fn retries(plan: &Plan, leaf: usize, code: u32) -> bool {
    match plan.endpoints.get(leaf).map(|endpoint| &endpoint.kind) {
        Some(EndpointKind::Leaf(leaf)) => leaf.retry.allow(code),
        _ => true,
    }
}

fn none_ready(endpoint: &Endpoint, group: &Group) -> Fault {
    let kind = match group.algorithm {
        Algorithm::First { .. } => "Failover",
        _ => "Loadbalance",
    };
    let name = &endpoint.name;
    Fault::new(
        Fault::NO_READY_CHILD,
        format!("{kind} endpoint : {name} - no ready child endpoints"),
    )
}

fn not_ready(endpoint: &Endpoint, address: &Address) -> Fault {
    let state = endpoint.shared.get().machine().state();
    let kind = match address {
        Address::Http { .. } => "Currently, HTTP endpoint",
        Address::Fixed(_) => "Currently , Address endpoint",
        Address::To => "Currently , Default endpoint",
    };
    Fault::new(
        Fault::NOT_READY,
        format!(
            "{kind} : [ Name : {} ] [ State : {} ]",
            endpoint.name,
            state.as_str()
        ),
    )
}
