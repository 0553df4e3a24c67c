//! Beginning with a stored state, before anything has been pulled.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact::{DeploymentAction, DeploymentNotice, Instruction, Label, LabelLogEntry};

use super::apply::{Compiled, entry_notice};
use super::{Core, Standing};
use crate::snapshot::state::{Stamp, State, StoredApi, StoredLabel};

/// What is to be compiled for a stored state: first [`Restoring::serving`], to be given to
/// [`Core::restore_serving`], then [`Restoring::refused`], to be given to [`Core::restore_refused`].
#[derive(Debug)]
pub struct Restoring {
    /// Revisions that served.
    pub serving: Vec<(String, Stamp)>,
    /// Newer ones that had been refused.
    pub refused: Vec<(String, Stamp)>,
    /// Refused ones whose artifacts were not kept, with the reason.
    lost: Vec<(String, Stamp, String)>,
    stored: BTreeMap<String, StoredApi>,
    /// The newest Remove of each API that is gone.
    removed: Vec<(String, Stamp)>,
}

impl Core {
    /// Takes a stored state over. The revisions that served are to be brought back all at once, then
    /// the newest ones that had been refused, which are refused again, with the reason.
    pub fn restore(&mut self, state: &State) -> Restoring {
        for (label, stored) in &state.labels {
            let standings = stored.entries.iter().map(|(api_id, entry)| {
                let standing = Standing {
                    seq: entry.seq,
                    revision: entry.stamp.revision,
                    instruction: entry.instruction,
                    digest: entry.stamp.digest,
                    published_to: entry.published_to.clone(),
                };
                (api_id.clone(), standing)
            });
            let complete = stored.position.complete;
            self.standings.restore_label(label, complete, standings);
            self.unpulled.insert(label.clone());
            if let Some(work) = self.labels.get_mut(label) {
                work.pulling.cursor = stored.position.cursor;
            }
        }
        // What was loaded is loaded again.
        for stamp in state.apis.values().filter_map(|api| api.serving.as_ref()) {
            self.tenants.restored(&stamp.tenant_domain);
        }
        let mut serving = Vec::new();
        let mut refused = Vec::new();
        let mut lost = Vec::new();
        for (api_id, api) in &state.apis {
            let deferred = |stamp: &Stamp| !self.tenants.is_active(&stamp.tenant_domain);
            if let Some(wanted) = api.wanted.as_ref().filter(|it| deferred(it)) {
                let (revision, digest) = (wanted.revision, wanted.digest);
                self.standings.restore_wanted(api_id, revision, digest);
                self.tenants.lack(api_id, &wanted.tenant_domain);
                continue;
            }
            serving.extend(api.serving.clone().map(|stamp| (api_id.clone(), stamp)));
            let Some(wanted) = &api.wanted else { continue };
            self.standings
                .restore_wanted(api_id, wanted.revision, wanted.digest);
            if api.serving.as_ref() == Some(wanted) {
                continue;
            }
            let refusal = (api_id.clone(), wanted.clone());
            if state.texts.contains_key(&wanted.digest) {
                refused.push(refusal);
            } else if let Some(reason) = api.reason.clone() {
                lost.push((refusal.0, refusal.1, reason));
            } else {
                // Its artifact has never come.
                self.tenants.lack(api_id, &wanted.tenant_domain);
            }
        }
        Restoring {
            serving,
            refused,
            lost,
            stored: state.apis.clone(),
            removed: self.removed(&state.labels),
        }
    }

    /// Brings back what served.
    pub fn restore_serving(&mut self, compiled: Vec<Compiled>, restoring: &Restoring) {
        self.bring(compiled);
        for (api_id, stamp, reason) in &restoring.lost {
            let notice = entry_notice(
                &self.settings.gateway_id,
                &stored_entry(api_id, stamp, None),
            );
            self.refuse(&notice, reason);
        }
    }

    /// The last step: what was refused is refused again, and what was taken away is said once more,
    /// for the traffic manager has forgotten what this gateway said before it ended.
    pub fn restore_refused(&mut self, compiled: Vec<Compiled>, restoring: &Restoring) {
        if !compiled.is_empty() {
            self.bring(compiled);
        }
        for (api_id, stamp) in &restoring.removed {
            let removed = stored_entry(api_id, stamp, None);
            self.notify(DeploymentNotice {
                action: DeploymentAction::Undeploy,
                ..entry_notice(&self.settings.gateway_id, &removed)
            });
        }
        self.only_new(&restoring.stored);
        self.tell_progress();
    }

    /// What is stored of an artifact may be another text than its digest names: that is refused, and
    /// fetched again.
    fn bring(&mut self, compiled: Vec<Compiled>) {
        let refused = compiled.iter().filter_map(|it| it.as_ref().err());
        let wrong = refused.filter(|(kept, _)| !kept.genuine);
        let wrong: Vec<_> = wrong.map(|(kept, _)| Arc::clone(kept)).collect();
        self.install(compiled, Vec::new());
        for kept in wrong {
            let (api_id, tenant) = (&kept.entry.api_id, &kept.entry.tenant_domain);
            self.tenants.lack(api_id, tenant);
        }
    }

    /// The newest Remove of each API that is not wanted.
    fn removed(&self, labels: &BTreeMap<Label, StoredLabel>) -> Vec<(String, Stamp)> {
        let mut newest: BTreeMap<&String, &Stamp> = BTreeMap::new();
        for (api_id, entry) in labels.values().flat_map(|label| &label.entries) {
            let known = newest.get(api_id);
            let newer = known.is_none_or(|known| known.revision < entry.stamp.revision);
            let gone = self.standings.wanted(api_id).is_none();
            if gone && newer && entry.instruction == Instruction::Remove {
                newest.insert(api_id, &entry.stamp);
            }
        }
        let newest = newest.into_iter();
        newest
            .map(|(api_id, stamp)| (api_id.clone(), stamp.clone()))
            .collect()
    }
}

/// As if it had been pulled.
#[must_use]
pub fn stored_entry(api_id: &str, stamp: &Stamp, artifact: Option<String>) -> LabelLogEntry {
    LabelLogEntry {
        seq: 0,
        api_id: api_id.to_owned(),
        name: stamp.name.clone(),
        version: stamp.version.clone(),
        tenant_domain: stamp.tenant_domain.clone(),
        instruction: Instruction::Publish,
        revision: stamp.revision,
        digest: stamp.digest,
        time: 0,
        artifact,
        published_to: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
