use std::collections::BTreeSet;

use artifact::{Content, SUPER_TENANT};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Source, read};

fn artifact(name: &str, sequences: &[(&str, &str)]) -> Artifact {
    let content = |(key, text): &(&str, &str)| Content {
        name: (*key).to_owned(),
        content: format!("<sequence name=\"{}\">{text}</sequence>", escaped(key)),
    };
    let uses: String = sequences
        .iter()
        .map(|(key, _)| format!("<sequence key=\"{}\"/>", escaped(key)))
        .collect();
    Artifact {
        name: name.to_owned(),
        version: "1".into(),
        tenant_domain: SUPER_TENANT.into(),
        api_id: format!("id-{name}"),
        api_definition: Some(format!(
            "<api name=\"{}\" version=\"1\" context=\"/c\"><resource><inSequence>{uses}</inSequence></resource></api>",
            escaped(name)
        )),
        r#override: true,
        sequence_to_be_add: sequences.iter().map(content).collect(),
        ..Artifact::default()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

fn digest(artifact: &Artifact) -> Digest {
    Digest::of(artifact.to_text().unwrap().as_bytes())
}

fn put(artifact: &Artifact) -> Change<'_> {
    Change::Put {
        artifact,
        digest: digest(artifact),
    }
}

fn open(root: &TempDir) -> Directory {
    Directory::open(root.path(), "L").unwrap()
}

fn apply(directory: &mut Directory, changes: &[Change<'_>]) -> Vec<String> {
    let applied = directory.apply(changes).unwrap();
    let told = applied.iter().map(|it| match &it.outcome {
        Outcome::Failed(error) => error.to_string(),
        outcome => format!("{outcome:?}"),
    });
    told.collect()
}

/// Every file of the directory that is nobody's secret, by its path.
fn files(root: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, folder: &Path, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                into.insert(name.to_owned());
            }
        }
    }
    let mut all = BTreeSet::new();
    walk(root, root, &mut all);
    all.retain(|name| name != MANIFEST && name != LOCK);
    all
}

fn text(root: &TempDir, path: &str) -> String {
    fs::read_to_string(root.path().join(path)).unwrap()
}

const API: &str = "synapse-configs/default/api";
const SEQUENCES: &str = "synapse-configs/default/sequences";

#[test]
fn apis_are_laid_out_as_api_manager_does_and_go_again() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = open(&root);
    let (a, b) = (
        artifact("admin--A", &[("own:v1--In", ""), ("shared", "")]),
        artifact("admin--B", &[("shared", "")]),
    );
    assert_eq!(
        apply(&mut directory, &[put(&a), put(&b)]),
        ["Written", "Written"]
    );
    let paths = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let expected = [
        "synapse-configs/default/api/admin--A_v1.xml",
        "synapse-configs/default/api/admin--B_v1.xml",
        "synapse-configs/default/sequences/own_v1--In.xml",
        "synapse-configs/default/sequences/shared.xml",
    ];
    assert_eq!(files(root.path()), paths(&expected));
    assert!(root.path().join("executionplans").is_dir());
    assert!(directory.has("id-admin--A", digest(&a)));

    let take = |api_id| Change::Take { api_id };
    assert_eq!(
        apply(&mut directory, &[take("id-admin--A"), take("id-x")]),
        ["Removed", "Absent"]
    );
    assert_eq!(files(root.path()), paths(&[expected[1], expected[3]]));
    assert_eq!(apply(&mut directory, &[take("id-admin--B")]), ["Removed"]);
    assert_eq!(files(root.path()), paths(&[]));
    assert_eq!(directory.apis().count(), 0);
}

#[test]
fn what_is_in_step_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let a = artifact("A", &[("s", "1"), ("t", "1")]);
    apply(&mut open(&root), &[put(&a)]);
    let modified = |path: &str| {
        root.path()
            .join(path)
            .metadata()
            .unwrap()
            .modified()
            .unwrap()
    };
    let (s, t) = (format!("{SEQUENCES}/s.xml"), format!("{SEQUENCES}/t.xml"));
    let before = (modified(&s), modified(&t), modified(MANIFEST));
    let mut directory = open(&root);
    assert_eq!(apply(&mut directory, &[put(&a)]), ["Unchanged"]);
    assert_eq!((modified(&s), modified(&t), modified(MANIFEST)), before);

    let newer = artifact("A", &[("s", "2"), ("t", "1")]);
    assert_eq!(apply(&mut directory, &[put(&newer)]), ["Written"]);
    assert_eq!(modified(&t), before.1, "its content is the same");
    assert!(text(&root, &s).contains('2'));
    // Somebody's edit of a file of ours does not last.
    fs::write(root.path().join(&t), "edited").unwrap();
    assert!(!directory.has("id-A", digest(&newer)));
    assert_eq!(apply(&mut directory, &[put(&newer)]), ["Written"]);
    assert!(text(&root, &t).starts_with("<sequence"));
}

#[test]
fn files_of_somebody_else_are_neither_overwritten_nor_removed() {
    let root = tempfile::tempdir().unwrap();
    let foreign = root.path().join(SEQUENCES).join("main.xml");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "mine").unwrap();
    let (bad, good) = (artifact("A", &[("main", "")]), artifact("B", &[("s", "")]));
    let mut directory = open(&root);
    let told = apply(&mut directory, &[put(&bad), put(&good)]);
    assert!(told[0].contains("main.xml: is there already"), "{told:?}");
    assert_eq!(told[1], "Written");
    assert!(
        !root.path().join(API).join("A_v1.xml").exists(),
        "nothing of it"
    );
    let take = [
        Change::Take { api_id: "id-A" },
        Change::Take { api_id: "id-B" },
    ];
    assert_eq!(apply(&mut directory, &take), ["Absent", "Removed"]);
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");
}

#[test]
fn an_api_whose_pieces_cannot_be_written_does_not_go_live() {
    let root = tempfile::tempdir().unwrap();
    // A file where the folder of sequences would be.
    fs::create_dir_all(root.path().join("synapse-configs/default")).unwrap();
    fs::write(root.path().join(SEQUENCES), "in the way").unwrap();
    let (bad, good) = (artifact("A", &[("s", "")]), artifact("B", &[]));
    let mut directory = open(&root);
    let told = apply(&mut directory, &[put(&bad), put(&good)]);
    assert!(told[0].contains("s.xml: cannot be written"), "{told:?}");
    assert_eq!(told[1], "Written");
    assert!(!root.path().join(API).join("A_v1.xml").exists());
    fs::remove_file(root.path().join(SEQUENCES)).unwrap();
    assert_eq!(apply(&mut directory, &[put(&bad)]), ["Written"]);
}

#[test]
fn an_artifact_that_is_not_to_override_keeps_what_others_have() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = open(&root);
    let first = artifact("A", &[("s", "first")]);
    let product = Artifact {
        r#override: false,
        ..artifact("B", &[("s", "second")])
    };
    assert_eq!(apply(&mut directory, &[put(&first)]), ["Written"]);
    assert_eq!(apply(&mut directory, &[put(&product)]), ["Written"]);
    assert!(text(&root, &format!("{SEQUENCES}/s.xml")).contains("first"));
    assert_eq!(apply(&mut directory, &[put(&product)]), ["Unchanged"]);
}

#[test]
fn a_crash_at_any_moment_leaves_a_directory_that_the_next_start_completes() {
    let a = artifact("A", &[("s", "1")]);
    let newer = artifact("A", &[("s", "2"), ("t", "2")]);
    let after = |files_written: &[&str]| {
        // Killed after the manifest had claimed all, and some files had been written.
        let root = tempfile::tempdir().unwrap();
        let mut directory = open(&root);
        apply(&mut directory, &[put(&a)]);
        let mut claimed = directory.manifest.clone();
        let mut paths = Paths::of(&claimed);
        let put = Put::new(&newer, digest(&newer), &directory.manifest, &mut paths).unwrap();
        put.claim(&mut claimed);
        directory.save(claimed).unwrap();
        for it in put
            .files
            .iter()
            .filter(|it| files_written.contains(&it.file.key.as_str()))
        {
            fs::write(root.path().join(&it.path), it.text).unwrap();
        }
        fs::write(root.path().join(SEQUENCES).join(".lockstep.tmp"), "<seq").unwrap();
        root
    };
    for written in [&[][..], &["s"], &["t"], &["s", "t"], &["s", "t", "A:v1"]] {
        let root = after(written);
        let mut directory = open(&root);
        assert!(!directory.has("id-A", digest(&newer)));
        assert_eq!(
            apply(&mut directory, &[put(&newer)]),
            ["Written"],
            "{written:?}"
        );
        assert!(directory.has("id-A", digest(&newer)));
        assert_eq!(files(root.path()).len(), 3);
        // Or it was removed in the meantime.
        let root = after(written);
        let taken = apply(&mut open(&root), &[Change::Take { api_id: "id-A" }]);
        assert_eq!(taken, ["Removed"]);
        assert!(files(root.path()).is_empty(), "{written:?}");
    }
}

#[test]
fn a_directory_has_one_writer_and_one_owner() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = open(&root);
    let again = Directory::open(root.path(), "L").unwrap_err();
    assert!(matches!(again, DirectoryError::Locked(_)), "{again}");
    let a = artifact("A", &[]);
    apply(&mut directory, &[put(&a)]);
    drop(directory);
    let other = Directory::open(root.path(), "M").unwrap_err().to_string();
    assert!(
        other.contains("holds the APIs of \"L\", not of \"M\""),
        "{other}"
    );
    fs::write(root.path().join(MANIFEST), "{").unwrap();
    let broken = Directory::open(root.path(), "L").unwrap_err();
    assert!(
        !broken.is_transient() && broken.to_string().contains(MANIFEST),
        "{broken}"
    );
}

#[test]
fn secrets_and_certificates_are_told_and_not_written() {
    let root = tempfile::tempdir().unwrap();
    let mut a = artifact("A", &[]);
    a.credentials_to_be_add = vec![artifact::Credential {
        alias: "vault".into(),
        password: "hunter2".into(),
    }];
    let applied = open(&root).apply(&[put(&a)]).unwrap();
    assert_eq!(applied[0].left_out, ["credential vault"]);
    for file in files(root.path()) {
        assert!(!text(&root, &file).contains("hunter2"));
    }
}

/// The artifacts of a directory, by their id.
fn artifacts(path: &Path) -> BTreeMap<String, Artifact> {
    let mut found = BTreeMap::new();
    for source in read(path).unwrap().list {
        // The corpus has other directories below its first one.
        if let Source::Artifact { item, .. } = source
            && item
                .source
                .strip_prefix(path.to_str().unwrap())
                .is_some_and(|it| !it.contains("rendered/") && !it.contains("malformed/"))
        {
            let artifact = Artifact::parse(&item.artifact).unwrap();
            found.insert(artifact.api_id.clone(), artifact);
        }
    }
    found
}

#[test]
fn what_is_written_is_read_again() {
    let shared = std::env::var_os("LOCKSTEP_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let corpus = shared.join("synapse/corpus");
    if !corpus.is_dir() {
        use std::io::Write as _;
        let line = format!(
            "LEFT OUT: the round trip of artifacts: {} is not there\n",
            corpus.display()
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let mut trips = 0;
    for folder in [
        "",
        "rendered/1.10.x",
        "rendered/2.x",
        "rendered/3.x",
        "rendered/4.7",
    ] {
        let known = artifacts(&corpus.join(folder));
        let root = tempfile::tempdir().unwrap();
        let mut directory = open(&root);
        let all: Vec<Change<'_>> = known.values().map(put).collect();
        let mut refused = BTreeSet::new();
        for applied in directory.apply(&all).unwrap() {
            if let Outcome::Failed(error) = &applied.outcome {
                // Files of the corpus that are no XML of their kind.
                assert!(matches!(error, ApplyError::Piece(_)), "{error}");
                refused.insert(applied.api_id);
            }
        }
        let again = artifacts(root.path());
        for (api_id, artifact) in known.iter().filter(|(id, _)| !refused.contains(*id)) {
            assert_eq!(Some(artifact), again.get(api_id), "{folder}");
            trips += 1;
        }
        let more: Vec<&String> = again.keys().filter(|id| !known.contains_key(*id)).collect();
        assert!(more.is_empty(), "{folder}: {more:?}");
        println!("{folder:?}: {} artifacts, refused {refused:?}", known.len());
    }
    assert!(trips > 100, "{trips}");
}

#[test]
fn tenants_are_read_from_where_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    let mut a = artifact("A", &[("s", "")]);
    a.tenant_domain = "wso2.com".into();
    apply(&mut open(&root), &[put(&a)]);
    let name = "tenants/wso2.com/synapse-configs/default/api/A_v1.xml";
    assert!(files(root.path()).contains(name));
    let again = artifacts(root.path());
    let read = again.values().next().unwrap();
    assert_eq!(read.tenant_domain, "wso2.com");
    assert_eq!(read.api_definition, a.api_definition);
}

/// How long it takes: `cargo test --release -p synapse-directory -- --ignored --nocapture ten_thousand`.
#[test]
#[ignore = "takes its time, and is about that"]
fn ten_thousand() {
    let root = tempfile::tempdir().unwrap();
    let all: Vec<Artifact> = (0..10_000)
        .map(|n| artifact(&format!("api{n}"), &[(format!("s{n}").as_str(), "<log/>")]))
        .collect();
    let mut directory = open(&root);
    let start = std::time::Instant::now();
    for batch in all.chunks(256) {
        let changes: Vec<Change<'_>> = batch.iter().map(put).collect();
        directory.apply(&changes).unwrap();
    }
    println!("written: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    assert!(all.iter().all(|it| directory.has(&it.api_id, digest(it))));
    println!("compared: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let newer = artifact("api1", &[("s1", "<log level=\"full\"/>")]);
    directory.apply(&[put(&newer)]).unwrap();
    println!("one more: {:?}", start.elapsed());
}

/// Names of APIs and sequences that file systems are bad at.
fn name() -> impl Strategy<Value = String> {
    let words = [
        "A", "a", "..", "../../up", "a/b", "a:b", "a_b", "con", "é", "x y",
    ];
    let long = Just("long".repeat(60));
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => long,
                1 => "[a-zA-Z0-9/\\\\.:~%_-]{1,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is put and taken in whatever order: the directory has what is to be there and no
    /// other file, nothing leaves the root, and what is read is what was put.
    #[test]
    fn the_directory_is_what_was_put_last(
        steps in prop::collection::vec((name(), prop::option::of(prop::collection::vec(name(), 0..3))), 1..12),
    ) {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("a/b/root");
        let mut wanted: BTreeMap<String, Artifact> = BTreeMap::new();
        for (api, sequences) in &steps {
            let mut directory = Directory::open(&root, "L").unwrap();
            let api_id = format!("id-{api}");
            let Some(sequences) = sequences else {
                directory.apply(&[Change::Take { api_id: &api_id }]).unwrap();
                wanted.remove(&api_id);
                continue;
            };
            let sequences: BTreeSet<&str> = sequences.iter().map(String::as_str).collect();
            let sequences: Vec<(&str, &str)> = sequences.into_iter().map(|key| (key, "x")).collect();
            let artifact = artifact(api, &sequences);
            let applied = directory.apply(&[put(&artifact)]).unwrap();
            prop_assert!(!matches!(applied[0].outcome, Outcome::Failed(_)), "{applied:?}");
            prop_assert!(directory.has(&api_id, digest(&artifact)));
            wanted.insert(api_id, artifact);
        }
        let pieces: BTreeSet<(&str, &str)> = wanted
            .values()
            .flat_map(|it| {
                let sequences = it.sequence_to_be_add.iter().map(|s| ("sequence", s.name.as_str()));
                sequences.chain([("api", it.name.as_str())])
            })
            .collect();
        let there = files(&root);
        prop_assert_eq!(there.len(), pieces.len(), "{:?}", there);
        let all = files(outside.path());
        let ours = |name: &&String| name.ends_with(MANIFEST) || name.ends_with(LOCK);
        prop_assert_eq!(all.iter().filter(|name| !ours(name)).count(), there.len());
        let read: BTreeSet<Option<String>> =
            artifacts(&root).into_values().map(|it| it.api_definition).collect();
        let put: BTreeSet<Option<String>> =
            wanted.values().map(|it| it.api_definition.clone()).collect();
        prop_assert_eq!(read, put);
    }
}
