//! Tenants whose APIs are here only while somebody needs them. Pure.
//!
//! A gateway knows of all tenants what is published: standings, digests and repairs do not ask who is
//! loaded. What it does not have of the others are artifacts: an API is *lacking* while its wanted
//! revision has been said and its artifact has not come. A tenant is loaded by fetching what it
//! lacks (`load`), so an artifact that is missing for another reason – a new revision of a tenant that
//! is loaded, a gateway that was lazy before it was restarted – comes by the same way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use artifact::{Instruction, LabelLogEntry, TenantList};

use super::load::Gap;
use super::standings::Standings;
use super::words::Millis;
use crate::kept::Kept;

/// Which tenants are loaded when they are needed.
#[derive(Clone, Debug)]
pub struct Lazy {
    /// These are loaded at the start.
    pub eager: TenantList,
    /// The others are unloaded when they have not been used for so long.
    pub idle: Duration,
}

/// What the gateway knows of tenants that are loaded when they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Those that publish something, and whether they are loaded.
    pub known: BTreeMap<Arc<str>, bool>,
    /// Everyone who is loaded, as in [`TenantList::items`]; empty where all are.
    pub loaded: Vec<String>,
    /// Tenants that were asked for and are not loaded yet.
    pub loading: usize,
    /// Loads and unloads since the start.
    pub loads: u64,
    pub unloads: u64,
}

/// A tenant that was needed.
#[derive(Clone, Copy, Debug)]
struct Loaded {
    last_use: Millis,
    /// All that it publishes has come.
    complete: bool,
}

/// Which tenants are loaded, and whose artifacts are not here.
#[derive(Debug)]
pub(super) struct Tenants {
    lazy: Option<Lazy>,
    /// Wanted APIs whose artifacts are not here, with their tenants …
    lacking: HashMap<String, Arc<str>>,
    /// … and the other way round.
    pub(super) by_tenant: BTreeMap<Arc<str>, BTreeSet<String>>,
    /// Those that are not loaded at the start, and are or will be loaded.
    loaded: BTreeMap<Arc<str>, Loaded>,
    /// What has to be fetched, by tenant.
    pub(super) gaps: BTreeMap<Arc<str>, Gap>,
    loads: u64,
    unloads: u64,
    /// Since the last [`Tenants::news`].
    changed: bool,
}

impl Tenants {
    pub(super) fn new(lazy: Option<Lazy>) -> Self {
        Self {
            changed: lazy.is_some(),
            lazy,
            lacking: HashMap::new(),
            by_tenant: BTreeMap::new(),
            loaded: BTreeMap::new(),
            gaps: BTreeMap::new(),
            loads: 0,
            unloads: 0,
        }
    }

    /// Those of a stored state count as used now.
    pub(super) fn begin(&mut self, now: Millis) {
        for loaded in self.loaded.values_mut() {
            loaded.last_use = now;
        }
    }

    fn is_eager(&self, tenant: &str) -> bool {
        let lazy = self.lazy.as_ref();
        lazy.is_none_or(|lazy| lazy.eager.has(tenant))
    }

    /// Whether the tenant's APIs are to be here.
    pub(super) fn is_active(&self, tenant: &str) -> bool {
        self.is_eager(tenant) || self.loaded.contains_key(tenant)
    }

    /// Whether an artifact of the API has to be fetched, or will be when its tenant is needed.
    pub(super) fn lacks(&self, api_id: &str) -> bool {
        self.lacking.contains_key(api_id)
    }

    /// The artifact of what is wanted of an API is not here.
    pub(super) fn lack(&mut self, api_id: &str, tenant: &str) {
        if self.lacking.get(api_id).is_none_or(|it| **it != *tenant) {
            self.is_here(api_id);
        }
        let tenant = match self.by_tenant.get_key_value(tenant) {
            Some((tenant, _)) => Arc::clone(tenant),
            None => {
                self.changed = true;
                tenant.into()
            }
        };
        if self.is_active(&tenant) {
            self.gaps.entry(Arc::clone(&tenant)).or_default();
        }
        let apis = self.by_tenant.entry(Arc::clone(&tenant)).or_default();
        apis.insert(api_id.to_owned());
        self.lacking.insert(api_id.to_owned(), tenant);
    }

    /// It is here, or nobody wants it any more.
    pub(super) fn is_here(&mut self, api_id: &str) {
        let Some(tenant) = self.lacking.remove(api_id) else {
            return;
        };
        if let Some(apis) = self.by_tenant.get_mut(&tenant) {
            apis.remove(api_id);
            if apis.is_empty() {
                self.by_tenant.remove(&tenant);
                self.changed = true;
            }
        }
    }

    /// Artifacts of tenants that are not loaded are not kept, whoever has sent them.
    pub(super) fn strip(&self, entries: &mut [LabelLogEntry]) {
        for entry in entries {
            if !self.is_active(&entry.tenant_domain) {
                entry.artifact = None;
            }
        }
    }

    /// The newest entry of an API without its artifact; where that is not here, what is wanted.
    pub(super) fn newest(
        &self,
        newest: &HashMap<String, Arc<Kept>>,
        standings: &Standings,
        api_id: &str,
    ) -> Option<LabelLogEntry> {
        if let Some(kept) = newest.get(api_id) {
            return Some(kept.entry.clone());
        }
        let tenant = self.lacking.get(api_id)?;
        let (revision, digest) = standings.wanted(api_id)?;
        Some(LabelLogEntry {
            seq: 0,
            api_id: api_id.to_owned(),
            name: String::new(),
            version: String::new(),
            tenant_domain: tenant.to_string(),
            instruction: Instruction::Publish,
            revision,
            digest,
            time: 0,
            artifact: None,
            published_to: Vec::new(),
        })
    }

    /// Was loaded when the state was stored.
    pub(super) fn restored(&mut self, tenant: &str) {
        if !self.is_eager(tenant) {
            let loaded = Loaded {
                last_use: 0,
                complete: true,
            };
            self.loaded.insert(tenant.into(), loaded);
            self.changed = true;
        }
    }

    /// A request waits for the tenant.
    pub(super) fn needed(&mut self, now: Millis, tenant: &str) {
        if let Some(loaded) = self.loaded.get_mut(tenant) {
            loaded.last_use = loaded.last_use.max(now);
            return;
        }
        let Some((tenant, _)) = self.by_tenant.get_key_value(tenant) else {
            return;
        };
        if self.is_eager(tenant) {
            return;
        }
        let tenant = Arc::clone(tenant);
        let loaded = Loaded {
            last_use: now,
            complete: false,
        };
        self.loaded.insert(Arc::clone(&tenant), loaded);
        self.gaps.entry(tenant).or_default();
        self.changed = true;
    }

    pub(super) fn used(&mut self, uses: &[(String, Millis)]) {
        for (tenant, at) in uses {
            if let Some(loaded) = self.loaded.get_mut(tenant.as_str()) {
                loaded.last_use = loaded.last_use.max(*at);
            }
        }
    }

    /// All that can be fetched of a tenant is here.
    pub(super) fn completed(&mut self, now: Millis, tenant: &str) {
        if let Some(loaded) = self.loaded.get_mut(tenant)
            && !loaded.complete
        {
            loaded.complete = true;
            // It is not idle before anybody could use it.
            loaded.last_use = loaded.last_use.max(now);
            self.loads += 1;
            self.changed = true;
            tracing::info!(tenant, "tenant loaded");
        }
    }

    /// Whether requests wait for the tenant; with a time, whether one has since then.
    pub(super) fn is_waited_for(&self, tenant: &str, since: Millis) -> bool {
        let loaded = self.loaded.get(tenant);
        loaded.is_none_or(|it| it.complete || it.last_use >= since)
    }

    /// Those that nobody has used for long.
    pub(super) fn idle(&self, now: Millis) -> Vec<Arc<str>> {
        let idle = self.idle_time();
        let loaded = self.loaded.iter();
        loaded
            .filter(|(_, it)| it.complete && it.last_use.saturating_add(idle) <= now)
            .map(|(tenant, _)| Arc::clone(tenant))
            .collect()
    }

    fn idle_time(&self) -> Millis {
        let idle = self.lazy.as_ref().map_or(Duration::MAX, |lazy| lazy.idle);
        u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)
    }

    /// The tenant is not loaded any more; what it has is for the caller. Gives the questions about it.
    pub(super) fn unloaded(&mut self, tenant: &str) -> Vec<u64> {
        let was = self.loaded.remove(tenant);
        self.unloads += u64::from(was.is_some_and(|it| it.complete));
        self.changed = true;
        let gap = self.gaps.remove(tenant).unwrap_or_default();
        gap.open.into_iter().collect()
    }

    /// When something has to be looked at again; nothing is unloaded while something is compiled.
    pub(super) fn due(&self, compiling: bool) -> Option<Millis> {
        let idle = self.idle_time();
        let complete = self.loaded.values().filter(|it| it.complete && !compiling);
        let unloads = complete.map(|it| it.last_use.saturating_add(idle));
        let gaps = self.gaps.values().filter(|gap| gap.open.is_empty());
        unloads.chain(gaps.map(|gap| gap.at)).min()
    }

    /// What is to be told, if it has changed.
    pub(super) fn news(&mut self) -> Option<Told> {
        let changed = std::mem::take(&mut self.changed);
        (changed && self.lazy.is_some()).then(|| self.told())
    }

    pub(super) fn told(&self) -> Told {
        let Some(lazy) = &self.lazy else {
            return Told::default();
        };
        let lacking = self.by_tenant.keys();
        let mut known: BTreeMap<Arc<str>, bool> = lacking
            .filter(|tenant| !lazy.eager.has(tenant))
            .map(|tenant| (Arc::clone(tenant), false))
            .collect();
        let mut list = lazy.eager.clone();
        for (tenant, loaded) in &self.loaded {
            known.insert(Arc::clone(tenant), loaded.complete);
            if loaded.complete {
                list.add(tenant);
            }
        }
        Told {
            known,
            loaded: list.items(),
            loading: self.loaded.values().filter(|it| !it.complete).count(),
            loads: self.loads,
            unloads: self.unloads,
        }
    }
}
