//! Real artifacts from the shared test data.

use super::kit_of_tests::{free_ports, run, shared};

const OFFLINE: [&str; 5] = [
    "publish",
    "--dry-run",
    "--json",
    "--server",
    "https://127.0.0.1:1",
];

#[tokio::test]
async fn rendered_artifacts_of_every_product_line_pass_the_checks() {
    let Some(shared) = shared("rendered artifacts") else {
        return;
    };
    // What is rejected excludes another file of the same folder, or is no API to Synapse either.
    for (line, apis, rejected) in [
        ("1.10.x", 26, 3),
        ("2.x", 27, 1),
        ("3.x", 24, 0),
        ("4.7", 35, 1),
    ] {
        let folder = shared.join("synapse/corpus/rendered").join(line);
        let mut arguments = OFFLINE.to_vec();
        arguments.push(folder.to_str().unwrap());
        let finished = run("lockstep", &arguments).await;
        let results = finished.json()["results"].as_array().unwrap().clone();
        let of = |outcome: &str| results.iter().filter(|r| r["outcome"] == outcome).count();
        assert_eq!(
            (of("checked"), of("rejected")),
            (apis - rejected, rejected),
            "{line}"
        );
        for result in results.iter().filter(|r| r["outcome"] == "rejected") {
            let source = result["source"].as_str().unwrap();
            assert!(source.contains("80-default-version"), "{result}");
        }
    }
}

#[tokio::test]
async fn rendered_artifacts_deploy_and_answer() {
    let Some(shared) = shared("rendered artifacts on gateways") else {
        return;
    };
    // Exit code 2 where a file excludes another one of the same folder, see above.
    for (line, apis, code, answering) in [
        ("1.10.x", 23, 2, 14),
        ("2.x", 26, 2, 19),
        ("3.x", 24, 0, 17),
        ("4.7", 34, 2, 15),
    ] {
        let folder = shared.join("synapse/corpus/rendered").join(line);
        let directory = tempfile::tempdir().unwrap();
        let conf = free_ports(directory.path(), "");
        let conf = conf.to_str().unwrap();
        let arguments = [
            "up",
            "--once",
            "--conf",
            conf,
            "--artifacts",
            folder.to_str().unwrap(),
        ];
        let finished = run("lockstep", &arguments).await;
        let shown = finished.text();
        assert_eq!(finished.code, code, "{line}: {shown}");
        let converged = format!("Converged: {apis} API(s) on 2 gateway(s)");
        assert!(finished.stdout.contains(&converged), "{line}: {shown}");
        assert!(finished.stdout.contains("findings ("), "{line}: {shown}");
        let answered = |status: &str| finished.stdout.matches(&format!("-> {status}")).count();
        // What a back end could answer, it has. Only the version-less API may say 404: it calls the
        // versioned one, which has no resource for its root.
        let lost = finished
            .stdout
            .lines()
            .filter(|line| line.contains("-> 404"));
        let lost: Vec<&str> = lost
            .filter(|line| !line.contains("PizzaShackAPI default"))
            .collect();
        assert!(lost.is_empty(), "{line}: {lost:?}");
        assert!(
            answered("200") >= 2 * answering,
            "{line}: {} {shown}",
            answered("200")
        );
    }
}

#[tokio::test]
async fn malformed_files_are_all_refused() {
    let Some(shared) = shared("malformed files") else {
        return;
    };
    let mut files = 0;
    for entry in std::fs::read_dir(shared.join("synapse/corpus/malformed")).unwrap() {
        let path = entry.unwrap().path();
        let mut arguments = OFFLINE.to_vec();
        arguments.push(path.to_str().unwrap());
        let finished = run("lockstep", &arguments).await;
        assert_eq!(finished.code, 2, "{}", path.display());
        let result = &finished.json()["results"][0];
        assert_eq!(result["outcome"], "rejected");
        assert!(
            result["reason"].as_str().unwrap().starts_with("line "),
            "{result}"
        );
        files += 1;
    }
    assert_eq!(files, 16);
}

#[tokio::test]
async fn every_artifact_of_the_corpus_is_read_without_a_panic() {
    let Some(shared) = shared("the whole corpus") else {
        return;
    };
    for folder in ["api", "sequences", "endpoints", "local-entries", "other"] {
        let folder = shared.join("synapse/corpus").join(folder);
        let mut arguments = OFFLINE.to_vec();
        arguments.push(folder.to_str().unwrap());
        // `run` fails on a panic.
        let finished = run("lockstep", &arguments).await;
        assert!([0, 2].contains(&finished.code), "{}", folder.display());
    }
}
