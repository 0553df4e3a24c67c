//! Deploying: pulled entries become plans off the request path, the route table is swapped once
//! for each batch, and every entry is acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use artifact::{Artifact, DeploymentAction, DeploymentNotice, Label, LabelLogEntry, Severity};
use synapse::dispatch::RouteTable;
use synapse::xml::Limits;
use tokio::sync::{mpsc, watch};

use crate::commands::Command;
use crate::deployed_set::{DeployedSet, Deployment, Installed, Routed};
use crate::follow::Pulled;
use crate::kept::Kept;
use crate::snapshot::ledger::{Ledger, Outcome};
use crate::snapshot::state::{Position, Stamp, StoredApi};
use crate::sync_core::{Change, SyncCore};

/// The table that answers requests; readers take a snapshot, a change swaps the whole.
pub type Routes = Arc<ArcSwap<RouteTable<Routed>>>;

/// Characters of a refusal's reason that are reported.
const MAX_REASON: usize = 2000;

/// How far the gateway is, for readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Labels whose logs have not been applied to their end yet.
    pub missing: Vec<artifact::Label>,
    pub deployed: usize,
    pub failed: usize,
    /// What is deployed comes from the snapshot, and a label's log has not been pulled since.
    pub from_snapshot: bool,
    /// Entries that were pulled since the start.
    pub pulled: u64,
}

/// Applies what is pulled, one batch after the other: the order per API is the order of the log.
#[derive(Debug)]
pub struct Deployer {
    pub gateway_id: String,
    pub core: SyncCore,
    pub routes: Routes,
    pub notices: mpsc::UnboundedSender<DeploymentNotice>,
    pub progress: watch::Sender<Progress>,
    /// What is noted for the snapshot; `None` without one.
    pub ledger: Option<Ledger>,
    pub(crate) set: DeployedSet,
    /// Labels that come from the snapshot and whose logs have not been pulled since.
    pub(crate) unpulled: BTreeSet<Label>,
    pulled: u64,
    /// APIs of which something was reported since the last batch.
    touched: BTreeSet<String>,
    /// APIs whose newest revision was refused, with the revision and reason that were reported.
    pub(crate) failed: HashMap<String, (u64, String)>,
    /// The newest revision of each API that a label publishes, deployed or not.
    pub(crate) newest: HashMap<String, Arc<Kept>>,
    /// What an operator has taken down, to be brought back where the newest revision is refused.
    pub(crate) taken: HashMap<String, Arc<Deployment>>,
}

/// A compiled entry, or why it is refused.
pub(crate) type Compiled = Result<Arc<Deployment>, (Arc<Kept>, String)>;

impl Deployer {
    #[must_use]
    pub fn new(
        gateway_id: String,
        core: SyncCore,
        notices: mpsc::UnboundedSender<DeploymentNotice>,
    ) -> Self {
        let progress = Progress {
            missing: core.missing(),
            ..Progress::default()
        };
        Self {
            gateway_id,
            core,
            routes: Arc::new(ArcSwap::from_pointee(RouteTable::new(Vec::<(
                Arc<synapse::dispatch::ApiRoute>,
                Routed,
            )>::new(
            )))),
            notices,
            progress: watch::Sender::new(progress),
            ledger: None,
            set: DeployedSet::default(),
            unpulled: BTreeSet::new(),
            pulled: 0,
            touched: BTreeSet::new(),
            failed: HashMap::new(),
            newest: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    /// Applies batches, and does what operators say, one after the other, until the followers have
    /// ended.
    pub(crate) async fn run(
        mut self,
        mut pulled: mpsc::Receiver<Pulled>,
        mut commands: mpsc::Receiver<Command>,
    ) {
        loop {
            tokio::select! {
                batch = pulled.recv() => match batch {
                    Some(batch) => self.apply(batch).await,
                    None => break,
                },
                Some(command) = commands.recv() => self.operate(command).await,
            }
        }
        if let Some(ledger) = &self.ledger {
            ledger.recorder.close();
        }
    }

    pub(crate) async fn apply(&mut self, batch: Pulled) {
        self.pulled += batch.entries.len() as u64;
        let noted = self.ledger.is_some().then(|| batch.entries.clone());
        let changes = self.core.pulled(&batch.label, batch.entries);
        if !changes.is_empty() {
            let (deploy, undeploy) = sort(changes);
            let compiled = compile_all(deploy).await;
            self.install(compiled, undeploy);
        }
        if batch.complete {
            self.core.completed(&batch.label);
            self.unpulled.remove(&batch.label);
        }
        self.note(&batch.label, batch.reached, noted.unwrap_or_default());
        self.tell_progress();
        // A follower that has ended in between does not need the answer.
        let _ = batch.applied.send(());
    }

    /// Notes for the snapshot what a batch has changed.
    fn note(&mut self, label: &Label, cursor: u64, mut entries: Vec<LabelLogEntry>) {
        let mut touched = std::mem::take(&mut self.touched);
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        entries.retain(|entry| {
            let standing = self.core.standing(label, &entry.api_id);
            standing.is_some_and(|standing| standing.seq == entry.seq)
        });
        touched.extend(entries.iter().map(|entry| entry.api_id.clone()));
        let apis = touched.into_iter().map(|api_id| {
            let outcome = Outcome {
                wanted: self.core.wanted(&api_id),
                // What an operator has taken down serves again after a restart.
                serving: (self.set.get(&api_id).or(self.taken.get(&api_id)))
                    .map(|deployment| stamp(deployment)),
                reason: self.failed.get(&api_id).map(|(_, reason)| reason.clone()),
            };
            (api_id, outcome)
        });
        let position = Position {
            cursor,
            complete: self.core.is_complete(label),
        };
        ledger.applied(label, position, entries, apis);
    }

    /// Of what was brought back, only what has become another than it was `stored` is noted.
    pub(crate) fn only_new(&mut self, stored: &BTreeMap<String, StoredApi>) {
        let set = &self.set;
        self.touched.retain(|api_id| {
            let now = set.get(api_id).map(|deployment| deployment.digest);
            let before = stored.get(api_id).and_then(|api| api.serving.as_ref());
            now != before.map(|stamp| stamp.digest)
        });
    }

    pub(crate) fn tell_progress(&self) {
        let progress = Progress {
            missing: self.core.missing(),
            deployed: self.set.len(),
            failed: self.failed.len(),
            from_snapshot: !self.unpulled.is_empty(),
            pulled: self.pulled,
        };
        self.progress.send_if_modified(|known| {
            let changed = *known != progress;
            *known = progress;
            changed
        });
    }

    pub(crate) fn install(&mut self, compiled: Vec<Compiled>, undeploy: Vec<LabelLogEntry>) {
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
                    self.refuse(&entry_notice(&self.gateway_id, &kept.entry), &reason);
                }
            }
        }
        let removed: Vec<String> = undeploy.iter().map(|entry| entry.api_id.clone()).collect();
        let installed = self.swap(&removed, newcomers);
        for entry in &undeploy {
            self.failed.remove(&entry.api_id);
            self.newest.remove(&entry.api_id);
            self.taken.remove(&entry.api_id);
            tracing::info!(
                api = entry.name,
                version = entry.version,
                revision = entry.revision,
                "undeployed"
            );
            self.notify(DeploymentNotice {
                action: DeploymentAction::Undeploy,
                ..entry_notice(&self.gateway_id, entry)
            });
        }
        self.tell(&installed);
    }

    fn know(&mut self, kept: &Arc<Kept>) {
        let api_id = kept.entry.api_id.clone();
        self.newest.insert(api_id, Arc::clone(kept));
    }

    /// Changes the deployed set and swaps the route table.
    pub(crate) fn swap(
        &mut self,
        removed: &[String],
        newcomers: Vec<Arc<Deployment>>,
    ) -> Installed {
        let before = self.set.len();
        let installed = self.set.install(removed, newcomers);
        if !installed.deployed.is_empty() || before != self.set.len() {
            self.routes.store(Arc::new(self.set.route_table()));
        }
        installed
    }

    /// Reports what became of newcomers.
    pub(crate) fn tell(&mut self, installed: &Installed) {
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
            self.notify(DeploymentNotice {
                deployed_revision_id: Some(deployment.digest),
                ..deployment_notice(&self.gateway_id, deployment)
            });
        }
        for (deployment, reason) in &installed.refused {
            self.refuse(&deployment_notice(&self.gateway_id, deployment), reason);
        }
    }

    /// Reports a refusal; what was deployed before goes on answering.
    pub(crate) fn refuse(&mut self, notice: &DeploymentNotice, reason: &str) {
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

    pub(crate) fn notify(&mut self, notice: DeploymentNotice) {
        if self.ledger.is_some() {
            self.touched.insert(notice.api_id.clone());
        }
        // The reporter ends after the deployer.
        let _ = self.notices.send(notice);
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

/// Compiles on the blocking pool, as many at a time as there are cores.
pub(crate) async fn compile_all(entries: Vec<LabelLogEntry>) -> Vec<Compiled> {
    if entries.is_empty() {
        return Vec::new();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(cores);
    let mut entries = entries.into_iter();
    let mut tasks = Vec::with_capacity(cores);
    loop {
        let part: Vec<LabelLogEntry> = entries.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        tasks.push(tokio::task::spawn_blocking(move || {
            part.into_iter().map(compile_guarded).collect::<Vec<_>>()
        }));
    }
    let mut compiled = Vec::new();
    for task in tasks {
        match task.await {
            Ok(results) => compiled.extend(results),
            Err(error) => tracing::error!(%error, "compiling ended early"),
        }
    }
    compiled
}

/// Compiles; a defect of the compiler is a refusal of this artifact, not the end of the others.
fn compile_guarded(entry: LabelLogEntry) -> Compiled {
    let kept = Arc::new(Kept::of(&entry));
    std::panic::catch_unwind(|| compile(entry, Arc::clone(&kept))).unwrap_or_else(|_| {
        let api_id = &kept.entry.api_id;
        tracing::error!(api_id, "the compiler failed on an artifact");
        Err((kept, "the compiler failed on it".into()))
    })
}

fn compile(entry: LabelLogEntry, kept: Arc<Kept>) -> Compiled {
    if !entry.is_genuine() {
        return Err((kept, "the artifact does not match its digest".into()));
    }
    let artifact = match Artifact::parse(entry.artifact.as_deref().unwrap_or_default()) {
        Ok(artifact) => artifact,
        Err(error) => return Err((kept, error.to_string())),
    };
    let compilation = synapse::compile(&artifact, &Limits::default());
    let Some(plan) = compilation.plan else {
        let reasons: Vec<String> = compilation
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Refused)
            .map(|finding| format!("{}: {}", finding.place, finding.message))
            .collect();
        return Err((kept, reasons.join("; ")));
    };
    Ok(Arc::new(Deployment {
        api_id: entry.api_id,
        name: entry.name,
        version: entry.version,
        tenant_domain: entry.tenant_domain,
        revision: entry.revision,
        digest: entry.digest,
        plan,
        kept,
    }))
}

pub(crate) fn entry_notice(gateway_id: &str, entry: &LabelLogEntry) -> DeploymentNotice {
    DeploymentNotice {
        gateway_id: gateway_id.to_owned(),
        api_id: entry.api_id.clone(),
        tenant_domain: entry.tenant_domain.clone(),
        deployment_status: "SUCCESS".into(),
        action: DeploymentAction::Deploy,
        revision_id: entry.digest.to_string(),
        revision: entry.revision,
        deployed_revision_id: None,
        time_stamp: kit::clock::now_ms(),
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
        time_stamp: kit::clock::now_ms(),
        error_code: None,
        error_message: None,
        overridden: false,
    }
}
