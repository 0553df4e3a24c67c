//! What the applied entries of the label logs say: which revision of each API is wanted, and what
//! an entry changes about that.

use std::collections::{BTreeMap, HashMap, HashSet};

use artifact::{Digest, Instruction, Label, LabelDigest, LabelLogEntry, SavedTo};

/// What the newest applied entry of an API says in one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub seq: u64,
    pub revision: u64,
    pub instruction: Instruction,
    pub digest: Digest,
    /// On a Remove: the labels that publish the API since then, with positions.
    pub published_to: Vec<SavedTo>,
}

impl Standing {
    #[must_use]
    pub fn of(entry: &LabelLogEntry) -> Self {
        Self {
            seq: entry.seq,
            revision: entry.revision,
            instruction: entry.instruction,
            digest: entry.digest,
            published_to: entry.published_to.clone(),
        }
    }

    #[must_use]
    pub fn publishes(&self) -> bool {
        self.instruction == Instruction::Publish
    }
}

#[derive(Debug, Default)]
struct LabelState {
    /// The log has been applied to its end at least once.
    complete: bool,
    apis: HashMap<String, Standing>,
}

/// What to do with one API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Compile the entry's artifact and swap it in.
    Deploy(Box<LabelLogEntry>),
    /// No subscribed label has the API any more.
    Undeploy(Box<LabelLogEntry>),
    /// Nothing: another label already brought the same revision, or still has the API.
    Keep,
}

/// Standings per subscribed label, and the revision wanted of each API.
#[derive(Debug)]
pub struct Standings {
    labels: BTreeMap<Label, LabelState>,
    /// The newest revision that was handed out for deployment.
    wanted: HashMap<String, (u64, Digest)>,
    /// APIs that an operator has taken down here; only those that are wanted. Whatever else is
    /// handed out for one of them ends it.
    overridden: HashSet<String>,
}

impl Standings {
    #[must_use]
    pub fn new(labels: impl IntoIterator<Item = Label>) -> Self {
        Self {
            labels: labels
                .into_iter()
                .map(|label| (label, LabelState::default()))
                .collect(),
            wanted: HashMap::new(),
            overridden: HashSet::new(),
        }
    }

    /// Takes over the standings of a label from a stored state; `complete` as it was then.
    pub fn restore_label(
        &mut self,
        label: &Label,
        complete: bool,
        standings: impl IntoIterator<Item = (String, Standing)>,
    ) {
        if let Some(state) = self.labels.get_mut(label) {
            state.complete = complete;
            state.apis.extend(standings);
        }
    }

    /// Takes over from a stored state which revision of an API was handed out last.
    pub fn restore_wanted(&mut self, api_id: &str, revision: u64, digest: Digest) {
        self.wanted.insert(api_id.to_owned(), (revision, digest));
    }

    /// The newest revision of an API that was handed out for deployment, and not taken back.
    #[must_use]
    pub fn wanted(&self, api_id: &str) -> Option<(u64, Digest)> {
        self.wanted.get(api_id).copied()
    }

    /// How many APIs are wanted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// What was applied for an API in a label.
    #[must_use]
    pub fn standing(&self, label: &Label, api_id: &str) -> Option<&Standing> {
        self.labels.get(label)?.apis.get(api_id)
    }

    /// Whether the label's log has been applied to its end.
    #[must_use]
    pub fn is_complete(&self, label: &Label) -> bool {
        self.labels.get(label).is_some_and(|state| state.complete)
    }

    /// The labels whose logs have not been applied to their end yet.
    #[must_use]
    pub fn missing(&self) -> Vec<Label> {
        self.labels
            .iter()
            .filter(|(_, state)| !state.complete)
            .map(|(label, _)| label.clone())
            .collect()
    }

    /// Takes entries that were pulled for a label and says what they change, in their order.
    ///
    /// An entry that is not newer than what was applied for its API in this label changes
    /// nothing: an older one never replaces a newer one, however events and pulls were ordered.
    pub fn pulled(&mut self, label: &Label, entries: Vec<LabelLogEntry>) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in entries {
            let Some(state) = self.labels.get_mut(label) else {
                return changes;
            };
            let known = state.apis.get(&entry.api_id);
            if known.is_some_and(|standing| standing.seq >= entry.seq) {
                continue;
            }
            state
                .apis
                .insert(entry.api_id.clone(), Standing::of(&entry));
            changes.push(self.change(entry));
        }
        changes
    }

    /// Takes an entry of a label's index that differs from what was applied there, whatever was
    /// applied: the log of a database that was restored has other entries at the same positions. An
    /// older revision comes back only if no other label publishes a newer one.
    pub fn repaired(&mut self, label: &Label, entry: LabelLogEntry) -> Change {
        let Some(state) = self.labels.get_mut(label) else {
            return Change::Keep;
        };
        state
            .apis
            .insert(entry.api_id.clone(), Standing::of(&entry));
        if entry.instruction == Instruction::Publish {
            let elsewhere = self.published(&entry.api_id).map(|(_, it)| it.revision);
            if elsewhere.max().is_none_or(|most| most <= entry.revision) {
                let now = (entry.revision, entry.digest);
                if self.wanted.get(&entry.api_id) != Some(&now) {
                    self.wanted.remove(&entry.api_id);
                }
            }
        }
        self.change(entry)
    }

    /// Sets the position of what was applied for an API back, for its label's log ends before it.
    pub fn set_back(&mut self, label: &Label, api_id: &str, seq: u64) {
        let state = self.labels.get_mut(label);
        if let Some(standing) = state.and_then(|state| state.apis.get_mut(api_id)) {
            standing.seq = standing.seq.min(seq);
        }
    }

    /// What was applied in a label, by API.
    pub fn of_label(&self, label: &Label) -> impl Iterator<Item = (&str, &Standing)> {
        let state = self.labels.get(label);
        let apis = state.into_iter().flat_map(|state| &state.apis);
        apis.map(|(api_id, standing)| (api_id.as_str(), standing))
    }

    /// Whether an entry beyond this position was applied in a label: a saver has sent it itself.
    #[must_use]
    pub fn is_ahead(&self, label: &Label, seq: u64) -> bool {
        self.of_label(label).any(|(_, standing)| standing.seq > seq)
    }

    /// The digest over what a label publishes, as the traffic manager makes it.
    #[must_use]
    pub fn digest(&self, label: &Label) -> LabelDigest {
        let published = self.of_label(label).filter(|(_, it)| it.publishes());
        LabelDigest::of(published.map(|(api_id, standing)| (api_id, standing.digest)))
    }

    fn published<'a>(&'a self, api_id: &'a str) -> impl Iterator<Item = (&'a Label, &'a Standing)> {
        let standings = self
            .labels
            .iter()
            .filter_map(move |(label, state)| Some((label, state.apis.get(api_id)?)));
        standings.filter(|(_, standing)| standing.publishes())
    }

    fn change(&mut self, entry: LabelLogEntry) -> Change {
        let wanted = self.wanted.get(&entry.api_id);
        match entry.instruction {
            Instruction::Publish => {
                let newer = wanted.is_none_or(|(revision, digest)| {
                    entry.revision > *revision
                        || (entry.revision == *revision && entry.digest != *digest)
                });
                if !newer {
                    return Change::Keep;
                }
                self.wanted
                    .insert(entry.api_id.clone(), (entry.revision, entry.digest));
                self.overridden.remove(&entry.api_id);
                Change::Deploy(Box::new(entry))
            }
            Instruction::Remove => {
                if self.is_published(&entry.api_id) {
                    return Change::Keep;
                }
                self.wanted.remove(&entry.api_id);
                self.overridden.remove(&entry.api_id);
                Change::Undeploy(Box::new(entry))
            }
        }
    }

    /// Whether a subscribed label publishes the API, by the newest of its revisions that is known in
    /// any of them: an older entry in another label's log is overtaken by it, even if that log has not
    /// been read so far. A Remove tells which labels publish the API since then, and from which
    /// position on, so an API that moves between labels of this gateway goes on answering, whichever
    /// log arrives first.
    fn is_published(&self, api_id: &str) -> bool {
        let known: Vec<&Standing> = self
            .labels
            .values()
            .filter_map(|state| state.apis.get(api_id))
            .collect();
        let newest = known.iter().map(|standing| standing.revision).max();
        let mut newest = known.iter().filter(|it| Some(it.revision) == newest);
        newest.any(|standing| {
            let mut told = standing.published_to.iter();
            standing.publishes() || told.any(|told| self.is_awaited(api_id, told))
        })
    }

    /// Whether the log of a subscribed label has not come as far as something says that it has.
    fn is_awaited(&self, api_id: &str, told: &SavedTo) -> bool {
        let state = self.labels.get(&told.label);
        state.is_some_and(|state| {
            let known = state.apis.get(api_id);
            known.is_none_or(|known| known.seq < told.seq)
        })
    }

    /// By label the entries, position and API, that publish another revision than is wanted of an API:
    /// the newest one of those that are published.
    #[must_use]
    pub fn unsettled(&self) -> BTreeMap<Label, Vec<(u64, String)>> {
        let mut newest: HashMap<&str, (&Label, &Standing)> = HashMap::new();
        for (label, state) in &self.labels {
            for (api_id, standing) in state.apis.iter().filter(|(_, it)| it.publishes()) {
                let known = newest.entry(api_id).or_insert((label, standing));
                if standing.revision > known.1.revision {
                    *known = (label, standing);
                }
            }
        }
        let mut unsettled: BTreeMap<Label, Vec<(u64, String)>> = BTreeMap::new();
        for (api_id, (label, standing)) in newest {
            if self.wanted(api_id) != Some((standing.revision, standing.digest)) {
                let entries = unsettled.entry(label.clone()).or_default();
                entries.push((standing.seq, api_id.to_owned()));
            }
        }
        unsettled
    }

    /// Where the wanted revision of an API can be fetched: a label that publishes it, and the position.
    #[must_use]
    pub fn source(&self, api_id: &str) -> Option<(&Label, u64)> {
        let wanted = self.wanted(api_id)?;
        self.labels.iter().find_map(|(label, state)| {
            let standing = state.apis.get(api_id)?;
            let fits = standing.publishes() && (standing.revision, standing.digest) == wanted;
            fits.then_some((label, standing.seq))
        })
    }

    /// How many APIs have their position in a label from `first` to `last`.
    #[must_use]
    pub fn between(&self, label: &Label, first: u64, last: u64) -> u64 {
        let positions = self.of_label(label);
        let inside = positions.filter(|(_, it)| (first..=last).contains(&it.seq));
        inside.count() as u64
    }

    /// APIs that are wanted though no label publishes them, as far as its log has been applied.
    pub fn awaited(&self) -> impl Iterator<Item = &str> {
        let wanted = self.wanted.keys().map(String::as_str);
        wanted.filter(|api_id| self.published(api_id).next().is_none())
    }

    /// Gives up waiting for a label to publish an API.
    pub fn give_up(&mut self, api_id: &str) {
        self.wanted.remove(api_id);
        self.overridden.remove(api_id);
    }

    /// An operator takes an API down on this gateway: until a newer revision of it comes, or
    /// [`Standings::redeploy`]. `false` when that changes nothing.
    pub fn undeploy(&mut self, api_id: &str) -> bool {
        self.wanted.contains_key(api_id) && self.overridden.insert(api_id.to_owned())
    }

    /// An operator wants the newest revision in place; `false` when no label publishes the API.
    pub fn redeploy(&mut self, api_id: &str) -> bool {
        self.overridden.remove(api_id);
        self.wanted.contains_key(api_id)
    }

    /// Whether an operator has taken the API down here.
    #[must_use]
    pub fn is_overridden(&self, api_id: &str) -> bool {
        self.overridden.contains(api_id)
    }

    /// The labels that publish an API, as far as their logs have been applied.
    pub fn publishing<'a>(&'a self, api_id: &'a str) -> impl Iterator<Item = &'a Label> {
        self.published(api_id).map(|(label, _)| label)
    }

    /// Notes that a label's log has been applied to its end, as it was when it was read.
    pub fn completed(&mut self, label: &Label) {
        if let Some(state) = self.labels.get_mut(label) {
            state.complete = true;
        }
    }
}

#[cfg(test)]
mod operator_tests;

#[cfg(test)]
mod tests;
