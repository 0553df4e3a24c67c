//! Saving and removing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_save_appends_to_every_label_and_a_second_one_compacts() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1", "L2"])).await;
    saved(&store, save("b", "1", &["L1"])).await;
    let outcome = saved(&store, save("a", "2", &["L1", "L2"])).await;
    let SaveOutcome::Saved {
        revision,
        labels,
        created,
        ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!((revision, created), (2, false));
    let at = |name: &str, seq| SavedTo {
        label: label(name),
        seq,
    };
    assert_eq!(labels, [at("L1", 3), at("L2", 2)]);
    assert_eq!(
        log(&store, "L1").await,
        [(2, "b".into(), Publish, 1), (3, "a".into(), Publish, 2)]
    );
    assert_eq!(log(&store, "L2").await, [(2, "a".into(), Publish, 2)]);
    assert_eq!(log(&store, "nobody").await, []);
}

#[tokio::test]
async fn identical_bytes_change_nothing() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1"])).await;
    let length = store.outbox_length().await.unwrap();
    let outcome = saved(&store, save("a", "1", &["L1"])).await;
    assert!(
        matches!(outcome, SaveOutcome::Unchanged { revision: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(log(&store, "L1").await.len(), 1);
    assert_eq!(store.outbox_length().await.unwrap(), length);
}

#[tokio::test]
async fn a_label_that_is_not_named_any_more_gets_a_remove() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1", "L2"])).await;
    let outcome = saved(&store, save("a", "1", &["L2", "L3"])).await;
    let SaveOutcome::Saved {
        revision, labels, ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(revision, 1, "the same bytes stay the same revision");
    assert_eq!(
        labels,
        [SavedTo {
            label: label("L3"),
            seq: 1
        }]
    );
    assert_eq!(log(&store, "L1").await, [(2, "a".into(), Remove, 1)]);
    let page = store.label_log(&label("L1"), 0, 10).await.unwrap();
    let at = |name: &str, seq| SavedTo {
        label: label(name),
        seq,
    };
    assert_eq!(page.entries[0].published_to, [at("L2", 1), at("L3", 1)]);
    assert_eq!(log(&store, "L2").await, [(1, "a".into(), Publish, 1)]);
    assert_eq!(log(&store, "L3").await, [(1, "a".into(), Publish, 1)]);
}

#[tokio::test]
async fn remove_leaves_tombstones_and_frees_name_and_context() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1", "L2"])).await;
    let removed = store.remove("a", "1", "carbon.super", 20).await.unwrap();
    let (artifact, revision, _, labels) = removed.unwrap();
    assert_eq!(
        (artifact.name.as_str(), revision, labels.len()),
        ("a", 2, 2)
    );
    assert_eq!(log(&store, "L1").await, [(2, "a".into(), Remove, 2)]);
    assert!(
        store
            .remove("a", "1", "carbon.super", 20)
            .await
            .unwrap()
            .is_none()
    );
    let mut other = save("b", "1", &["L1"]);
    other.routes = vec!["/a".into()];
    assert!(matches!(
        saved(&store, other).await,
        SaveOutcome::Saved { created: true, .. }
    ));
    let again = saved(&store, save("c", "1", &["L1"])).await;
    assert!(!again.is_refusal());
}

#[tokio::test]
async fn a_context_or_name_belongs_to_one_api() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1"])).await;
    let mut other = save("b", "1", &["L2"]);
    other.routes = vec!["/a".into()];
    let outcome = saved(&store, other).await;
    assert_eq!(
        outcome,
        SaveOutcome::RouteTaken {
            route: "/a".into(),
            by: "a 1 (id id-a)".into()
        }
    );
    let mut other = save("a", "1", &["L1"]);
    other.routes = vec!["/elsewhere".into()];
    other.artifact.api_id = "another".into();
    let outcome = saved(&store, other).await;
    assert_eq!(
        outcome,
        SaveOutcome::NameTaken {
            api_id: "id-a".into()
        }
    );
    // Nor do two of one name come in together.
    let mut pair = [save("new", "1", &["L1"]), save("new", "2", &["L1"])];
    pair[1].artifact.api_id = "other".into();
    pair[1].routes = vec!["/other".into()];
    let outcomes = store.save(&pair, SaveMode::Each, 10).await.unwrap();
    let refused: Vec<bool> = outcomes.iter().map(SaveOutcome::is_refusal).collect();
    assert_eq!(refused, [false, true]);
}

#[tokio::test]
async fn atomic_and_dry_run_leave_nothing_behind() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1"])).await;
    let mut bad = save("bad", "1", &["L1"]);
    bad.routes = vec!["/a".into()];
    let batch = [save("b", "1", &["L1"]), bad];
    for mode in [SaveMode::Atomic, SaveMode::DryRun] {
        let outcomes = store.save(&batch, mode, 10).await.unwrap();
        assert!(matches!(outcomes[0], SaveOutcome::Saved { .. }));
        assert!(outcomes[1].is_refusal());
        assert_eq!(log(&store, "L1").await.len(), 1);
    }
    store.save(&batch, SaveMode::Each, 10).await.unwrap();
    assert_eq!(log(&store, "L1").await.len(), 2);
}

#[tokio::test]
async fn only_the_last_revisions_are_kept() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    for n in 0..6 {
        saved(&store, save("a", &n.to_string(), &["L1"])).await;
    }
    let rows = sqlx::query("SELECT REVISION FROM LS_REVISION ORDER BY REVISION")
        .fetch_all(&store.read)
        .await
        .unwrap();
    let kept: Vec<i64> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert_eq!(kept, [4, 5, 6]);
}

/// Commit order: 16 publishers, two of them through a store of their own (another process), save
/// at once; no position is missing, none is given twice, and followers never see a gap close.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn positions_are_gap_free_and_in_commit_order_with_many_publishers() {
    let Fixture { store, directory } = fixture().await;
    let other = Store::open(&options(&directory), 1).await.unwrap();
    let (store, other) = (Arc::new(store), Arc::new(other));
    let publishers: Vec<_> = (0..16)
        .map(|publisher| {
            let store = Arc::clone(if publisher < 14 { &store } else { &other });
            tokio::spawn(async move {
                let mut seqs: Vec<SavedTo> = Vec::new();
                for n in 0..25 {
                    let name = format!("p{publisher}-{}", n % 5);
                    let outcome = saved(&store, save(&name, &n.to_string(), &["L1", "L2"])).await;
                    let SaveOutcome::Saved { labels, .. } = outcome else {
                        panic!("{outcome:?}");
                    };
                    seqs.extend(labels);
                }
                seqs
            })
        })
        .collect();
    // A follower: what it has read up to is complete for ever.
    let follower = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let mut newest: BTreeMap<String, u64> = BTreeMap::new();
            let mut cursor = 0;
            while cursor < 400 {
                let page = store.label_log(&label("L1"), cursor, 1000).await.unwrap();
                for entry in page.entries {
                    assert!(entry.seq > cursor);
                    let before = newest.insert(entry.name, entry.revision);
                    assert!(before.is_none_or(|revision| revision < entry.revision));
                }
                cursor = page.complete_to;
                tokio::task::yield_now().await;
            }
            newest
        }
    });
    let mut given: BTreeMap<Label, Vec<u64>> = BTreeMap::new();
    for publisher in publishers {
        for saved in publisher.await.unwrap() {
            given.entry(saved.label).or_default().push(saved.seq);
        }
    }
    for (label, mut seqs) in given {
        seqs.sort_unstable();
        assert!(seqs.iter().copied().eq(1..=400), "{label}: {seqs:?}");
    }
    let followed = follower.await.unwrap();
    assert_eq!(followed.len(), 80);
    assert!(
        followed.values().all(|revision| *revision == 5),
        "{followed:?}"
    );
    let names: BTreeSet<String> = log(&store, "L2").await.into_iter().map(|e| e.1).collect();
    assert_eq!(names.len(), 80);
}

#[tokio::test]
async fn what_counts_is_who_has_which_route_after_the_batch() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    let with_routes = |name: &str, content: &str, routes: &[&str]| {
        let mut save = save(name, content, &["L1"]);
        save.routes = routes.iter().map(|route| (*route).into()).collect();
        save
    };
    let start = [
        with_routes("a", "1", &["/a"]),
        with_routes("b", "1", &["/b", "/default"]),
    ];
    store.save(&start, SaveMode::Each, 1).await.unwrap();
    let refused = async |batch: &[Save]| {
        let outcomes = store.save(batch, SaveMode::DryRun, 1).await.unwrap();
        outcomes
            .iter()
            .map(SaveOutcome::is_refusal)
            .collect::<Vec<_>>()
    };
    let exchange = [
        with_routes("a", "2", &["/b"]),
        with_routes("b", "2", &["/a"]),
    ];
    assert_eq!(refused(&exchange).await, [false, false]);
    // The version-less route counts as the other does.
    assert_eq!(
        refused(&[with_routes("c", "1", &["/c", "/default"])]).await,
        [true]
    );
    // a moves away, so c may have its place …
    let follow = [
        with_routes("c", "1", &["/a"]),
        with_routes("a", "2", &["/new"]),
    ];
    assert_eq!(refused(&follow).await, [false, false]);
    // … unless a has to stay.
    let blocked = [
        with_routes("c", "1", &["/a"]),
        with_routes("a", "2", &["/b"]),
    ];
    assert_eq!(refused(&blocked).await, [true, true]);
}
