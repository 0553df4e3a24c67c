//! What a batch changes: pure, from the state that was read to the rows to be written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use artifact::{Announcement, Artifact, Digest, Instruction, Label, SavedTo};

use crate::routes::refusals;
use crate::state::{Newest, Standing, State};
use crate::{Save, SaveOutcome, StoreError};

/// The rows of one transaction.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) dc: &'a str,
    pub(crate) now: i64,
    /// In the order of the batch; an API may have several.
    pub(crate) revisions: Vec<Revision<'a>>,
    /// The newest entry of each API in each label's log that changes.
    pub(crate) entries: BTreeMap<(Label, &'a str), Entry<'a>>,
    /// The new ends of the label logs that grow.
    pub(crate) seqs: BTreeMap<Label, u64>,
    /// In the order in which they are to be announced.
    pub(crate) announcements: Vec<Announcement>,
}

/// A revision that is new.
#[derive(Clone, Debug)]
pub(crate) struct Revision<'a> {
    pub(crate) artifact: &'a Artifact,
    pub(crate) text: &'a str,
    pub(crate) digest: Digest,
    pub(crate) instruction: Instruction,
    pub(crate) revision: u64,
    pub(crate) routes: &'a [String],
}

/// A label-log entry, with the artifact row that WSO2's readers take.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) seq: u64,
    pub(crate) instruction: Instruction,
    pub(crate) revision: u64,
    pub(crate) digest: Digest,
    pub(crate) text: Cow<'a, str>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(dc: &'a str, now: i64) -> Self {
        Self {
            dc,
            now,
            revisions: Vec::new(),
            entries: BTreeMap::new(),
            seqs: BTreeMap::new(),
            announcements: Vec::new(),
        }
    }

    /// Decides a batch of saves; `state` is moved on from save to save.
    ///
    /// # Errors
    /// When an artifact cannot be written as text.
    pub(crate) fn save(
        &mut self,
        state: &mut State,
        batch: &'a [Save],
    ) -> Result<Vec<SaveOutcome>, StoreError> {
        let mut refusals = refusals(state, batch);
        let mut outcomes = Vec::with_capacity(batch.len());
        for (index, save) in batch.iter().enumerate() {
            outcomes.push(match refusals.remove(&index) {
                Some(refusal) => refusal,
                None => self.save_one(state, save)?,
            });
        }
        Ok(outcomes)
    }

    fn save_one(&mut self, state: &mut State, save: &'a Save) -> Result<SaveOutcome, StoreError> {
        let artifact = &save.artifact;
        let digest = Digest::of(save.text.as_bytes());
        let before = state.apis.get(&artifact.api_id).copied();
        let standing = state.standing.get(&artifact.api_id);
        let published = |label: &Label| {
            standing
                .and_then(|labels| labels.get(label))
                .filter(|standing| standing.instruction == Instruction::Publish)
        };
        let mut added: Vec<Label> = save
            .labels
            .iter()
            .filter(|label| published(label).is_none_or(|standing| standing.digest != digest))
            .cloned()
            .collect();
        added.sort();
        added.dedup();
        let removed_from: Vec<Label> = standing
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|label| published(label).is_some() && !save.labels.contains(label))
            .cloned()
            .collect();
        let same_bytes = before
            .filter(|newest| newest.digest == digest && newest.instruction == Instruction::Publish)
            .map(|newest| newest.revision);
        if let Some(revision) = same_bytes
            && added.is_empty()
            && removed_from.is_empty()
        {
            return Ok(SaveOutcome::Unchanged { revision, digest });
        }
        let created = before.is_none_or(|newest| newest.instruction == Instruction::Remove);
        let revision = Revision {
            artifact,
            text: &save.text,
            digest,
            instruction: Instruction::Publish,
            revision: same_bytes.unwrap_or(before.map_or(0, |newest| newest.revision) + 1),
            routes: &save.routes,
        };
        if same_bytes.is_none() {
            self.revise(state, revision.clone());
        }
        if !removed_from.is_empty() {
            let text = artifact
                .to_removal()
                .to_text()
                .map_err(|error| StoreError::bad_row("AM_GW_API_ARTIFACTS", error.to_string()))?;
            let removal = Revision {
                digest: Digest::of(text.as_bytes()),
                instruction: Instruction::Remove,
                ..revision.clone()
            };
            self.append(state, &removal, Cow::Owned(text), &removed_from);
        }
        let labels = self.append(state, &revision, Cow::Borrowed(revision.text), &added);
        Ok(SaveOutcome::Saved {
            revision: revision.revision,
            digest,
            labels,
            removed_from,
            created,
        })
    }

    /// Decides the removal of an API from every label that has it: `removal` is its tombstone.
    pub(crate) fn remove(&mut self, state: &mut State, removal: Revision<'a>) -> Vec<SavedTo> {
        let standing = state.standing.get(&removal.artifact.api_id);
        let labels: Vec<Label> = standing
            .into_iter()
            .flatten()
            .filter(|(_, standing)| standing.instruction == Instruction::Publish)
            .map(|(label, _)| label.clone())
            .collect();
        self.revise(state, removal.clone());
        self.append(state, &removal, Cow::Borrowed(removal.text), &labels)
    }

    fn revise(&mut self, state: &mut State, revision: Revision<'a>) {
        let newest = Newest {
            revision: revision.revision,
            digest: revision.digest,
            instruction: revision.instruction,
        };
        state.apis.insert(revision.artifact.api_id.clone(), newest);
        self.revisions.push(revision);
    }

    /// Appends an entry to the labels' logs, and the announcement of it.
    fn append(
        &mut self,
        state: &mut State,
        change: &Revision<'a>,
        text: Cow<'a, str>,
        labels: &[Label],
    ) -> Vec<SavedTo> {
        let artifact = change.artifact;
        let mut saved = Vec::with_capacity(labels.len());
        for label in labels {
            let end = state.seqs.entry(label.clone()).or_default();
            *end += 1;
            let seq = *end;
            self.seqs.insert(label.clone(), seq);
            let standing = Standing {
                instruction: change.instruction,
                digest: change.digest,
            };
            let known = state.standing.entry(artifact.api_id.clone()).or_default();
            known.insert(label.clone(), standing);
            let entry = Entry {
                seq,
                instruction: change.instruction,
                revision: change.revision,
                digest: change.digest,
                text: text.clone(),
            };
            self.entries
                .insert((label.clone(), artifact.api_id.as_str()), entry);
            let label = label.clone();
            saved.push(SavedTo { label, seq });
        }
        if !saved.is_empty() {
            self.announcements.push(Announcement {
                dc: self.dc.to_owned(),
                api_id: artifact.api_id.clone(),
                name: artifact.name.clone(),
                version: artifact.version.clone(),
                tenant_domain: artifact.tenant_domain.clone(),
                instruction: change.instruction,
                digest: change.digest,
                time: self.now,
                labels: saved.clone(),
            });
        }
        saved
    }
}
