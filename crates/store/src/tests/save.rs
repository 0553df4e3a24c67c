//! Saving and removing.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

pub(super) async fn a_save_appends_to_every_label_and_a_second_one_compacts(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1", "L2"])).await;
    saved(store, save("b", "1", &["L1"])).await;
    let outcome = saved(store, save("a", "2", &["L1", "L2"])).await;
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
        log(store, "L1").await,
        [(2, "b".into(), Publish, 1), (3, "a".into(), Publish, 2)]
    );
    assert_eq!(log(store, "L2").await, [(2, "a".into(), Publish, 2)]);
    assert_eq!(log(store, "nobody").await, []);
}

pub(super) async fn identical_bytes_change_nothing(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1"])).await;
    let length = store.outbox_length().await.unwrap();
    let outcome = saved(store, save("a", "1", &["L1"])).await;
    assert!(
        matches!(outcome, SaveOutcome::Unchanged { revision: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(log(store, "L1").await.len(), 1);
    assert_eq!(store.outbox_length().await.unwrap(), length);
}

pub(super) async fn a_label_that_is_not_named_any_more_gets_a_remove(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1", "L2"])).await;
    let outcome = saved(store, save("a", "1", &["L2", "L3"])).await;
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
    assert_eq!(log(store, "L1").await, [(2, "a".into(), Remove, 1)]);
    assert_eq!(log(store, "L2").await, [(1, "a".into(), Publish, 1)]);
    assert_eq!(log(store, "L3").await, [(1, "a".into(), Publish, 1)]);
}

pub(super) async fn remove_leaves_tombstones_and_frees_name_and_context(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1", "L2"])).await;
    let removed = store.remove("a", "1", "carbon.super", 20).await.unwrap();
    let removed = removed.unwrap();
    assert_eq!(
        (
            removed.name.as_str(),
            removed.revision,
            removed.labels.len()
        ),
        ("a", 2, 2)
    );
    assert_eq!(log(store, "L1").await, [(2, "a".into(), Remove, 2)]);
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
        saved(store, other).await,
        SaveOutcome::Saved { created: true, .. }
    ));
    let again = saved(store, save("c", "1", &["L1"])).await;
    assert!(!again.is_refusal());
}

pub(super) async fn a_context_or_name_belongs_to_one_api(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1"])).await;
    let mut other = save("b", "1", &["L2"]);
    other.routes = vec!["/a".into()];
    let outcome = saved(store, other).await;
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
    let outcome = saved(store, other).await;
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

pub(super) async fn atomic_and_dry_run_leave_nothing_behind(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1"])).await;
    let mut bad = save("bad", "1", &["L1"]);
    bad.routes = vec!["/a".into()];
    let batch = [save("b", "1", &["L1"]), bad];
    for mode in [SaveMode::Atomic, SaveMode::DryRun] {
        let outcomes = store.save(&batch, mode, 10).await.unwrap();
        assert!(matches!(outcomes[0], SaveOutcome::Saved { .. }));
        assert!(outcomes[1].is_refusal());
        assert_eq!(log(store, "L1").await.len(), 1);
    }
    store.save(&batch, SaveMode::Each, 10).await.unwrap();
    assert_eq!(log(store, "L1").await.len(), 2);
}

pub(super) async fn only_the_last_revisions_are_kept(fixture: &Fixture) {
    let store = &fixture.store;
    for n in 0..6 {
        saved(store, save("a", &n.to_string(), &["L1"])).await;
    }
    let rows = sqlx::query("SELECT REVISION FROM LS_REVISION ORDER BY REVISION")
        .fetch_all(&store.read)
        .await
        .unwrap();
    let kept: Vec<i64> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert_eq!(kept, [4, 5, 6]);
    // What a label's log names is kept, however old it is: the tombstone of a label that was left.
    saved(store, save("b", "0", &["L1", "L2"])).await;
    for n in 1..6 {
        saved(store, save("b", &n.to_string(), &["L2"])).await;
    }
    let (entries, _) = behind(store, "L1", 0).await;
    assert_eq!((entries[1].instruction, entries[1].revision), (Remove, 2));
    assert!(texts(store, &entries).await.iter().all(Option::is_some));
}

/// Commit order: 16 publishers, two of them through a store of their own (another process), save
/// at once; no position is missing, none is given twice, and followers never see a gap close.
pub(super) async fn positions_are_gap_free_and_in_commit_order_with_many_publishers(
    fixture: &Fixture,
) {
    let (store, other) = (&fixture.store, fixture.another().await);
    let publishers: Vec<_> = (0..16)
        .map(|publisher| {
            let store = if publisher < 14 { store } else { &other }.clone();
            tokio::spawn(async move {
                let mut seqs: Vec<SavedTo> = Vec::new();
                for n in 0..200 {
                    let name = format!("p{publisher}-{}", n % 40);
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
        let store = store.clone();
        async move {
            let mut newest: BTreeMap<String, u64> = BTreeMap::new();
            let mut cursor = 0;
            while cursor < 3200 {
                let (entries, newest_seq) = behind(&store, "L1", cursor).await;
                for entry in entries {
                    assert!(entry.seq > cursor);
                    let before = newest.insert(entry.name, entry.revision);
                    assert!(before.is_none_or(|revision| revision < entry.revision));
                }
                cursor = newest_seq;
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
        assert!(seqs.iter().copied().eq(1..=3200), "{label}: {seqs:?}");
    }
    let followed = follower.await.unwrap();
    assert_eq!(followed.len(), 640);
    assert!(
        followed.values().all(|revision| *revision == 5),
        "{followed:?}"
    );
    let names: BTreeSet<String> = log(store, "L2").await.into_iter().map(|e| e.1).collect();
    assert_eq!(names.len(), 640);
    other.close().await;
}

pub(super) async fn what_counts_is_who_has_which_route_after_the_batch(fixture: &Fixture) {
    let store = &fixture.store;
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

pub(super) async fn one_batch_may_save_an_api_twice(fixture: &Fixture) {
    let store = &fixture.store;
    let batch = [save("a", "1", &["L1"]), save("a", "2", &["L1", "L2"])];
    let outcomes = store.save(&batch, SaveMode::Each, 10).await.unwrap();
    assert!(matches!(
        outcomes[1],
        SaveOutcome::Saved { revision: 2, .. }
    ));
    assert_eq!(log(store, "L1").await, [(2, "a".into(), Publish, 2)]);
    assert_eq!(log(store, "L2").await, [(1, "a".into(), Publish, 2)]);
    assert_eq!(store.outbox_length().await.unwrap(), 2);
}

pub(super) async fn a_large_batch_is_saved_whole(fixture: &Fixture) {
    let store = &fixture.store;
    let content = "x".repeat(20_000);
    let batch = |content: &str| -> Vec<Save> {
        let names = (0..1000).map(|n| format!("a{n}"));
        names.map(|name| save(&name, content, &["L1"])).collect()
    };
    for (round, content) in [(1, content.as_str()), (2, "y")] {
        let outcomes = store.save(&batch(content), SaveMode::Each, 10).await;
        let saved = outcomes.unwrap().into_iter().filter(
            |outcome| matches!(outcome, SaveOutcome::Saved { revision, .. } if *revision == round),
        );
        assert_eq!(saved.count(), 1000);
    }
    let (entries, newest) = behind(store, "L1", 0).await;
    assert_eq!((entries.len(), newest), (1000, 2000));
    for (entry, text) in entries.iter().zip(texts(store, &entries).await) {
        let text = text.unwrap();
        assert_eq!(entry.digest, artifact::Digest::of(text.as_bytes()));
        assert_eq!(entry.bytes, text.len() as u64);
    }
    assert_eq!(store.outbox_length().await.unwrap(), 2000);
}

pub(super) async fn an_artifact_of_64_mib_comes_back(fixture: &Fixture) {
    let store = &fixture.store;
    if fixture.options.database.dialect() == Dialect::MySql {
        // MariaDB's default for a packet is 16 MiB; what an operator sets for such artifacts.
        sqlx::query("SET GLOBAL max_allowed_packet = 134217728")
            .execute(&store.write)
            .await
            .unwrap();
    }
    let store = &fixture.another().await;
    let wanted = save("large", &"ä".repeat(32 * 1024 * 1024), &["L1"]);
    let text = wanted.text.clone();
    saved(store, wanted).await;
    let (entries, _) = behind(store, "L1", 0).await;
    assert!(texts(store, &entries).await == [Some(text)]);
    store.close().await;
}

pub(super) async fn labels_and_texts_compare_byte_by_byte(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["Label", "label", "läbel"])).await;
    saved(store, save("A", "1", &["label"])).await;
    saved(store, save("ä 😀", "1", &["label"])).await;
    assert_eq!(log(store, "Label").await.len(), 1);
    assert_eq!(log(store, "label").await.len(), 3);
    assert_eq!(log(store, "label").await[2].1, "ä 😀");
    assert_eq!(log(store, "LABEL").await.len(), 0);
    let mut long = save("long", "1", &["label"]);
    long.routes = vec![format!("/{}", "ä".repeat(1299))];
    assert!(!saved(store, long.clone()).await.is_refusal());
    long.artifact.api_id = "another".into();
    long.artifact.name = "another".into();
    assert!(saved(store, long).await.is_refusal());
}

pub(super) async fn the_tables_of_the_original_hold_what_its_readers_expect(fixture: &Fixture) {
    let store = &fixture.store;
    let wanted = save("a", "1", &["L1", "L2"]);
    let text = wanted.text.clone();
    saved(store, wanted).await;
    saved(store, save("a", "1", &["L1"])).await;
    let rows = sqlx::query(
        "SELECT GATEWAY_LABEL, GATEWAY_INSTRUCTION, ARTIFACT FROM AM_GW_API_ARTIFACTS \
         WHERE API_ID = 'id-a' ORDER BY GATEWAY_LABEL",
    );
    let rows = rows.fetch_all(&store.read).await.unwrap();
    let column = |row: usize, column: usize| sqlx::Row::get::<String, _>(&rows[row], column);
    let blob = |row: usize| String::from_utf8(sqlx::Row::get::<Vec<u8>, _>(&rows[row], 2)).unwrap();
    assert_eq!(
        (column(0, 0), column(0, 1)),
        ("L1".into(), "Publish".into())
    );
    assert_eq!(blob(0), text);
    assert_eq!((column(1, 0), column(1, 1)), ("L2".into(), "Remove".into()));
    assert!(!blob(1).contains("apiDefinition"), "{}", blob(1));
    let row =
        sqlx::query("SELECT API_NAME, API_VERSION, TENANT_DOMAIN FROM AM_GW_PUBLISHED_API_DETAILS");
    let row = row.fetch_one(&store.read).await.unwrap();
    let details: [String; 3] = [0, 1, 2].map(|column| sqlx::Row::get(&row, column));
    assert_eq!(details, ["a", "1", "carbon.super"]);
}
