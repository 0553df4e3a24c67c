//! What a store has to do, whatever database it stands on.

mod open;
mod read;
mod save;

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
