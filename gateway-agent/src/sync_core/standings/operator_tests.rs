//! What an operator says, between what is pulled.

use std::collections::{BTreeMap, BTreeSet};

use artifact::Instruction::{Publish, Remove};
use proptest::prelude::*;

use super::tests::{entry, label};
use super::{Change, Standings};

fn pull(core: &mut Standings, name: &str, entry: artifact::LabelLogEntry) -> Change {
    core.pulled(&label(name), vec![entry]).remove(0)
}

#[test]
fn an_api_stays_taken_down_until_its_next_revision() {
    let mut core = Standings::new([label("L1"), label("L2")]);
    assert!(!core.undeploy("a"), "nobody publishes it");
    pull(&mut core, "L1", entry("a", 1, 1, Publish));
    assert!(core.undeploy("a"));
    assert!(!core.undeploy("a"), "it is taken down already");
    // The same revision by another label, and a Remove while that one has it, change nothing.
    assert_eq!(
        pull(&mut core, "L2", entry("a", 1, 1, Publish)),
        Change::Keep
    );
    assert_eq!(
        pull(&mut core, "L1", entry("a", 2, 1, Remove)),
        Change::Keep
    );
    assert!(core.is_overridden("a"));
    let newer = pull(&mut core, "L2", entry("a", 2, 3, Publish));
    assert!(matches!(newer, Change::Deploy(_)));
    assert!(!core.is_overridden("a"));
}

#[test]
fn what_is_removed_is_not_overridden_any_more() {
    let mut core = Standings::new([label("L")]);
    pull(&mut core, "L", entry("a", 1, 1, Publish));
    core.undeploy("a");
    let removed = pull(&mut core, "L", entry("a", 2, 2, Remove));
    assert!(matches!(removed, Change::Undeploy(_)));
    assert!(!core.is_overridden("a"));
    assert!(!core.undeploy("a") && !core.redeploy("a"));
    let again = pull(&mut core, "L", entry("a", 3, 3, Publish));
    assert!(matches!(again, Change::Deploy(_)));
}

#[test]
fn redeploying_ends_an_override_and_needs_none() {
    let mut core = Standings::new([label("L")]);
    assert!(!core.redeploy("a"));
    pull(&mut core, "L", entry("a", 1, 1, Publish));
    assert!(core.redeploy("a"));
    core.undeploy("a");
    assert!(core.redeploy("a") && !core.is_overridden("a"));
    assert!(core.undeploy("a"), "it can be taken down again");
}

#[test]
fn the_labels_that_publish_an_api_are_known() {
    let mut core = Standings::new([label("L1"), label("L2")]);
    pull(&mut core, "L1", entry("a", 1, 1, Publish));
    pull(&mut core, "L2", entry("a", 1, 1, Publish));
    pull(&mut core, "L1", entry("a", 2, 2, Remove));
    assert_eq!(core.publishing("a").collect::<Vec<_>>(), [&label("L2")]);
    assert_eq!(core.publishing("b").count(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Publish,
    Remove,
    Undeploy,
    Redeploy,
}

proptest! {
    /// Commands between entries, each said once or twice: what answers in the end is what the newest
    /// entries say, without what was taken down after its newest revision came.
    #[test]
    fn an_override_ends_with_its_revision_and_concerns_its_api_only(
        said in prop::collection::vec(
            (
                0_u8..3,
                prop::sample::select(vec![Said::Publish, Said::Remove, Said::Undeploy, Said::Redeploy]),
                any::<bool>(),
            ),
            1..40,
        ),
    ) {
        let mut core = Standings::new([label("L")]);
        // What answers requests, and what should.
        let mut live: BTreeMap<String, u64> = BTreeMap::new();
        let mut published: BTreeMap<String, u64> = BTreeMap::new();
        let mut down: BTreeSet<String> = BTreeSet::new();
        let mut seq = 0;
        for (api, said, twice) in said {
            let api = format!("api{api}");
            let instruction = match said {
                Said::Publish => Some(Publish),
                Said::Remove => Some(Remove),
                Said::Undeploy | Said::Redeploy => None,
            };
            seq += 1;
            for _ in 0..=usize::from(twice) {
                if let Some(instruction) = instruction {
                    let entry = entry(&api, seq, seq, instruction);
                    for change in core.pulled(&label("L"), vec![entry]) {
                        match change {
                            Change::Deploy(entry) => { live.insert(entry.api_id, entry.revision); }
                            Change::Undeploy(entry) => { live.remove(&entry.api_id); }
                            Change::Keep => {}
                        }
                    }
                } else if matches!(said, Said::Undeploy) {
                    if core.undeploy(&api) {
                        live.remove(&api);
                    }
                } else if core.redeploy(&api) {
                    live.insert(api.clone(), published[&api]);
                }
            }
            match said {
                Said::Publish => { published.insert(api.clone(), seq); down.remove(&api); }
                Said::Remove => { published.remove(&api); down.remove(&api); }
                Said::Undeploy => { if published.contains_key(&api) { down.insert(api); } }
                Said::Redeploy => { down.remove(&api); }
            }
            let expected: BTreeMap<String, u64> = published
                .iter()
                .filter(|(api, _)| !down.contains(*api))
                .map(|(api, revision)| (api.clone(), *revision))
                .collect();
            prop_assert_eq!(&live, &expected);
            for api in ["api0", "api1", "api2"] {
                prop_assert_eq!(core.is_overridden(api), down.contains(api));
            }
        }
    }
}
