//! Applying what was pulled: entries become changes, their artifacts are compiled, the deployed set
//! is changed once for each batch, and every entry is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artifact::{DeploymentAction, DeploymentNotice, Label, LabelLogEntry};

use super::deployed_set::{Deployment, Installed};
use super::direct::Direct;
use super::standings::Change;
use super::{Batch, Compiling, Core, Millis, Output};
use crate::kept::Kept;
use crate::snapshot::ledger::{Outcome, Record};
use crate::snapshot::state::{Position, Stamp, StoredApi};

/// Characters of a refusal's reason that are reported.
const MAX_REASON: usize = 2000;

/// How far the gateway is, for readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Labels whose logs have not been applied to their end yet.
    pub missing: Vec<Label>,
    pub deployed: usize,
    pub failed: usize,
    /// What is deployed comes from the snapshot, and a label's log has not been pulled since.
    pub from_snapshot: bool,
    /// Entries that were pulled since the start.
    pub pulled: u64,
}

/// A compiled entry, or why it is refused.
pub type Compiled = Result<Arc<Deployment>, (Arc<Kept>, String)>;

/// Changes that wait for what is being compiled.
#[derive(Debug)]
pub(super) struct Applying {
    label: Label,
    step: Step,
    /// Entries with their artifacts, for the snapshot.
    noted: Vec<LabelLogEntry>,
    undeploy: Vec<LabelLogEntry>,
}

/// What comes when they are applied.
#[derive(Debug)]
pub(super) enum Step {
    /// A pull goes on, from here.
    Pulled {
        id: u64,
        reached: u64,
        complete: bool,
    },
    /// A repair goes on, or has ended.
    Repair { id: u64, last: bool },
    /// A saver's own entries go on.
    Direct(Box<Direct>),
    /// Loading a tenant goes on, or has ended.
    Load { id: u64, last: bool },
}

impl Applying {
    pub(super) fn new(label: Label, step: Step, noted: Vec<LabelLogEntry>) -> Self {
        Self {
            label,
            step,
            noted,
            undeploy: Vec::new(),
        }
    }
}

impl Core {
    pub(super) fn apply(&mut self, now: Millis, batch: Batch) {
        let Batch {
            label,
            id,
            mut entries,
            complete_to,
        } = batch;
        self.pulled += entries.len() as u64;
        let newest = entries.last().map(|entry| entry.seq);
        self.tenants.strip(&mut entries);
        let noted = entries.clone();
        let changes = self.standings.pulled(&label, entries);
        let step = Step::Pulled {
            id,
            reached: complete_to.or(newest).unwrap_or(0),
            complete: complete_to.is_some(),
        };
        self.apply_changes(now, Applying::new(label, step, noted), changes);
    }

    pub(super) fn apply_changes(
        &mut self,
        now: Millis,
        mut applying: Applying,
        changes: Vec<Change>,
    ) {
        let (mut deploy, undeploy) = sort(changes);
        self.defer(&mut deploy);
        applying.undeploy = undeploy;
        if deploy.is_empty() {
            self.applied(now, applying, Vec::new());
        } else {
            self.compiling = Some(Compiling::Batch(applying));
            self.out.push_back(Output::Compile(deploy));
        }
    }

    pub(super) fn compiled(&mut self, now: Millis, compiled: Vec<Compiled>) {
        match self.compiling.take() {
            Some(Compiling::Batch(applying)) => self.applied(now, applying, compiled),
            Some(Compiling::Redeploy { command, newest }) => {
                self.redeployed(command, &newest, compiled);
            }
            Some(Compiling::Overrides) => self.install(compiled, Vec::new()),
            None => {}
        }
    }

    /// Has what is deployed under these keys compiled again, with or without files that override it.
    pub(super) fn overrides(&mut self, keys: &[String]) {
        let concerned = self
            .set
            .iter()
            .filter(|deployment| deployment.has_key(keys));
        // What is refused may be so for a file, and its keys are not known.
        let concerned = concerned.map(|deployment| &deployment.api_id);
        let concerned: BTreeSet<&String> = concerned.chain(self.failed.keys()).collect();
        let newest = concerned
            .into_iter()
            .filter_map(|api_id| self.newest.get(api_id));
        let mut entries = Vec::new();
        for kept in newest {
            match kept.whole() {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    let api_id = &kept.entry.api_id;
                    tracing::error!(api_id, %error, "its override has no effect");
                }
            }
        }
        if entries.is_empty() {
            return;
        }
        for entry in &entries {
            // So that it is reported again.
            self.failed.remove(&entry.api_id);
        }
        self.compiling = Some(Compiling::Overrides);
        self.out.push_back(Output::Compile(entries));
    }

    /// Everything of a batch is there: changes the deployed set, and goes on.
    fn applied(&mut self, now: Millis, applying: Applying, compiled: Vec<Compiled>) {
        let Applying {
            label,
            step,
            noted,
            undeploy,
        } = applying;
        if !compiled.is_empty() || !undeploy.is_empty() {
            self.install(compiled, undeploy);
        }
        if let Step::Pulled {
            reached, complete, ..
        } = &step
        {
            let (reached, complete) = (*reached, *complete);
            if complete {
                self.standings.completed(&label);
                self.unpulled.remove(&label);
                self.compare_soon(now, &label);
            }
            if let Some(work) = self.labels.get_mut(&label) {
                work.pulling.applied(reached, complete);
            }
        }
        self.note(&label, noted);
        match step {
            Step::Pulled { id, .. }
            | Step::Repair { id, last: false }
            | Step::Load { id, last: false } => {
                self.out.push_back(Output::GoOn { id });
            }
            Step::Repair { last: true, .. } => self.repaired(now, &label),
            Step::Direct(direct) => self.direct_next(now, *direct),
            Step::Load { id, last: true } => self.fetched(now, id, Ok(())),
        }
    }

    /// Notes for the snapshot what a batch has changed, and how far its label is.
    pub(super) fn note(&mut self, label: &Label, mut entries: Vec<LabelLogEntry>) {
        let Some(cursor) = self.labels.get(label).map(|work| work.pulling.cursor) else {
            return;
        };
        let seq = cursor;
        let label_applied = label.clone();
        self.out.push_back(Output::Applied {
            label: label_applied,
            seq,
        });
        let mut touched = std::mem::take(&mut self.touched);
        entries.retain(|entry| {
            let standing = self.standings.standing(label, &entry.api_id);
            standing.is_some_and(|standing| standing.seq == entry.seq)
        });
        touched.extend(entries.iter().map(|entry| entry.api_id.clone()));
        let mut texts = Vec::new();
        for entry in &mut entries {
            let kept = self.newest.get(&entry.api_id);
            if let Some(kept) = kept.filter(|it| it.genuine && it.entry.digest == entry.digest) {
                entry.artifact = None;
                texts.push((entry.digest, kept.text.clone()));
            }
        }
        let apis = touched.into_iter().map(|api_id| {
            let outcome = Outcome {
                wanted: self.standings.wanted(&api_id),
                // What an operator has taken down serves again after a restart.
                serving: (self.set.get(&api_id).or(self.taken.get(&api_id)))
                    .map(|deployment| stamp(deployment)),
                reason: self.failed.get(&api_id).map(|(_, reason)| reason.clone()),
            };
            (api_id, outcome)
        });
        let record = Record {
            label: label.clone(),
            position: Position {
                cursor,
                complete: self.standings.is_complete(label),
            },
            entries,
            texts,
            apis: apis.collect(),
        };
        self.out.push_back(Output::Record(Box::new(record)));
    }

    /// Of what was brought back, only what has become another than it was `stored` is noted.
    pub(super) fn only_new(&mut self, stored: &BTreeMap<String, StoredApi>) {
        let set = &self.set;
        self.touched.retain(|api_id| {
            let now = set.get(api_id).map(|deployment| deployment.digest);
            let before = stored.get(api_id).and_then(|api| api.serving.as_ref());
            now != before.map(|stamp| stamp.digest)
        });
    }

    pub(super) fn tell_progress(&mut self) {
        let progress = Progress {
            missing: self.standings.missing(),
            deployed: self.set.len(),
            failed: self.failed.len(),
            from_snapshot: !self.unpulled.is_empty(),
            pulled: self.pulled,
        };
        if self.progress != progress {
            self.progress = progress.clone();
            self.out.push_back(Output::Progress(progress));
        }
    }

    pub(super) fn install(&mut self, compiled: Vec<Compiled>, undeploy: Vec<LabelLogEntry>) {
        let mut newcomers = Vec::with_capacity(compiled.len());
        for result in compiled {
            match result {
                Ok(deployment) => {
                    self.know(&deployment.kept);
                    newcomers.push(deployment);
                }
                Err((kept, reason)) => {
                    self.know(&kept);
                    self.set.forget_waiting(&kept.entry.api_id);
                    self.refuse(
                        &entry_notice(&self.settings.gateway_id, &kept.entry),
                        &reason,
                    );
                }
            }
        }
        let removed: Vec<String> = undeploy.iter().map(|entry| entry.api_id.clone()).collect();
        let installed = self.swap(&removed, newcomers);
        for entry in &undeploy {
            self.failed.remove(&entry.api_id);
            self.newest.remove(&entry.api_id);
            self.taken.remove(&entry.api_id);
            self.tenants.is_here(&entry.api_id);
            tracing::info!(
                api = entry.name,
                version = entry.version,
                revision = entry.revision,
                "undeployed"
            );
            self.notify(DeploymentNotice {
                action: DeploymentAction::Undeploy,
                ..entry_notice(&self.settings.gateway_id, entry)
            });
        }
        self.tell(&installed);
    }

    pub(super) fn know(&mut self, kept: &Arc<Kept>) {
        let api_id = kept.entry.api_id.clone();
        if self.standings.wanted(&api_id) == Some((kept.entry.revision, kept.entry.digest)) {
            self.tenants.is_here(&api_id);
        }
        self.newest.insert(api_id, Arc::clone(kept));
    }

    /// Changes the deployed set and swaps the route table.
    pub(super) fn swap(
        &mut self,
        removed: &[String],
        newcomers: Vec<Arc<Deployment>>,
    ) -> Installed {
        let before = self.set.len();
        let installed = self.set.install(removed, newcomers);
        if !installed.deployed.is_empty() || before != self.set.len() {
            self.out.push_back(Output::Swap);
        }
        installed
    }

    /// Reports what became of newcomers.
    pub(super) fn tell(&mut self, installed: &Installed) {
        for deployment in &installed.deployed {
            self.failed.remove(&deployment.api_id);
            self.taken.remove(&deployment.api_id);
            tracing::info!(
                api = deployment.name,
                version = deployment.version,
                revision = deployment.revision,
                digest = deployment.digest.short(),
                "deployed"
            );
            let files = deployment.overridden.as_ref().map(|it| it.files.join(", "));
            let reason = files.map(|files| format!("{files} in its synapse-configs"));
            self.notify(DeploymentNotice {
                deployed_revision_id: Some(deployment.digest),
                overridden: reason.is_some(),
                error_message: reason,
                ..deployment_notice(&self.settings.gateway_id, deployment)
            });
        }
        for (deployment, reason) in &installed.refused {
            self.refuse(
                &deployment_notice(&self.settings.gateway_id, deployment),
                reason,
            );
        }
    }

    /// Reports a refusal; what was deployed before goes on answering.
    pub(super) fn refuse(&mut self, notice: &DeploymentNotice, reason: &str) {
        // The reason holds parts of the artifact; it is for people, and has to fit a report.
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let said = (notice.revision, reason.clone());
        if self.failed.get(&notice.api_id) == Some(&said) {
            return;
        }
        self.failed.insert(notice.api_id.clone(), said);
        let serving = self
            .set
            .get(&notice.api_id)
            .map(|deployment| deployment.digest);
        tracing::warn!(
            api_id = notice.api_id,
            revision = notice.revision,
            reason,
            serving_before = serving.is_some(),
            "refused"
        );
        self.notify(DeploymentNotice {
            deployment_status: "FAILURE".into(),
            deployed_revision_id: serving,
            error_code: Some("refused".into()),
            error_message: Some(reason),
            ..notice.clone()
        });
    }

    pub(super) fn notify(&mut self, notice: DeploymentNotice) {
        self.touched.insert(notice.api_id.clone());
        self.out.push_back(Output::Report(notice));
    }
}

/// What to compile and what to take away; the last change of each API counts.
fn sort(changes: Vec<Change>) -> (Vec<LabelLogEntry>, Vec<LabelLogEntry>) {
    let mut deploy: Vec<LabelLogEntry> = Vec::new();
    let mut undeploy: Vec<LabelLogEntry> = Vec::new();
    for change in changes {
        match change {
            Change::Deploy(entry) => {
                undeploy.retain(|other| other.api_id != entry.api_id);
                deploy.retain(|other| other.api_id != entry.api_id);
                deploy.push(*entry);
            }
            Change::Undeploy(entry) => {
                deploy.retain(|other| other.api_id != entry.api_id);
                undeploy.push(*entry);
            }
            Change::Keep => {}
        }
    }
    (deploy, undeploy)
}

pub(super) fn entry_notice(gateway_id: &str, entry: &LabelLogEntry) -> DeploymentNotice {
    DeploymentNotice {
        gateway_id: gateway_id.to_owned(),
        api_id: entry.api_id.clone(),
        tenant_domain: entry.tenant_domain.clone(),
        deployment_status: "SUCCESS".into(),
        action: DeploymentAction::Deploy,
        revision_id: entry.digest.to_string(),
        revision: entry.revision,
        deployed_revision_id: None,
        // Where it is sent there is a clock.
        time_stamp: 0,
        error_code: None,
        error_message: None,
        overridden: false,
    }
}

fn stamp(deployment: &Deployment) -> Stamp {
    Stamp {
        revision: deployment.revision,
        digest: deployment.digest,
        name: deployment.name.clone(),
        version: deployment.version.clone(),
        tenant_domain: deployment.tenant_domain.clone(),
    }
}

fn deployment_notice(gateway_id: &str, deployment: &Deployment) -> DeploymentNotice {
    DeploymentNotice {
        gateway_id: gateway_id.to_owned(),
        api_id: deployment.api_id.clone(),
        tenant_domain: deployment.tenant_domain.clone(),
        deployment_status: "SUCCESS".into(),
        action: DeploymentAction::Deploy,
        revision_id: deployment.digest.to_string(),
        revision: deployment.revision,
        deployed_revision_id: None,
        // Where it is sent there is a clock.
        time_stamp: 0,
        error_code: None,
        error_message: None,
        overridden: false,
    }
}
