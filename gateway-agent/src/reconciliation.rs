//! What comparing with the traffic manager has found, for those who ask: people, the traffic manager,
//! metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact::{Digest, HeldRepair, Label};
use metrics::{counter, gauge};
use serde::Serialize;
use tokio::sync::watch;

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
    pub held: BTreeMap<Label, HeldRepair>,
}

impl Reconciled {
    /// The label that this repair is held for, and what is known of it.
    #[must_use]
    pub fn holds(&self, repair: Digest) -> Option<(&Label, &HeldRepair)> {
        let mut held = self.held.iter();
        held.find(|(_, held)| held.repair == repair)
    }

    /// Without the ids of APIs: for anybody.
    #[must_use]
    pub fn without_ids(mut self) -> Self {
        for held in self.held.values_mut() {
            held.apis.clear();
        }
        self
    }

    /// As much of what is held as fits into so many bytes of JSON: what is carried out makes room for
    /// the rest.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        let mut room = bytes;
        self.held.retain(|label, held| {
            let text = serde_json::to_string(&(label, held)).map_or(usize::MAX, |text| text.len());
            let fits = text <= room;
            room = room.saturating_sub(text);
            fits
        });
        self
    }

    /// Takes an outcome; says whether what is held has changed.
    fn take(&mut self, label: &Label, outcome: &Compared, now: i64) -> bool {
        let before = self.held.get(label).cloned();
        match outcome {
            Compared::Same => self.same += 1,
            Compared::Repaired { put, removed } => {
                self.repairs += 1;
                self.put += *put as u64;
                self.removed += *removed as u64;
            }
            Compared::Held(repair) => {
                let known = before.as_ref().filter(|held| held.repair == repair.repair);
                let since = known.map_or(now, |held| held.since);
                self.held.insert(label.clone(), told(repair, since));
            }
            Compared::Failed(_) => self.failures += 1,
        }
        if matches!(outcome, Compared::Same | Compared::Repaired { .. }) {
            self.held.remove(label);
        }
        // After a failure what was held is held still.
        self.held.get(label) != before.as_ref()
    }
}

/// So many ids of APIs are told of a held repair at most.
const TOLD: usize = 100;

fn told(repair: &Held, since: i64) -> HeldRepair {
    HeldRepair {
        repair: repair.repair,
        reason: repair.reason.clone(),
        removes: repair.removes as u64,
        puts: repair.puts as u64,
        apis: repair.apis.iter().take(TOLD).cloned().collect(),
        since,
    }
}

/// Where it is told and read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reconciliation {
    now: Arc<watch::Sender<Reconciled>>,
    /// In the metrics: gateways may share a process.
    gateway: Arc<str>,
}

impl Reconciliation {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(gateway_id: &str) -> Self {
        kit::metrics::init();
        let new = Self {
            now: Arc::new(watch::Sender::new(Reconciled::default())),
            gateway: gateway_id.into(),
        };
        for result in ["same", "repaired", "held", "failed"] {
            new.count(result, 0);
        }
        new.count_apis(0, 0);
        new.gauge(0);
        new
    }

    /// As of now.
    #[must_use]
    pub fn now(&self) -> Reconciled {
        self.now.borrow().clone()
    }

    /// A receiver that is woken when what is held changes.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Reconciled> {
        self.now.subscribe()
    }

    pub(crate) fn tell(&self, label: &Label, outcome: &Compared) {
        let mut changed = false;
        self.now.send_if_modified(|now| {
            changed = now.take(label, outcome, kit::clock::now_ms());
            changed
        });
        match outcome {
            Compared::Same => self.count("same", 1),
            Compared::Repaired { put, removed } => {
                self.count("repaired", 1);
                self.count_apis(*put, *removed);
                tracing::warn!(%label, put, removed, "repaired: the label was not what was published");
            }
            Compared::Held(repair) => {
                self.count("held", 1);
                if changed {
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
            }
            Compared::Failed(error) => {
                self.count("failed", 1);
                tracing::warn!(%label, %error, "cannot compare with the traffic manager, trying again");
            }
        }
        if changed {
            self.gauge(self.now.borrow().held.len());
        }
    }

    fn count(&self, result: &'static str, times: u64) {
        let gateway = self.gateway.to_string();
        counter!("lockstep_reconciliation_comparisons_total", "gateway" => gateway, "result" => result)
            .increment(times);
    }

    fn count_apis(&self, put: usize, removed: usize) {
        for (change, apis) in [("put", put), ("removed", removed)] {
            let gateway = self.gateway.to_string();
            counter!("lockstep_reconciliation_apis_total", "gateway" => gateway, "change" => change)
                .increment(apis as u64);
        }
    }

    fn gauge(&self, held: usize) {
        let gateway = self.gateway.to_string();
        gauge!("lockstep_reconciliation_held", "gateway" => gateway).set(held as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync_core::PullError;

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn held(what: &str, removes: usize) -> Compared {
        Compared::Held(Held {
            repair: Digest::of(what.as_bytes()),
            reason: "r".into(),
            removes,
            puts: 0,
            apis: (0..removes).map(|n| format!("id-{n}")).collect(),
        })
    }

    #[test]
    fn since_stands_while_the_same_repair_is_held_without_a_break() {
        let mut now = Reconciled::default();
        let l = label("L");
        assert!(now.take(&l, &held("x", 11), 1));
        assert!(!now.take(&l, &held("x", 11), 2));
        let failed = Compared::Failed(PullError::EndedByServer);
        assert!(!now.take(&l, &failed, 3));
        assert!(now.take(&l, &held("x", 12), 4), "other words about it");
        assert_eq!(now.held[&l].since, 1);
        assert!(now.take(&l, &held("y", 12), 5));
        assert_eq!(now.held[&l].since, 5);
        assert!(now.take(&l, &Compared::Same, 6));
        assert!(!now.take(&l, &Compared::Same, 7));
        assert!(now.take(&l, &held("y", 12), 8));
        assert_eq!(now.held[&l].since, 8);
        let done = Compared::Repaired {
            put: 1,
            removed: 12,
        };
        assert!(now.take(&l, &done, 9));
        let counts = (now.same, now.repairs, now.put, now.removed, now.failures);
        assert_eq!(counts, (2, 1, 1, 12, 1));
        assert!(now.held.is_empty());
    }

    #[test]
    fn what_is_told_of_many_held_repairs_is_bounded() {
        let mut now = Reconciled::default();
        for n in 0..100 {
            now.take(&label(&format!("L{n}")), &held("x", 11), 1);
        }
        let all = serde_json::to_string(&now).unwrap().len();
        assert_eq!(now.clone().within(2 * all).held.len(), 100);
        let some = now.within(all / 2);
        assert!((40..=50).contains(&some.held.len()), "{}", some.held.len());
        assert!(serde_json::to_string(&some).unwrap().len() < all * 6 / 10);
    }

    #[test]
    fn a_reader_is_woken_by_what_is_held_only() {
        let reconciliation = Reconciliation::new("g");
        let woken = reconciliation.held();
        let l = label("L");
        reconciliation.tell(&l, &Compared::Same);
        assert!(!woken.has_changed().unwrap());
        reconciliation.tell(&l, &held("x", 11));
        assert!(woken.has_changed().unwrap());
        let now = reconciliation.now();
        assert_eq!(now.holds(Digest::of(b"x")).unwrap().0, &l);
        assert!(now.holds(Digest::of(b"y")).is_none());
    }
}
