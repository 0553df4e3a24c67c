//! Loading tenants that are needed, unloading those that are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use artifact::{Instruction, Label, LabelLogEntry};
use kit::backoff::Backoff;

use super::apply::{Applying, Step};
use super::pulling::LAG;
use super::standings::Change;
use super::{Core, Millis, Output, PullError, Range};
use crate::kept::Kept;

/// Waits after an answer that did not come, while requests wait.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(250),
    most: Duration::from_secs(15),
};
/// A load that fails is given up when no request has waited for it for so long.
const UNWANTED: Millis = 15_000;
/// Rounds that wait for entries which have taken the place of others; then the tenant counts as
/// loaded without them.
const ROUNDS: u32 = 8;
/// What waits for the log of another label is looked for so often.
const ELSEWHERE: Millis = 1000;
/// So many entries are fetched one by one; of more, the stretch of the log that holds them.
const SINGLE: usize = 16;

/// What a tenant lacks, being fetched.
#[derive(Debug, Default)]
pub(super) struct Gap {
    /// The questions that are open.
    pub(super) open: BTreeSet<u64>,
    /// When the next ones are asked.
    pub(super) at: Millis,
    /// Rounds in a row that have left something.
    tries: u32,
    /// A question of this round was not answered.
    failed: bool,
}

/// Entries that were fetched for a tenant.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) label: Label,
    pub(super) id: u64,
    pub(super) entries: Vec<LabelLogEntry>,
    pub(super) last: bool,
}

impl super::tenants::Tenants {
    pub(super) fn is_fetching(&self, id: u64) -> bool {
        self.fetching(id).is_some()
    }

    fn fetching(&self, id: u64) -> Option<&Arc<str>> {
        let mut gaps = self.gaps.iter();
        gaps.find_map(|(tenant, gap)| gap.open.contains(&id).then_some(tenant))
    }
}

impl Core {
    /// Of what is to be deployed, leaves what can be compiled now. The rest is lacking: of tenants that
    /// are not loaded until they are, of others until it has been fetched.
    pub(super) fn defer(&mut self, deploy: &mut Vec<LabelLogEntry>) {
        let mut away = Vec::new();
        deploy.retain(|entry| {
            let active = self.tenants.is_active(&entry.tenant_domain);
            if active && entry.artifact.is_some() {
                return true;
            }
            self.tenants.lack(&entry.api_id, &entry.tenant_domain);
            self.touched.insert(entry.api_id.clone());
            // It has come to another tenant, which is not loaded.
            if !active && self.newest.contains_key(&entry.api_id) {
                away.push(entry.api_id.clone());
            }
            false
        });
        if !away.is_empty() {
            self.take_away(&away);
        }
    }

    fn take_away(&mut self, api_ids: &[String]) {
        for api_id in api_ids {
            self.newest.remove(api_id);
            self.failed.remove(api_id);
            self.taken.remove(api_id);
            self.touched.insert(api_id.clone());
        }
        let installed = self.swap(api_ids, Vec::new());
        self.tell(&installed);
    }

    /// Loads and unloads what it is time for.
    pub(super) fn look_at_tenants(&mut self, now: Millis) {
        if self.compiling.is_none() {
            for tenant in self.tenants.idle(now) {
                if self.has_older(&tenant) {
                    // Nobody could bring that back: a log has the newest revisions only.
                    self.tenants.used(&[(tenant.to_string(), now)]);
                    continue;
                }
                self.unload(&tenant, "tenant unloaded, nobody uses it");
            }
        }
        let tenants: Vec<Arc<str>> = self.tenants.gaps.keys().cloned().collect();
        for tenant in tenants {
            self.look_at_gap(now, &tenant);
        }
        if let Some(told) = self.tenants.news() {
            self.out.push_back(Output::Tenants(told));
        }
    }

    /// Whether an older revision of one of the tenant's APIs answers, for the newest was refused or has
    /// not come.
    fn has_older(&self, tenant: &str) -> bool {
        let mut its = self.newest.iter();
        its.any(|(api_id, newest)| {
            let serving = self.set.get(api_id).or(self.taken.get(api_id));
            newest.entry.tenant_domain == tenant
                && serving.is_some_and(|it| {
                    self.standings.wanted(api_id) != Some((it.revision, it.digest))
                })
        })
    }

    fn look_at_gap(&mut self, now: Millis, tenant: &Arc<str>) {
        let Some(gap) = self.tenants.gaps.get(tenant) else {
            return;
        };
        if !self.tenants.by_tenant.contains_key(tenant) {
            // Everything has come, or has been removed meanwhile.
            for id in std::mem::take(&mut self.tenants.gaps.remove(tenant).unwrap_or_default().open)
            {
                self.out.push_back(Output::Cancel { id });
            }
            self.tenants.completed(now, tenant);
            return;
        }
        if !gap.open.is_empty() || gap.at > now {
            return;
        }
        let since = now.saturating_sub(UNWANTED);
        if gap.tries > 0 && self.compiling.is_none() && !self.tenants.is_waited_for(tenant, since) {
            self.unload(
                tenant,
                "loading the tenant is given up, nobody waits for it",
            );
            return;
        }
        let places = self.places(tenant);
        let mut open = BTreeSet::new();
        for (label, seqs) in places {
            let id = self.number();
            open.insert(id);
            self.out.push_back(Output::Fetch {
                ranges: self.ranges(&label, &seqs),
                label,
                id,
                tenant: Some(tenant.to_string()),
            });
        }
        if open.is_empty() {
            // No label publishes what another one's log says that it does: that one's pull brings it.
            self.tenants.completed(now, tenant);
        }
        if let Some(gap) = self.tenants.gaps.get_mut(tenant) {
            if open.is_empty() {
                gap.at = now.saturating_add(ELSEWHERE);
            }
            gap.open = open;
        }
    }

    /// Where there is what a tenant lacks.
    fn places(&self, tenant: &str) -> BTreeMap<Label, BTreeSet<u64>> {
        let mut places: BTreeMap<Label, BTreeSet<u64>> = BTreeMap::new();
        let apis = self.tenants.by_tenant.get(tenant).into_iter().flatten();
        for (label, seq) in apis.filter_map(|api_id| self.standings.source(api_id)) {
            places.entry(label.clone()).or_default().insert(seq);
        }
        places
    }

    /// The traffic manager leaves out other tenants, so one long stretch costs as much as what is in it.
    fn ranges(&self, label: &Label, seqs: &BTreeSet<u64>) -> Vec<Range> {
        let range = |seq: u64, limit| Range {
            after: seq.saturating_sub(1),
            limit,
        };
        match (seqs.first(), seqs.last()) {
            (Some(first), Some(last)) if seqs.len() > SINGLE => {
                let limit = self.standings.between(label, *first, *last);
                vec![range(*first, limit)]
            }
            _ => seqs.iter().map(|seq| range(*seq, 1)).collect(),
        }
    }

    /// Has compiled what was fetched and is still lacking.
    pub(super) fn load(&mut self, now: Millis, part: Part) {
        let Part {
            label,
            id,
            entries,
            last,
        } = part;
        if !self.tenants.is_fetching(id) {
            return;
        }
        let mut noted = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            let wanted = self.standings.wanted(&entry.api_id);
            let standing = self.standings.standing(&label, &entry.api_id);
            let fits = self.tenants.lacks(&entry.api_id)
                && entry.artifact.is_some()
                && entry.instruction == Instruction::Publish
                && wanted == Some((entry.revision, entry.digest))
                && standing.is_some_and(|it| it.publishes() && it.seq == entry.seq);
            if !fits {
                continue;
            }
            noted.push(entry.clone());
            if self.standings.is_overridden(&entry.api_id) {
                // An operator has taken it down before its tenant was unloaded.
                self.know(&Arc::new(Kept::of(&entry)));
            } else {
                changes.push(Change::Deploy(Box::new(entry)));
            }
        }
        let step = Step::Load { id, last };
        self.apply_changes(now, Applying::new(label, step, noted), changes);
    }

    /// A question about a tenant has been answered to its end, and what came has been applied.
    pub(super) fn fetched(&mut self, now: Millis, id: u64, result: Result<(), PullError>) {
        let Some(tenant) = self.tenants.fetching(id).cloned() else {
            return;
        };
        let left = !self.places(&tenant).is_empty();
        let Some(gap) = self.tenants.gaps.get_mut(&tenant) else {
            return;
        };
        gap.open.remove(&id);
        if let Err(error) = result {
            gap.failed = true;
            tracing::warn!(%tenant, %error, "cannot fetch what the tenant publishes, trying again");
        }
        if !gap.open.is_empty() {
            return;
        }
        let failed = std::mem::take(&mut gap.failed);
        if !left {
            gap.tries = 0;
            gap.at = now;
            return;
        }
        gap.tries = gap.tries.saturating_add(1);
        let backoff = if failed { RETRY } else { LAG };
        gap.at = now.saturating_add(self.random.wait(backoff, gap.tries));
        if failed {
            return;
        }
        let enough = gap.tries >= ROUNDS;
        // Something newer has taken its place, which the pull brings.
        for work in self.labels.values_mut() {
            work.pulling.sooner(now);
        }
        if enough {
            self.tenants.completed(now, &tenant);
        }
    }

    /// Takes a tenant's APIs out of the deployed set; what is published stays known.
    fn unload(&mut self, tenant: &Arc<str>, why: &str) {
        for id in self.tenants.unloaded(tenant) {
            self.out.push_back(Output::Cancel { id });
        }
        let newest = self.newest.values();
        let its = newest.filter(|kept| *kept.entry.tenant_domain == **tenant);
        let api_ids: Vec<String> = its.map(|kept| kept.entry.api_id.clone()).collect();
        tracing::info!(%tenant, apis = api_ids.len(), "{why}");
        for api_id in &api_ids {
            self.tenants.lack(api_id, tenant);
        }
        // Before the swap: whoever finds nothing then can see why.
        if let Some(told) = self.tenants.news() {
            self.out.push_back(Output::Tenants(told));
        }
        if api_ids.is_empty() {
            return;
        }
        self.take_away(&api_ids);
        if let Some(label) = self.labels.keys().next().cloned() {
            self.note(&label, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests;
