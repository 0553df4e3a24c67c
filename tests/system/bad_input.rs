//! Bad input: one clear error that names the file, the place and the rule; exit code 2.

use std::io::Write as _;
use std::path::Path;

use super::kit_of_tests::{Finished, answering_dto, run};

/// The checks alone: a dry run that finds no server.
async fn checked_offline(path: &str) -> Finished {
    let arguments = [
        "publish",
        "--dry-run",
        "--json",
        "--server",
        "https://127.0.0.1:1",
        path,
    ];
    run("lockstep", &arguments).await
}

/// A dry run needs no server: the checks are the command's own, too.
async fn reason(path: &Path) -> String {
    let path = path.to_str().unwrap();
    let finished = checked_offline(path).await;
    assert_eq!(finished.code, 2, "{path}: {finished:?}");
    let json = finished.json();
    let results = json["results"].as_array().unwrap();
    let rejected: Vec<_> = results
        .iter()
        .filter(|r| r["outcome"] == "rejected")
        .collect();
    assert_eq!(rejected.len(), 1, "{path}: {finished:?}");
    assert!(
        rejected[0]["source"].as_str().unwrap().starts_with(path),
        "{finished:?}"
    );
    rejected[0]["reason"].as_str().unwrap().to_owned()
}

fn api(attributes: &str, inside: &str) -> String {
    format!("<api name='A' context='/a' {attributes}><resource>{inside}</resource></api>")
}

#[tokio::test]
async fn each_bad_file_gets_one_reason_with_place_and_rule() {
    let directory = tempfile::tempdir().unwrap();
    let dto = answering_dto("A", "/a", "x");
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    let many: String = (0..100).map(|n| format!(" a{n}='1'")).collect();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty.xml", b"".to_vec(), "the file is empty"),
        ("empty.json", b" \n".to_vec(), "the file is empty"),
        ("not-utf8.xml", b"<api name='\xff'/>".to_vec(), "byte 11: not UTF-8"),
        ("open.xml", b"<api>\n <resource>".to_vec(), "line 2, column 2: not well-formed: <resource> is never closed"),
        ("doctype.xml", b"<!DOCTYPE api [<!ENTITY x 'y'>]><api/>".to_vec(), "line 1, column 1: a DOCTYPE is not allowed"),
        ("entity.xml", api("", "<inSequence><log>&x;</log></inSequence>").into_bytes(), "entity &x; is not one of the five"),
        ("deep.xml", api("", &deep).into_bytes(), "elements are more than 128 deep"),
        ("attributes.xml", api(&many, "").into_bytes(), "more than 64 attributes"),
        ("large.xml", api("", &" ".repeat(17 << 20)).into_bytes(), "at most 16777216 are read"),
        ("root.xml", b"<sequence name='s'/>".to_vec(), "the root element must be <api>, found <sequence>"),
        ("no-context.xml", b"<api name='A'><resource/></api>".to_vec(), "an API needs the attributes name and context"),
        ("version.xml", api("version='1'", "").into_bytes(), "version needs version-type"),
        ("method.xml", b"<api name='A' context='/a'><resource methods='GET FETCH'/></api>".to_vec(), "apiDefinition/api/resource: unknown method \"FETCH\""),
        ("twice.xml", b"<api name='A' context='/a'><resource/><resource/></api>".to_vec(), "apiDefinition/api/resource[2]: has the pattern and a method of resource 1"),
        ("timeout.xml", api("", "<inSequence><send><endpoint><http uri-template='http://h'><timeout><duration>soon</duration></timeout></http></endpoint></send></inSequence>").into_bytes(), "timeout/duration: a duration is a number of milliseconds, found \"soon\""),
        ("list.json", b"[]".to_vec(), "the document must be a GatewayAPIDTO object, found an array"),
        ("broken.json", b"{\"apiId\":\n 1,}".to_vec(), "line 2, column 4: not JSON"),
        ("no-id.json", dto.replace("\"apiId\":\"id-of-A\",", "").into_bytes(), "apiId: missing"),
        ("no-name.json", dto.replace("\"name\":\"A\",", "").into_bytes(), "name: missing"),
        ("no-version.json", dto.replace(",\"version\":\"1.0\"", "").into_bytes(), "version: missing"),
        ("long-name.json", dto.replace("\"name\":\"A\"", &format!("\"name\":\"{}\"", "A".repeat(300))).into_bytes(), "name: has 300 characters, at most 255"),
        ("swagger.yaml", b"swagger: '2.0'\ninfo: {title: A, version: '1'}\n".to_vec(), "Swagger 2.0 is not read"),
        ("no-paths.yaml", b"openapi: 3.0.0\ninfo: {title: A, version: '1'}\n".to_vec(), "paths"),
        ("text.txt", b"hello".to_vec(), "neither a GatewayAPIDTO"),
        ("broken.zip", b"PK\x03\x04 and no more".to_vec(), "not a readable zip archive"),
    ];
    for (name, content, expected) in cases {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let reason = reason(&path).await;
        assert!(reason.contains(expected), "{name}: {reason}");
    }
    let empty = directory.path().join("nothing");
    std::fs::create_dir(&empty).unwrap();
    assert!(reason(&empty).await.contains("holds no artifacts"));
    let absent = directory.path().join("absent");
    assert!(
        reason(&absent)
            .await
            .contains("cannot be read: No such file")
    );
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn hostile_archives_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bomb = vec![b' '; 64 << 20];
    for (name, content, expected) in [
        ("up.zip", zip(&[("../a.json", b"{}")]), "../a.json"),
        ("bomb.zip", zip(&[("a.json", &bomb)]), "a.json"),
        (
            "nothing.zip",
            zip(&[("readme.txt", b"hello")]),
            "holds no artifacts",
        ),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let reason = reason(&path).await;
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[tokio::test]
async fn a_zip_of_a_synapse_directory_is_published_like_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all.zip");
    let api = b"<api name='A' context='/a'><resource><inSequence><sequence key='s'/></inSequence></resource></api>";
    let sequence = b"<sequence name='s'><respond/></sequence>";
    let entries: [(&str, &[u8]); 3] = [
        ("x/default/api/a.xml", api),
        ("x/default/sequences/s.xml", sequence),
        ("b.json", &answering_dto("B", "/b", "x").into_bytes()),
    ];
    std::fs::write(&path, zip(&entries)).unwrap();
    let finished = checked_offline(path.to_str().unwrap()).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    let results = finished.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 2);
    assert!(
        results.iter().all(|result| result["findings"].is_null()),
        "{finished:?}"
    );
}

#[tokio::test]
async fn a_missing_reference_is_a_finding_with_file_and_key() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("api")).unwrap();
    std::fs::create_dir_all(directory.path().join("sequences")).unwrap();
    let api = "<api name='A' context='/a'><resource><inSequence><sequence key='s'/></inSequence></resource></api>";
    std::fs::write(directory.path().join("api/a.xml"), api).unwrap();
    let sequence = "<sequence name='s'>\n  <send><endpoint key='E1'/></send></sequence>";
    std::fs::write(directory.path().join("sequences/s.xml"), sequence).unwrap();
    let path = directory.path().to_str().unwrap();
    let finished = checked_offline(path).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    let finding = &finished.json()["results"][0]["findings"][0];
    assert_eq!(finding["message"], "endpoint E1 cannot be found");
    let place = format!("{path}/sequences/s.xml: line 2, column 9");
    assert_eq!(finding["place"], place.as_str());
}

#[tokio::test]
async fn bad_labels_and_flags_are_usage_errors() {
    let long = "L".repeat(256);
    for (arguments, expected) in [
        (
            vec!["publish", "x", "--label", ""],
            "a label must not be empty",
        ),
        (
            vec!["publish", "x", "--label", &long],
            "at most 255 characters",
        ),
        (vec!["publish"], "required"),
        (
            vec!["publish", "x", "--wait", "--dry-run"],
            "cannot be used with",
        ),
        (vec!["up", "--gateways", "0"], "0 is not in 1..=32"),
        (vec!["frobnicate"], "unrecognized subcommand"),
    ] {
        let finished = run("lockstep", &arguments).await;
        assert_eq!(finished.code, 2, "{arguments:?}");
        assert!(
            finished.stderr.contains(expected),
            "{arguments:?}: {finished:?}"
        );
    }
}

#[tokio::test]
async fn without_a_server_a_publish_fails_and_says_how_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.json");
    std::fs::write(&file, answering_dto("A", "/a", "x")).unwrap();
    let finished = run(
        "lockstep",
        &[
            "publish",
            "--server",
            "https://127.0.0.1:1",
            file.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(finished.code, 1);
    assert!(
        finished
            .stderr
            .contains("https://127.0.0.1:1 cannot be reached"),
        "{finished:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_read_in_a_directory_does_not_keep_the_rest_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir(root.join("api")).unwrap();
    let good = "<api name='A' context='/a'><resource/></api>";
    std::fs::write(root.join("api/a.xml"), good).unwrap();
    std::fs::write(root.join("b.json"), answering_dto("B", "/b", "x")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling.json")).unwrap();
    std::os::unix::fs::symlink(root, root.join("api/back")).unwrap();
    std::fs::write(root.join("api/bad.xml"), "<api").unwrap();
    let finished = checked_offline(root.to_str().unwrap()).await;
    assert_eq!(finished.code, 2, "{finished:?}");
    let results = finished.json()["results"].as_array().unwrap().clone();
    let outcome = |name: &str| {
        let mut results = results.iter();
        let found = results.find(|result| result["source"].as_str().unwrap().ends_with(name));
        found.unwrap_or_else(|| panic!("{name}: {finished:?}"))["outcome"].clone()
    };
    assert_eq!(outcome("api/a.xml"), "checked");
    assert_eq!(outcome("b.json"), "checked");
    assert_eq!(outcome("dangling.json"), "rejected");
    assert_eq!(outcome("api/bad.xml"), "rejected");
    assert_eq!(results.len(), 4);
}

#[tokio::test]
async fn a_pipe_or_device_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe.xml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        assert_eq!(reason(path).await, "is neither a file nor a directory");
    }
}

#[tokio::test]
async fn a_long_single_line_is_read_in_one_pass() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.xml");
    let inside = "<log level='full'/>".repeat(200_000);
    std::fs::write(
        &path,
        api("", &format!("<inSequence>{inside}</inSequence>")),
    )
    .unwrap();
    let finished = run(
        "lockstep",
        &[
            "publish",
            "--dry-run",
            "--server",
            "https://127.0.0.1:1",
            path.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(finished.code, 0, "{finished:?}");
}
