//! One gateway: a core, what it has been told to do, and its disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use artifact::{DeploymentAction, DeploymentNotice, Digest, Label, LabelLogEntry, TenantList};

use super::super::fixture::settings;
use super::super::{Compiled, Core, Lazy, Settings};
use super::chance::Chance;
use super::store::{Store, TENANTS, labels, tenant};
use crate::compile::{compile_guarded, compile_one_stored};
use crate::overrides::Overrides;
use crate::snapshot::ledger::{Ledger, Recorder};
use crate::snapshot::state::State;

thread_local! {
    /// What compiling an artifact gives depends on nothing else.
    static COMPILED: RefCell<HashMap<Digest, Compiled>> = RefCell::default();
}

pub fn compile(entry: LabelLogEntry) -> Compiled {
    let digest = entry.digest;
    let known = COMPILED.with_borrow(|known| known.get(&digest).cloned());
    known.unwrap_or_else(|| {
        let compiled = compile_guarded(entry, &Overrides::default());
        COMPILED.with_borrow_mut(|known| known.insert(digest, compiled.clone()));
        compiled
    })
}

/// How often somebody asks for a tenant's APIs at an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Never,
    /// It is unloaded in between.
    Rare,
    /// More often than it would be unloaded.
    Busy,
}

pub struct Agent {
    pub settings: Settings,
    pub labels: Vec<Label>,
    /// `None` while it is down.
    pub core: Option<Core>,
    /// Rises with each start and end: what was meant for another life is dropped.
    pub life: u64,
    /// Its clock is so much ahead.
    pub ahead: u64,
    pub connected: bool,
    /// When its next tick comes.
    pub ticks: Option<u64>,
    pub ledger: Ledger,
    pub disk: State,
    /// What answered at the last look.
    pub seen: BTreeMap<String, (u64, Digest)>,
    /// What it has told the traffic manager in this life, the newest of each API.
    pub told: BTreeMap<String, DeploymentNotice>,
    /// How each tenant is used, and when it was last, by the agent's clock.
    pub uses: BTreeMap<&'static str, (Use, u64)>,
}

impl Agent {
    pub fn new(names: &[&str], chance: &mut Chance) -> Self {
        let mut settings = settings(names);
        settings.seed = chance.next();
        let mut uses = BTreeMap::new();
        if chance.percent(50) {
            let eager = ["", "*,!t.example", "u.example"][chance.index(3)];
            settings.lazy = Some(Lazy {
                eager: TenantList::parse(eager).unwrap(),
                idle: std::time::Duration::from_secs(20),
            });
            for tenant in TENANTS {
                let how = [Use::Never, Use::Rare, Use::Busy][chance.index(3)];
                uses.insert(tenant, (how, 0));
            }
        }
        settings.waits.retry.most = std::time::Duration::from_secs(60);
        Self {
            settings,
            labels: labels(names),
            core: None,
            life: 0,
            ahead: 0,
            connected: false,
            ticks: None,
            ledger: Ledger::new(Recorder::default()),
            disk: State::default(),
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
            uses,
        }
    }

    /// From what is on the disk.
    pub fn start(&mut self, now: u64) -> Result<(), String> {
        self.life += 1;
        self.ticks = None;
        self.told.clear();
        let mut core = Core::new(self.settings.clone());
        self.ledger = Ledger::new(Recorder::default());
        let state = self.disk.clone();
        state
            .check()
            .map_err(|error| format!("the snapshot: {error}"))?;
        if !state.is_empty() {
            self.ledger.restored(&state);
            let restoring = core.restore(&state);
            let texts = &state.texts;
            let compiled = |stamps: &[(String, crate::snapshot::state::Stamp)]| -> Vec<Compiled> {
                let stamps = stamps.iter();
                let compiled = stamps.map(|(api_id, stamp)| {
                    let text = texts.get(&stamp.digest);
                    compile_one_stored(api_id, stamp, text, &Overrides::default())
                });
                compiled.collect()
            };
            core.restore_serving(compiled(&restoring.serving), &restoring);
            core.restore_refused(compiled(&restoring.refused), &restoring);
        }
        core.start(now + self.ahead);
        self.seen = set(&core);
        self.core = Some(core);
        Ok(())
    }

    pub fn end(&mut self) {
        self.life += 1;
        self.core = None;
        self.connected = false;
    }

    /// Brings what was noted to the disk.
    pub fn write(&mut self) {
        let pending = self.ledger.recorder.take();
        self.disk.merge(pending.packed());
        let needed = self.disk.needed();
        self.disk.texts.retain(|digest, _| needed.contains(digest));
    }

    /// Whose artifacts it asks for.
    pub fn artifacts_of(&self) -> TenantList {
        let lazy = self.settings.lazy.as_ref();
        lazy.map_or_else(TenantList::all, |lazy| lazy.eager.clone())
    }

    /// Whether all of the tenant's APIs have to answer.
    fn is_loaded(&self, core: &Core, tenant: &str) -> bool {
        self.artifacts_of().has(tenant) || core.tenants().known.get(tenant) == Some(&true)
    }

    pub fn hear(&mut self, notice: DeploymentNotice) {
        self.told.insert(notice.api_id.clone(), notice);
    }

    /// Whether what answers now may follow what answered before.
    pub fn look(&mut self, store: &Store, restored: bool) -> Result<(), String> {
        let Some(core) = &self.core else {
            return Ok(());
        };
        let now = set(core);
        for (api_id, (revision, digest)) in &now {
            let commit = store.commits.iter().find(|it| it.digest == *digest);
            if commit.is_none_or(|it| it.bad) && !restored {
                return Err(format!("{api_id} answers with what nobody published"));
            }
            let before = self.seen.get(api_id);
            if before.is_some_and(|(before, _)| before > revision) && !restored {
                return Err(format!("{api_id} fell back from {before:?} to {revision}"));
            }
        }
        for (api_id, (revision, _)) in &self.seen {
            let down = core.standings().is_overridden(api_id);
            let its = tenant(api_id[3..].parse().unwrap());
            let down = down || !self.is_loaded(core, its);
            let gone = now.contains_key(api_id) || down || restored;
            if !gone && !store.was_gone(api_id, *revision, &self.labels) {
                return Err(format!("{api_id} was lost, it answered with {revision}"));
            }
        }
        self.seen = now;
        Ok(())
    }

    /// Whether it has ended with what the store says.
    pub fn compare(&self, store: &Store, restored: bool) -> Result<(), String> {
        let Some(core) = &self.core else {
            return Err("it is down".into());
        };
        let all = store.commits.len();
        for label in &self.labels {
            if core.standings().digest(label) != store.digest(label, all) {
                return Err(format!("label {label} differs"));
            }
        }
        if let Some((label, held)) = core.held().next() {
            return Err(format!("a repair of {label} is held: {held:?}"));
        }
        for (tenant, (how, _)) in &self.uses {
            let loaded = core.tenants().known.get(*tenant).copied();
            let wrong = match how {
                Use::Never => loaded == Some(true) && !self.artifacts_of().has(tenant),
                Use::Rare => false,
                Use::Busy => loaded == Some(false),
            };
            if wrong {
                return Err(format!("{tenant} is used {how:?}, but loaded: {loaded:?}"));
            }
        }
        let now = set(core);
        for api in 0..super::store::APIS {
            let api_id = format!("api{api}");
            let expected = store.expected(&api_id, &self.labels);
            let answers = now.get(&api_id);
            let told = self.told.get(&api_id);
            if core.standings().is_overridden(&api_id) {
                if answers.is_some() {
                    return Err(format!("{api_id} answers though it was taken down"));
                }
            } else if !expected.published {
                let undeployed =
                    |notice: &DeploymentNotice| notice.action == DeploymentAction::Undeploy;
                if answers.is_some() || told.is_some_and(|notice| !undeployed(notice)) {
                    return Err(format!("{api_id} is gone, but: {answers:?}, told {told:?}"));
                }
            } else if !self.is_loaded(core, tenant(api)) {
                if answers.is_some() {
                    return Err(format!("{api_id} answers, its tenant is not loaded"));
                }
            } else if expected.newest_is_bad && restored {
                // It may serve a revision that the database has forgotten.
                if told.is_none_or(|notice| notice.deployment_status != "FAILURE") {
                    return Err(format!("{api_id} is bad, but told {told:?}"));
                }
            } else if expected.newest_is_bad {
                let refused = told.is_some_and(|notice| {
                    notice.deployment_status == "FAILURE"
                        && notice.deployed_revision_id == answers.map(|(_, digest)| *digest)
                });
                let older = answers.is_none_or(|(_, digest)| {
                    store
                        .commits
                        .iter()
                        .any(|it| it.digest == *digest && !it.bad)
                });
                if !refused || !older {
                    return Err(format!("{api_id} is bad, but: {answers:?}, told {told:?}"));
                }
            } else {
                let newest = expected.good.last().map(|it| (it.revision, it.digest));
                let said = told.and_then(|notice| notice.deployed_revision_id);
                if answers.copied() != newest || said != newest.map(|(_, digest)| digest) {
                    return Err(format!(
                        "{api_id} should be {newest:?}, but: {answers:?}, told {told:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn set(core: &Core) -> BTreeMap<String, (u64, Digest)> {
    let deployed = core.set().iter();
    deployed
        .map(|it| (it.api_id.clone(), (it.revision, it.digest)))
        .collect()
}
