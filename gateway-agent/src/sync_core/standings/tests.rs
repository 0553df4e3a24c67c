use proptest::prelude::*;

use super::*;

pub(super) fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

pub(super) fn entry(api: &str, seq: u64, revision: u64, instruction: Instruction) -> LabelLogEntry {
    LabelLogEntry {
        seq,
        api_id: api.into(),
        name: api.into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        instruction,
        revision,
        digest: Digest::of(format!("{api}{revision}").as_bytes()),
        time: 0,
        artifact: None,
        published_to: Vec::new(),
    }
}

use Instruction::{Publish, Remove};

#[test]
fn an_older_entry_never_replaces_a_newer_one() {
    let mut core = Standings::new([label("L")]);
    let newer = entry("a", 2, 2, Publish);
    assert!(matches!(
        core.pulled(&label("L"), vec![newer.clone()])[..],
        [Change::Deploy(_)]
    ));
    assert!(
        core.pulled(&label("L"), vec![entry("a", 1, 1, Remove), newer])
            .is_empty()
    );
}

#[test]
fn an_api_under_two_labels_is_deployed_once_and_leaves_with_the_last() {
    let mut core = Standings::new([label("L1"), label("L2")]);
    let one =
        |core: &mut Standings, name: &str, entry| core.pulled(&label(name), vec![entry]).remove(0);
    assert!(matches!(
        one(&mut core, "L1", entry("a", 1, 1, Publish)),
        Change::Deploy(_)
    ));
    assert!(matches!(
        one(&mut core, "L2", entry("a", 9, 1, Publish)),
        Change::Keep
    ));
    assert!(matches!(
        one(&mut core, "L2", entry("a", 10, 2, Publish)),
        Change::Deploy(_)
    ));
    let mut moved = entry("a", 2, 2, Remove);
    moved.published_to = vec![SavedTo {
        label: label("L2"),
        seq: 10,
    }];
    assert!(matches!(one(&mut core, "L1", moved), Change::Keep));
    assert!(matches!(
        one(&mut core, "L2", entry("a", 11, 3, Remove)),
        Change::Undeploy(_)
    ));
    assert!(matches!(
        one(&mut core, "L2", entry("a", 12, 4, Publish)),
        Change::Deploy(_)
    ));
}

#[test]
fn an_api_that_moves_between_labels_is_never_taken_down() {
    let moved = |seq| {
        let mut entry = entry("a", 2, 1, Remove);
        entry.published_to = vec![artifact::SavedTo {
            label: label("L2"),
            seq,
        }];
        entry
    };
    let started = || {
        let mut core = Standings::new([label("L1"), label("L2")]);
        core.pulled(&label("L1"), vec![entry("a", 1, 1, Publish)]);
        core
    };
    // The Remove of the old label comes first, then the new label speaks.
    let mut core = started();
    assert_eq!(core.pulled(&label("L1"), vec![moved(7)]), [Change::Keep]);
    let later = entry("a", 7, 1, Publish);
    assert_eq!(core.pulled(&label("L2"), vec![later]), [Change::Keep]);
    // Removed there as well, in the meantime.
    let mut core = started();
    core.pulled(&label("L2"), vec![entry("a", 8, 2, Remove)]);
    let changes = core.pulled(&label("L1"), vec![moved(7)]);
    assert!(matches!(changes[..], [Change::Undeploy(_)]), "{changes:?}");
    // Moved there and back by saves of which this gateway has not seen all.
    let mut core = started();
    let mut back = entry("a", 9, 2, Remove);
    back.published_to = vec![SavedTo {
        label: label("L1"),
        seq: 3,
    }];
    assert_eq!(core.pulled(&label("L2"), vec![back]), [Change::Keep]);
    assert_eq!(core.pulled(&label("L1"), vec![moved(7)]), [Change::Keep]);
    let again = entry("a", 3, 2, Publish);
    let changes = core.pulled(&label("L1"), vec![again]);
    assert!(matches!(changes[..], [Change::Deploy(_)]), "{changes:?}");
    // Moved to a label that this gateway does not carry.
    let mut core = Standings::new([label("L1")]);
    core.pulled(&label("L1"), vec![entry("a", 1, 1, Publish)]);
    let changes = core.pulled(&label("L1"), vec![moved(7)]);
    assert!(matches!(changes[..], [Change::Undeploy(_)]), "{changes:?}");
}

#[test]
fn is_ready_when_every_label_log_has_been_applied() {
    let mut core = Standings::new([label("L1"), label("L2")]);
    core.completed(&label("L1"));
    assert_eq!(core.missing(), [label("L2")]);
}

proptest! {
    /// A core that is restored at any moment goes on as one that never ended.
    #[test]
    fn a_restored_core_decides_as_the_one_before(
        log in prop::collection::vec((0_u8..3, 0_u8..2, any::<bool>()), 1..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let labels = [label("L0"), label("L1")];
        let changes: Vec<_> = log
            .iter()
            .zip(1_u64..)
            .map(|((api, at, publish), seq)| {
                let instruction = if *publish { Publish } else { Remove };
                (&labels[usize::from(*at)], entry(&format!("api{api}"), seq, seq, instruction))
            })
            .collect();
        let mut core = Standings::new(labels.clone());
        let cut = cut.index(changes.len());
        for (label, entry) in &changes[..cut] {
            core.pulled(label, vec![entry.clone()]);
        }
        let mut restored = Standings::new(labels.clone());
        for label in &labels {
            let apis = core.labels[label].apis.clone();
            restored.restore_label(label, core.is_complete(label), apis);
        }
        for (api, (revision, digest)) in &core.wanted {
            restored.restore_wanted(api, *revision, *digest);
        }
        for (label, entry) in &changes[cut..] {
            prop_assert_eq!(
                core.pulled(label, vec![entry.clone()]),
                restored.pulled(label, vec![entry.clone()])
            );
        }
    }

    /// Entries doubled and reordered between labels: the end is what each log's newest says.
    #[test]
    fn the_end_depends_on_the_newest_entries_only(
        log in prop::collection::vec((0_u8..3, any::<bool>()), 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let entries: Vec<_> = log
            .iter()
            .zip(1_u64..)
            .map(|((api, publish), seq)| {
                entry(&format!("api{api}"), seq, seq, if *publish { Publish } else { Remove })
            })
            .collect();
        let mut core = Standings::new([label("L")]);
        let mut deployed: BTreeMap<String, u64> = BTreeMap::new();
        let mut run = |core: &mut Standings, entry: LabelLogEntry| {
            for change in core.pulled(&label("L"), vec![entry]) {
                match change {
                    Change::Deploy(entry) => { deployed.insert(entry.api_id, entry.revision); }
                    Change::Undeploy(entry) => { deployed.remove(&entry.api_id); }
                    Change::Keep => {}
                }
            }
        };
        for index in &order {
            run(&mut core, index.get(&entries).clone());
        }
        for entry in &entries {
            run(&mut core, entry.clone());
        }
        let mut expected = BTreeMap::new();
        for entry in &entries {
            match entry.instruction {
                Publish => { expected.insert(entry.api_id.clone(), entry.revision); }
                Remove => { expected.remove(&entry.api_id); }
            }
        }
        prop_assert_eq!(deployed, expected);
    }
}
