//! The deployer beside an existing gateway: what is deployed is written into the `synapse-configs` of a
//! Synapse or Micro Integrator server, which deploys it hot.
//!
//! What is said to the traffic manager passes through here, so that nothing is told as deployed before
//! its files are in place. Whether the server has taken them is for its own log.

use std::collections::{BTreeMap, HashSet};
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
        let mut reports = Reports::default();
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
                    Said::Report(notice) => reports.take(notice),
                }
                next = said.try_recv().ok();
            }
            let mut not_written = None;
            if changed && let Some((deployed, complete)) = &set {
                let written = self.write(known, deployed.clone(), *complete).await;
                let result;
                (known, result) = written;
                let reason = match result {
                    Ok(()) => known
                        .failed
                        .iter()
                        .next()
                        .map(|(id, why)| format!("{id}: {why}")),
                    Err(reason) => {
                        not_written = Some(reason.clone());
                        Some(reason)
                    }
                };
                retry = reason.map(|reason| {
                    failures += 1;
                    let wait = RETRY.wait_with_jitter(failures, spread());
                    let root = self.root.display();
                    tracing::error!(%root, reason, failures, "the Synapse directory is not written");
                    Instant::now() + wait
                });
                if retry.is_none() {
                    failures = 0;
                }
            } else if failures > 0 && known.failed.is_empty() {
                // The last try has written nothing at all.
                continue;
            }
            for notice in reports.ready(&known.failed, not_written.as_deref()) {
                // The reporter ends after this.
                let _ = self.notices.send(notice);
            }
        }
    }

    /// Brings the directory to what is deployed.
    ///
    /// # Errors
    /// Why nothing of it is known to be written.
    async fn write(
        &self,
        mut known: Known,
        deployed: Vec<Arc<Deployment>>,
        complete: bool,
    ) -> (Known, Result<(), String>) {
        let (root, gateway_id, guard) = (self.root.clone(), self.gateway_id.clone(), self.guard);
        let task = tokio::task::spawn_blocking(move || {
            let done = known.write(&root, &gateway_id, guard, &deployed, complete);
            (known, done)
        });
        match task.await {
            Ok((known, done)) => (known, done.map_err(|error| error.to_string())),
            Err(error) => (Known::default(), Err(error.to_string())),
        }
    }
}

/// What is to be told, the newest of each API.
#[derive(Debug, Default)]
struct Reports {
    /// Not told yet.
    waiting: BTreeMap<String, DeploymentNotice>,
    /// Told as not written, to be told as it is when it is written.
    owed: BTreeMap<String, DeploymentNotice>,
    last: i64,
}

impl Reports {
    fn take(&mut self, notice: DeploymentNotice) {
        self.owed.remove(&notice.api_id);
        self.waiting.insert(notice.api_id.clone(), notice);
    }

    /// What can be told now: APIs in `failed` are not in place, and none is for the reason
    /// `not_written`.
    fn ready(
        &mut self,
        failed: &BTreeMap<String, String>,
        not_written: Option<&str>,
    ) -> Vec<DeploymentNotice> {
        let reason = |id: &String| not_written.or(failed.get(id).map(String::as_str));
        let written = self.owed.extract_if(.., |id, _| reason(id).is_none());
        self.waiting.extend(written);
        let mut ready = Vec::new();
        for (api_id, notice) in std::mem::take(&mut self.waiting) {
            let success = notice.deployment_status == "SUCCESS";
            let told = match (reason(&api_id).filter(|_| success), notice.action) {
                (None, _) => notice,
                (Some(reason), DeploymentAction::Deploy) => {
                    self.owed.insert(api_id, notice.clone());
                    DeploymentNotice {
                        deployment_status: "FAILURE".into(),
                        deployed_revision_id: None,
                        error_code: Some("not-written".into()),
                        error_message: Some(reason.to_owned()),
                        ..notice
                    }
                }
                // It is not gone before its files are.
                (Some(_), DeploymentAction::Undeploy) => {
                    self.waiting.insert(api_id, notice);
                    continue;
                }
            };
            // They rise: the newest counts.
            self.last = kit::clock::now_ms().max(self.last + 1).max(told.time_stamp);
            ready.push(DeploymentNotice {
                time_stamp: self.last,
                ..told
            });
        }
        ready
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

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(api_id: &str, revision: u64, action: DeploymentAction) -> DeploymentNotice {
        let digest = Digest::of(revision.to_string().as_bytes());
        DeploymentNotice {
            gateway_id: "g".into(),
            api_id: api_id.into(),
            tenant_domain: "carbon.super".into(),
            deployment_status: "SUCCESS".into(),
            action,
            revision_id: digest.to_string(),
            revision,
            deployed_revision_id: Some(digest),
            time_stamp: 0,
            error_code: None,
            error_message: None,
            overridden: false,
        }
    }

    fn told(notices: &[DeploymentNotice]) -> Vec<(&str, u64, &str)> {
        let told = notices.iter();
        told.map(|it| {
            (
                it.api_id.as_str(),
                it.revision,
                it.deployment_status.as_str(),
            )
        })
        .collect()
    }

    #[test]
    fn nothing_is_told_as_deployed_before_it_is_written() {
        use DeploymentAction::{Deploy, Undeploy};
        let (none, mut reports) = (BTreeMap::new(), Reports::default());
        reports.take(notice("a", 1, Deploy));
        reports.take(notice("b", 1, Undeploy));
        let full = reports.ready(&none, Some("the disk is full"));
        assert_eq!(told(&full), [("a", 1, "FAILURE")], "b is not gone");
        let written = reports.ready(&none, None);
        assert_eq!(told(&written), [("a", 1, "SUCCESS"), ("b", 1, "SUCCESS")]);
        assert!(written[1].time_stamp > written[0].time_stamp);
        assert!(reports.ready(&none, None).is_empty(), "once");
    }

    #[test]
    fn what_is_owed_gives_way_to_what_is_newer() {
        use DeploymentAction::{Deploy, Undeploy};
        let failed = BTreeMap::from([("a".to_owned(), "a foreign file".to_owned())]);
        let (none, mut reports) = (BTreeMap::new(), Reports::default());
        reports.take(notice("a", 1, Deploy));
        assert_eq!(told(&reports.ready(&failed, None)), [("a", 1, "FAILURE")]);
        reports.take(notice("a", 2, Undeploy));
        assert_eq!(told(&reports.ready(&none, None)), [("a", 2, "SUCCESS")]);
    }
}
