//! Tenants that are loaded when they are needed, with real processes.

use std::path::PathBuf;

use super::kit_of_tests::{Finished, answering_dto, eventually, free_ports, run};
use super::nodes::{Gateway, Ground, Nodes};

const LABEL: &str = "Production and Sandbox";

/// A gateway's file: everyone but carbon.super is loaded when needed.
fn lazy(nodes: &Nodes, id: &str, more: &str) -> PathBuf {
    let file = nodes.named(id);
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(
        "[apim.sync_runtime_artifacts.gateway]\n",
        "[apim.sync_runtime_artifacts.gateway]\ndata_retrieval_mode = \"async\"\n",
    ) + &format!(
        "\n[apim.sync_runtime_artifacts.tenant_loading]\nenable = true\ntenants = \"\"\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Publishes an API at `/t/<tenant>/<name>`.
async fn publish(nodes: &Nodes, tenant: &str, name: &str, text: &str) {
    let context = format!("/t/{tenant}/{name}");
    let artifact = answering_dto(name, &context, text).replace("carbon.super", tenant);
    let request = serde_json::json!({
        "labels": [LABEL],
        "items": [{"source": name, "artifact": artifact}],
    });
    let url = format!("{}/api/lockstep/v1/publish", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&request).send().await.unwrap();
    let report: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(report["results"][0]["outcome"], "saved", "{report}");
}

/// One of what `/readyz` tells of tenants.
async fn count(nodes: &Nodes, gateway: &Gateway, what: &str) -> u64 {
    let state = nodes.state(gateway).await;
    let count = state["tenants"][what].as_u64();
    count.unwrap_or_else(|| panic!("{what}: {state}"))
}

async fn counted(nodes: &Nodes, gateway: &Gateway, what: &str, number: u64) {
    eventually(&format!("{number} tenants {what}"), || async {
        (count(nodes, gateway, what).await == number).then_some(())
    })
    .await;
}

/// A request that is sent once.
async fn get(nodes: &Nodes, gateway: &Gateway, path: &str) -> (u16, String) {
    let url = format!("{}/{path}", gateway.http);
    let answer = nodes.client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

async fn command(nodes: &Nodes, arguments: &[&str]) -> Finished {
    let directory = nodes.directory.path().join("data");
    let mut all = arguments.to_vec();
    let data = directory.to_str().unwrap();
    all.extend(["--server", &nodes.manager_url, "--data-dir", data]);
    run("lockstep", &all).await
}

/// How an API stands on the only gateway.
async fn state_of(nodes: &Nodes, name: &str) -> Option<String> {
    let url = format!("{}/api/lockstep/v1/apis?name={name}", nodes.manager_url);
    let answer = nodes.admin.get(url).send().await.ok()?;
    let page: serde_json::Value = answer.json().await.ok()?;
    Some(page["list"][0]["gateways"][0]["state"].as_str()?.to_owned())
}

async fn is_told(nodes: &Nodes, name: &str, state: &str) {
    eventually(&format!("{name} is told to be {state}"), || async {
        (state_of(nodes, name).await? == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_first_requests_of_a_tenant_wait_for_one_load() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    for (tenant, name) in [
        ("a.example", "one"),
        ("a.example", "two"),
        ("b.example", "three"),
    ] {
        publish(&nodes, tenant, name, name).await;
    }
    nodes.publish("super", "super").await.unwrap();
    let gateway = nodes.gateway_with(&lazy(&nodes, "gw1", "")).await;
    nodes.answers(&gateway, "super", 200, "super").await;
    counted(&nodes, &gateway, "known", 2).await;
    assert_eq!(nodes.state(&gateway).await["deployed"], 1);
    is_told(&nodes, "one", "not-loaded").await;

    // Unknown tenants wait for nothing.
    assert_eq!(get(&nodes, &gateway, "t/c.example/x").await.0, 404);
    assert_eq!(count(&nodes, &gateway, "loads").await, 0);

    let requests = (0..20).map(|number| {
        let path = ["t/a.example/one", "t/a.example/two"][number % 2];
        get(&nodes, &gateway, path)
    });
    let answers = futures_util::future::join_all(requests).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, ok(["one", "two"][number % 2]));
    }
    assert_eq!(count(&nodes, &gateway, "loads").await, 1);
    assert_eq!(count(&nodes, &gateway, "loaded").await, 1);
    assert_eq!(nodes.state(&gateway).await["deployed"], 3);
    assert_eq!(get(&nodes, &gateway, "t/a.example/none").await.0, 404);

    // The traffic manager knows; nobody waits for what is not loaded.
    is_told(&nodes, "one", "deployed").await;
    is_told(&nodes, "three", "not-loaded").await;
    let waited = command(
        &nodes,
        &["wait", "three:1.0@b.example", "1", "--timeout", "5"],
    )
    .await;
    assert_eq!(waited.code, 0, "{waited:?}");
    let explained = command(&nodes, &["explain", "three:1.0@b.example", "gw1"]).await;
    let sentence = "gw1 has not loaded the tenant b.example; the next request to /t/b.example/";
    assert!(explained.stdout.contains(sentence), "{explained:?}");

    // A new revision of a loaded tenant comes by itself, one of another tenant when it is needed.
    publish(&nodes, "a.example", "one", "newer").await;
    publish(&nodes, "b.example", "three", "newer").await;
    nodes
        .answers(&gateway, "t/a.example/one", 200, "newer")
        .await;
    let three = get(&nodes, &gateway, "t/b.example/three").await;
    assert_eq!(three, ok("newer"));
    assert_eq!(count(&nodes, &gateway, "loads").await, 2);
}

#[tokio::test]
async fn an_idle_tenant_is_unloaded_and_loaded_again() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    publish(&nodes, "a.example", "one", "one").await;
    let conf = lazy(&nodes, "gw1", "idle_time = 1000\n");
    let gateway = nodes.gateway_with(&conf).await;
    counted(&nodes, &gateway, "known", 1).await;
    for loads in 1..=2 {
        let answer = get(&nodes, &gateway, "t/a.example/one").await;
        assert_eq!(answer, ok("one"));
        assert_eq!(count(&nodes, &gateway, "loads").await, loads);
        counted(&nodes, &gateway, "unloads", loads).await;
        assert_eq!(nodes.state(&gateway).await["deployed"], 0);
        is_told(&nodes, "one", "not-loaded").await;
    }
    // It is still compared with what is published, and found to be the same.
    let state = nodes.state(&gateway).await;
    assert_eq!(state["reconciliation"]["repairs"], 0, "{state}");
}

#[tokio::test]
async fn a_restarted_gateway_serves_the_tenants_that_were_loaded_with_everything_dead() {
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    publish(&nodes, "a.example", "one", "one").await;
    publish(&nodes, "b.example", "two", "two").await;
    let conf = lazy(&nodes, "gw1", "request_timeout = 300\n");
    let gateway = nodes.gateway_with(&conf).await;
    counted(&nodes, &gateway, "known", 2).await;
    let answer = get(&nodes, &gateway, "t/a.example/one").await;
    assert_eq!(answer, ok("one"));
    eventually("everything is on the disk", || async {
        let state = nodes.state(&gateway).await;
        (state["snapshot"]["waiting"] == false).then_some(())
    })
    .await;
    gateway.running.kill().await;
    nodes.manager.take().unwrap().kill().await;
    nodes.saver.take().unwrap().kill().await;

    let gateway = nodes.gateway_with(&conf).await;
    nodes.answers(&gateway, "t/a.example/one", 200, "one").await;
    counted(&nodes, &gateway, "known", 2).await;
    let state = nodes.state(&gateway).await;
    assert_eq!(
        (&state["deployed"], &state["failed"]),
        (&1.into(), &0.into())
    );
    // The other one cannot be loaded now: that is said, and not that there is no such API.
    let url = format!("{}/t/b.example/two", gateway.http);
    let answer = nodes.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    nodes.start_saver().await;
    nodes.start_manager().await;
    nodes.answers(&gateway, "t/b.example/two", 200, "two").await;
    gateway.running.kill().await;

    // Everything is loaded at the start again: what has never been here is fetched.
    let gateway = nodes.gateway_with(&nodes.named("gw1")).await;
    nodes.answers(&gateway, "t/b.example/two", 200, "two").await;
    assert!(nodes.state(&gateway).await["tenants"].is_null());
}

#[tokio::test]
async fn lazy_tenants_and_mode_sync_exclude_one_another() {
    let directory = tempfile::tempdir().unwrap();
    let more =
        "[apim.sync_runtime_artifacts.tenant_loading]\nenable = true\ntenants = \"a.example\"\n";
    let conf = free_ports(directory.path(), more);
    let finished = run("gateway-agent", &["--conf", conf.to_str().unwrap()]).await;
    assert_eq!(finished.code, 2, "{finished:?}");
    let why = "a gateway serves nothing before all that is published to its labels is applied";
    assert!(finished.stderr.contains(why), "{finished:?}");
    assert!(finished.stderr.contains("deployment.toml:"), "{finished:?}");
}

#[tokio::test]
async fn a_pull_brings_the_artifacts_of_the_tenants_that_it_names() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    publish(&nodes, "a.example", "one", "one").await;
    publish(&nodes, "b.example", "two", "two").await;
    nodes.publish("super", "super").await.unwrap();
    let client = nodes.client_of("gateway");
    let url = format!("{}/internal/data/v1/label-log", nodes.manager_url);
    let with = async |list: &str| {
        let query = [("gatewayLabel", LABEL), ("artifactsOf", list)];
        let answer = client.get(&url).query(&query).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        if status != 200 {
            return (status, vec![text]);
        }
        let lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let artifact = line["artifact"]["name"].as_str();
            artifact.unwrap_or("-").to_owned()
        });
        (status, lines.collect())
    };
    let lines = |names: &[&str]| (200, names.iter().map(|it| (*it).to_owned()).collect());
    assert_eq!(with("").await, lines(&["-", "-", "super", "-"]));
    assert_eq!(with("b.example").await, lines(&["-", "two", "super", "-"]));
    assert_eq!(with("*").await, lines(&["one", "two", "super", "-"]));
    assert_eq!(
        with("*,!b.example").await,
        lines(&["one", "-", "super", "-"])
    );
    let (status, problem) = with("a,,b").await;
    assert_eq!(status, 400);
    assert!(
        problem[0].contains("artifactsOf: has an empty item"),
        "{problem:?}"
    );
}
