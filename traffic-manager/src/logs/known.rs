//! What is known of the label logs: pure state, changed by what the database says.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use artifact::{Instruction, Label, LabelDigest};
use store::LabelLogs;

use super::entry::Entry;

/// All label logs, and what is asked about APIs across them.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) labels: HashMap<Label, LabelLog>,
    /// Which labels publish an API, and where.
    pub(super) published: HashMap<Arc<str>, BTreeMap<Label, u64>>,
    pub(super) names: Names,
}

/// Who is called what.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The ids of the APIs of a name, version and tenant …
    pub(super) ids: HashMap<Name, Vec<Arc<str>>>,
    /// … and the name of each.
    pub(super) names: HashMap<Arc<str>, Name>,
}

type Name = (String, String, String);

/// One label's log, compacted to the newest entry of each API.
#[derive(Debug, Default)]
pub(super) struct LabelLog {
    pub(super) seq: u64,
    pub(super) entries: BTreeMap<u64, Arc<Entry>>,
    pub(super) by_api: HashMap<Arc<str>, u64>,
    /// The digest and count at this position.
    pub(super) digest: RwLock<Option<(u64, LabelDigest)>>,
}

impl Known {
    /// Takes what has come. A log that ends before what was known is a restored database's: it
    /// was read from its start and replaces what was known.
    pub(super) fn take(&mut self, logs: LabelLogs) {
        for (label, rows) in logs.entries {
            let seq = logs.seqs.get(&label).copied().unwrap_or(0);
            let log = self.labels.entry(label.clone()).or_default();
            if seq < log.seq {
                tracing::warn!(
                    %label,
                    known = log.seq,
                    found = seq,
                    "the label log ends before what was known: the database is an older one"
                );
                for api_id in log.by_api.keys() {
                    withdraw(&mut self.published, api_id, &label);
                }
                *log = LabelLog::default();
            }
            for row in rows {
                let api_id: Arc<str> = row.api_id.as_str().into();
                if let Some(before) = log.by_api.insert(Arc::clone(&api_id), row.seq) {
                    log.entries.remove(&before);
                }
                match row.instruction {
                    Instruction::Publish => {
                        let labels = self.published.entry(Arc::clone(&api_id)).or_default();
                        labels.insert(label.clone(), row.seq);
                    }
                    Instruction::Remove => withdraw(&mut self.published, &api_id, &label),
                }
                let name = (
                    row.name.clone(),
                    row.version.clone(),
                    row.tenant_domain.clone(),
                );
                self.names.rename(api_id, name);
                log.entries.insert(row.seq, Arc::new(Entry::new(row)));
            }
            log.seq = seq;
        }
    }

    /// Forgets logs that the database does not have any more: it is an older one. Tells whether
    /// there were any.
    pub(super) fn forget_lost(&mut self, seqs: &BTreeMap<Label, u64>) -> bool {
        let lost: Vec<Label> = self
            .labels
            .keys()
            .filter(|label| !seqs.contains_key(label))
            .cloned()
            .collect();
        for label in &lost {
            tracing::warn!(%label, "the label log has gone: the database is an older one");
            let Some(log) = self.labels.remove(label) else {
                continue;
            };
            for api_id in log.by_api.keys() {
                withdraw(&mut self.published, api_id, label);
            }
        }
        !lost.is_empty()
    }
}

impl Names {
    /// An API has the name of its newest revision, and no other.
    fn rename(&mut self, api_id: Arc<str>, name: Name) {
        match self.names.get(&api_id) {
            Some(before) if *before == name => return,
            Some(before) => {
                if let Some(ids) = self.ids.get_mut(before) {
                    ids.retain(|id| *id != api_id);
                    if ids.is_empty() {
                        self.ids.remove(before);
                    }
                }
            }
            None => {}
        }
        self.names.insert(Arc::clone(&api_id), name.clone());
        self.ids.entry(name).or_default().push(api_id);
    }
}

fn withdraw(published: &mut HashMap<Arc<str>, BTreeMap<Label, u64>>, api_id: &str, label: &Label) {
    if let Some(labels) = published.get_mut(api_id) {
        labels.remove(label);
        if labels.is_empty() {
            published.remove(api_id);
        }
    }
}
