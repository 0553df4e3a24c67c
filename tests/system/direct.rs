//! Publishing directly to gateways: at once, besides saving, told for each gateway.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::kit_of_tests::{Finished, answering_dto, eventually, run};
use super::nodes::{Gateway, Ground, Nodes};

/// The configuration of a saver that publishes directly to these environments.
fn directly(environments: &[(&str, u16)]) -> String {
    let mut text = "[apim.sync_runtime_artifacts.publisher]\npublish_directly_to_gateway = true\n\
                    direct_publish_timeout = 2000\n"
        .to_owned();
    for (name, port) in environments {
        text += &format!(
            "[[apim.gateway.environment]]\nname = \"{name}\"\ntype = \"hybrid\"\n\
             service_url = \"https://localhost:{port}/services/\"\n"
        );
    }
    text
}

const DEFAULT: &str = "Production and Sandbox";

/// Starts nodes whose saver publishes directly, and a file for their gateway.
async fn start(more: &[(&str, u16)]) -> (Nodes, PathBuf, u16) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut environments = vec![(DEFAULT, port)];
    environments.extend(more);
    let nodes = Nodes::start(&Ground::default(), &directly(&environments)).await;
    let conf = nodes.named("direct");
    let text = std::fs::read_to_string(&conf).unwrap();
    let text = text.replace("management_port = 0", &format!("management_port = {port}"));
    std::fs::write(&conf, text).unwrap();
    (nodes, conf, port)
}

async fn publish(nodes: &Nodes, labels: &[&str], artifacts: &[String]) -> Value {
    let items = artifacts
        .iter()
        .map(|it| json!({"source": "test", "artifact": it}));
    let request = json!({"labels": labels, "items": items.collect::<Vec<_>>()});
    let url = format!("{}/api/lockstep/v1/publish", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&request).send().await.unwrap();
    let report: Value = answer.json().await.unwrap();
    for result in report["results"].as_array().unwrap() {
        let outcome = result["outcome"].as_str().unwrap();
        assert!(["saved", "unchanged"].contains(&outcome), "{report}");
    }
    report["gateways"].clone()
}

async fn command(nodes: &Nodes, arguments: &[&str]) -> Finished {
    let data = nodes.directory.path().join("data");
    let mut all = arguments.to_vec();
    all.extend([
        "--server",
        &nodes.manager_url,
        "--publisher",
        &nodes.saver_url,
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    run("lockstep", &all).await
}

async fn said(gateway: &Gateway, nodes: &Nodes, path: &str) -> (u16, String) {
    let answer = nodes.client.get(format!("{}{path}", gateway.http)).send();
    let answer = answer.await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_gateway_has_what_was_saved_when_publish_answers_also_without_the_traffic_manager() {
    let (mut nodes, conf, _) = start(&[]).await;
    let gateway = nodes.gateway_with(&conf).await;
    nodes.ready(&gateway).await;
    // Nothing can be pulled any more.
    nodes.manager.take().unwrap().kill().await;

    let artifacts =
        |text: &str| ["a", "b"].map(|name| answering_dto(name, &format!("/{name}"), text));
    let told = publish(&nodes, &[DEFAULT], &artifacts("first")).await;
    let statuses = |told: &Value| -> Vec<String> {
        let list = told[0]["list"].as_array().unwrap().iter();
        list.map(|it| it["status"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(statuses(&told), ["deployed", "deployed"], "{told}");
    assert_eq!(told[0]["environment"], DEFAULT);
    assert_eq!(said(&gateway, &nodes, "/a").await, (200, "first".into()));
    // The same again changes nothing, and is told.
    let told = publish(&nodes, &[DEFAULT], &artifacts("first")).await;
    assert_eq!(statuses(&told), ["kept", "kept"], "{told}");
    let told = publish(&nodes, &[DEFAULT], &artifacts("second")).await;
    assert_eq!(statuses(&told), ["deployed", "deployed"], "{told}");
    assert_eq!(said(&gateway, &nodes, "/b").await, (200, "second".into()));
    // Under another label it is gone there.
    let told = publish(&nodes, &["Label1"], &artifacts("second")[1..]).await;
    assert_eq!(statuses(&told), ["removed"], "{told}");
    assert_eq!(said(&gateway, &nodes, "/b").await.0, 404);

    // It is in the snapshot like what is pulled …
    eventually("the snapshot is on the disk", || async {
        let state = nodes.state(&gateway).await;
        (state["snapshot"]["waiting"] == false).then_some(())
    })
    .await;
    gateway.running.kill().await;
    let gateway = nodes.gateway_with(&conf).await;
    eventually("it serves what was sent", || async {
        (said(&gateway, &nodes, "/a").await == (200, "second".into())).then_some(())
    })
    .await;
    assert_eq!(said(&gateway, &nodes, "/b").await.0, 404);
    // … and what is pulled afterwards changes nothing.
    nodes.start_manager().await;
    let third = answering_dto("c", "/c", "third");
    publish(&nodes, &[DEFAULT], &[third]).await;
    eventually("the gateway has converged", || async {
        let listed = command(&nodes, &["list", "--json"]).await.json();
        let apis = listed["apis"].as_array()?.clone();
        let deployed = apis.iter().filter(|api| {
            let gateways = api["gateways"].as_array().unwrap();
            gateways.iter().any(|it| it["state"] == "deployed")
        });
        (deployed.count() == 2).then_some(())
    })
    .await;
    assert_eq!(said(&gateway, &nodes, "/a").await, (200, "second".into()));

    let url = format!("{}/api/lockstep/v1/apis", nodes.saver_url);
    let query = [("name", "a"), ("version", "1.0")];
    let answer = nodes.admin.delete(url).query(&query).send().await.unwrap();
    let report: Value = answer.json().await.unwrap();
    let status = report["gateways"][0]["list"][0]["status"].as_str().unwrap();
    assert!(["removed", "kept"].contains(&status), "{report}");
    assert_eq!(said(&gateway, &nodes, "/a").await.0, 404);
}

#[tokio::test]
async fn a_gateway_that_fails_is_told_of_and_undoes_nothing() {
    // Takes connections and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_port = dead.local_addr().unwrap().port();
    drop(dead);
    let (nodes, conf, _) = start(&[("Silent", silent_port), ("Dead", dead_port)]).await;
    let gateway = nodes.gateway_with(&conf).await;
    nodes.ready(&gateway).await;
    let file = nodes.directory.path().join("a.json");
    std::fs::write(&file, answering_dto("a", "/a", "hello")).unwrap();
    let file = file.to_str().unwrap();

    let all = [
        "publish", "--label", DEFAULT, "--label", "Silent", "--label", "Dead", file,
    ];
    let finished = command(&nodes, &all).await;
    assert_eq!(finished.code, 1, "{finished:?}");
    for line in [
        "1 saved",
        "directly to Production and Sandbox: 1 ",
        "directly to Silent: NOT REACHED: no answer within 2000 ms",
        "directly to Dead: NOT REACHED: cannot be reached: ",
    ] {
        assert!(finished.stdout.contains(line), "{line}: {finished:?}");
    }
    nodes.answers(&gateway, "a", 200, "hello").await;

    let mut with_json = all.to_vec();
    with_json.push("--json");
    let finished = command(&nodes, &with_json).await;
    let told = finished.json();
    assert_eq!(told["results"][0]["outcome"], "unchanged");
    assert_eq!(told["gateways"].as_array().unwrap().len(), 3, "{told}");
    assert_eq!(told["gateways"][0]["list"][0]["status"], "kept", "{told}");
    assert!(told["gateways"][1]["error"].is_string(), "{told}");

    // With --wait, what gateways deploy in the end counts. Those that have lost the API are told, too.
    let one = ["publish", "--wait=30", "--label", DEFAULT, file];
    let finished = command(&nodes, &one).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(
        finished.stdout.contains("directly to Dead: NOT REACHED"),
        "{finished:?}"
    );
    // Only those are asked whom it concerns.
    std::fs::write(file, answering_dto("b", "/b", "hello")).unwrap();
    let finished = command(&nodes, &one).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(!finished.stdout.contains("Dead"), "{finished:?}");
}

#[tokio::test]
async fn entries_are_taken_from_publishers_only() {
    let (nodes, conf, port) = start(&[]).await;
    let _gateway = nodes.gateway_with(&conf).await;
    let url = format!("https://localhost:{port}/api/lockstep/v1/entries");
    for (user, status) in [
        ("viewer", 403),
        ("operator", 403),
        ("gateway", 403),
        ("publisher", 200),
    ] {
        let answer = nodes
            .client_of(user)
            .post(&url)
            .body("")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status, "{user}");
    }
    let answer = nodes.client.post(&url).body("").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    let publisher = nodes.client_of("publisher");
    let answer = publisher.post(&url).body("{}\n").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["detail"], "line 1: label log line lacks `entry`");
}
