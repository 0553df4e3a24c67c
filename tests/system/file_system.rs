//! `FileSystemSaver`: a Synapse directory for each label, in step with what is published, whatever
//! kills the saver.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::kit_of_tests::{answering_dto, eventually, run};
use super::nodes::{Ground, Nodes};

const SAVER: &str =
    "[apim.sync_runtime_artifacts.publisher]\nartifact_saver = \"FileSystemSaver\"\n";
const APIS: usize = 60;

/// The files of a folder of a label's directory that a hot deployer would look at.
fn deployable(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".xml") {
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    files
}

fn sequence(n: usize, round: usize) -> String {
    // Long enough that writing it takes more than one step of the kernel's.
    let filling = "<log level=\"full\"/>".repeat(600);
    format!(
        "<sequence name=\"s{n}\"><property name=\"round\" value=\"{round}\"/>{filling}</sequence>"
    )
}

async fn publish(nodes: &Nodes, round: usize) {
    let items: Vec<serde_json::Value> = (0..APIS)
        .map(|n| {
            let artifact = serde_json::json!({
                "name": format!("api{n}"), "version": "1", "tenantDomain": "carbon.super",
                "apiId": format!("id-{n}"), "override": true,
                "apiDefinition": format!("<api name=\"api{n}\" context=\"/api{n}\"><resource>\
                    <inSequence><sequence key=\"s{n}\"/></inSequence></resource></api>"),
                "sequenceToBeAdd": [{"name": format!("s{n}"), "content": sequence(n, round)}],
            });
            serde_json::json!({"source": format!("api{n}"), "artifact": artifact.to_string()})
        })
        .collect();
    let request = serde_json::json!({"labels": ["Label1"], "items": items});
    let url = format!("{}/api/lockstep/v1/publish", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&request).send().await.unwrap();
    let report: serde_json::Value = answer.json().await.unwrap();
    for result in report["results"].as_array().unwrap() {
        assert_eq!(result["outcome"], "saved", "{result}");
    }
}

fn directory(nodes: &Nodes) -> PathBuf {
    let label = nodes.directory.path().join("data/synapse/Label1");
    label.join("synapse-configs/default")
}

#[tokio::test]
async fn a_saver_that_is_killed_while_it_writes_leaves_whole_files_and_completes_them() {
    let mut nodes = Nodes::start(&Ground::default(), SAVER).await;
    let root = directory(&nodes);
    let sequences = root.join("sequences");
    let of_round = |files: &BTreeMap<String, String>, round: usize| {
        let value = format!("value=\"{round}\"");
        files.values().filter(|text| text.contains(&value)).count()
    };
    let mut torn_apart = 0;
    // Killed when so many sequences of the round are there, or one more.
    for (round, written) in [1, 5, 20, 33, 50, 59].into_iter().enumerate() {
        publish(&nodes, round).await;
        eventually("some sequences are written", || async {
            (of_round(&deployable(&sequences), round) >= written).then_some(())
        })
        .await;
        let mut saver = nodes.saver.take().unwrap();
        saver.kill_now().await;
        let files = deployable(&sequences);
        for (name, text) in &files {
            let n: usize = name[1..].trim_end_matches(".xml").parse().unwrap();
            let whole = (0..=round).any(|round| *text == sequence(n, round));
            assert!(whole, "{name} is half written");
        }
        torn_apart += usize::from(of_round(&files, round) < APIS);
        // No API without what it refers to.
        for name in deployable(&root.join("api")).keys() {
            let sequence = name.replace("api", "s");
            assert!(files.contains_key(&sequence), "{name} lacks {sequence}");
        }
        nodes.start_saver().await;
        eventually("the directory is complete", || async {
            let files = deployable(&sequences);
            let complete = (0..APIS)
                .all(|n| files.get(&format!("s{n}.xml")) == Some(&sequence(n, round)))
                && deployable(&root.join("api")).len() == APIS;
            complete.then_some(())
        })
        .await;
    }
    assert!(torn_apart > 0, "it was never killed in the middle");
    let left = std::fs::read_dir(&sequences).unwrap().count();
    assert_eq!(left, APIS, "nothing is left aside");

    // What is in it can be published again, and is what is published.
    let path = nodes.directory.path().join("data/synapse");
    let arguments = [
        "publish",
        "--dry-run",
        "--json",
        "--server",
        "https://127.0.0.1:1",
    ];
    let mut arguments = arguments.to_vec();
    arguments.push(path.to_str().unwrap());
    let finished = run("lockstep", &arguments).await;
    let results = finished.json()["results"].as_array().unwrap().len();
    assert_eq!((finished.code, results), (0, APIS));
}

#[tokio::test]
async fn what_is_removed_while_the_saver_is_away_is_gone_after_its_start() {
    let mut nodes = Nodes::start(&Ground::default(), SAVER).await;
    let label = nodes
        .directory
        .path()
        .join("data/synapse/Production and Sandbox");
    let apis = label.join("synapse-configs/default/api");
    let published = |names: &'static [&'static str]| {
        let apis = &apis;
        eventually("the directory has what is published", move || async move {
            let found: Vec<String> = deployable(apis).into_keys().collect();
            (found == names).then_some(())
        })
    };
    for name in ["a", "b"] {
        nodes.publish(name, "hello").await.unwrap();
    }
    published(&["a.xml", "b.xml"]).await;
    // Somebody else's file is left alone.
    std::fs::write(apis.join("mine.xml"), "<api/>").unwrap();
    let saver = nodes.saver.take().unwrap();
    assert_eq!(saver.interrupt().await, 0);
    std::fs::remove_file(apis.join("b.xml")).unwrap();
    nodes.start_saver().await;
    published(&["a.xml", "b.xml", "mine.xml"]).await;
    nodes.remove("a").await;
    published(&["b.xml", "mine.xml"]).await;
}

#[tokio::test]
async fn an_unknown_saver_is_named_with_those_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("deployment.toml");
    let text = SAVER.replace("FileSystemSaver", "GHSynchronizerSaver");
    std::fs::write(&conf, text).unwrap();
    let finished = run(
        "publisher-saver",
        &["serve", "--conf", conf.to_str().unwrap()],
    )
    .await;
    assert_eq!(finished.code, 2);
    assert!(
        finished
            .stderr
            .contains("unknown saver; known: DBSaver, FileSystemSaver"),
        "{finished:?}"
    );
}

/// The file of a gateway that follows the saver's directories.
fn retrieving(nodes: &Nodes) -> PathBuf {
    let conf = nodes.named("files");
    let text = std::fs::read_to_string(&conf).unwrap();
    let section = "[apim.sync_runtime_artifacts.gateway]\n";
    let more = format!(
        "{section}artifact_retriever = \"FileSystemRetriever\"\nfile_poll_interval = 100\n\
         gateway_labels = [\"Label1\"]\n"
    );
    assert!(text.contains(section));
    std::fs::write(&conf, text.replacen(section, &more, 1)).unwrap();
    conf
}

async fn publish_one(nodes: &Nodes, name: &str, text: &str) {
    let artifact = answering_dto(name, &format!("/{name}"), text);
    let items = [serde_json::json!({"source": name, "artifact": artifact})];
    let request = serde_json::json!({"labels": ["Label1"], "items": items});
    let url = format!("{}/api/lockstep/v1/publish", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&request).send().await.unwrap();
    assert!(answer.status().is_success());
}

#[tokio::test]
async fn a_gateway_follows_a_shared_directory_and_outlives_its_loss() {
    let mut nodes = Nodes::start(&Ground::default(), SAVER).await;
    publish_one(&nodes, "gold", "first").await;
    let conf = retrieving(&nodes);
    let gateway = nodes.gateway_with(&conf).await;
    nodes.answers(&gateway, "gold", 200, "first").await;
    publish_one(&nodes, "gold", "second").await;
    publish_one(&nodes, "silver", "new").await;
    nodes.answers(&gateway, "gold", 200, "second").await;
    nodes.answers(&gateway, "silver", 200, "new").await;
    nodes.remove("silver").await;
    nodes.answers(&gateway, "silver", 404, "").await;

    // The mount is lost: nothing is, and it goes on when it is back.
    let shared = nodes.directory.path().join("data/synapse");
    let away = nodes.directory.path().join("away");
    drop(nodes.saver.take());
    std::fs::rename(&shared, &away).unwrap();
    let failed = |state: &serde_json::Value| state["reconciliation"]["failures"].as_u64();
    let before = failed(&nodes.state(&gateway).await).unwrap();
    nodes.answers(&gateway, "gold", 200, "second").await;
    std::fs::rename(&away, &shared).unwrap();
    nodes.start_saver().await;
    publish_one(&nodes, "gold", "third").await;
    nodes.answers(&gateway, "gold", 200, "third").await;
    assert!(failed(&nodes.state(&gateway).await).unwrap() >= before);

    // Started again without it, it serves from its snapshot.
    eventually("everything is on its disk", || async {
        let state = nodes.state(&gateway).await;
        (state["snapshot"]["waiting"] == false).then_some(())
    })
    .await;
    drop(gateway);
    drop((nodes.saver.take(), nodes.manager.take()));
    std::fs::rename(&shared, &away).unwrap();
    let gateway = nodes.gateway_with(&conf).await;
    nodes.answers(&gateway, "gold", 200, "third").await;
}

#[tokio::test]
async fn a_shared_directory_that_becomes_empty_empties_no_gateway() {
    let nodes = Nodes::start(&Ground::default(), SAVER).await;
    publish(&nodes, 1).await;
    let conf = retrieving(&nodes);
    let gateway = nodes.gateway_with(&conf).await;
    let deployed = |state: &serde_json::Value| state["deployed"].as_u64();
    eventually("all are deployed", || async {
        (deployed(&nodes.state(&gateway).await) == Some(APIS as u64)).then_some(())
    })
    .await;
    // By somebody else, who empties it while the saver sleeps.
    for file in deployable(&directory(&nodes).join("api")).keys() {
        std::fs::remove_file(directory(&nodes).join("api").join(file)).unwrap();
    }
    eventually("the repair is held", || async {
        let state = nodes.state(&gateway).await;
        let held = &state["reconciliation"]["held"]["Label1"];
        (held["removes"] == APIS as u64).then_some(())
    })
    .await;
    assert_eq!(deployed(&nodes.state(&gateway).await), Some(APIS as u64));
}
