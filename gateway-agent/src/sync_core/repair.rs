//! Whether a label is what the traffic manager says it is, and what has to be repaired where not.
//!
//! The digests are compared; only where they differ, the index is read and what differs is fetched.
//! A repair that would take many APIs away, or go back to an older state, is held until an operator
//! accepts it: the fault may be on the other side.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{Digest, Instruction, Label};
use serde::Serialize;

use super::standings::Standing;
use super::words::{IndexEntry, Millis, Range};

/// How much a repair may take away by itself.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Percent of the APIs that are deployed: `max_delete_percent`.
    pub percent: u8,
}

/// So many may always go.
const ALWAYS: usize = 10;

impl Guard {
    /// How many of so many APIs may go.
    #[must_use]
    pub fn most(self, deployed: usize) -> usize {
        (deployed * usize::from(self.percent.min(100)) / 100).max(ALWAYS)
    }
}

/// A repair that waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Names exactly this repair: what it would take away and replace.
    pub repair: Digest,
    /// Why it is held.
    pub reason: String,
    /// APIs that would be taken away.
    pub removes: usize,
    /// APIs that would be deployed or replaced.
    pub puts: usize,
    /// The ids of all of them.
    pub apis: Vec<String>,
}

/// Where the comparison of a label is.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// When the next one starts.
    pub at: Option<Millis>,
    pub asked: Option<Asked>,
    pub held: Option<Held>,
    /// What an operator has accepted.
    pub accepted: Option<Digest>,
    /// Repairs in a row.
    pub repairs: u32,
    /// The last comparison found nothing to repair.
    pub same: bool,
    /// Looks in a row that could not be compared.
    pub vain: u32,
    /// The cursor at the first of them.
    pub stuck_at: u64,
}

/// A question that is open.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Digest,
    Index,
    /// What the index has shown, being fetched and applied.
    Plan(Plan),
}

/// What makes a label what its index says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The position of the index.
    pub seq: u64,
    /// The APIs concerned, with the positions in this label that were known of them.
    pub known: BTreeMap<String, Option<u64>>,
    /// The log ends before what has been applied.
    pub back: bool,
    /// Positions of the entries to fetch.
    pub fetch: BTreeSet<u64>,
    pub ranges: Vec<Range>,
    /// APIs to take from this label, each with the position and digest that say so.
    pub remove: BTreeMap<String, (u64, Option<IndexEntry>)>,
    /// APIs whose position in this label is beyond the end of the log.
    pub set_back: Vec<String>,
    /// So many APIs were put in place.
    pub put: usize,
    /// So many were taken away.
    pub removed: usize,
}

impl Plan {
    /// What differs between a label as it was applied up to `cursor` and its index up to `seq`.
    /// Entries behind the cursor are the next pull's.
    #[must_use]
    pub fn of<'a>(
        standings: impl Iterator<Item = (&'a str, &'a Standing)>,
        cursor: u64,
        seq: u64,
        index: &'a [IndexEntry],
    ) -> Self {
        let mut plan = Self {
            seq,
            back: seq < cursor,
            ..Self::default()
        };
        let mut entries: Vec<&IndexEntry> = index.iter().collect();
        entries.sort_by_key(|entry| entry.seq);
        let named: BTreeMap<&str, &IndexEntry> = entries
            .iter()
            .map(|entry| (entry.api_id.as_str(), *entry))
            .collect();
        let known: BTreeMap<&str, &Standing> = standings.collect();
        let differs = |entry: &IndexEntry| {
            let known = known.get(entry.api_id.as_str());
            known.is_none_or(|known| !known.publishes() || known.digest != entry.digest)
        };
        let mut last_fetched = None;
        for (place, entry) in entries.iter().enumerate() {
            let behind = entry.seq > cursor && !plan.back;
            let put = entry.instruction == Instruction::Publish && !behind && differs(entry);
            if !put {
                continue;
            }
            plan.fetch.insert(entry.seq);
            let standing = known.get(entry.api_id.as_str());
            let position = standing.map(|standing| standing.seq);
            plan.known.insert(entry.api_id.clone(), position);
            match plan.ranges.last_mut() {
                Some(range) if last_fetched == place.checked_sub(1) => range.limit += 1,
                _ => plan.ranges.push(Range {
                    after: entry.seq.saturating_sub(1),
                    limit: 1,
                }),
            }
            last_fetched = Some(place);
        }
        for (api_id, standing) in &known {
            let api_id = *api_id;
            let entry = named.get(api_id);
            if plan.back && standing.seq > seq {
                plan.set_back.push(api_id.to_owned());
            }
            if !standing.publishes() {
                continue;
            }
            match entry {
                None => {
                    let at = standing.seq.min(seq);
                    plan.remove.insert(api_id.to_owned(), (at, None));
                }
                Some(entry) if entry.instruction == Instruction::Remove => {
                    if plan.back || entry.seq <= cursor {
                        let says = (entry.seq, Some((*entry).clone()));
                        plan.remove.insert(api_id.to_owned(), says);
                    }
                }
                Some(_) => continue,
            }
            plan.known.insert(api_id.to_owned(), Some(standing.seq));
        }
        plan
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fetch.is_empty() && self.remove.is_empty() && !self.back
    }

    /// Names what this repair does in a label.
    #[must_use]
    pub fn name(&self, label: &Label, index: &[IndexEntry]) -> Digest {
        let mut text = format!("label {label}\nback {}\n", self.back);
        for api_id in self.remove.keys() {
            text.push_str(&format!("remove {api_id}\n"));
        }
        if self.back {
            for entry in index.iter().filter(|entry| self.fetch.contains(&entry.seq)) {
                text.push_str(&format!("put {} {}\n", entry.api_id, entry.digest));
            }
        }
        Digest::of(text.as_bytes())
    }

    /// Whether what is known of an API is what the plan was made of: a pull may have brought something
    /// newer since.
    #[must_use]
    pub fn concerns(&self, api_id: &str, known: Option<&Standing>) -> bool {
        self.known.get(api_id) == Some(&known.map(|known| known.seq))
    }

    /// Why an operator has to accept it: `going` APIs would not be answered any more, of `deployed`.
    #[must_use]
    pub fn objection(
        &self,
        (going, deployed): (usize, usize),
        guard: Guard,
        cursor: u64,
        index: &[IndexEntry],
    ) -> Option<String> {
        if self.back && !(self.fetch.is_empty() && self.remove.is_empty()) {
            return Some(format!(
                "the label log ends at {}, before {cursor} where this gateway is: the database \
                 seems to be an older one",
                self.seq
            ));
        }
        if index.is_empty() && !self.remove.is_empty() {
            return Some("the index of the label is empty".to_owned());
        }
        let most = guard.most(deployed);
        (going > most).then(|| {
            format!(
                "it would take {going} of {deployed} APIs away, at most {most} go without being \
                 asked for (max_delete_percent)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(seq: u64, publish: bool, text: &str) -> Standing {
        Standing {
            seq,
            revision: seq,
            instruction: instruction(publish),
            digest: Digest::of(text.as_bytes()),
            published_to: Vec::new(),
        }
    }

    fn instruction(publish: bool) -> Instruction {
        if publish {
            Instruction::Publish
        } else {
            Instruction::Remove
        }
    }

    fn indexed(seq: u64, api_id: &str, publish: bool, text: &str) -> IndexEntry {
        IndexEntry {
            seq,
            api_id: api_id.into(),
            instruction: instruction(publish),
            digest: Digest::of(text.as_bytes()),
            revision: seq,
            published_to: Vec::new(),
        }
    }

    fn plan(known: &[(&str, Standing)], cursor: u64, seq: u64, index: &[IndexEntry]) -> Plan {
        let known = known.iter().map(|(api_id, standing)| (*api_id, standing));
        Plan::of(known, cursor, seq, index)
    }

    #[test]
    fn what_agrees_needs_nothing() {
        let known = [
            ("a", standing(1, true, "a")),
            ("b", standing(2, false, "-")),
        ];
        let index = [indexed(1, "a", true, "a"), indexed(2, "b", false, "-")];
        assert!(plan(&known, 2, 2, &index).is_empty());
        // What is behind the cursor comes with the next pull.
        let newer = [indexed(3, "a", false, "-"), indexed(4, "c", true, "c")];
        assert!(plan(&known, 2, 4, &newer).is_empty());
    }

    #[test]
    fn neighbours_in_the_log_are_fetched_together() {
        let index = [
            indexed(2, "a", true, "a"),
            indexed(5, "b", true, "b"),
            indexed(6, "c", true, "c"),
            indexed(9, "d", true, "d"),
        ];
        let found = plan(&[("c", standing(6, true, "c"))], 9, 9, &index);
        let range = |after, limit| Range { after, limit };
        assert_eq!(found.ranges, [range(1, 2), range(8, 1)]);
        assert_eq!(found.fetch, BTreeSet::from([2, 5, 9]));
    }

    #[test]
    fn what_the_index_does_not_have_goes() {
        let known = [
            ("a", standing(1, true, "a")),
            ("b", standing(7, true, "b")),
            ("c", standing(3, true, "c")),
        ];
        let index = [indexed(1, "a", true, "other"), indexed(4, "c", false, "-")];
        let found = plan(&known, 7, 7, &index);
        let gone: Vec<_> = found.remove.keys().map(String::as_str).collect();
        assert_eq!(gone, ["b", "c"]);
        assert_eq!(found.fetch, BTreeSet::from([1]));
        assert!(!found.back && found.set_back.is_empty());
        let back = plan(&known, 7, 4, &index);
        assert!(back.back);
        assert_eq!(back.set_back, ["b"]);
        assert_eq!(back.remove["b"].0, 4);
    }

    #[test]
    fn much_at_once_an_empty_index_and_the_past_have_to_be_accepted() {
        let guard = Guard { percent: 20 };
        assert_eq!(
            (guard.most(10), guard.most(50), guard.most(100)),
            (10, 10, 20)
        );
        let index = [indexed(1, "a", true, "a")];
        let plan = Plan {
            seq: 7,
            remove: BTreeMap::from([("b".into(), (3, None))]),
            ..Plan::default()
        };
        assert_eq!(plan.objection((20, 100), guard, 7, &index), None);
        let much = plan.objection((21, 100), guard, 7, &index).unwrap();
        assert!(much.contains("21 of 100"), "{much}");
        assert!(plan.objection((1, 100), guard, 7, &[]).is_some());
        let back = Plan {
            back: true,
            ..plan.clone()
        };
        assert!(back.objection((1, 100), guard, 9, &index).is_some());
        let only_positions = Plan {
            back: true,
            ..Plan::default()
        };
        assert_eq!(only_positions.objection((0, 100), guard, 9, &index), None);
        let [l, m] = ["L", "M"].map(|name| Label::parse(name).unwrap());
        assert_ne!(back.name(&l, &index), plan.name(&l, &index));
        assert_ne!(plan.name(&m, &index), plan.name(&l, &index));
    }
}
