use std::fs;
use std::path::Path;

use artifact::Content;
use store::{Database, Save, SaveMode, StoreOptions};
use tempfile::TempDir;

use super::*;

struct Ground {
    directory: TempDir,
    store: Store,
    saver: FileSystemSaver,
    labels: BTreeMap<Label, Followed>,
}

impl Ground {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::file(&directory.path().join("lockstep.db")).unwrap(),
            dc: "DC1".into(),
            history_size: 2,
        };
        let store = Store::open(&options).await.unwrap();
        let saver = FileSystemSaver {
            store: store.clone(),
            root: directory.path().join("synapse"),
            woken: Arc::default(),
            status: Arc::default(),
        };
        Self {
            directory,
            store,
            saver,
            labels: BTreeMap::new(),
        }
    }

    async fn save(&self, name: &str, content: &str, labels: &[&str]) {
        let artifact = artifact(name, content);
        let save = Save {
            text: artifact.to_text().unwrap(),
            artifact,
            routes: vec![format!("/{name}")],
            labels: labels.iter().map(|it| label(it)).collect(),
        };
        let saved = self.store.save(&[save], SaveMode::Atomic, 1).await;
        assert!(!saved.unwrap()[0].is_refusal());
    }

    async fn look(&mut self) {
        for followed in self.labels.values_mut() {
            followed.again = None;
        }
        let never = CancellationToken::new();
        self.saver.look(&mut self.labels, &never).await.unwrap();
    }

    /// As if killed and started again.
    fn restart(&mut self) {
        self.labels.clear();
        self.saver.status = Arc::default();
    }

    fn path(&self, label: &str, file: &str) -> std::path::PathBuf {
        let root = self.directory.path().join("synapse").join(label);
        root.join("synapse-configs/default").join(file)
    }

    fn apis(&self, label: &str) -> Vec<String> {
        names(&self.path(label, "api"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn artifact(name: &str, content: &str) -> Artifact {
    Artifact {
        name: name.into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        api_id: format!("id-{name}"),
        api_definition: Some(format!(
            "<api name='{name}' context='/{name}'><resource><inSequence><sequence key='{name}-s'/>\
             </inSequence></resource></api>"
        )),
        sequence_to_be_add: vec![Content {
            name: format!("{name}-s"),
            content: format!("<sequence name='{name}-s'>{content}</sequence>"),
        }],
        r#override: true,
        ..Artifact::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directories_follow_the_logs_of_their_labels() {
    let mut ground = Ground::new().await;
    ground
        .save("a", "1", &["Production and Sandbox", "../L"])
        .await;
    ground.save("b", "1", &["../L"]).await;
    ground.look().await;
    assert_eq!(ground.apis("Production and Sandbox"), ["a.xml"]);
    assert_eq!(ground.apis("%2E.%2FL"), ["a.xml", "b.xml"]);

    ground
        .save("a", "<drop/>", &["Production and Sandbox"])
        .await;
    ground.look().await;
    let sequence = ground.path("Production and Sandbox", "sequences/a-s.xml");
    assert!(fs::read_to_string(sequence).unwrap().contains("<drop/>"));
    assert_eq!(ground.apis("%2E.%2FL"), ["b.xml"]);
    assert_eq!(names(&ground.path("%2E.%2FL", "sequences")), ["b-s.xml"]);

    let removed = ground.store.remove("b", "1", "carbon.super", 1).await;
    assert!(removed.unwrap().is_some());
    ground.look().await;
    assert!(ground.apis("%2E.%2FL").is_empty());
    let status = ground.saver.status();
    assert!(
        status
            .values()
            .all(|it| it.failed.is_empty() && it.reason.is_none())
    );
    assert_eq!(status[&label("../L")].seq, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_finds_what_has_changed_in_the_meantime() {
    let mut ground = Ground::new().await;
    for name in ["a", "b", "c"] {
        ground.save(name, "1", &["L"]).await;
    }
    ground.look().await;
    ground.restart();
    ground.save("a", "<drop/>", &["L"]).await;
    let removed = ground.store.remove("b", "1", "carbon.super", 1).await;
    assert!(removed.unwrap().is_some());
    // What was in step is touched where somebody has touched it.
    fs::remove_file(ground.path("L", "api/c.xml")).unwrap();
    ground.look().await;
    assert_eq!(ground.apis("L"), ["a.xml", "c.xml"]);
    let sequence = fs::read_to_string(ground.path("L", "sequences/a-s.xml")).unwrap();
    assert!(sequence.contains("<drop/>"));

    // A saver beside it waits until the first one has ended.
    let mut other = FileSystemSaver {
        status: Arc::default(),
        ..ground.saver.clone()
    };
    std::mem::swap(&mut other, &mut ground.saver);
    let first = std::mem::take(&mut ground.labels);
    ground.look().await;
    let reason = ground.saver.status()[&label("L")].reason.clone().unwrap();
    assert!(reason.contains("another program writes"), "{reason}");
    drop(first);
    ground.look().await;
    assert_eq!(ground.saver.status()[&label("L")].reason, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_told_and_tried_again() {
    let mut ground = Ground::new().await;
    let foreign = ground.path("L", "sequences/a-s.xml");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "mine").unwrap();
    ground.save("a", "1", &["L"]).await;
    ground.save("b", "1", &["L"]).await;
    ground.look().await;
    assert_eq!(ground.apis("L"), ["b.xml"]);
    let status = ground.saver.status()[&label("L")].clone();
    assert!(status.failed["id-a"].contains("a-s.xml: is there already"));
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");
    fs::remove_file(&foreign).unwrap();
    ground.look().await;
    assert_eq!(ground.apis("L"), ["a.xml", "b.xml"]);
    assert!(ground.saver.status()[&label("L")].failed.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_back_is_compared_as_a_whole() {
    let mut ground = Ground::new().await;
    ground.save("a", "1", &["L"]).await;
    ground.save("b", "1", &["L"]).await;
    ground.look().await;
    // Another, older database has taken the place of the first.
    let older = Ground::new().await;
    older.save("a", "0", &["L"]).await;
    ground.saver.store = older.store.clone();
    ground.look().await;
    assert_eq!(ground.apis("L"), ["a.xml"]);
}
