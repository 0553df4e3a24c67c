//! Does what the synchronization core says, and tells it what has happened. Nothing is decided here.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use artifact::{DeploymentNotice, DirectStatus, Label};
use events::Subscription;
use futures_util::FutureExt as _;
use synapse::dispatch::RouteTable;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::applied::Applied;
use crate::commands::{Command, Redeployed};
use crate::compile::{compile_all, compile_stored};
use crate::file_system::Files;
use crate::hints;
use crate::overrides::Overrides;
use crate::overrides::folder::{FileStatus, Folder, Look};
use crate::patience::Patience;
use crate::pull::{Question, Source};
use crate::reconciliation::Reconciliation;
use crate::sidecar::{Said, Sidecar};
use crate::snapshot::ledger::Ledger;
use crate::snapshot::state::State;
use crate::sync_core::{Core, Input, Millis, Output, Progress, PullError, Routed, Trouble};
use crate::tenants::{Asks, Tenants};

/// The table that answers requests; readers take a snapshot, a change swaps the whole.
pub type Routes = Arc<ArcSwap<RouteTable<Routed>>>;

/// Answers that wait to be handled.
const WAITING: usize = 64;

/// Between two looks for files that override what is published.
const LOOK: Duration = Duration::from_secs(1);

/// A folder of overrides and what a look into it has found.
type Looked = (Folder, std::io::Result<Look>);

fn look(mut folder: Folder) -> Looked {
    let look = folder.look();
    (folder, look)
}

/// Everything that the core's words are carried to.
#[derive(Debug)]
pub(crate) struct Driver {
    pub core: Core,
    pub retriever: Retriever,
    pub dc: String,
    pub routes: Routes,
    pub notices: mpsc::UnboundedSender<DeploymentNotice>,
    /// Where another server serves what is deployed.
    pub sidecar: Option<Sidecar>,
    pub progress: watch::Sender<Progress>,
    pub applied: Applied,
    pub patience: Patience,
    pub reconciliation: Reconciliation,
    /// When something was reported last, milliseconds since the epoch.
    pub last_report: i64,
    /// Files of the gateway's own that override what is published.
    /// `None` while it is looked into.
    pub folder: Option<Folder>,
    /// What it was found to hold.
    pub overrides: Overrides,
    pub overriding: watch::Sender<Vec<FileStatus>>,
    /// What is noted for the snapshot; `None` without one.
    pub ledger: Option<Ledger>,
    /// Where requests wait for their tenants; `None` where all are loaded at the start.
    pub tenants: Option<Tenants>,
}

/// Where label logs come from.
#[derive(Clone, Debug)]
pub(crate) enum Retriever {
    /// `DBRetriever`: the traffic manager has them from the database.
    TrafficManager(Source),
    /// `FileSystemRetriever`.
    Files(Files),
}

/// An empty table.
#[must_use]
pub(crate) fn no_routes() -> Routes {
    Arc::default()
}

/// A question that is open.
#[derive(Debug)]
struct Open {
    _task: AbortOnDropHandle<()>,
    go_on: mpsc::Sender<()>,
}

/// What waits for the core's answers.
#[derive(Debug)]
struct Work {
    started: Instant,
    inputs: mpsc::Sender<Input>,
    open: HashMap<u64, Open>,
    compiling: JoinSet<Input>,
    looking: JoinSet<Looked>,
    undeploying: HashMap<u64, oneshot::Sender<bool>>,
    redeploying: HashMap<u64, oneshot::Sender<Redeployed>>,
    sending: HashMap<u64, oneshot::Sender<Vec<DirectStatus>>>,
    commands: u64,
}

impl Work {
    fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Driver {
    /// Deploys a stored state, before anything is pulled.
    ///
    /// # Errors
    /// When compiling ends early.
    pub async fn restore(&mut self, state: State) -> anyhow::Result<()> {
        if let Some(ledger) = &mut self.ledger {
            ledger.restored(&state);
        }
        if let Some(folder) = self.folder.take() {
            let looked = tokio::task::spawn_blocking(|| look(folder)).await;
            self.looked(looked.context("looking for overrides ended early")?);
        }
        let restoring = self.core.restore(&state);
        for (label, stored) in &state.labels {
            self.applied.reached(label, stored.position.cursor);
        }
        let labels = state.labels.len();
        let texts = Arc::new(state.texts);
        let compiled = compile_stored(&restoring.serving, &texts, &self.overrides).await;
        let apis = compiled.len();
        self.core.restore_serving(compiled, &restoring);
        let compiled = compile_stored(&restoring.refused, &texts, &self.overrides).await;
        self.core.restore_refused(compiled, &restoring);
        tracing::info!(apis, labels, "restored from the snapshot");
        Ok(())
    }

    /// Runs until shutdown.
    ///
    /// # Errors
    /// When compiling ends early.
    pub async fn run(
        mut self,
        mut events: Option<Subscription>,
        mut commands: mpsc::Receiver<Command>,
        mut asks: Option<Asks>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let (inputs, mut told) = mpsc::channel(WAITING);
        let mut work = Work {
            started: self
                .tenants
                .as_ref()
                .map_or_else(Instant::now, Tenants::started),
            inputs,
            open: HashMap::new(),
            compiling: JoinSet::new(),
            looking: JoinSet::new(),
            undeploying: HashMap::new(),
            redeploying: HashMap::new(),
            sending: HashMap::new(),
            commands: 0,
        };
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.core.start(work.now());
        loop {
            while let Some(output) = self.core.output() {
                self.perform(&mut work, output);
            }
            let wake = match self.core.wake() {
                Some(at) => work.started + Duration::from_millis(at),
                None => Instant::now() + Duration::from_secs(3600),
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(compiled) = work.compiling.join_next() => {
                    let compiled = compiled.context("compiling ended early")?;
                    self.core.handle(work.now(), compiled);
                }
                Some(input) = told.recv() => self.core.handle(work.now(), input),
                Some(command) = commands.recv() => self.command(&mut work, command),
                heard = heard(&mut events) => {
                    for input in hints::inputs(&heard, &self.dc) {
                        self.core.handle(work.now(), input);
                    }
                }
                _ = looks.tick() => {
                    if let Some(folder) = self.folder.take() {
                        work.looking.spawn_blocking(|| look(folder));
                    }
                }
                Some(looked) = work.looking.join_next() => {
                    let looked = looked.context("looking for overrides ended early")?;
                    let changed = self.looked(looked);
                    if !changed.is_empty() {
                        self.core.handle(work.now(), Input::Overrides(changed));
                    }
                }
                tenant = asked(&mut asks) => self.core.handle(work.now(), Input::Needed(tenant)),
                () = tokio::time::sleep_until(wake) => {
                    if let Some(tenants) = &self.tenants {
                        self.core.handle(work.now(), Input::Used(tenants.uses()));
                    }
                    self.core.handle(work.now(), Input::Tick);
                }
            }
        }
        if let Some(ledger) = &self.ledger {
            ledger.recorder.close();
        }
        Ok(())
    }

    /// Takes what a look into the folder of overrides has found; gives the keys of APIs whose override
    /// came, went or changed.
    fn looked(&mut self, (folder, look): Looked) -> Vec<String> {
        let folder = self.folder.insert(folder);
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                let folder = folder.path().display();
                tracing::warn!(%folder, %error, "overrides cannot be read, those known stay in effect");
                return Vec::new();
            }
        };
        self.overrides = folder.found().clone();
        for (file, reason) in &look.trouble {
            tracing::warn!(file, %reason, "a file is not used as an override");
        }
        if !look.changed.is_empty() || !look.trouble.is_empty() {
            self.overriding.send_replace(folder.status());
        }
        look.changed
    }

    fn perform(&mut self, work: &mut Work, output: Output) {
        let retriever = self.retriever.clone();
        match output {
            Output::Pull { label, id, wanted } => match retriever {
                Retriever::TrafficManager(it) => work.ask(label, id, |to| it.pull(wanted, to)),
                Retriever::Files(it) => work.ask(label, id, |to| it.pull(wanted, to)),
            },
            Output::AskDigest { label, id } => match retriever {
                Retriever::TrafficManager(it) => work.ask(label, id, |to| it.digest(to)),
                Retriever::Files(it) => work.ask(label, id, |to| it.digest(to)),
            },
            Output::AskIndex { label, id } => match retriever {
                Retriever::TrafficManager(it) => work.ask(label, id, |to| it.index(to)),
                Retriever::Files(it) => work.ask(label, id, |to| it.index(to)),
            },
            Output::Fetch {
                label,
                id,
                ranges,
                tenant,
            } => match retriever {
                Retriever::TrafficManager(it) => {
                    work.ask(label, id, |to| it.fetch(ranges, tenant, to));
                }
                Retriever::Files(it) => work.ask(label, id, |to| it.fetch(ranges, to)),
            },
            Output::Cancel { id } => {
                work.open.remove(&id);
            }
            Output::GoOn { id } => {
                // A question that has been given up does not go on.
                let open = work.open.get(&id);
                let _ = open.map(|open| open.go_on.try_send(()));
            }
            Output::Compile(entries) => {
                let overrides = self.overrides.clone();
                let compiled =
                    async move { Input::Compiled(compile_all(entries, &overrides).await) };
                work.compiling.spawn(compiled);
            }
            Output::Swap => match &self.sidecar {
                None => self.routes.store(Arc::new(self.core.set().route_table())),
                Some(_) => self.tell_set(),
            },
            Output::Report(notice) => {
                // They rise, whatever the clock does: the newest counts.
                let time_stamp = kit::clock::now_ms().max(self.last_report + 1);
                self.last_report = time_stamp;
                let notice = DeploymentNotice {
                    time_stamp,
                    ..notice
                };
                // Those who listen end after the driver.
                let _ = match &self.sidecar {
                    None => self.notices.send(notice).is_ok(),
                    Some(sidecar) => sidecar.send(Said::Report(notice)).is_ok(),
                };
            }
            Output::Record(record) => {
                if let Some(ledger) = &mut self.ledger {
                    ledger.applied(*record);
                }
            }
            Output::Tenants(told) => {
                if let Some(tenants) = &self.tenants {
                    tenants.tell(told);
                }
            }
            Output::Progress(progress) => {
                let complete = progress.missing.is_empty();
                let before = self.progress.send_replace(progress);
                if complete && !before.missing.is_empty() {
                    self.tell_set();
                }
            }
            Output::Applied { label, seq } => self.applied.reached(&label, seq),
            Output::Undeployed { command, known } => {
                let asked = work.undeploying.remove(&command);
                // Who has gone away in the meantime does not need the answer.
                let _ = asked.map(|answer| answer.send(known));
            }
            Output::Redeployed { command, outcome } => {
                let asked = work.redeploying.remove(&command);
                let _ = asked.map(|answer| answer.send(outcome));
            }
            Output::Direct { command, statuses } => {
                let asked = work.sending.remove(&command);
                let _ = asked.map(|answer| answer.send(statuses));
            }
            Output::Trouble { label, trouble } => self.trouble(&label, &trouble),
            Output::Compared { label, outcome } => self.reconciliation.tell(&label, &outcome),
        }
    }

    /// Tells the one who writes another server's directory what is deployed now.
    fn tell_set(&self) {
        if let Some(sidecar) = &self.sidecar {
            let deployed = self.core.set().iter().cloned().collect();
            let complete = self.core.standings().missing().is_empty();
            // It ends after the driver.
            let _ = sidecar.send(Said::Set { deployed, complete });
        }
    }

    fn trouble(&self, label: &Label, trouble: &Trouble) {
        let Trouble {
            error,
            failures,
            wait_ms,
        } = trouble;
        if *failures == 0 {
            tracing::debug!(%error, %label, wait_ms, "pulling again");
            return;
        }
        self.patience.failed(label, *failures);
        tracing::warn!(
            %error,
            %label,
            failures,
            wait_ms,
            "the label log is not followed now, trying again"
        );
    }

    fn command(&mut self, work: &mut Work, command: Command) {
        work.commands += 1;
        let number = work.commands;
        let input = match command {
            Command::Show(asked, answer) => {
                let _ = answer.send(self.core.show(&asked));
                return;
            }
            Command::Undeploy(asked, answer) => {
                work.undeploying.insert(number, answer);
                Input::Undeploy {
                    command: number,
                    asked,
                }
            }
            Command::Redeploy(asked, answer) => {
                work.redeploying.insert(number, answer);
                Input::Redeploy {
                    command: number,
                    asked,
                }
            }
            Command::Entries(entries, answer) => {
                work.sending.insert(number, answer);
                Input::Direct {
                    command: number,
                    entries,
                }
            }
            Command::Accept(repair, answer) => {
                let known = self.core.held().any(|(_, held)| held.repair == repair);
                let _ = answer.send(known);
                Input::Accept(repair)
            }
        };
        self.core.handle(work.now(), input);
    }
}

impl Work {
    fn ask<F>(&mut self, label: Label, id: u64, ask: impl FnOnce(Question) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Those that have ended by themselves.
        self.open.retain(|_, open| !open.go_on.is_closed());
        let (go_on, applied) = mpsc::channel(1);
        let question = Question {
            label: label.clone(),
            id,
            answers: self.inputs.clone(),
            go_on: applied,
        };
        let answers = self.inputs.clone();
        let asking = AssertUnwindSafe(ask(question)).catch_unwind();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            if asking.await.is_err() {
                // The core waits for an end; which of the two it is, it knows.
                let error = || PullError::Failed("asking ended early".to_owned());
                let (result, also) = (Err(error()), label.clone());
                let ended = Input::PullEnded { label, id, result };
                let _ = answers.send(ended).await;
                let (label, error) = (also, error());
                let _ = answers.send(Input::AskFailed { label, id, error }).await;
            }
        }));
        let open = Open { _task: task, go_on };
        self.open.insert(id, open);
    }
}

/// The next tenant that a request waits for.
async fn asked(asks: &mut Option<Asks>) -> String {
    match asks {
        Some(asks) => match asks.recv().await {
            Some(tenant) => tenant.to_string(),
            // The data plane has ended.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// What is heard next; nothing without a broker. When nothing will be heard any more, that is said
/// once: the watch stream has to do.
async fn heard(events: &mut Option<Subscription>) -> events::Heard {
    let Some(subscription) = events else {
        return std::future::pending().await;
    };
    match subscription.next().await {
        Some(heard) => heard,
        None => {
            *events = None;
            events::Heard::Lost
        }
    }
}
