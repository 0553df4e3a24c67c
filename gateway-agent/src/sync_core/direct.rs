//! Entries that a saver sends itself, before they have been pulled.
//!
//! They are entries of label logs like any other, so they are applied as if they had been pulled;
//! only the cursor stays where it is. The pull that comes later finds them applied.

use std::collections::BTreeMap;

use artifact::{
    Digest, DirectEntry, DirectOutcome, DirectStatus, Instruction, Label, LabelLogEntry,
};

use super::apply::{Applying, Step};
use super::{Core, Millis, Output};

/// Entries of one request, label by label.
#[derive(Debug)]
pub(super) struct Direct {
    command: u64,
    /// One for each, in their order.
    sent: Vec<Sent>,
    /// Not applied yet.
    todo: BTreeMap<Label, Vec<LabelLogEntry>>,
}

/// An entry, to tell afterwards what became of it.
#[derive(Debug)]
struct Sent {
    label: Label,
    api_id: String,
    revision: u64,
    digest: Digest,
    instruction: Instruction,
    /// Nothing as new had been applied for its API in its label.
    is_new: bool,
    /// The API is another tenant's.
    foreign: bool,
}

impl Core {
    /// Begins with the first label of the entries.
    pub(super) fn direct(&mut self, now: Millis, command: u64, entries: Vec<DirectEntry>) {
        let mut sent = Vec::with_capacity(entries.len());
        let mut todo: BTreeMap<Label, Vec<LabelLogEntry>> = BTreeMap::new();
        for DirectEntry { label, entry } in entries {
            let standing = self.standings.standing(&label, &entry.api_id);
            let known = self.newest.get(&entry.api_id);
            let foreign = known.is_some_and(|it| it.entry.tenant_domain != entry.tenant_domain);
            sent.push(Sent {
                label: label.clone(),
                api_id: entry.api_id.clone(),
                revision: entry.revision,
                digest: entry.digest,
                instruction: entry.instruction,
                is_new: standing.is_none_or(|standing| standing.seq < entry.seq),
                foreign,
            });
            if self.labels.contains_key(&label) && !foreign {
                todo.entry(label).or_default().push(entry);
            }
        }
        self.direct_next(
            now,
            Direct {
                command,
                sent,
                todo,
            },
        );
    }

    /// Goes on with the next label, or says what became of all.
    pub(super) fn direct_next(&mut self, now: Millis, mut direct: Direct) {
        if let Some((label, entries)) = direct.todo.pop_first() {
            let noted = entries.clone();
            let changes = self.standings.pulled(&label, entries);
            let step = Step::Direct(Box::new(direct));
            self.apply_changes(now, Applying::new(label, step, noted), changes);
            return;
        }
        let statuses = direct.sent.iter().map(|sent| self.status(sent)).collect();
        self.out.push_back(Output::Direct {
            command: direct.command,
            statuses,
        });
    }

    /// What the gateway is after the entry.
    fn status(&self, sent: &Sent) -> DirectStatus {
        use DirectOutcome::{Deployed, Kept, Refused, Removed};
        let live = self.set.get(&sent.api_id).map(|live| live.digest);
        let refused = self.failed.get(&sent.api_id);
        let refused = refused.filter(|(revision, _)| *revision == sent.revision);
        let wanted = self.standings.wanted(&sent.api_id);
        let (status, reason) = if !self.labels.contains_key(&sent.label) {
            let label = sent.label.as_str();
            let reason = format!("this gateway does not carry the label {label:?}");
            (Refused, Some(reason))
        } else if sent.foreign {
            (Refused, Some("the API is another tenant's".to_owned()))
        } else {
            match sent.instruction {
                Instruction::Publish if live == Some(sent.digest) => match sent.is_new {
                    true => (Deployed, None),
                    false => (Kept, None),
                },
                Instruction::Publish => match (refused, wanted) {
                    (Some((_, reason)), _) => (Refused, Some(reason.clone())),
                    (None, Some((revision, _))) if revision > sent.revision => {
                        (Kept, Some(format!("revision {revision} is newer")))
                    }
                    (None, Some(_)) if self.standings.is_overridden(&sent.api_id) => {
                        (Kept, Some("an operator has taken it down here".to_owned()))
                    }
                    (None, _) => (Kept, Some("it has been removed since".to_owned())),
                },
                Instruction::Remove if wanted.is_none() && sent.is_new => (Removed, None),
                Instruction::Remove if wanted.is_none() => (Kept, None),
                Instruction::Remove => {
                    let reason = "the gateway has it by another label, or something newer";
                    (Kept, Some(reason.to_owned()))
                }
            }
        };
        DirectStatus {
            api_id: sent.api_id.clone(),
            revision: sent.revision,
            status,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
