//! A label's log made of what its directory holds: an entry for each API, at a new position whenever
//! its content is another one. Pure.
//!
//! Positions are times, so that they rise from one run of the gateway to the next. There are no
//! Removes: what is not there any more is found by comparing, which asks before it takes much away.

use std::collections::BTreeMap;

use artifact::{Artifact, Digest, Instruction, LabelDigest, LabelLogEntry};

/// What a directory was found to hold.
#[derive(Debug, Default)]
pub struct Found {
    /// The artifacts with the files that their definitions are in.
    pub artifacts: Vec<(Artifact, String)>,
    /// Files that cannot be used, with the reason.
    pub bad: Vec<(String, String)>,
}

/// What an update has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// There are new entries.
    pub grown: bool,
    /// Something has gone.
    pub shrunk: bool,
}

/// The log.
#[derive(Debug, Default)]
pub struct FileLog {
    seq: u64,
    by_seq: BTreeMap<u64, LabelLogEntry>,
    /// The position of each API, and the file of its definition.
    apis: BTreeMap<String, (u64, String)>,
}

impl FileLog {
    /// Its end.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The first entries behind a position.
    #[must_use]
    pub fn after(&self, seq: u64, most: usize) -> Vec<LabelLogEntry> {
        let behind = self.by_seq.range(seq.saturating_add(1)..);
        behind.take(most).map(|(_, entry)| entry.clone()).collect()
    }

    #[must_use]
    pub fn digest(&self) -> LabelDigest {
        let entries = self.by_seq.values();
        LabelDigest::of(entries.map(|entry| (entry.api_id.as_str(), entry.digest)))
    }

    /// Takes what was found at a time, milliseconds since the epoch. An API whose file has become
    /// unusable stays as it was.
    pub fn update(&mut self, now: i64, found: Found) -> Change {
        let mut change = Change::default();
        let mut gone: Vec<String> = self.apis.keys().cloned().collect();
        gone.retain(|api_id| {
            let file = self.apis.get(api_id).map(|(_, file)| file);
            !found.bad.iter().any(|(bad, _)| Some(bad) == file)
        });
        for (artifact, file) in found.artifacts {
            let Ok(text) = artifact.to_text() else {
                continue;
            };
            gone.retain(|api_id| *api_id != artifact.api_id);
            let digest = Digest::of(text.as_bytes());
            let known = self.apis.get(&artifact.api_id);
            if let Some((seq, _)) = known {
                if self.by_seq.get(seq).is_some_and(|it| it.digest == digest) {
                    continue;
                }
                self.by_seq.remove(seq);
            }
            self.seq = u64::try_from(now).unwrap_or(0).max(self.seq + 1);
            self.apis.insert(artifact.api_id.clone(), (self.seq, file));
            self.by_seq.insert(
                self.seq,
                LabelLogEntry {
                    seq: self.seq,
                    api_id: artifact.api_id,
                    name: artifact.name,
                    version: artifact.version,
                    tenant_domain: artifact.tenant_domain,
                    instruction: Instruction::Publish,
                    revision: self.seq,
                    digest,
                    time: now,
                    artifact: Some(text),
                    published_to: Vec::new(),
                },
            );
            change.grown = true;
        }
        for api_id in gone {
            if let Some((seq, _)) = self.apis.remove(&api_id) {
                self.by_seq.remove(&seq);
                change.shrunk = true;
            }
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(artifacts: &[(&str, &str)], bad: &[&str]) -> Found {
        let artifacts = artifacts.iter().map(|(id, text)| {
            let artifact = Artifact {
                api_id: (*id).to_owned(),
                name: (*id).to_owned(),
                api_definition: Some((*text).to_owned()),
                ..Artifact::default()
            };
            (artifact, format!("{id}.xml"))
        });
        let bad = bad
            .iter()
            .map(|file| ((*file).to_owned(), "bad".to_owned()));
        Found {
            artifacts: artifacts.collect(),
            bad: bad.collect(),
        }
    }

    #[test]
    fn what_changes_comes_at_the_end_and_what_does_not_stays_where_it_is() {
        let mut log = FileLog::default();
        let grown = Change {
            grown: true,
            shrunk: false,
        };
        assert_eq!(
            log.update(1000, found(&[("a", "1"), ("b", "1")], &[])),
            grown
        );
        assert_eq!(log.seq(), 1001);
        let same = log.update(2000, found(&[("b", "1"), ("a", "1")], &[]));
        assert_eq!((same, log.seq()), (Change::default(), 1001));
        // The clock has gone back.
        assert_eq!(
            log.update(500, found(&[("a", "2"), ("b", "1")], &[])),
            grown
        );
        let behind: Vec<u64> = log.after(1000, 9).iter().map(|it| it.seq).collect();
        assert_eq!(behind, [1001, 1002]);
        assert_eq!(log.after(0, 1).len(), 1);
    }

    #[test]
    fn what_goes_is_not_there_and_what_is_unreadable_is() {
        let mut log = FileLog::default();
        log.update(1, found(&[("a", "1"), ("b", "1"), ("c", "1")], &[]));
        let change = log.update(2, found(&[("a", "1")], &["b.xml"]));
        assert!(change.shrunk && !change.grown);
        let left: Vec<String> = log.after(0, 9).into_iter().map(|it| it.api_id).collect();
        assert_eq!(left, ["a", "b"]);
        assert_eq!(log.digest().count, 2);
    }
}
