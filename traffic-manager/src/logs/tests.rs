//! The label logs in memory.

use store::{LabelLogs, LogRow};

use super::*;

use Instruction::{Publish, Remove};

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn row(api: &str, seq: u64, instruction: Instruction) -> LogRow {
    LogRow {
        seq,
        api_id: api.into(),
        name: format!("name of {api}"),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        instruction,
        revision: seq,
        digest: Digest::of(api.as_bytes()),
        time: 0,
        bytes: 10,
    }
}

/// Logs that took these rows, one after another.
async fn logs(took: &[(&str, LogRow)]) -> (Logs, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = store::StoreOptions {
        database: store::Database::file(&directory.path().join("lockstep.db")).unwrap(),
        dc: "DC1".into(),
        history_size: 2,
    };
    let logs = Logs::new(Store::open(&options).await.unwrap(), 1000);
    for (name, row) in took {
        let read = LabelLogs {
            seqs: [(label(name), row.seq)].into(),
            entries: [(label(name), vec![row.clone()])].into(),
        };
        logs.inner.known.write().unwrap().take(read);
    }
    (logs, directory)
}

const ALL: PageSize = PageSize {
    entries: usize::MAX,
    bytes: u64::MAX,
};

fn seqs(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn a_log_is_compacted_and_read_in_pages() {
    let (logs, _directory) = logs(&[
        ("L1", row("a", 1, Publish)),
        ("L1", row("b", 2, Publish)),
        ("L1", row("a", 3, Publish)),
        ("L1", row("c", 4, Publish)),
        ("L1", row("c", 5, Remove)),
    ])
    .await;
    let page = logs.page(&label("L1"), 0, ALL);
    assert_eq!(
        (seqs(&page), page.complete_to, page.more),
        (vec![2, 3, 5], 5, false)
    );
    let two = PageSize { entries: 2, ..ALL };
    let page = logs.page(&label("L1"), 0, two);
    assert_eq!(
        (seqs(&page), page.complete_to, page.more),
        (vec![2, 3], 3, true)
    );
    let few = PageSize { bytes: 5, ..ALL };
    let page = logs.page(&label("L1"), 3, few);
    assert_eq!(
        (seqs(&page), page.complete_to, page.more),
        (vec![5], 5, false)
    );
    let page = logs.page(&label("L2"), 3, few);
    assert_eq!(
        (seqs(&page), page.complete_to, page.more),
        (vec![], 0, false)
    );
    let published = logs.published(&label("L1"));
    assert_eq!(published.len(), 2);
}

#[tokio::test]
async fn a_remove_tells_who_still_publishes_as_of_now() {
    let (logs, _directory) = logs(&[
        ("L1", row("a", 1, Publish)),
        ("L2", row("a", 1, Publish)),
        ("L1", row("a", 2, Remove)),
    ])
    .await;
    let at = |name: &str, seq| SavedTo {
        label: label(name),
        seq,
    };
    assert_eq!(logs.published_to("a"), [at("L2", 1)]);
    assert_eq!(
        logs.named("name of a", "1", "carbon.super").as_deref(),
        Some("a")
    );
    let read = LabelLogs {
        seqs: [(label("L2"), 2)].into(),
        entries: [(label("L2"), vec![row("a", 2, Remove)])].into(),
    };
    logs.inner.known.write().unwrap().take(read);
    assert_eq!(logs.published_to("a"), []);
    assert_eq!(
        logs.named("name of a", "1", "carbon.super").as_deref(),
        Some("a"),
        "one that was published is known still"
    );
}

#[tokio::test]
async fn a_restored_database_replaces_what_was_known() {
    let (logs, _directory) = logs(&[
        ("L1", row("a", 1, Publish)),
        ("L1", row("b", 7, Publish)),
        ("L1", row("c", 2, Publish)),
    ])
    .await;
    let page = logs.page(&label("L1"), 0, ALL);
    assert_eq!((seqs(&page), page.complete_to), (vec![2], 2));
    assert_eq!(logs.published_to("b"), []);
}

#[tokio::test]
async fn a_log_that_the_database_has_no_more_is_forgotten() {
    let (logs, _directory) = logs(&[("L1", row("a", 1, Publish))]).await;
    // The database, which knows nothing of it.
    logs.refresh().await.unwrap();
    assert_eq!(logs.seq(&label("L1")), 0);
    assert_eq!(logs.published_to("a"), []);
}

#[tokio::test]
async fn a_name_is_that_of_the_newest_revision() {
    let named = |name: &str, mut row: LogRow| {
        row.name = name.into();
        row
    };
    let (logs, _directory) = logs(&[
        ("L1", named("A", row("a", 1, Publish))),
        ("L1", named("B", row("a", 2, Publish))),
        ("L1", named("A", row("new", 3, Publish))),
    ])
    .await;
    let id = |name: &str| logs.named(name, "1", "carbon.super");
    assert_eq!(id("A").as_deref(), Some("new"));
    assert_eq!(id("B").as_deref(), Some("a"));
}

#[tokio::test]
async fn the_digest_tells_what_is_published_whatever_the_order() {
    let (one, _d1) = logs(&[
        ("L1", row("a", 1, Publish)),
        ("L1", row("b", 2, Publish)),
        ("L1", row("c", 3, Remove)),
    ])
    .await;
    let (other, _d2) = logs(&[("L1", row("b", 8, Publish)), ("L1", row("a", 9, Publish))]).await;
    let (seq, digest) = one.digest(&label("L1"), None);
    assert_eq!((seq, digest.count), (3, 2));
    assert_eq!(digest, other.digest(&label("L1"), None).1);
    assert_ne!(digest, one.digest(&label("L2"), None).1);
}

#[tokio::test]
async fn followers_wake_when_the_database_has_more() {
    let (logs, _directory) = logs(&[]).await;
    let mut follower = logs.follow(&label("L1"));
    logs.refresh().await.unwrap();
    assert!(!follower.has_changed().unwrap());
    assert!(logs.stale_since().is_none());
    let artifact = artifact::Artifact {
        name: "A".into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        api_id: "u".into(),
        ..artifact::Artifact::default()
    };
    let save = store::Save {
        text: artifact.to_text().unwrap(),
        artifact,
        routes: Vec::new(),
        labels: vec![label("L1")],
    };
    let saves = [save];
    let saving = logs.inner.store.save(&saves, store::SaveMode::Each, 1);
    saving.await.unwrap();
    assert_eq!(logs.seq(&label("L1")), 0, "not looked at yet");
    logs.reached(&label("L1"), 1).await.unwrap();
    follower.changed().await.unwrap();
    assert_eq!(*follower.borrow_and_update(), 1);
    let behind = logs.reached(&label("L1"), 2).await.unwrap_err();
    assert!(matches!(behind, LogsError::Behind { reached: 1 }));
}
