//! The deployed set: which plans answer requests. Pure: the table that answers is a copy of its own.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use artifact::Digest;
use synapse::Plan;
use synapse::dispatch::{ApiRoute, RouteTable};

use crate::kept::Kept;

/// One API as it answers requests.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub revision: u64,
    pub digest: Digest,
    pub plan: Arc<Plan>,
    /// What it was made of.
    pub kept: Arc<Kept>,
    /// Where files of the gateway's own stand in for parts of it.
    pub overridden: Option<Overridden>,
}

/// What answers instead of the revision.
#[derive(Clone, Debug)]
pub struct Overridden {
    /// The files' names.
    pub files: Vec<String>,
    /// The artifact with their definitions.
    pub live: Arc<Kept>,
}

impl Deployment {
    /// Whether one of its APIs has one of these keys.
    #[must_use]
    pub fn has_key(&self, keys: &[String]) -> bool {
        let apis = self.plan.apis.iter();
        apis.map(|api| api.route.runtime_key())
            .any(|key| keys.contains(&key))
    }

    /// What answers.
    #[must_use]
    pub fn live(&self) -> &Arc<Kept> {
        let overridden = self.overridden.as_ref();
        overridden.map_or(&self.kept, |overridden| &overridden.live)
    }
}

/// What the route table finds: a deployment, and which of its plan's APIs. Ordered by API id, so
/// that all gateways ask in the same order, whatever came first.
#[derive(Clone, Debug)]
pub struct Routed {
    pub deployment: Arc<Deployment>,
    pub api: usize,
}

impl Ord for Routed {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_id = self.deployment.api_id.cmp(&other.deployment.api_id);
        by_id.then(self.api.cmp(&other.api))
    }
}

impl PartialOrd for Routed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Routed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Routed {}

/// All deployments of a gateway, by API id. Refused newcomers wait beside it: they are tried
/// again whenever the set changes, since what stood in their way may have gone.
#[derive(Clone, Debug, Default)]
pub struct DeployedSet {
    deployed: BTreeMap<String, Arc<Deployment>>,
    /// All their routes: a change costs what it changes, however many there are.
    routes: RouteTable<Routed>,
    waiting: HashMap<String, Arc<Deployment>>,
}

/// What became of a change.
#[derive(Debug, Default)]
pub struct Installed {
    /// Now answering.
    pub deployed: Vec<Arc<Deployment>>,
    /// Refused, with the reason; what they were before goes on answering.
    pub refused: Vec<(Arc<Deployment>, String)>,
}

impl DeployedSet {
    #[must_use]
    pub fn get(&self, api_id: &str) -> Option<&Arc<Deployment>> {
        self.deployed.get(api_id)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.deployed.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deployed.is_empty()
    }

    /// Everything that answers requests.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployed.values()
    }

    /// Forgets a newcomer that waits: a newer revision of it has been refused.
    pub fn forget_waiting(&mut self, api_id: &str) {
        self.waiting.remove(api_id);
    }

    /// Takes APIs away and brings newcomers in, together.
    ///
    /// A newcomer whose context and version another API has is refused, unless that one moves
    /// away in the same change. No API that works is lost to a newcomer.
    pub fn install(&mut self, removed: &[String], newcomers: Vec<Arc<Deployment>>) -> Installed {
        for api_id in removed {
            self.take_away(api_id);
            self.waiting.remove(api_id);
        }
        for newcomer in newcomers {
            self.waiting.insert(newcomer.api_id.clone(), newcomer);
        }
        let mut candidates: Vec<Arc<Deployment>> = self.waiting.values().cloned().collect();
        candidates.sort_by(|a, b| a.api_id.cmp(&b.api_id));
        let mut refused = self.refusals(&candidates);
        let coming = candidates
            .iter()
            .filter(|candidate| !refused.contains_key(&candidate.api_id));
        self.bring_in(coming);
        let mut installed = Installed::default();
        for candidate in candidates {
            match refused.remove(&candidate.api_id) {
                Some(reason) => installed.refused.push((candidate, reason)),
                None => {
                    self.waiting.remove(&candidate.api_id);
                    installed.deployed.push(candidate);
                }
            }
        }
        installed
    }

    /// Lets an API answer again that was taken away, if nobody has its routes now. Newcomers wait on.
    pub fn bring_back(&mut self, older: &Arc<Deployment>) -> bool {
        let fits = self.refusals(std::slice::from_ref(older)).is_empty();
        if fits {
            self.bring_in(std::iter::once(older));
        }
        fits
    }

    /// Which candidates cannot come in together with the others, by API id, with the reason.
    fn refusals(&self, candidates: &[Arc<Deployment>]) -> HashMap<String, String> {
        let mut refused = HashMap::new();
        // One that goes on with what it has may be in the way of those that were let in before it; and
        // those may have been in the way of newcomers.
        while self.refuse(candidates, &mut refused) {
            refused.retain(|api_id, _| self.deployed.contains_key(api_id));
        }
        refused
    }

    /// Goes through the candidates that are not refused yet. Returns whether it has refused one that
    /// goes on with what it has.
    fn refuse(
        &self,
        candidates: &[Arc<Deployment>],
        refused: &mut HashMap<String, String>,
    ) -> bool {
        let coming: Vec<_> = candidates
            .iter()
            .filter(|candidate| !refused.contains_key(&candidate.api_id))
            .collect();
        let moving: HashSet<&str> = coming.iter().map(|c| c.api_id.as_str()).collect();
        // Who goes on with what it has comes before those who would like to have it.
        let mut taken: HashMap<String, &Arc<Deployment>> = HashMap::new();
        for candidate in &coming {
            let claims = candidate.plan.claims().into_iter();
            let kept = routes(candidate).zip(claims).filter(|(route, _)| {
                let holder = self.holder(route);
                holder.is_some_and(|holder| holder.api_id == candidate.api_id)
            });
            taken.extend(kept.map(|(_, claim)| (claim, *candidate)));
        }
        let mut stays = false;
        for candidate in coming {
            let claims = candidate.plan.claims();
            let in_its_way = routes(candidate).zip(&claims).find_map(|(route, claim)| {
                let stays = |holder: &&Arc<Deployment>| !moving.contains(holder.api_id.as_str());
                let taken = taken.get(claim).copied();
                let other = taken.or_else(|| self.holder(route).filter(stays))?;
                (other.api_id != candidate.api_id).then_some((claim, other))
            });
            if let Some((claim, other)) = in_its_way {
                let (name, version) = (&other.name, &other.version);
                let reason =
                    format!("its context and version ({claim}) are those of {name} {version}");
                refused.insert(candidate.api_id.clone(), reason);
                stays |= self.deployed.contains_key(&candidate.api_id);
            } else {
                taken.extend(claims.into_iter().map(|claim| (claim, candidate)));
            }
        }
        stays
    }

    /// Which deployment has the context and version of `route`.
    fn holder(&self, route: &ApiRoute) -> Option<&Arc<Deployment>> {
        self.routes.like(route).next().map(|it| &it.deployment)
    }

    /// Brings in what fits, in the place of older revisions.
    fn bring_in<'a>(&mut self, coming: impl Iterator<Item = &'a Arc<Deployment>> + Clone) {
        for deployment in coming.clone() {
            if let Some(older) = self.take_away(&deployment.api_id)
                && !Arc::ptr_eq(&older, deployment)
            {
                // Back ends that are as before stay suspended, or go on in their turn.
                deployment.plan.take_over_states(&older.plan);
            }
        }
        // Only now: two may exchange their contexts.
        for deployment in coming {
            for (route, routed) in routes(deployment).zip(routed(deployment)) {
                self.routes.insert(Arc::clone(route), routed);
            }
            let api_id = deployment.api_id.clone();
            self.deployed.insert(api_id, Arc::clone(deployment));
        }
    }

    fn take_away(&mut self, api_id: &str) -> Option<Arc<Deployment>> {
        let deployment = self.deployed.remove(api_id)?;
        for (route, routed) in routes(&deployment).zip(routed(&deployment)) {
            self.routes.remove(route, &routed);
        }
        Some(deployment)
    }

    /// The table that answers requests from this set.
    #[must_use]
    pub fn route_table(&self) -> RouteTable<Routed> {
        self.routes.clone()
    }
}

/// The routes of its plan's APIs.
fn routes(deployment: &Deployment) -> impl Iterator<Item = &Arc<ApiRoute>> {
    deployment.plan.apis.iter().map(|api| &api.route)
}

/// What the route table finds by each of them.
fn routed(deployment: &Arc<Deployment>) -> impl Iterator<Item = Routed> {
    (0..).map(|api| Routed {
        deployment: Arc::clone(deployment),
        api,
    })
}

#[cfg(test)]
mod tests {
    use artifact::{Artifact, Instruction, LabelLogEntry};
    use proptest::prelude::*;
    use synapse::dispatch::{RequestHead, Selection};

    use super::*;

    fn deployment(id: &str, context: &str, revision: u64) -> Arc<Deployment> {
        with_default(id, context, None, revision)
    }

    /// With a version-less API besides.
    fn with_default(
        id: &str,
        context: &str,
        default: Option<&str>,
        revision: u64,
    ) -> Arc<Deployment> {
        let api = |context: &str| {
            format!(
                "<api name='{id}' context='{context}'><resource><inSequence><respond/></inSequence></resource></api>"
            )
        };
        let artifact = Artifact {
            name: id.into(),
            version: "1".into(),
            api_id: id.into(),
            api_definition: Some(api(context)),
            default_api_definition: default.map(api),
            ..Artifact::default()
        };
        let plan = synapse::compile(&artifact, &synapse::xml::Limits::default())
            .plan
            .unwrap();
        let digest = Digest::of(format!("{id}{revision}").as_bytes());
        let entry = LabelLogEntry {
            seq: revision,
            api_id: id.into(),
            name: id.into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            instruction: Instruction::Publish,
            revision,
            digest,
            time: 0,
            artifact: None,
            published_to: Vec::new(),
        };
        Arc::new(Deployment {
            api_id: id.into(),
            name: id.into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            revision,
            digest,
            plan,
            kept: Arc::new(Kept::of(&entry)),
            overridden: None,
        })
    }

    fn who(set: &DeployedSet, target: &str) -> Option<String> {
        let head = RequestHead {
            method: "GET",
            target,
            ..RequestHead::default()
        };
        match set.route_table().select(&head) {
            Selection::Api(selected) => Some(selected.attached.deployment.api_id.clone()),
            _ => None,
        }
    }

    #[test]
    fn a_newcomer_with_a_taken_context_waits_until_it_is_free() {
        let mut set = DeployedSet::default();
        assert!(
            set.install(&[], vec![deployment("a", "/x", 1)])
                .refused
                .is_empty()
        );
        let installed = set.install(&[], vec![deployment("b", "/x", 1)]);
        assert_eq!(installed.refused.len(), 1);
        assert_eq!(
            installed.refused[0].1,
            "its context and version (/x) are those of a 1"
        );
        assert_eq!(who(&set, "/x/1").as_deref(), Some("a"));
        let installed = set.install(&["a".into()], Vec::new());
        assert_eq!(installed.deployed.len(), 1);
        assert_eq!(who(&set, "/x/1").as_deref(), Some("b"));
    }

    #[test]
    fn two_apis_may_exchange_their_contexts() {
        let mut set = DeployedSet::default();
        set.install(
            &[],
            vec![deployment("a", "/x", 1), deployment("b", "/y", 1)],
        );
        let installed = set.install(
            &[],
            vec![deployment("a", "/y", 2), deployment("b", "/x", 2)],
        );
        assert!(installed.refused.is_empty());
        assert_eq!(who(&set, "/x").as_deref(), Some("b"));
        assert_eq!(who(&set, "/y").as_deref(), Some("a"));
    }

    #[test]
    fn what_works_is_not_lost_when_its_next_revision_is_refused() {
        let mut set = DeployedSet::default();
        set.install(
            &[],
            vec![deployment("b", "/b", 1), deployment("c", "/c", 1)],
        );
        // b wants c's context and stays; a wanted b's and has to stay out.
        let installed = set.install(
            &[],
            vec![deployment("a", "/b", 1), deployment("b", "/c", 2)],
        );
        assert_eq!(installed.refused.len(), 2);
        assert_eq!(who(&set, "/b").as_deref(), Some("b"));
        assert_eq!(who(&set, "/c").as_deref(), Some("c"));
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn a_newcomer_comes_in_where_the_one_in_its_way_does_not() {
        let mut set = DeployedSet::default();
        let before = [deployment("b", "/q", 1), deployment("d", "/r", 1)];
        set.install(&[], before.to_vec());
        // b wants d's context and stays in a's way, so that a is not in c's.
        let coming = [
            with_default("a", "/p", Some("/q"), 1),
            deployment("b", "/r", 2),
            deployment("c", "/p", 1),
        ];
        let installed = set.install(&[], coming.to_vec());
        assert_eq!(installed.refused.len(), 2);
        assert_eq!(who(&set, "/p").as_deref(), Some("c"));
        assert_eq!(who(&set, "/q").as_deref(), Some("b"));
    }

    #[test]
    fn an_api_is_updated_while_a_newcomer_waits_for_its_context() {
        let mut set = DeployedSet::default();
        set.install(&[], vec![deployment("b", "/x", 1)]);
        let installed = set.install(&[], vec![deployment("a", "/x", 1)]);
        assert_eq!(installed.refused.len(), 1);
        let installed = set.install(&[], vec![deployment("b", "/x", 2)]);
        let deployed: Vec<u64> = installed.deployed.iter().map(|it| it.revision).collect();
        assert_eq!((deployed, installed.refused.len()), (vec![2], 1));
        assert_eq!(who(&set, "/x").as_deref(), Some("b"));
    }

    proptest! {
        /// Whatever comes and goes: who has a claim is what the deployments say, and who is refused
        /// is in somebody's way.
        #[test]
        fn claims_have_the_holders_that_deployments_say(
            changes in prop::collection::vec(
                (
                    prop::collection::vec(0..6_usize, 0..2),
                    prop::collection::vec((0..6_usize, 0..5_usize, prop::option::of(0..5_usize)), 0..4),
                ),
                1..12,
            ),
        ) {
            let mut set = DeployedSet::default();
            for (revision, (removed, newcomers)) in (1..).zip(changes) {
                let removed: Vec<String> = removed.iter().map(|id| format!("a{id}")).collect();
                let newcomers = newcomers.iter().filter(|(_, context, default)| *default != Some(*context));
                let newcomers = newcomers.map(|(id, context, default)| {
                    let default = default.map(|default| format!("/c{default}"));
                    with_default(&format!("a{id}"), &format!("/c{context}"), default.as_deref(), revision)
                });
                let installed = set.install(&removed, newcomers.collect());
                let claims = set.iter().flat_map(|deployment| {
                    let claims = deployment.plan.claims().into_iter();
                    claims.map(|claim| (claim, deployment.api_id.clone()))
                });
                let claims: Vec<(String, String)> = claims.collect();
                let holders: HashMap<String, String> = claims.iter().cloned().collect();
                prop_assert_eq!(claims.len(), holders.len(), "a claim has two holders");
                prop_assert_eq!(set.routes.len(), holders.len());
                for deployment in set.iter() {
                    for route in routes(deployment) {
                        let holder = set.holder(route);
                        prop_assert!(holder.is_some_and(|holder| Arc::ptr_eq(holder, deployment)));
                    }
                }
                for (refused, _) in &installed.refused {
                    let mut claims = refused.plan.claims().into_iter();
                    prop_assert!(claims.any(|claim| holders.get(&claim) != Some(&refused.api_id)));
                }
                for deployed in &installed.deployed {
                    let now = set.get(&deployed.api_id);
                    prop_assert!(now.is_some_and(|now| Arc::ptr_eq(now, deployed)));
                }
            }
        }
    }
}
