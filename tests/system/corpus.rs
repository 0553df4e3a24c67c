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
    let folder = shared.join("synapse/corpus/rendered/3.x");
    let directory = tempfile::tempdir().unwrap();
    let conf = free_ports(directory.path(), "");
    let arguments = [
        "up",
        "--once",
        "--conf",
        conf.to_str().unwrap(),
        "--artifacts",
        folder.to_str().unwrap(),
    ];
    let finished = run("lockstep", &arguments).await;
    assert_eq!(finished.code, 0, "{}", finished.text());
    assert!(
        finished
            .stdout
            .contains("Converged: 24 API(s) on 2 gateway(s)")
    );
    assert!(finished.stdout.contains("findings ("));
    let answered = |status: &str| finished.stdout.matches(&format!("-> {status}")).count();
    // Two gateways each: plain back ends answer, what is not executed says so, one is blocked.
    assert!(answered("200") >= 34, "{}", finished.stdout);
    assert_eq!(answered("404"), 0, "{}", finished.stdout);
    assert_eq!(answered("501"), 10, "{}", finished.stdout);
    assert_eq!(answered("503"), 2, "{}", finished.stdout);
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
