//! Comparing each label with the traffic manager, and repairing what differs.

use artifact::{Digest, Instruction, Label, LabelDigest, LabelLogEntry};

use super::apply::{Applying, Step};
use super::pulling::{LAG, LAG_TRIES};
use super::repair::{Asked, What};
use super::standings::Change;
use super::words::Compared;
use super::{Core, Held, IndexEntry, Millis, Output, Plan, PullError, Range, Repair};

/// Looks in a row, over a few seconds, that find another position than this gateway's.
const VAIN: u32 = 8;
/// What a label was said to publish is waited for through so many comparisons of each label.
const AWAITED: usize = 2;
/// Repairs within this time count together for what may go unasked.
const TOGETHER: Millis = 120_000;
/// Looks in a row after which entries beyond the log's end are not believed any more: the last ones of
/// them at the regular interval.
const BEYOND: u32 = LAG_TRIES + 10;
/// After a repair the label is looked at once more.
const SOON: Millis = 1000;

impl Core {
    /// Whether there is something to compare: the label's log has been applied to its end by this
    /// process, or was, and what is held about it waits for an operator.
    pub(super) fn is_comparable(&self, label: &Label) -> bool {
        let check = self.labels.get(label).map(|work| &work.check);
        let waits = check.is_some_and(|check| check.held.is_some() || check.accepted.is_some());
        self.standings.is_complete(label) && (waits || !self.unpulled.contains(label))
    }

    /// Starts a comparison if it is time; labels that have never been applied to their end have
    /// nothing to compare.
    pub(super) fn look(&mut self, now: Millis, label: &Label) {
        let comparable = self.is_comparable(label);
        let id = self.next_id + 1;
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        let due =
            comparable && work.check.asked.is_none() && work.check.at.is_some_and(|at| at <= now);
        if !due {
            return;
        }
        self.next_id = id;
        work.check.at = None;
        // What has been accepted is repaired however the digests stand: the log ends too early.
        let index = work.check.accepted.is_some();
        let what = if index { What::Index } else { What::Digest };
        work.check.asked = Some(Asked { id, what });
        let label = label.clone();
        self.out.push_back(if index {
            Output::AskIndex { label, id }
        } else {
            Output::AskDigest { label, id }
        });
    }

    /// Reads the index now, whatever the digest is.
    pub(super) fn look_at_index(&mut self, label: &Label) {
        let id = self.number();
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        if let Some(Asked {
            what: What::Index | What::Plan(_),
            ..
        }) = work.check.asked
        {
            return;
        }
        if let Some(asked) = work.check.asked.take() {
            self.out.push_back(Output::Cancel { id: asked.id });
        }
        work.check.asked = Some(Asked {
            id,
            what: What::Index,
        });
        let label = label.clone();
        self.out.push_back(Output::AskIndex { label, id });
    }

    /// The first time that a label's log has been applied to its end since it was pulled anew.
    pub(super) fn compare_soon(&mut self, now: Millis, label: &Label) {
        if let Some(work) = self.labels.get_mut(label)
            && work.check.asked.is_none()
            && work.check.at.is_none()
        {
            work.check.at = Some(now);
        }
    }

    pub(super) fn is_asked(&self, label: &Label, id: u64) -> bool {
        let work = self.labels.get(label);
        let asked = work.and_then(|work| work.check.asked.as_ref());
        asked.is_some_and(|asked| asked.id == id)
    }

    pub(super) fn digest_told(
        &mut self,
        now: Millis,
        label: &Label,
        id: u64,
        seq: u64,
        digest: LabelDigest,
    ) {
        if !self.is_asked(label, id) {
            return;
        }
        let own = self.standings.digest(label);
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        let cursor = work.pulling.cursor;
        // What a saver has sent itself is not in the log as it was read.
        let ahead = own != digest && self.standings.is_ahead(label, cursor);
        if seq == cursor && !ahead {
            work.check.vain = 0;
            if own == digest {
                work.check.held = None;
                work.check.accepted = None;
                work.check.repairs = 0;
                self.compared(now, label, Compared::Same);
                self.drop_awaited(label);
            } else {
                self.look_at_index_after(label);
            }
            return;
        }
        // Not the same moment: the pull brings the rest, or an instance lags behind another one.
        work.check.asked = None;
        if work.check.stuck_at != cursor {
            work.check.vain = 0;
            work.check.stuck_at = cursor;
        }
        work.check.vain += 1;
        let mut wait = self.random.wait(LAG, work.check.vain);
        let resting = self.queue.is_empty() && self.compiling.is_none();
        match work.pulling.open {
            None if seq > cursor => work.pulling.at_once(now),
            // A stream on which nothing comes of what is there.
            Some(open) if seq > cursor && open.follow && resting && work.check.vain >= VAIN => {
                work.pulling.cancel(now);
                self.out.push_back(Output::Cancel { id: open.id });
            }
            _ => {}
        }
        let most = if ahead { BEYOND } else { LAG_TRIES };
        if (seq < cursor || ahead) && work.check.vain >= most {
            work.check.vain = 0;
            self.look_at_index(label);
            return;
        }
        if ahead && work.check.vain >= LAG_TRIES {
            wait = self.random.jittered(self.settings.waits.reconcile);
        }
        if seq > cursor && !ahead && work.check.vain >= VAIN {
            work.check.vain = 0;
            wait = self.random.jittered(self.settings.waits.reconcile);
        }
        work.check.at = Some(now.saturating_add(wait));
    }

    /// Takes away what no label publishes though one was said to: when every label is as it should be
    /// for several comparisons, what was said is not true any more.
    fn drop_awaited(&mut self, label: &Label) {
        let awaited: Vec<String> = self.standings.awaited().map(str::to_owned).collect();
        self.awaited.retain(|api_id, _| awaited.contains(api_id));
        let same = self.labels.values().all(|work| work.check.same);
        if !same || self.compiling.is_some() {
            return;
        }
        self.settle();
        let mut undeploy = Vec::new();
        for api_id in awaited {
            let looks = self.awaited.entry(api_id.clone()).or_default();
            *looks += 1;
            let Some(newest) = self.tenants.newest(&self.newest, &self.standings, &api_id) else {
                continue;
            };
            if *looks > AWAITED * self.labels.len() {
                self.standings.give_up(&api_id);
                undeploy.push(LabelLogEntry {
                    instruction: Instruction::Remove,
                    ..newest
                });
            }
        }
        if !undeploy.is_empty() {
            self.install(Vec::new(), undeploy);
            self.note(label, Vec::new());
        }
    }

    /// Fetches revisions that a label publishes and that another one's entries stood in the way of, when
    /// these are not true any more: only a database that was restored leaves such. The log of another
    /// label may as well be on its way, so it is waited for before.
    fn settle(&mut self) {
        let unsettled = self.standings.unsettled();
        let looks = unsettled.values().flatten().map(|(_, api_id)| {
            let before = self.unsettled.get(api_id).copied().unwrap_or(0);
            (api_id.clone(), before + 1)
        });
        self.unsettled = looks.collect();
        let enough = AWAITED * self.labels.len();
        for (label, mut seqs) in unsettled {
            seqs.retain(|(_, api_id)| self.unsettled.get(api_id).is_some_and(|it| *it > enough));
            if seqs.is_empty() {
                continue;
            }
            let id = self.number();
            let Some(work) = self.labels.get_mut(&label) else {
                continue;
            };
            if work.check.asked.is_some() {
                continue;
            }
            let mut plan = Plan {
                seq: work.pulling.cursor,
                ..Plan::default()
            };
            for (seq, api_id) in seqs {
                plan.fetch.insert(seq);
                plan.known.insert(api_id, Some(seq));
                plan.ranges.push(Range {
                    after: seq.saturating_sub(1),
                    limit: 1,
                });
            }
            let ranges = plan.ranges.clone();
            work.check.asked = Some(Asked {
                id,
                what: What::Plan(plan),
            });
            self.ask_for(label, id, ranges);
        }
    }

    fn ask_for(&mut self, label: Label, id: u64, ranges: Vec<Range>) {
        self.out.push_back(Output::Fetch {
            label,
            id,
            ranges,
            tenant: None,
        });
    }

    fn look_at_index_after(&mut self, label: &Label) {
        if let Some(work) = self.labels.get_mut(label) {
            work.check.asked = None;
        }
        self.look_at_index(label);
    }

    pub(super) fn index_told(
        &mut self,
        now: Millis,
        label: &Label,
        id: u64,
        seq: u64,
        index: &[IndexEntry],
    ) {
        if !self.is_asked(label, id) {
            return;
        }
        let Some(cursor) = self.labels.get(label).map(|work| work.pulling.cursor) else {
            return;
        };
        let plan = Plan::of(self.standings.of_label(label), cursor, seq, index);
        if plan.is_empty() {
            // What differed has come with the pull, or comes.
            if let Some(work) = self.labels.get_mut(label) {
                work.check.accepted = None;
                work.check.held = None;
            }
            self.compared(now, label, Compared::Same);
            return;
        }
        let going = plan.remove.keys().filter(|api_id| {
            let mut elsewhere = self.standings.publishing(api_id);
            !elsewhere.any(|other| other != label && !self.takes_away(other, api_id))
        });
        let going = going.count();
        self.gone
            .retain(|(at, _)| now.saturating_sub(*at) < TOGETHER);
        let lately: usize = self.gone.iter().map(|(_, gone)| gone).sum();
        // What goes in small steps goes all the same.
        let numbers = match going {
            0 => (0, self.set.len()),
            going => (going + lately, self.set.len() + lately),
        };
        let name = plan.name(label, index);
        let guard = self.settings.guard;
        let accepted = self
            .labels
            .get_mut(label)
            .and_then(|work| work.check.accepted.take());
        if let Some(reason) = plan.objection(numbers, guard, cursor, index)
            && accepted != Some(name)
        {
            self.hold(now, label, &plan, name, reason);
            return;
        }
        if going > 0 && accepted != Some(name) {
            self.gone.push_back((now, going));
        }
        let back = plan.back;
        let ranges = plan.ranges.clone();
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        work.check.held = None;
        work.check.asked = Some(Asked {
            id,
            what: What::Plan(plan),
        });
        if back && let Some(open) = work.pulling.pause() {
            self.out.push_back(Output::Cancel { id: open.id });
        }
        let label = label.clone();
        if ranges.is_empty() {
            self.queue.push_back(super::Work::Repair(Repair {
                label,
                id,
                entries: Vec::new(),
                last: true,
            }));
        } else {
            self.ask_for(label, id, ranges);
        }
    }

    /// Whether a repair of the label that is under way takes the API from it.
    fn takes_away(&self, label: &Label, api_id: &str) -> bool {
        let asked = self
            .labels
            .get(label)
            .and_then(|work| work.check.asked.as_ref());
        match asked.map(|asked| &asked.what) {
            Some(What::Plan(plan)) => plan.remove.contains_key(api_id),
            _ => false,
        }
    }

    fn hold(&mut self, now: Millis, label: &Label, plan: &Plan, repair: Digest, reason: String) {
        let held = Held {
            repair,
            reason,
            removes: plan.remove.len(),
            puts: plan.fetch.len(),
            apis: plan.known.keys().cloned().collect(),
        };
        if let Some(work) = self.labels.get_mut(label) {
            work.check.held = Some(held.clone());
        }
        self.compared(now, label, Compared::Held(held));
    }

    /// An operator accepts a repair that is held.
    pub(super) fn accept(&mut self, now: Millis, repair: Digest) {
        for work in self.labels.values_mut() {
            if work
                .check
                .held
                .as_ref()
                .is_some_and(|held| held.repair == repair)
            {
                work.check.accepted = Some(repair);
                work.check.at = Some(now);
            }
        }
    }

    /// Applies what was fetched; with the last of it, takes away what has to go.
    pub(super) fn repair(&mut self, now: Millis, repair: Repair) {
        let Repair {
            label,
            id,
            mut entries,
            last,
        } = repair;
        self.tenants.strip(&mut entries);
        let Some(work) = self.labels.get_mut(&label) else {
            return;
        };
        let Some(Asked {
            id: asked,
            what: What::Plan(plan),
        }) = &mut work.check.asked
        else {
            return;
        };
        if *asked != id {
            return;
        }
        let cursor = work.pulling.cursor;
        let standings = &mut self.standings;
        let mut noted = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            if plan.fetch.remove(&entry.seq)
                && plan.concerns(&entry.api_id, standings.standing(&label, &entry.api_id))
            {
                noted.push(entry.clone());
                let change = standings.repaired(&label, entry);
                plan.put += usize::from(matches!(change, Change::Deploy(_)));
                changes.push(change);
            } else if !plan.back && entry.seq <= cursor {
                // What is behind the cursor is the next pull's.
                noted.push(entry.clone());
                changes.extend(standings.pulled(&label, vec![entry]));
            }
        }
        if last {
            let seq = plan.seq;
            for (api_id, (at, index)) in std::mem::take(&mut plan.remove) {
                if !plan.concerns(&api_id, standings.standing(&label, &api_id)) {
                    continue;
                }
                let newest = self.tenants.newest(&self.newest, standings, &api_id);
                let removal = removal(&api_id, at, index, newest.as_ref());
                noted.push(removal.clone());
                let mut change = standings.repaired(&label, removal);
                match (&mut change, newest) {
                    // It was gone already.
                    (_, None) => continue,
                    (Change::Undeploy(undeploy), Some(newest)) => {
                        undeploy.revision = newest.revision;
                        plan.removed += 1;
                    }
                    _ => {}
                }
                changes.push(change);
            }
            for api_id in std::mem::take(&mut plan.set_back) {
                standings.set_back(&label, &api_id, seq);
            }
            if plan.back {
                work.pulling.set_back(seq);
            }
        }
        let step = Step::Repair { id, last };
        self.apply_changes(now, Applying::new(label, step, noted), changes);
    }

    /// All of a repair has been applied.
    pub(super) fn repaired(&mut self, now: Millis, label: &Label) {
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        let Some(Asked {
            what: What::Plan(plan),
            ..
        }) = work.check.asked.take()
        else {
            return;
        };
        if plan.back {
            work.pulling.resume(now);
        }
        let outcome = Compared::Repaired {
            put: plan.put,
            removed: plan.removed,
        };
        self.compared(now, label, outcome);
    }

    pub(super) fn ask_failed(&mut self, now: Millis, label: Label, id: u64, error: PullError) {
        if !self.is_asked(&label, id) {
            return;
        }
        if let Some(work) = self.labels.get_mut(&label) {
            // A repair that goes back has ended the pull.
            work.pulling.resume(now);
        }
        self.compared(now, &label, Compared::Failed(error));
    }

    /// A comparison has ended; says so, and when the next one starts.
    fn compared(&mut self, now: Millis, label: &Label, outcome: Compared) {
        let again = matches!(outcome, Compared::Repaired { .. });
        let reconcile = self.random.jittered(self.settings.waits.reconcile);
        let Some(work) = self.labels.get_mut(label) else {
            return;
        };
        work.check.asked = None;
        // What was repaired is looked at once more, soon.
        let wait = if again {
            work.check.repairs = work.check.repairs.saturating_add(1);
            reconcile.min(SOON << work.check.repairs.min(16))
        } else {
            reconcile
        };
        work.check.same = matches!(outcome, Compared::Same);
        work.check.at = Some(now.saturating_add(wait));
        let label = label.clone();
        self.out.push_back(Output::Compared { label, outcome });
    }
}

/// The entry that takes an API from a label: what the index says, or at the position `at` what it
/// lacks, which says nothing about other labels.
fn removal(
    api_id: &str,
    at: u64,
    index: Option<IndexEntry>,
    newest: Option<&LabelLogEntry>,
) -> LabelLogEntry {
    let text = |of: fn(&LabelLogEntry) -> &String| newest.map(of).cloned().unwrap_or_default();
    LabelLogEntry {
        seq: at,
        api_id: api_id.to_owned(),
        name: text(|newest| &newest.name),
        version: text(|newest| &newest.version),
        tenant_domain: text(|newest| &newest.tenant_domain),
        instruction: Instruction::Remove,
        revision: index.as_ref().map_or(0, |index| index.revision),
        digest: index.as_ref().map_or(Digest::of(b""), |index| index.digest),
        time: newest.map_or(0, |newest| newest.time),
        artifact: None,
        published_to: index.map_or_else(Vec::new, |index| index.published_to),
    }
}

#[cfg(test)]
mod tests;
