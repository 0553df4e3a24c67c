//! The snapshot as a whole: what was written is what is found, whatever happened to the files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use artifact::{Digest, Instruction, Label, LabelLogEntry};
use kit::config::Config;
use proptest::prelude::*;
use tempfile::TempDir;

use super::ledger::{Ledger, Outcome, Record, Recorder};
use super::open::{Base, Opened, open};
use super::state::{Position, Stamp, State, StoredApi, StoredEntry, StoredLabel};
use super::store::Store;
use super::writer::{Writer, install};
use super::{Settings, SnapshotError, Unusable, generation};
use crate::text::Text;

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn settings(data: &Path, more: &str) -> Settings {
    let text = format!("[lockstep]\ndata_dir = {data:?}\n[gateway.snapshot]\n{more}");
    let config = Config::from_text(&text, Path::new("deployment.toml")).unwrap();
    Settings::of(&config, "gw:1", &[label("L1"), label("L2")]).unwrap()
}

fn text_of(api: usize, revision: u64) -> String {
    format!("{{\"name\":\"Secret Name {api}\",\"password\":\"hunter2\",\"n\":{revision}}}")
}

fn stamp(api: usize, revision: u64) -> Stamp {
    Stamp {
        revision,
        digest: Digest::of(text_of(api, revision).as_bytes()),
        name: format!("Secret Name {api}"),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
    }
}

/// The state after `revision` has been published of each API, in both labels.
fn state(apis: usize, revision: u64) -> State {
    let mut state = State::default();
    for name in ["L1", "L2"] {
        let entries = (0..apis).map(|api| {
            let entry = StoredEntry {
                seq: revision * 1000 + api as u64,
                instruction: Instruction::Publish,
                time: 1,
                published_to: Vec::new(),
                stamp: stamp(api, revision),
            };
            (format!("id-{api}"), entry)
        });
        let position = Position {
            cursor: revision * 1000 + apis as u64,
            complete: true,
        };
        let entries = entries.collect();
        state
            .labels
            .insert(label(name), StoredLabel { position, entries });
    }
    for api in 0..apis {
        let stamp = stamp(api, revision);
        let text = Text::of(&text_of(api, revision));
        state.texts.insert(stamp.digest, text);
        let api_row = StoredApi {
            wanted: Some(stamp.clone()),
            serving: Some(stamp),
            reason: None,
        };
        state.apis.insert(format!("id-{api}"), api_row);
    }
    state
}

/// All names in the snapshot's directory that begin so.
fn files(settings: &Settings, start: &str) -> Vec<String> {
    let entries = fs::read_dir(settings.directory.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(start)).collect()
}

fn write_generation(settings: &Settings, state: &State) {
    let sealer = settings.sealer(true).unwrap();
    let file = settings.directory.next_generation();
    generation::write(&file, &sealer, &settings.owner, state).unwrap();
}

fn installed(more: &str, state: &State) -> (TempDir, Settings) {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), more);
    install(&settings, state).unwrap();
    (directory, settings)
}

#[test]
fn what_was_written_is_found_and_not_readable_without_the_key() {
    for more in [
        "",
        "encrypt = false\n",
        &format!("key = \"{}\"\n", "0a".repeat(32)),
    ] {
        let written = state(5, 1);
        let (_directory, settings) = installed(more, &written);
        write_generation(&settings, &written);
        let bytes = [
            settings.directory.current(),
            settings.directory.generations()[0].1.clone(),
        ]
        .iter()
        .flat_map(|file| fs::read(file).unwrap())
        .collect::<Vec<u8>>();
        let shown = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        assert_eq!(shown(b"Secret Name"), more.starts_with("encrypt"));
        assert_eq!(shown(b"hunter2"), more.starts_with("encrypt"));
        let opened = open(&settings);
        assert_eq!(opened.state.as_ref(), Some(&written));
        assert!(matches!(opened.base, Base::Store(_)));
        // A second gateway of this id keeps its hands off.
        assert!(matches!(open(&settings).base, Base::Off));
        let key = settings.directory.key_file();
        assert_eq!(key.exists(), more.is_empty());
        if key.exists() {
            let mode = fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

#[test]
fn what_is_not_this_gateways_or_does_not_open_is_set_aside() {
    let other = format!("key = \"{}\"\n", "0b".repeat(32));
    type Change = fn(&mut Settings);
    let cases: [(&str, Change); 4] = [
        ("", |settings| settings.owner.gateway_id = "other".into()),
        ("", |settings| settings.owner.dc = "DC9".into()),
        (&other, |_| {}),
        ("encrypt = false\n", |_| {}),
    ];
    for (more, change) in cases {
        let (directory, before) = installed("", &state(2, 1));
        write_generation(&before, &state(2, 1));
        let mut settings = settings(directory.path(), more);
        change(&mut settings);
        let opened = open(&settings);
        assert!(opened.state.is_none());
        assert!(matches!(&opened.base, Base::Anew(state) if state.is_empty()));
        assert_eq!(files(&settings, "current.redb.unusable-").len(), 1);
        assert_eq!(files(&settings, "generation-000001.unusable-").len(), 1);
    }
}

#[test]
fn a_newer_format_is_not_read() {
    let (_directory, settings) = installed("", &state(1, 1));
    write_generation(&settings, &state(1, 1));
    let sealer = settings.sealer(false).unwrap();
    let file = settings.directory.generations()[0].1.clone();
    let mut bytes = fs::read(&file).unwrap();
    bytes[17] = 2;
    fs::write(&file, bytes).unwrap();
    let error = generation::read(&file, &sealer).unwrap_err();
    assert!(
        matches!(error, SnapshotError::Unusable(Unusable::Newer(2))),
        "{error}"
    );
}

#[test]
fn unusable_files_do_not_pile_up() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), "");
    settings.directory.make().unwrap();
    for time in 0..9 {
        fs::write(settings.directory.current(), "no store").unwrap();
        settings
            .directory
            .set_aside(&settings.directory.current(), time)
            .unwrap();
    }
    let mut kept = files(&settings, "current");
    kept.sort();
    assert_eq!(kept.len(), 4);
    assert_eq!(kept[0], "current.redb.unusable-5");
}

#[test]
fn a_damaged_store_falls_back_to_the_newest_good_generation() {
    let (_directory, settings) = installed("", &state(3, 3));
    for revision in 1..=3 {
        write_generation(&settings, &state(3, revision));
    }
    let newest = settings.directory.generations()[0].1.clone();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 10]).unwrap();
    fs::write(settings.directory.current(), "no store").unwrap();
    let opened = open(&settings);
    assert_eq!(opened.state, Some(state(3, 2)));
    assert!(matches!(opened.base, Base::Anew(base) if base == state(3, 2)));
}

#[test]
fn older_generations_go_first() {
    let (_directory, settings) = installed("", &state(3, 1));
    for revision in 1..=5 {
        write_generation(&settings, &state(3, revision));
    }
    settings.directory.thin_out(3, u64::MAX);
    let numbers = |settings: &Settings| {
        let generations = settings.directory.generations();
        generations
            .iter()
            .map(|(number, _)| *number)
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&settings), [5, 4, 3]);
    settings.directory.thin_out(3, 1);
    assert_eq!(numbers(&settings), [5]);
}

#[test]
fn labels_that_are_not_subscribed_any_more_are_dropped() {
    let mut all = state(2, 1);
    // L2 has a newer revision of the first API, and an API of its own.
    let newer = stamp(0, 7);
    all.texts.insert(newer.digest, Text::of(&text_of(0, 7)));
    let two = all.labels.get_mut(&label("L2")).unwrap();
    two.position.cursor = 9000;
    two.entries.get_mut("id-0").unwrap().stamp = newer.clone();
    all.apis.get_mut("id-0").unwrap().wanted = Some(newer.clone());
    all.apis.get_mut("id-0").unwrap().serving = Some(newer);
    all.labels
        .get_mut(&label("L1"))
        .unwrap()
        .entries
        .remove("id-1");
    let (_directory, mut settings) = installed("", &all);
    settings.labels = vec![label("L1"), label("New")];
    let opened = open(&settings);
    let state = opened.state.unwrap();
    assert_eq!(state.labels.keys().collect::<Vec<_>>(), [&label("L1")]);
    assert_eq!(state.apis.keys().collect::<Vec<_>>(), ["id-0"]);
    assert_eq!(state.apis["id-0"].wanted, Some(stamp(0, 1)));
    assert_eq!(
        state.apis["id-0"].serving, None,
        "not a revision of the other label"
    );
    assert_eq!(state.texts.len(), 1);
    assert!(matches!(opened.base, Base::Anew(_)), "written without them");
}

fn entry(api: usize, seq: u64, revision: u64, instruction: Instruction) -> LabelLogEntry {
    let stamp = stamp(api, revision);
    LabelLogEntry {
        seq,
        api_id: format!("id-{api}"),
        name: stamp.name,
        version: stamp.version,
        tenant_domain: stamp.tenant_domain,
        instruction,
        revision,
        digest: stamp.digest,
        time: 1,
        artifact: Some(text_of(api, revision)),
        published_to: Vec::new(),
    }
}

fn note(ledger: &mut Ledger, revision: u64, serving: u64) {
    let is = stamp(0, revision);
    let outcome = Outcome {
        wanted: Some((is.revision, is.digest)),
        serving: Some(stamp(0, serving)),
        reason: (revision != serving).then(|| "refused".into()),
    };
    let entries = vec![entry(0, revision, revision, Instruction::Publish)];
    for name in ["L1", "L2"] {
        let position = Position {
            cursor: revision,
            complete: true,
        };
        ledger.applied(Record {
            label: label(name),
            position,
            entries: entries.clone(),
            texts: Vec::new(),
            apis: vec![("id-0".to_owned(), outcome.clone())],
        });
    }
}

async fn write_all(settings: &Settings, recorder: &Recorder) {
    recorder.close();
    let opened = open(settings);
    let writer = Writer::new(settings.clone(), opened, recorder.clone());
    writer.unwrap().run().await;
}

#[tokio::test]
async fn the_last_good_revision_and_the_refused_one_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), "");
    let recorder = Recorder::default();
    let mut ledger = Ledger::new(recorder.clone());
    note(&mut ledger, 1, 1);
    note(&mut ledger, 2, 2);
    note(&mut ledger, 3, 2);
    assert!(recorder.status().waiting);
    write_all(&settings, &recorder).await;
    assert!(!recorder.status().waiting);
    assert_eq!(
        recorder.status().written,
        1,
        "one transaction for all that waits"
    );
    let state = open(&settings).state.unwrap();
    let api = &state.apis["id-0"];
    assert_eq!(api.wanted, Some(stamp(0, 3)));
    assert_eq!(api.serving, Some(stamp(0, 2)));
    assert_eq!(api.reason.as_deref(), Some("refused"));
    assert!(state.texts.contains_key(&stamp(0, 2).digest));
    assert!(state.texts.contains_key(&stamp(0, 3).digest));
}

/// As root, no file is read only; a file in the way is as good.
#[tokio::test]
async fn what_cannot_be_written_waits_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("snapshot");
    fs::write(&in_the_way, "").unwrap();
    let settings = settings(directory.path(), "");
    let recorder = Recorder::default();
    let opened = open(&settings);
    assert!(opened.state.is_none());
    let writer = Writer::new(settings.clone(), opened, recorder.clone()).unwrap();
    let writing = tokio::spawn(writer.run());
    let mut ledger = Ledger::new(recorder.clone());
    note(&mut ledger, 1, 1);
    while recorder.status().failures < 2 {
        tokio::task::yield_now().await;
    }
    note(&mut ledger, 2, 2);
    fs::remove_file(&in_the_way).unwrap();
    while recorder.status().waiting {
        tokio::task::yield_now().await;
    }
    recorder.close();
    writing.await.unwrap();
    let state = open(&settings).state.unwrap();
    assert_eq!(state.apis["id-0"].serving, Some(stamp(0, 2)));
    assert_eq!(state.labels[&label("L2")].position.cursor, 2);
}

#[tokio::test]
async fn a_state_above_the_limit_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path(), "");
    settings.max_size = 100;
    let recorder = Recorder::default();
    let mut ledger = Ledger::new(recorder.clone());
    note(&mut ledger, 1, 1);
    write_all(&settings, &recorder).await;
    assert!(!recorder.status().on);
    assert!(files(&settings, "current").is_empty());
}

#[test]
fn artifacts_that_nothing_needs_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), "");
    settings.directory.make().unwrap();
    let sealer = Arc::new(settings.sealer(true).unwrap());
    let file = settings.directory.current();
    let owner = settings.owner;
    let mut store = Store::create(&file, sealer, owner, &state(4, 1)).unwrap();
    store.commit(&state(4, 2)).unwrap();
    assert_eq!(store.state().unwrap().texts.len(), 8);
    assert_eq!(store.sweep().unwrap(), state(4, 2));
    assert_eq!(store.state().unwrap(), state(4, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A byte is flipped, or the end is cut off: never a panic, and never anything but what was
    /// written.
    #[test]
    fn a_damaged_file_gives_a_state_that_was_written_or_none(
        place in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
        cut in any::<bool>(),
        generation in any::<bool>(),
        encrypt in any::<bool>(),
    ) {
        let more = if encrypt { "" } else { "encrypt = false\n" };
        let (_directory, settings) = installed(more, &state(20, 1));
        write_generation(&settings, &state(20, 1));
        let file = if generation {
            fs::remove_file(settings.directory.current()).unwrap();
            settings.directory.generations()[0].1.clone()
        } else {
            fs::remove_file(&settings.directory.generations()[0].1).unwrap();
            settings.directory.current()
        };
        let mut bytes = fs::read(&file).unwrap();
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= flip;
        }
        fs::write(&file, bytes).unwrap();
        let opened = open(&settings);
        match opened.state {
            Some(found) => prop_assert_eq!(found, state(20, 1)),
            None => prop_assert!(!generation || file.metadata().is_err()),
        }
    }

    /// The directory as it is at any moment of the writing, or after a transaction that never
    /// ended: what is found is what some transaction has written, the newest unless it was copied
    /// while it was written.
    #[test]
    fn a_crash_leaves_a_consistent_state(revisions in 2_u64..6, apis in 1_usize..6, kill in 0_u64..6) {
        let (directory, settings) = installed("", &state(apis, 1));
        let copy = tempfile::tempdir().unwrap();
        let target = super::tests::settings(copy.path(), "");
        target.directory.make().unwrap();
        let Opened { base: Base::Store(mut store), .. } = open(&settings) else { panic!("no store") };
        let done = std::sync::atomic::AtomicU64::new(1);
        let (least, most) = std::thread::scope(|scope| {
            let copying = scope.spawn(|| {
                use std::sync::atomic::Ordering::SeqCst;
                while done.load(SeqCst) < kill.min(revisions) {
                    std::thread::yield_now();
                }
                let least = done.load(SeqCst);
                for name in ["key", "current.redb"] {
                    let from = settings.directory.path().join(name);
                    fs::copy(from, target.directory.path().join(name)).unwrap();
                }
                (least, done.load(SeqCst) + 1)
            });
            for revision in 2..=revisions {
                store.commit(&state(apis, revision)).unwrap();
                done.store(revision, std::sync::atomic::Ordering::SeqCst);
            }
            copying.join().unwrap()
        });
        if let Some(mut found) = open(&target).state {
            let needed = found.needed();
            found.texts.retain(|digest, _| needed.contains(digest));
            let whole = (least..=most).any(|revision| found == state(apis, revision));
            prop_assert!(whole, "{least}..={most}: {found:?}");
        }
        // Dropped without a commit: as a process that was killed.
        std::mem::forget(store);
        let copied = tempfile::tempdir().unwrap();
        let last = super::tests::settings(copied.path(), "");
        last.directory.make().unwrap();
        for name in ["key", "current.redb"] {
            let from = settings.directory.path().join(name);
            fs::copy(from, last.directory.path().join(name)).unwrap();
        }
        let mut found = open(&last).state.expect("what was committed is there");
        let needed = found.needed();
        found.texts.retain(|digest, _| needed.contains(digest));
        prop_assert_eq!(found, state(apis, revisions));
        drop(directory);
    }
}

/// `cargo test --release -p gateway-agent --lib -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "a measurement"]
fn ten_thousand_artifacts_of_8_kib() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path(), "");
    settings.directory.make().unwrap();
    let sealer = Arc::new(settings.sealer(true).unwrap());
    let file = settings.directory.current();
    let owner = settings.owner.clone();
    // As the deployer hands them on: batches of 256 entries.
    let mut store = Store::create(&file, sealer, owner, &State::default()).unwrap();
    let mut packing = std::time::Duration::ZERO;
    let mut writing = std::time::Duration::ZERO;
    for first in (0..10_000).step_by(256) {
        let mut change = State::default();
        for api in first..(first + 256).min(10_000) {
            let mut text = text_of(api, 1);
            while text.len() < 8192 {
                let unlike = format!("{api} {}", text.len());
                text += &Digest::of(unlike.as_bytes()).to_string();
                text += "<property name=\"one\" value=\"another\" scope=\"default\"/>";
            }
            let mut stamp = stamp(api, 1);
            stamp.digest = Digest::of(text.as_bytes());
            let started = std::time::Instant::now();
            let packed = Text::of(&text);
            packing += started.elapsed();
            change.texts.insert(stamp.digest, packed);
            let known = change.labels.entry(label("L1")).or_default();
            known.position.cursor = api as u64;
            let entry = StoredEntry {
                seq: api as u64,
                instruction: Instruction::Publish,
                time: 1,
                published_to: Vec::new(),
                stamp: stamp.clone(),
            };
            known.entries.insert(format!("id-{api}"), entry);
            let row = StoredApi {
                wanted: Some(stamp.clone()),
                serving: Some(stamp),
                reason: None,
            };
            change.apis.insert(format!("id-{api}"), row);
        }
        let started = std::time::Instant::now();
        store.commit(&change).unwrap();
        writing += started.elapsed();
    }
    println!("compressed: {packing:?}; written in 40 transactions: {writing:?}");
    drop(store);
    println!("size: {} bytes", settings.directory.size());
    let started = std::time::Instant::now();
    let opened = open(&settings);
    println!("opened: {:?}", started.elapsed());
    let state = opened.state.unwrap();
    assert_eq!(state.apis.len(), 10_000);
    let started = std::time::Instant::now();
    write_generation(&settings, &state);
    println!("a generation written: {:?}", started.elapsed());
}
