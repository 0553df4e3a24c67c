//! What comparing with the traffic manager has found, for those who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use artifact::Label;
use serde::Serialize;

use crate::sync_core::{Compared, Held};

/// As of now; the counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciled {
    /// Comparisons that found the label as it should be.
    pub same: u64,
    /// Repairs that were made.
    pub repairs: u64,
    /// APIs that repairs have put in place …
    pub put: u64,
    /// … and that they have taken away.
    pub removed: u64,
    /// Comparisons that could not be made.
    pub failures: u64,
    /// Repairs that wait for an operator, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Label, Held>,
}

/// Where it is told and read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reconciliation(Arc<Mutex<Reconciled>>);

impl Reconciliation {
    /// As of now.
    #[must_use]
    pub fn now(&self) -> Reconciled {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn tell(&self, label: &Label, outcome: &Compared) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = now.held.remove(label);
        match outcome {
            Compared::Same => now.same += 1,
            Compared::Repaired { put, removed } => {
                now.repairs += 1;
                now.put += *put as u64;
                now.removed += *removed as u64;
                tracing::warn!(%label, put, removed, "repaired: the label was not what was published");
            }
            Compared::Held(repair) => {
                if held.as_ref() != Some(repair) {
                    tracing::error!(
                        %label,
                        repair = repair.repair.short(),
                        removes = repair.removes,
                        puts = repair.puts,
                        reason = repair.reason,
                        "A REPAIR IS HELD until an operator accepts it (lockstep repair --accept); \
                         what is deployed stays"
                    );
                }
                now.held.insert(label.clone(), repair.clone());
            }
            Compared::Failed(error) => {
                now.failures += 1;
                tracing::warn!(%label, %error, "cannot compare with the traffic manager, trying again");
                // What was held is held still.
                now.held.extend(held.map(|held| (label.clone(), held)));
            }
        }
    }
}
