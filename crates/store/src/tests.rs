//! What a store has to do, whatever database it stands on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artifact::{Artifact, Instruction, Label, SavedTo};
use tempfile::TempDir;

use super::*;

struct Fixture {
    store: Store,
    directory: TempDir,
}

fn options(directory: &TempDir) -> StoreOptions {
    StoreOptions::new(directory.path().join("lockstep.db"), "DC1", 3)
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    Fixture {
        store: Store::open(&options(&directory), 1).await.unwrap(),
        directory,
    }
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn save(name: &str, content: &str, labels: &[&str]) -> Save {
    let artifact = Artifact {
        name: name.into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        api_id: format!("id-{name}"),
        api_definition: Some(content.into()),
        ..Artifact::default()
    };
    Save {
        text: artifact.to_text().unwrap(),
        artifact,
        routes: vec![format!("/{name}")],
        labels: labels.iter().map(|name| label(name)).collect(),
    }
}

async fn saved(store: &Store, save: Save) -> SaveOutcome {
    store
        .save(&[save], SaveMode::Each, 10)
        .await
        .unwrap()
        .remove(0)
}

/// The log of a label as (seq, name, instruction, revision).
async fn log(store: &Store, name: &str) -> Vec<(u64, String, Instruction, u64)> {
    let page = store.label_log(&label(name), 0, 1000).await.unwrap();
    assert!(!page.more);
    let entries = page.entries.into_iter();
    entries
        .map(|e| (e.seq, e.name, e.instruction, e.revision))
        .collect()
}

use Instruction::{Publish, Remove};

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
async fn the_log_gives_back_the_bytes_that_were_saved() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    let wanted = save("a", "<api context='/ä'>\n</api>", &["L1"]);
    let text = wanted.text.clone();
    saved(&store, wanted).await;
    let page = store.label_log(&label("L1"), 0, 10).await.unwrap();
    assert_eq!(page.entries[0].artifact.as_deref(), Some(text.as_str()));
    assert!(page.entries[0].is_genuine());
    assert_eq!((page.complete_to, page.more), (1, false));
}

#[tokio::test]
async fn a_log_is_read_in_pages() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    for n in 0..5 {
        saved(&store, save(&format!("a{n}"), "1", &["L1"])).await;
    }
    let page = store.label_log(&label("L1"), 1, 2).await.unwrap();
    let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!((seqs, page.complete_to, page.more), (vec![2, 3], 3, true));
    let page = store.label_log(&label("L1"), 3, 2).await.unwrap();
    assert_eq!(
        (page.entries.len(), page.complete_to, page.more),
        (2, 5, false)
    );
    let page = store.label_log(&label("L1"), 5, 2).await.unwrap();
    assert_eq!(
        (page.entries.len(), page.complete_to, page.more),
        (0, 5, false)
    );
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
async fn the_outbox_hands_each_announcement_to_one_relay_until_its_lease_ends() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1"])).await;
    saved(&store, save("a", "1", &["L2"])).await;
    let claimed = store.claim_outbox(100, 50, 10).await.unwrap();
    let what: Vec<_> = claimed
        .iter()
        .map(|row| {
            (
                row.announcement.instruction,
                row.announcement.labels[0].label.as_str(),
            )
        })
        .collect();
    assert_eq!(what, [(Publish, "L1"), (Remove, "L1"), (Publish, "L2")]);
    assert!(store.claim_outbox(120, 50, 10).await.unwrap().is_empty());
    assert_eq!(
        store.claim_outbox(200, 50, 10).await.unwrap().len(),
        3,
        "the lease has ended"
    );
    let ids: Vec<i64> = claimed.iter().map(|row| row.id).collect();
    store.mark_announced(&ids).await.unwrap();
    assert_eq!(store.outbox_length().await.unwrap(), 0);
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
async fn a_newer_schema_is_refused() {
    let Fixture { store, directory } = fixture().await;
    sqlx::query("INSERT INTO LS_SCHEMA (VERSION, APPLIED) VALUES (99, 1)")
        .execute(&store.write)
        .await
        .unwrap();
    store.close().await;
    let error = Store::open(&options(&directory), 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("its schema is version 99, this program knows up to 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(&directory);
    std::fs::write(&options.file, "x".repeat(5000)).unwrap();
    let error = Store::open(&options, 1).await.unwrap_err().to_string();
    assert!(
        error.contains("lockstep.db: cannot open the database: it is damaged"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&options.file).unwrap().len(), 5000);
}

#[tokio::test]
async fn a_status_about_an_older_revision_changes_nothing() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    let row = |revision: u64, state| DeploymentRow {
        gateway_id: "g".into(),
        api_id: "a".into(),
        revision,
        received: artifact::Digest::of(b"x"),
        deployed: None,
        state,
        reason: None,
        since: 1,
    };
    use artifact::DeploymentState::{Deployed, Failed};
    store
        .record_deployments(&[row(2, Deployed), row(1, Failed)])
        .await
        .unwrap();
    let found = store.snapshot().await.unwrap().deployments;
    assert_eq!(
        (found.len(), found[0].revision, found[0].state),
        (1, 2, Deployed)
    );
}

#[tokio::test]
async fn a_gateway_that_registers_again_says_anew_what_it_runs() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    let notice = |payload_type| artifact::GatewayNotice {
        payload_type,
        gateway_id: "g".into(),
        environment_labels: vec![label("L1")],
        time_stamp: 1,
        urls: Vec::new(),
    };
    let row = DeploymentRow {
        gateway_id: "g".into(),
        api_id: "a".into(),
        revision: 1,
        received: artifact::Digest::of(b"x"),
        deployed: None,
        state: artifact::DeploymentState::Deployed,
        reason: None,
        since: 1,
    };
    use artifact::NoticeKind::{Heartbeat, Register};
    for (kind, left) in [(Heartbeat, 1), (Register, 0)] {
        store
            .record_deployments(std::slice::from_ref(&row))
            .await
            .unwrap();
        store.record_gateway(&notice(kind), 5).await.unwrap();
        assert_eq!(store.snapshot().await.unwrap().deployments.len(), left);
    }
}

#[tokio::test]
async fn a_damaged_artifact_does_not_hold_up_the_log() {
    let Fixture {
        store,
        directory: _directory,
    } = fixture().await;
    saved(&store, save("a", "1", &["L1"])).await;
    saved(&store, save("b", "1", &["L1"])).await;
    sqlx::query("UPDATE AM_GW_API_ARTIFACTS SET ARTIFACT = X'FF00' WHERE API_ID = 'id-a'")
        .execute(&store.write)
        .await
        .unwrap();
    let page = store.label_log(&label("L1"), 0, 10).await.unwrap();
    let genuine: Vec<bool> = page
        .entries
        .iter()
        .map(|entry| entry.is_genuine())
        .collect();
    assert_eq!(genuine, [false, true]);
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
