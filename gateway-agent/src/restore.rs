//! Deploying from the snapshot, before anything has been pulled.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact::{DeploymentAction, DeploymentNotice, Digest, Instruction, Label, LabelLogEntry};

use crate::deploy::{Compiled, Deployer, compile_all, entry_notice};
use crate::snapshot::state::{Stamp, State, StoredLabel, Text};
use crate::sync_core::Standing;

/// Artifacts that are unpacked at a time.
const BATCH: usize = 64;

impl Deployer {
    /// Brings back what was applied: the revisions that served, all at once, and then the newest
    /// ones that had been refused, which are refused again, with the reason.
    pub async fn restore(&mut self, state: State) {
        for (label, stored) in &state.labels {
            let standings = stored.entries.iter().map(|(api_id, entry)| {
                let standing = Standing {
                    seq: entry.seq,
                    revision: entry.stamp.revision,
                    instruction: entry.instruction,
                };
                (api_id.clone(), standing)
            });
            let complete = stored.position.complete;
            self.core.restore_label(label, complete, standings);
            self.unpulled.insert(label.clone());
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.restored(&state);
        }
        let stored = state.apis.clone();
        let mut serving = Vec::new();
        let mut refused = Vec::new();
        for (api_id, api) in state.apis {
            if let Some(wanted) = &api.wanted {
                self.core
                    .restore_wanted(&api_id, wanted.revision, wanted.digest);
            }
            if api.wanted.is_some() && api.wanted != api.serving {
                refused.push((api_id.clone(), api.wanted, api.reason));
            }
            serving.extend(api.serving.map(|stamp| (api_id, stamp)));
        }
        let texts = Arc::new(state.texts);
        let compiled = compile_stored(serving, &texts).await;
        let apis = compiled.len();
        self.install(compiled, Vec::new());
        let mut newest = Vec::new();
        for (api_id, stamp, reason) in refused {
            let Some(stamp) = stamp else { continue };
            if texts.contains_key(&stamp.digest) {
                newest.push((api_id, stamp));
            } else {
                let reason = reason.unwrap_or_else(|| "its artifact was not kept".to_owned());
                let notice = entry_notice(&self.gateway_id, &entry(api_id, stamp, None));
                self.refuse(&notice, &reason);
            }
        }
        if !newest.is_empty() {
            let compiled = compile_stored(newest, &texts).await;
            self.install(compiled, Vec::new());
        }
        self.tell_removed(&state.labels);
        self.only_new(&stored);
        tracing::info!(
            apis,
            labels = state.labels.len(),
            "restored from the snapshot"
        );
        self.tell_progress();
    }

    /// Says again what was taken away: the traffic manager has forgotten it.
    fn tell_removed(&mut self, labels: &BTreeMap<Label, StoredLabel>) {
        let mut newest: BTreeMap<&String, &Stamp> = BTreeMap::new();
        for (api_id, entry) in labels.values().flat_map(|label| &label.entries) {
            let known = newest.get(api_id);
            let newer = known.is_none_or(|known| known.revision < entry.stamp.revision);
            let gone = self.core.wanted(api_id).is_none();
            if gone && newer && entry.instruction == Instruction::Remove {
                newest.insert(api_id, &entry.stamp);
            }
        }
        for (api_id, stamp) in newest {
            let removed = entry(api_id.clone(), stamp.clone(), None);
            self.notify(DeploymentNotice {
                action: DeploymentAction::Undeploy,
                ..entry_notice(&self.gateway_id, &removed)
            });
        }
    }
}

async fn compile_stored(
    all: Vec<(String, Stamp)>,
    texts: &Arc<BTreeMap<Digest, Text>>,
) -> Vec<Compiled> {
    let mut compiled = Vec::with_capacity(all.len());
    let mut all = all.into_iter();
    loop {
        let part: Vec<(String, Stamp)> = all.by_ref().take(BATCH).collect();
        if part.is_empty() {
            return compiled;
        }
        let texts = Arc::clone(texts);
        // Unpacking and hashing takes a while: not on a thread that serves.
        let expand = move || -> Vec<LabelLogEntry> {
            let expanded = part.into_iter().map(|(api_id, stamp)| {
                let text = texts.get(&stamp.digest);
                let text = text.and_then(|text| text.expand(&stamp.digest));
                entry(api_id, stamp, text)
            });
            expanded.collect()
        };
        match tokio::task::spawn_blocking(expand).await {
            Ok(entries) => compiled.extend(compile_all(entries).await),
            Err(error) => tracing::error!(%error, "unpacking the snapshot ended early"),
        }
    }
}

/// As if it had been pulled.
fn entry(api_id: String, stamp: Stamp, artifact: Option<String>) -> LabelLogEntry {
    LabelLogEntry {
        seq: 0,
        api_id,
        name: stamp.name,
        version: stamp.version,
        tenant_domain: stamp.tenant_domain,
        instruction: Instruction::Publish,
        revision: stamp.revision,
        digest: stamp.digest,
        time: 0,
        artifact,
        published_to: Vec::new(),
    }
}
