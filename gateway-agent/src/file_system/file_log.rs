//! A label's log made of what its directory holds: an entry for each API, at a new position whenever
//! its content is another one. Pure.
//!
//! Positions are times, so that they rise from one run of the gateway to the next. There are no
//! Removes: what is not there any more is found by comparing, which asks before it takes much away.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Artifact, Digest, Instruction, LabelDigest, LabelLogEntry};

/// What a directory was found to hold.
#[derive(Debug, Default)]
pub struct Found {
    pub artifacts: Vec<Read>,
    /// Files that cannot be used, with the reason.
    pub bad: Vec<(String, String)>,
}

/// An artifact that was read.
#[derive(Debug)]
pub struct Read {
    pub artifact: Artifact,
    /// The files of its definitions.
    pub files: Vec<String>,
    /// What it refers to and is not there.
    pub lacks: Option<String>,
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
    /// The position of each API, and the files of its definitions.
    apis: BTreeMap<String, (u64, Vec<String>)>,
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

    /// Takes what was found at a time, milliseconds since the epoch. An API of which a file has become
    /// unusable, or is not there any more, stays as it was.
    pub fn update(&mut self, now: i64, found: Found) -> Change {
        let mut change = Change::default();
        let spoiled = |files: &[String]| found.bad.iter().any(|(bad, _)| files.contains(bad));
        let kept: BTreeSet<String> = self
            .apis
            .iter()
            .filter(|(_, (_, files))| spoiled(files))
            .map(|(api_id, _)| api_id.clone())
            .collect();
        let mut gone: BTreeSet<String> = self.apis.keys().cloned().collect();
        for read in found.artifacts {
            let artifact = read.artifact;
            gone.remove(&artifact.api_id);
            let Ok(text) = artifact.to_text() else {
                continue;
            };
            let digest = Digest::of(text.as_bytes());
            let known = self.apis.get(&artifact.api_id);
            if let Some((seq, _)) = known {
                let same = self.by_seq.get(seq).is_some_and(|it| it.digest == digest);
                if same || kept.contains(&artifact.api_id) {
                    continue;
                }
                if let Some(reason) = read.lacks {
                    let api_id = &artifact.api_id;
                    tracing::warn!(api_id, reason, "it stays as it was");
                    continue;
                }
                self.by_seq.remove(seq);
            }
            self.seq = u64::try_from(now).unwrap_or(0).max(self.seq + 1);
            self.apis
                .insert(artifact.api_id.clone(), (self.seq, read.files));
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
        for api_id in gone.difference(&kept) {
            if let Some((seq, _)) = self.apis.remove(api_id) {
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
            Read {
                artifact,
                files: vec![format!("{id}.xml")],
                lacks: None,
            }
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
    fn what_lacks_a_piece_stays_as_it_was() {
        let mut log = FileLog::default();
        let lacking = |text: &str| {
            let mut found = found(&[("a", text)], &[]);
            found.artifacts[0].lacks = Some("sequence s cannot be found".to_owned());
            found
        };
        // Nothing better is known at first.
        assert!(log.update(1, lacking("1")).grown);
        assert_eq!(log.update(2, lacking("2")), Change::default());
        assert!(log.update(3, found(&[("a", "3")], &[])).grown);
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
