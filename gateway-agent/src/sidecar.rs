//! The deployer beside an existing gateway: what is deployed is written into the `synapse-configs` of a
//! Synapse or Micro Integrator server, which deploys it hot.
//!
//! What is said to the traffic manager passes through here, so that nothing is told as deployed before
//! its files are in place. Whether the server has taken them is for its own log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifact::{Artifact, DeploymentAction, DeploymentNotice, Digest};
use kit::backoff::{Backoff, spread};
use synapse_directory::{Change, Directory, DirectoryError, Outcome};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::sync_core::{Deployment, Guard};

/// Between two tries of what could not be written.
const RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
};

/// What the driver says, in its order.
#[derive(Debug)]
pub(crate) enum Said {
    /// What is deployed now. `complete` where every label's log has been applied to its end, so that
    /// what is not there has to go.
    Set {
        deployed: Vec<Arc<Deployment>>,
        complete: bool,
    },
    Report(DeploymentNotice),
}

/// Where it is said.
pub(crate) type Sidecar = mpsc::UnboundedSender<Said>;

/// Writes a Synapse directory.
#[derive(Debug)]
pub(crate) struct Writer {
    pub root: PathBuf,
    pub gateway_id: String,
    pub guard: Guard,
    /// The reporter.
    pub notices: mpsc::UnboundedSender<DeploymentNotice>,
}

/// What is known of the directory.
#[derive(Debug, Default)]
struct Known {
    /// `None` until it could be opened.
    directory: Option<Directory>,
    /// Why the files of an API are not what is deployed.
    failed: BTreeMap<String, String>,
    /// APIs of an earlier run that are not published any more, but too many to go unasked.
    left: HashSet<String>,
    /// A complete set has been written since the start.
    settled: bool,
}

impl Writer {
    /// Runs until nobody says anything any more, and what was said last is written.
    pub(crate) async fn run(self, mut said: mpsc::UnboundedReceiver<Said>) {
        let mut known = Known::default();
        let mut set: Option<(Vec<Arc<Deployment>>, bool)> = None;
        // What waits until the set is written.
        let mut reports: Vec<DeploymentNotice> = Vec::new();
        // What was told last of APIs that could not be written.
        let mut owed: HashMap<String, DeploymentNotice> = HashMap::new();
        let mut failures = 0;
        let mut retry: Option<Instant> = None;
        loop {
            let first = tokio::select! {
                first = said.recv() => match first {
                    Some(first) => Some(first),
                    None => break,
                },
                () = at(retry) => None,
            };
            let mut changed = retry.is_some_and(|at| at <= Instant::now());
            let mut next = first;
            while let Some(said_now) = next {
                match said_now {
                    Said::Set { deployed, complete } => {
                        set = Some((deployed, complete));
                        changed = true;
                    }
                    Said::Report(notice) => reports.push(notice),
                }
                next = said.try_recv().ok();
            }
            if changed && let Some((deployed, complete)) = &set {
                let written = self.write(known, deployed.clone(), *complete).await;
                let reason;
                (known, reason) = written;
                if let Some(reason) = reason {
                    failures += 1;
                    let wait = RETRY.wait_with_jitter(failures, spread());
                    let root = self.root.display();
                    tracing::error!(%root, reason, failures, "the Synapse directory is not written");
                    retry = Some(Instant::now() + wait);
                    // Nothing of it is told before it is true.
                    if known.directory.is_none() {
                        continue;
                    }
                } else {
                    failures = 0;
                    retry = None;
                }
                let now_written = owed.keys().filter(|id| !known.failed.contains_key(*id));
                let now_written: Vec<String> = now_written.cloned().collect();
                reports.extend(now_written.iter().filter_map(|id| owed.remove(id)));
            }
            if known.directory.is_some() || set.is_none() {
                for notice in reports.drain(..) {
                    self.tell(notice, &known.failed, &mut owed);
                }
            }
        }
    }

    fn tell(
        &self,
        notice: DeploymentNotice,
        failed: &BTreeMap<String, String>,
        owed: &mut HashMap<String, DeploymentNotice>,
    ) {
        let reason = failed.get(&notice.api_id);
        let deployed = notice.action == DeploymentAction::Deploy;
        let told = match reason.filter(|_| deployed && notice.deployment_status == "SUCCESS") {
            Some(reason) => {
                owed.insert(notice.api_id.clone(), notice.clone());
                DeploymentNotice {
                    deployment_status: "FAILURE".into(),
                    deployed_revision_id: None,
                    error_code: Some("not-written".into()),
                    error_message: Some(reason.clone()),
                    ..notice
                }
            }
            None => {
                owed.remove(&notice.api_id);
                notice
            }
        };
        // The reporter ends after this.
        let _ = self.notices.send(DeploymentNotice {
            time_stamp: kit::clock::now_ms().max(told.time_stamp),
            ..told
        });
    }

    /// Brings the directory to what is deployed; gives why something is left to be done.
    async fn write(
        &self,
        mut known: Known,
        deployed: Vec<Arc<Deployment>>,
        complete: bool,
    ) -> (Known, Option<String>) {
        let (root, gateway_id, guard) = (self.root.clone(), self.gateway_id.clone(), self.guard);
        let task = tokio::task::spawn_blocking(move || {
            let done = known.write(&root, &gateway_id, guard, &deployed, complete);
            (known, done)
        });
        match task.await {
            Ok((known, Ok(()))) => {
                let failed = known.failed.iter().next();
                let reason = failed.map(|(id, reason)| format!("{id}: {reason}"));
                (known, reason)
            }
            Ok((known, Err(error))) => (known, Some(error.to_string())),
            Err(error) => (Known::default(), Some(error.to_string())),
        }
    }
}

impl Known {
    fn write(
        &mut self,
        root: &Path,
        gateway_id: &str,
        guard: Guard,
        deployed: &[Arc<Deployment>],
        complete: bool,
    ) -> Result<(), DirectoryError> {
        let mut directory = match self.directory.take() {
            Some(directory) => directory,
            None => Directory::open(root, gateway_id)?,
        };
        let wanted: HashSet<&str> = deployed.iter().map(|it| it.api_id.as_str()).collect();
        let mut gone = Vec::new();
        if complete || self.settled {
            let here = directory.apis().filter(|id| !wanted.contains(id));
            gone = here.map(str::to_owned).collect();
            if !self.settled {
                let all = directory.apis().count();
                if gone.len() > guard.most(all) || (wanted.is_empty() && !gone.is_empty()) {
                    tracing::error!(
                        root = %root.display(),
                        apis = gone.len(),
                        of = all,
                        "FILES OF AN EARLIER RUN STAY: too many of their APIs are not published any \
                         more (max_delete_percent); remove them by hand"
                    );
                    self.left = gone.iter().cloned().collect();
                }
            }
            self.settled = true;
            self.left.retain(|id| !wanted.contains(id.as_str()));
            gone.retain(|id| !self.left.contains(id));
        }
        let mut puts: Vec<(Artifact, Digest)> = Vec::new();
        self.failed.clear();
        for deployment in deployed {
            let live = deployment.live();
            if directory.has(&deployment.api_id, live.entry.digest) {
                continue;
            }
            match live.artifact() {
                Ok(mut artifact) => {
                    artifact.api_id.clone_from(&deployment.api_id);
                    puts.push((artifact, live.entry.digest));
                }
                Err(error) => drop(
                    self.failed
                        .insert(deployment.api_id.clone(), error.to_string()),
                ),
            }
        }
        let takes = gone.iter().map(|api_id| Change::Take { api_id });
        let changes: Vec<Change<'_>> = takes
            .chain(puts.iter().map(|(artifact, digest)| Change::Put {
                artifact,
                digest: *digest,
            }))
            .collect();
        let applied = directory.apply(&changes);
        self.directory = Some(directory);
        for applied in applied? {
            if let Outcome::Failed(error) = applied.outcome {
                self.failed.insert(applied.api_id, error.to_string());
            }
        }
        Ok(())
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
