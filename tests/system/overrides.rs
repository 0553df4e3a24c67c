//! XML files in a gateway's own `synapse-configs` that override what is published.

use serde_json::{Value, json};

use super::kit_of_tests::{answering_dto, eventually};
use super::nodes::{Ground, Nodes};

async fn publish(nodes: &Nodes, artifact: &str) {
    let request = json!({
        "labels": ["Production and Sandbox"],
        "items": [{"source": "test", "artifact": artifact}],
    });
    let url = format!("{}/api/lockstep/v1/publish", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&request).send().await.unwrap();
    let report: Value = answer.json().await.unwrap();
    assert_eq!(report["results"][0]["outcome"], "saved", "{report}");
}

/// Waits until the traffic manager tells so of the API on its only gateway.
async fn becomes(nodes: &Nodes, state: &str, revision: u64) -> Value {
    eventually(&format!("revision {revision} is {state}"), || async {
        let url = format!("{}/api/lockstep/v1/apis/id-of-Gold", nodes.manager_url);
        let answer = nodes.admin.get(url).send().await.ok()?;
        let overview: Value = answer.json().await.ok()?;
        let status = overview["gateways"][0].clone();
        (status["state"] == state && overview["revision"] == revision).then_some(status)
    })
    .await
}

fn definition(text: &str) -> String {
    format!(
        "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"Gold\" context=\"/gold\">\
         <resource><inSequence><payloadFactory media-type=\"text\"><format>{text}</format>\
         </payloadFactory><respond/></inSequence></resource></api>"
    )
}

#[tokio::test]
async fn a_file_answers_instead_of_what_is_deployed_while_it_lies_there() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    publish(&nodes, &answering_dto("Gold", "/gold", "first")).await;
    nodes.answers(&gateway, "gold", 200, "first").await;
    becomes(&nodes, "deployed", 1).await;

    let folder = nodes
        .directory
        .path()
        .join("data/synapse-configs/default/api");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("Gold.xml");
    std::fs::write(&file, definition("by hand")).unwrap();
    nodes.answers(&gateway, "gold", 200, "by hand").await;
    let status = becomes(&nodes, "overridden", 1).await;
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("Gold.xml"), "{reason}");

    // A newer revision does not change that, nor does a file that is half written.
    publish(&nodes, &answering_dto("Gold", "/gold", "second")).await;
    becomes(&nodes, "overridden", 2).await;
    nodes.answers(&gateway, "gold", 200, "by hand").await;
    std::fs::write(&file, "<api name=\"Gold\"").unwrap();
    eventually("the file is shown as unusable", || async {
        let url = format!("{}/readyz", gateway.management);
        let answer = nodes.client.get(url).send().await.ok()?;
        let state: Value = answer.json().await.ok()?;
        let file = &state["overrides"][0];
        (file["file"] == "Gold.xml" && file["trouble"].is_string()).then_some(())
    })
    .await;
    nodes.answers(&gateway, "gold", 200, "by hand").await;
    std::fs::write(&file, definition("again")).unwrap();
    nodes.answers(&gateway, "gold", 200, "again").await;

    std::fs::remove_file(&file).unwrap();
    nodes.answers(&gateway, "gold", 200, "second").await;
    becomes(&nodes, "deployed", 2).await;
}

#[tokio::test]
async fn a_restarted_gateway_begins_with_its_overrides() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let conf = nodes.named("g1");
    let gateway = nodes.gateway_with(&conf).await;
    publish(&nodes, &answering_dto("Gold", "/gold", "published")).await;
    nodes.answers(&gateway, "gold", 200, "published").await;
    drop(gateway);
    let folder = nodes
        .directory
        .path()
        .join("data/synapse-configs/default/api");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("Gold.xml"), definition("by hand")).unwrap();
    let gateway = nodes.gateway_with(&conf).await;
    nodes.answers(&gateway, "gold", 200, "by hand").await;
    becomes(&nodes, "overridden", 1).await;
}
