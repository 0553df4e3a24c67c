//! A gateway agent beside another server: what is deployed is written into that server's directory.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::kit_of_tests::{answering_dto, eventually};
use super::nodes::{Gateway, Ground, Nodes};

async fn post(nodes: &Nodes, resource: &str, body: Value) {
    let url = format!("{}/api/lockstep/v1/{resource}", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

async fn publish(nodes: &Nodes, name: &str, text: &str) {
    let artifact = answering_dto(name, &format!("/{}", name.to_lowercase()), text);
    let items = [json!({"source": "test", "artifact": artifact})];
    let body = json!({"labels": ["Production and Sandbox"], "items": items});
    post(nodes, "publish", body).await;
}

/// Waits until the traffic manager tells so of an API.
async fn becomes(nodes: &Nodes, name: &str, state: &str, revision: u64) -> Value {
    eventually(&format!("{name} {revision} is {state}"), || async {
        let url = format!("{}/api/lockstep/v1/apis/id-of-{name}", nodes.manager_url);
        let answer = nodes.admin.get(url).send().await.ok()?;
        let overview: Value = answer.json().await.ok()?;
        let status = overview["gateways"][0].clone();
        (status["state"] == state && overview["revision"] == revision).then_some(status)
    })
    .await
}

/// The file of the agent, and the server's directory.
fn beside(nodes: &Nodes) -> (PathBuf, PathBuf) {
    let server = nodes.directory.path().join("repository/deployment/server");
    let conf = nodes.named("sidecar");
    let text = std::fs::read_to_string(&conf).unwrap();
    let more = format!(
        "[gateway]\ndeployer = \"synapse-directory\"\nsynapse_directory = \"{}\"\n",
        server.display()
    );
    assert!(text.contains("[gateway]\n"));
    std::fs::write(&conf, text.replacen("[gateway]\n", &more, 1)).unwrap();
    (conf, server)
}

fn file(server: &Path, name: &str) -> PathBuf {
    let folder = server.join("synapse-configs/default/api");
    let files = std::fs::read_dir(&folder).into_iter().flatten();
    let mut files = files.map(|file| file.unwrap().path());
    let is = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains(name);
    files
        .find(is)
        .unwrap_or_else(|| folder.join(format!("{name}.xml")))
}

fn holds(server: &Path, name: &str, text: &str) -> bool {
    std::fs::read_to_string(file(server, name)).is_ok_and(|found| found.contains(text))
}

/// It serves no clients: only its management interface is there.
fn serves_nobody(gateway: &Gateway) {
    assert_eq!(gateway.http, "", "{}", gateway.http);
}

#[tokio::test]
async fn what_is_deployed_is_in_the_directory_before_it_is_told() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let (conf, server) = beside(&nodes);
    let gateway = nodes.gateway_with(&conf).await;
    serves_nobody(&gateway);
    publish(&nodes, "Gold", "first").await;
    becomes(&nodes, "Gold", "deployed", 1).await;
    assert!(holds(&server, "Gold", "first"));
    publish(&nodes, "Gold", "second").await;
    becomes(&nodes, "Gold", "deployed", 2).await;
    assert!(holds(&server, "Gold", "second"));

    // A file of somebody else is left alone, and that API is not told as deployed.
    let folder = server.join("synapse-configs/default/api");
    let silver = file(&server, "Gold")
        .file_name()
        .unwrap()
        .to_string_lossy()
        .replace("Gold", "Silver");
    std::fs::write(folder.join(&silver), "<api name='Silver'/>").unwrap();
    publish(&nodes, "Silver", "ours").await;
    let status = becomes(&nodes, "Silver", "failed", 1).await;
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("was not written by Lockstep"), "{reason}");
    std::fs::remove_file(folder.join(&silver)).unwrap();
    becomes(&nodes, "Silver", "deployed", 1).await;
    assert!(holds(&server, "Silver", "ours"));

    nodes.remove("Gold").await;
    eventually("its file is gone", || async {
        (!file(&server, "Gold").exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_directory_stays_when_everything_else_is_dead_and_is_mended_at_start() {
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    let (conf, server) = beside(&nodes);
    let gateway = nodes.gateway_with(&conf).await;
    publish(&nodes, "Gold", "gold").await;
    publish(&nodes, "Silver", "silver").await;
    becomes(&nodes, "Gold", "deployed", 1).await;
    becomes(&nodes, "Silver", "deployed", 1).await;
    drop(gateway);
    drop((nodes.saver.take(), nodes.manager.take()));
    std::fs::remove_file(file(&server, "Gold")).unwrap();
    let _gateway = nodes.gateway_with(&conf).await;
    eventually("what was removed is back", || async {
        holds(&server, "Gold", "gold").then_some(())
    })
    .await;
    assert!(holds(&server, "Silver", "silver"));
}
