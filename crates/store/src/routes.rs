//! Which API has which route, and who has to stay out. Pure.

use std::collections::{HashMap, HashSet};

use crate::state::{Owner, State};
use crate::{Save, SaveOutcome};

/// Which saves of a batch are refused, by their index: what counts is who has which route once
/// the batch is saved, so APIs of one batch may exchange routes.
pub(crate) fn refusals(state: &State, batch: &[Save]) -> HashMap<usize, SaveOutcome> {
    let mut refused = HashMap::new();
    let mut names: HashMap<(&str, &str, &str), &str> = HashMap::new();
    for (index, save) in batch.iter().enumerate() {
        let artifact = &save.artifact;
        let (name, version, tenant) = (&artifact.name, &artifact.version, &artifact.tenant_domain);
        let name = (name.clone(), version.clone(), tenant.clone());
        let named = state.published.get(&name).into_iter().flatten();
        let other = named.into_iter().find(|api_id| **api_id != artifact.api_id);
        let first = names
            .entry((&artifact.name, &artifact.version, &artifact.tenant_domain))
            .or_insert(&artifact.api_id);
        let first = (*first != artifact.api_id).then_some(*first);
        if let Some(api_id) = other.map(String::as_str).or(first) {
            let api_id = api_id.to_owned();
            refused.insert(index, SaveOutcome::NameTaken { api_id });
        }
    }
    // Each round refuses those that clash with what stays; a refused one stays where it was.
    while let Some((index, outcome)) = clash(batch, &refused, &state.owners, &state.routes) {
        refused.insert(index, outcome);
    }
    refused
}

/// The first save that cannot have its routes, given who is refused already.
fn clash(
    batch: &[Save],
    refused: &HashMap<usize, SaveOutcome>,
    owners: &HashMap<String, Vec<Owner>>,
    before: &HashMap<String, Vec<String>>,
) -> Option<(usize, SaveOutcome)> {
    let coming = || {
        batch
            .iter()
            .enumerate()
            .filter(|(at, _)| !refused.contains_key(at))
    };
    let moving: HashSet<&str> = coming()
        .map(|(_, save)| save.artifact.api_id.as_str())
        .collect();
    // Routes of batch members that stay where they are, and of members that have come in.
    let mut taken: HashMap<&str, &Save> = HashMap::new();
    for (at, save) in batch.iter().enumerate() {
        if refused.contains_key(&at) {
            let routes = before.get(&save.artifact.api_id);
            taken.extend(
                routes
                    .into_iter()
                    .flatten()
                    .map(|route| (route.as_str(), save)),
            );
        }
    }
    for (at, save) in coming() {
        for route in &save.routes {
            let stays = owners
                .get(route)
                .into_iter()
                .flatten()
                .find(|owner| !moving.contains(owner.api_id.as_str()));
            let by = match (stays, taken.get(route.as_str())) {
                (Some(owner), _) => owner.shown.clone(),
                (None, Some(other)) if other.artifact.api_id != save.artifact.api_id => {
                    let other = &other.artifact;
                    format!("{} {} (id {})", other.name, other.version, other.api_id)
                }
                (None, _) => continue,
            };
            let route = route.clone();
            return Some((at, SaveOutcome::RouteTaken { route, by }));
        }
        taken.extend(save.routes.iter().map(|route| (route.as_str(), save)));
    }
    None
}
