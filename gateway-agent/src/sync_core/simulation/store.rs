//! The store, with its past: what it says now, and what a replica that lags would say.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Digest, Instruction, Label, LabelDigest, LabelLogEntry, SavedTo};

use super::super::fixture::label;

pub const LABELS: [&str; 3] = ["A", "B", "C"];
pub const APIS: u64 = 12;
pub const TENANTS: [&str; 2] = ["t.example", "u.example"];

/// One transaction.
#[derive(Clone, Debug)]
pub struct Commit {
    pub api_id: String,
    pub revision: u64,
    /// What gateways refuse.
    pub bad: bool,
    pub digest: Digest,
    pub entries: Vec<(Label, LabelLogEntry)>,
    /// The labels that publish the API from then on.
    pub labels: BTreeSet<Label>,
}

#[derive(Clone, Debug, Default)]
pub struct Store {
    pub commits: Vec<Commit>,
    /// Rises when the database is restored from a backup: what is saved then differs.
    pub incarnation: u64,
}

impl Store {
    /// The newest commit of an API among the first `upto`.
    pub fn newest(&self, api_id: &str, upto: usize) -> Option<&Commit> {
        let commits = self.commits[..upto].iter().rev();
        commits.into_iter().find(|commit| commit.api_id == api_id)
    }

    /// Publishes an API to these labels, or removes it with none; `false` when that is nothing.
    pub fn save(&mut self, api: u64, labels: &BTreeSet<Label>, bad: bool, time: i64) -> bool {
        let api_id = format!("api{api}");
        let now = self.commits.len();
        let before = self.newest(&api_id, now);
        let old = before
            .map(|commit| commit.labels.clone())
            .unwrap_or_default();
        if old.is_empty() && labels.is_empty() {
            return false;
        }
        let revision = before.map_or(1, |commit| commit.revision + 1);
        let seqs: BTreeMap<Label, u64> = old
            .union(labels)
            .map(|label| (label.clone(), self.seq(label, now) + 1))
            .collect();
        let text = text(api, revision, bad, self.incarnation);
        let saved_to = |label: &Label| SavedTo {
            label: label.clone(),
            seq: seqs[label],
        };
        let entries = seqs.iter().map(|(label, seq)| {
            let publish = labels.contains(label);
            let entry = LabelLogEntry {
                seq: *seq,
                api_id: api_id.clone(),
                name: api_id.clone(),
                version: "1".into(),
                tenant_domain: tenant(api).into(),
                instruction: if publish {
                    Instruction::Publish
                } else {
                    Instruction::Remove
                },
                revision,
                digest: Digest::of(text.as_bytes()),
                time,
                artifact: publish.then(|| text.clone()),
                published_to: if publish {
                    Vec::new()
                } else {
                    labels.iter().map(saved_to).collect()
                },
            };
            (label.clone(), entry)
        });
        let commit = Commit {
            api_id: api_id.clone(),
            revision,
            bad,
            digest: Digest::of(text.as_bytes()),
            entries: entries.collect(),
            labels: labels.clone(),
        };
        self.commits.push(commit);
        true
    }

    /// The end of a label's log after `upto` commits.
    pub fn seq(&self, label: &Label, upto: usize) -> u64 {
        let commits = self.commits[..upto].iter();
        let all = commits.flat_map(|commit| &commit.entries);
        let seqs = all
            .filter(|(named, _)| named == label)
            .map(|(_, entry)| entry.seq);
        seqs.max().unwrap_or(0)
    }

    /// The compacted log of a label after `upto` commits.
    pub fn log(&self, label: &Label, upto: usize) -> Vec<LabelLogEntry> {
        let mut newest: BTreeMap<&str, &LabelLogEntry> = BTreeMap::new();
        for commit in &self.commits[..upto] {
            for (named, entry) in &commit.entries {
                if named == label {
                    newest.insert(&entry.api_id, entry);
                }
            }
        }
        let mut log: Vec<LabelLogEntry> = newest.into_values().cloned().collect();
        log.sort_by_key(|entry| entry.seq);
        log
    }

    pub fn digest(&self, label: &Label, upto: usize) -> LabelDigest {
        let log = self.log(label, upto);
        let published = log
            .iter()
            .filter(|entry| entry.instruction == Instruction::Publish);
        LabelDigest::of(published.map(|entry| (entry.api_id.as_str(), entry.digest)))
    }

    /// Whether the API was ever without one of these labels since its revision `revision` came.
    pub fn was_gone(&self, api_id: &str, revision: u64, labels: &[Label]) -> bool {
        let commits = self.commits.iter();
        let mut since = commits.filter(|it| it.api_id == api_id && it.revision >= revision);
        since.any(|commit| !labels.iter().any(|label| commit.labels.contains(label)))
    }

    /// What should answer on a gateway with these labels.
    pub fn expected(&self, api_id: &str, labels: &[Label]) -> Expected {
        let mut expected = Expected::default();
        for commit in self.commits.iter().filter(|commit| commit.api_id == api_id) {
            if !labels.iter().any(|label| commit.labels.contains(label)) {
                expected = Expected::default();
                continue;
            }
            expected.published = true;
            expected.newest_is_bad = commit.bad;
            if !commit.bad {
                expected.good.push(commit.clone());
            }
        }
        expected
    }
}

#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub published: bool,
    pub newest_is_bad: bool,
    /// The revisions that can be deployed since the API came, the newest at the end.
    pub good: Vec<Commit>,
}

/// Whose API that is.
pub fn tenant(api: u64) -> &'static str {
    match api {
        0 | 3 | 6 | 9 => TENANTS[0],
        1 | 5 | 10 => TENANTS[1],
        _ => "carbon.super",
    }
}

pub fn labels(names: &[&str]) -> Vec<Label> {
    names.iter().map(|name| label(name)).collect()
}

fn text(api: u64, revision: u64, bad: bool, incarnation: u64) -> String {
    let definition = if bad {
        "<api".to_owned()
    } else {
        format!(
            "<api name='api{api}' context='/api{api}'><resource><inSequence><log/><!--{revision} \
             {incarnation}--><respond/></inSequence></resource></api>"
        )
    };
    serde_json::json!({
        "name": format!("api{api}"), "version": "1", "apiId": format!("api{api}"),
        "tenantDomain": "carbon.super", "apiDefinition": definition,
        "provider": format!("{revision}/{incarnation}"),
    })
    .to_string()
}
