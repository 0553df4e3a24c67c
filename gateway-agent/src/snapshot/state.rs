//! What is stored of a gateway, and how it is laid into rows. Pure.
//!
//! The same type is a whole state and a change of one: a change holds what has become different, and
//! an API of which nothing is left has an empty [`StoredApi`].

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Digest, Instruction, Label, LabelLogEntry, SavedTo};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Unusable;
use crate::text::Text;

/// Bytes of a row that is no artifact, about …
const ROW_BYTES: usize = 400;
/// … and of an artifact's row besides the artifact.
const TEXT_BYTES: usize = 128;

/// A revision of an API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    pub revision: u64,
    pub digest: Digest,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
}

/// The newest applied entry of an API in a label, without the artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEntry {
    pub seq: u64,
    pub instruction: Instruction,
    /// Milliseconds since the epoch.
    pub time: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published_to: Vec<SavedTo>,
    pub stamp: Stamp,
}

/// How far a label's log has been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub cursor: u64,
    /// The log has been applied to its end at least once.
    pub complete: bool,
}

/// What is stored of a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLabel {
    pub position: Position,
    pub entries: BTreeMap<String, StoredEntry>,
}

/// What an API answers with, and what it should answer with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredApi {
    /// The newest revision that was handed out for deployment.
    pub wanted: Option<Stamp>,
    /// The last good one; another than `wanted` when that was refused.
    pub serving: Option<Stamp>,
    /// Why `wanted` was refused.
    pub reason: Option<String>,
}

/// What a gateway has applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub labels: BTreeMap<Label, StoredLabel>,
    pub apis: BTreeMap<String, StoredApi>,
    pub texts: BTreeMap<Digest, Text>,
}

/// A stored value and its place. The first byte of the key is the [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    /// `None` takes the row away.
    pub value: Option<Vec<u8>>,
}

/// What a row holds; the rest of its key is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// The label.
    Position = b'l',
    /// The label, a zero byte and the API's id. No label has a zero byte.
    Entry = b'e',
    /// The API's id.
    Api = b'a',
    /// The digest in hex.
    Text = b't',
}

impl Stamp {
    #[must_use]
    pub fn of(entry: &LabelLogEntry) -> Self {
        Self {
            revision: entry.revision,
            digest: entry.digest,
            name: entry.name.clone(),
            version: entry.version.clone(),
            tenant_domain: entry.tenant_domain.clone(),
        }
    }
}

impl StoredEntry {
    #[must_use]
    pub fn of(entry: &LabelLogEntry) -> Self {
        Self {
            seq: entry.seq,
            instruction: entry.instruction,
            time: entry.time,
            published_to: entry.published_to.clone(),
            stamp: Stamp::of(entry),
        }
    }
}

impl StoredApi {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl State {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.apis.is_empty() && self.texts.is_empty()
    }

    /// About how many bytes it takes when it is stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let entries: usize = self.labels.values().map(|label| label.entries.len()).sum();
        let rows = (entries + self.apis.len()) * ROW_BYTES;
        let texts: usize = self
            .texts
            .values()
            .map(|text| text.frame().len() + TEXT_BYTES)
            .sum();
        u64::try_from(rows + texts).unwrap_or(u64::MAX)
    }

    /// Lays a newer change over this one.
    pub fn merge(&mut self, newer: Self) {
        for (label, change) in newer.labels {
            let known = self.labels.entry(label).or_default();
            known.position = change.position;
            known.entries.extend(change.entries);
        }
        self.apis.extend(newer.apis);
        self.texts.extend(newer.texts);
    }

    /// Drops the labels that are not among `labels`, and what only they had. Whether there were
    /// any.
    pub fn keep_labels(&mut self, labels: &[Label]) -> bool {
        let before = self.labels.len();
        let mut concerned = BTreeSet::new();
        self.labels.retain(|label, stored| {
            let kept = labels.contains(label);
            if !kept {
                concerned.extend(stored.entries.keys().cloned());
            }
            kept
        });
        for api_id in concerned {
            self.reconsider(&api_id);
        }
        let needed = self.needed();
        self.texts.retain(|digest, _| needed.contains(digest));
        before != self.labels.len()
    }

    /// An API by what the labels that are left say of it.
    fn reconsider(&mut self, api_id: &str) {
        let entries = self.labels.values();
        let stamps = entries
            .filter_map(|label| label.entries.get(api_id))
            .filter(|entry| entry.instruction == Instruction::Publish)
            .map(|entry| &entry.stamp);
        let Some(newest) = stamps.max_by_key(|stamp| stamp.revision).cloned() else {
            self.apis.remove(api_id);
            return;
        };
        let api = self.apis.entry(api_id.to_owned()).or_default();
        let same = |stamp: &Stamp| stamp.digest == newest.digest;
        if !api.wanted.as_ref().is_some_and(same) {
            api.reason = None;
            // A revision of a label that is gone does not serve on.
            api.serving = api
                .serving
                .take()
                .filter(|it| it.revision < newest.revision);
            api.wanted = Some(newest);
        }
    }

    /// The artifacts that something refers to.
    #[must_use]
    pub fn needed(&self) -> BTreeSet<Digest> {
        let entries = self
            .labels
            .values()
            .flat_map(|label| label.entries.values());
        let published = entries
            .filter(|entry| entry.instruction == Instruction::Publish)
            .map(|entry| entry.stamp.digest);
        let apis = self.apis.values();
        let stamps = apis.flat_map(|api| api.wanted.iter().chain(&api.serving));
        published.chain(stamps.map(|stamp| stamp.digest)).collect()
    }

    /// Everything as rows.
    ///
    /// # Errors
    /// None but what the writer of JSON has.
    pub fn rows(&self) -> Result<Vec<Row>, serde_json::Error> {
        let mut rows = Vec::new();
        let mut push = |kind: Kind, key: &[&str], value: Option<Vec<u8>>| {
            let mut full = vec![kind as u8];
            full.extend_from_slice(key.join("\0").as_bytes());
            rows.push(Row { key: full, value });
        };
        for (label, stored) in &self.labels {
            let value = serde_json::to_vec(&stored.position)?;
            push(Kind::Position, &[label.as_str()], Some(value));
            for (api_id, entry) in &stored.entries {
                let value = serde_json::to_vec(entry)?;
                push(Kind::Entry, &[label.as_str(), api_id], Some(value));
            }
        }
        for (api_id, api) in &self.apis {
            let value = if api.is_empty() {
                None
            } else {
                Some(serde_json::to_vec(api)?)
            };
            push(Kind::Api, &[api_id], value);
        }
        for (digest, text) in &self.texts {
            push(
                Kind::Text,
                &[&digest.to_string()],
                Some(text.frame().to_vec()),
            );
        }
        Ok(rows)
    }

    /// Takes a row in. Whether an artifact is the one that its digest names is looked at when it is
    /// compiled; that the row is as it was written, the seal says.
    ///
    /// # Errors
    /// When it is none of [`State::rows`].
    pub fn take(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), Unusable> {
        self.try_take(key, value)
            .ok_or(Unusable::Damaged("a row of it cannot be read".into()))
    }

    fn try_take(&mut self, key: &[u8], value: Vec<u8>) -> Option<()> {
        let (kind, key) = key.split_first()?;
        let key = std::str::from_utf8(key).ok()?;
        if *kind == Kind::Position as u8 {
            let label = Label::parse(key).ok()?;
            self.labels.entry(label).or_default().position = serde_json::from_slice(&value).ok()?;
        } else if *kind == Kind::Entry as u8 {
            let (label, api_id) = key.split_once('\0')?;
            let label = self.labels.entry(Label::parse(label).ok()?).or_default();
            let entry = serde_json::from_slice(&value).ok()?;
            label.entries.insert(api_id.to_owned(), entry);
        } else if *kind == Kind::Api as u8 {
            let api = serde_json::from_slice(&value).ok()?;
            self.apis.insert(key.to_owned(), api);
        } else if *kind == Kind::Text as u8 {
            let digest = Digest::parse(key).ok()?;
            self.texts.insert(digest, Text::from_frame(value));
        } else {
            return None;
        }
        Some(())
    }

    /// Whether the parts agree with one another, as those of one moment do. Entries that a saver has
    /// sent itself may be beyond the cursor; they are pulled again.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<(), Unusable> {
        let mut serving = self.apis.values().filter_map(|api| api.serving.as_ref());
        if serving.any(|stamp| !self.texts.contains_key(&stamp.digest)) {
            return Err(Unusable::Damaged("an artifact is missing".into()));
        }
        Ok(())
    }
}

/// A row's share in the sum over all rows, by which missing and outdated ones are found. Artifacts
/// count by their digests.
#[must_use]
pub fn share(key: &[u8], value: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(key);
    if !is_text(key) {
        hash.update(value);
    }
    hash.finalize().into()
}

/// Whether the row holds an artifact.
#[must_use]
pub fn is_text(key: &[u8]) -> bool {
    key.first() == Some(&(Kind::Text as u8))
}

/// Adds a share to the sum, or takes it out again.
pub fn toggle(sum: &mut [u8; 32], share: &[u8; 32]) {
    for (byte, other) in sum.iter_mut().zip(share) {
        *byte ^= other;
    }
}
