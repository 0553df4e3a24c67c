//! A core with one label, and everything that it asks for done at once.

use artifact::{DeploymentNotice, Digest, Instruction, Label, LabelLogEntry};
use kit::backoff::Backoff;
use synapse::dispatch::{RequestHead, Selection};

use super::*;
use crate::compile::{compile_guarded, compile_one_stored};
use crate::overrides::Overrides;
use crate::snapshot::ledger::Record;
use crate::snapshot::state::{Stamp, State};

pub(super) fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

pub(super) fn settings(labels: &[&str]) -> Settings {
    let second = std::time::Duration::from_secs(1);
    Settings {
        gateway_id: "g".into(),
        labels: labels.iter().map(|name| label(name)).collect(),
        waits: Waits {
            retry: Backoff {
                first: 15 * second,
                most: 3600 * second,
            },
            event: second / 1000,
            reconcile: 60 * second,
        },
        guard: Guard { percent: 20 },
        lazy: None,
        seed: 7,
    }
}

/// Revision `seq` of an API at `/name` and, version-less, at `/default-name`.
pub(super) fn entry(name: &str, seq: u64, definition: &str) -> LabelLogEntry {
    let text = serde_json::json!({
        "name": name, "version": "1", "apiId": name, "tenantDomain": "carbon.super",
        "apiDefinition": definition,
        "defaultAPIDefinition": api(&format!("default-{name}")),
    })
    .to_string();
    LabelLogEntry {
        seq,
        api_id: name.into(),
        name: name.into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        instruction: Instruction::Publish,
        revision: seq,
        digest: Digest::of(text.as_bytes()),
        time: 0,
        artifact: Some(text),
        published_to: Vec::new(),
    }
}

pub(super) fn removal(name: &str, seq: u64) -> LabelLogEntry {
    LabelLogEntry {
        instruction: Instruction::Remove,
        artifact: None,
        ..entry(name, seq, "")
    }
}

pub(super) fn api(name: &str) -> String {
    format!(
        "<api name='{name}' context='/{name}'><resource><inSequence><respond/></inSequence></resource></api>"
    )
}

/// The core, what it has said, and the time.
pub(super) struct Fixture {
    pub core: Core,
    pub now: Millis,
    pub notices: Vec<DeploymentNotice>,
    pub records: Vec<Record>,
    pub overrides: Overrides,
    /// What was asked and is for the test to answer, in order.
    pub asked: Vec<Output>,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(settings(&["L"]))
    }

    pub fn with(settings: Settings) -> Self {
        Self::begin(Core::new(settings))
    }

    fn begin(core: Core) -> Self {
        let mut fixture = Self {
            core,
            now: 0,
            notices: Vec::new(),
            records: Vec::new(),
            overrides: Overrides::default(),
            asked: Vec::new(),
        };
        fixture.core.start(0);
        fixture.perform();
        fixture
    }

    /// One that begins with a stored state.
    pub fn restored(settings: Settings, state: &State) -> Self {
        let mut core = Core::new(settings);
        let restoring = core.restore(state);
        let compiled = |stamps: &[(String, Stamp)]| {
            let compiled = stamps.iter().map(|(api_id, stamp)| {
                let text = state.texts.get(&stamp.digest);
                compile_one_stored(api_id, stamp, text, &Overrides::default())
            });
            compiled.collect()
        };
        core.restore_serving(compiled(&restoring.serving), &restoring);
        core.restore_refused(compiled(&restoring.refused), &restoring);
        Self::begin(core)
    }

    /// With these APIs.
    pub fn of(names: &[&str]) -> Self {
        let mut fixture = Self::new();
        for (name, seq) in names.iter().zip(1..) {
            fixture.pull(entry(name, seq, &api(name)));
        }
        fixture
    }

    pub fn handle(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.output() {
            match output {
                Output::Compile(entries) => {
                    let compiled = entries
                        .into_iter()
                        .map(|it| compile_guarded(it, &self.overrides))
                        .collect();
                    self.core.handle(self.now, Input::Compiled(compiled));
                }
                Output::Report(notice) => self.notices.push(notice),
                Output::Record(record) => self.records.push(*record),
                Output::Swap
                | Output::Progress(_)
                | Output::Applied { .. }
                | Output::Tenants(_) => {}
                output => self.asked.push(output),
            }
        }
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&mut self, ms: Millis) {
        self.now += ms;
        self.handle(Input::Tick);
    }

    /// The number of the pull that is open.
    pub fn open(&self) -> u64 {
        self.core.labels[&label("L")].pulling.open.unwrap().id
    }

    /// The log has grown by this entry, and is read to its end.
    pub fn pull(&mut self, entry: LabelLogEntry) {
        self.handle(Input::Pulled {
            label: label("L"),
            id: self.open(),
            complete_to: Some(entry.seq),
            entries: vec![entry],
        });
    }

    /// The revision that answers there.
    pub fn answers(&self, target: &str) -> Option<u64> {
        let head = RequestHead {
            method: "GET",
            target,
            ..RequestHead::default()
        };
        match self.core.set().route_table().select(&head) {
            Selection::Api(selected) => Some(selected.attached.deployment.revision),
            _ => None,
        }
    }

    /// Takes the newest notice, and those before it.
    pub fn last_notice(&mut self) -> DeploymentNotice {
        self.notices.drain(..).next_back().unwrap()
    }
}
