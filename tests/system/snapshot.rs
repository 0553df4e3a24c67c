//! The gateway's last known good on its disk: what a gateway serves that starts alone.

use std::path::{Path, PathBuf};

use artifact::{Artifact, DEFAULT_LABEL, Label};
use kit::config::Config;
use store::{Save, SaveMode, SaveOutcome, Store, StoreOptions};

use super::kit_of_tests::{Finished, answering_dto, eventually, run};
use super::nodes::{Gateway, Ground, Nodes};

/// Waits until all that was applied is on the disk.
async fn written(nodes: &Nodes, gateway: &Gateway, apis: u64) {
    eventually("the snapshot is written", || async {
        let state = nodes.state(gateway).await;
        let all = state["deployed"] == apis && state["snapshot"]["waiting"] == false;
        (all && state["snapshot"]["written"].as_u64()? > 0).then_some(())
    })
    .await;
}

/// Waits until the gateway has pulled since its start, and tells how many entries.
async fn pulled(nodes: &Nodes, gateway: &Gateway) -> u64 {
    eventually("a pull has been completed", || async {
        let state = nodes.state(gateway).await;
        let pulled = state["missing"].as_array()?.is_empty() && state["from_snapshot"] == false;
        pulled.then(|| state["pulled"].as_u64())?
    })
    .await
}

async fn stop(nodes: &mut Nodes) {
    nodes.manager.take().unwrap().kill().await;
    nodes.saver.take().unwrap().kill().await;
}

/// The directory of a gateway's snapshot.
fn directory(nodes: &Nodes, id: &str) -> PathBuf {
    nodes.directory.path().join("data/snapshot").join(id)
}

async fn command(conf: &Path, arguments: &[&str]) -> Finished {
    let mut all = vec!["--conf", conf.to_str().unwrap(), "snapshot"];
    all.extend(arguments);
    run("gateway-agent", &all).await
}

#[tokio::test]
async fn a_restarted_gateway_serves_alone_and_pulls_only_the_difference() {
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    for n in 0..10 {
        nodes.publish(&format!("api{n}"), "one").await.unwrap();
    }
    nodes.remove("api9").await;
    let conf = nodes.named("gw1");
    let gateway = nodes.gateway_with(&conf).await;
    nodes.answers(&gateway, "api0", 200, "one").await;
    written(&nodes, &gateway, 9).await;
    gateway.running.kill().await;
    stop(&mut nodes).await;

    let gateway = nodes.gateway_with(&conf).await;
    nodes.ready(&gateway).await;
    for n in 0..9 {
        nodes
            .answers(&gateway, &format!("api{n}"), 200, "one")
            .await;
    }
    nodes.answers(&gateway, "api9", 404, "").await;
    let state = nodes.state(&gateway).await;
    assert_eq!(state["from_snapshot"], true, "{state}");
    assert_eq!(state["pulled"], 0, "{state}");
    // It can be looked at while it runs.
    let shown = command(&conf, &["show", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let label = &shown.json()["labels"][0];
    assert_eq!(label["cursor"], 11, "{shown:?}");
    assert_eq!(label["apis"], 9, "{shown:?}");
    gateway.running.kill().await;

    nodes.start_saver().await;
    nodes.publish("api3", "two").await.unwrap();
    nodes.remove("api4").await;
    nodes.start_manager().await;
    let gateway = nodes.gateway_with(&conf).await;
    assert_eq!(pulled(&nodes, &gateway).await, 2);
    nodes.answers(&gateway, "api3", 200, "two").await;
    nodes.answers(&gateway, "api4", 404, "").await;
    nodes.answers(&gateway, "api5", 200, "one").await;
    // What it brought back from its disk is reported, removals too, although it was not pulled.
    let url = format!("{}/api/lockstep/v1/apis", nodes.manager_url);
    eventually("every deployment is reported", || async {
        let answer = nodes.admin.get(&url).send().await.ok()?;
        let page: serde_json::Value = answer.json().await.ok()?;
        let apis = page["list"].as_array()?;
        let all = apis.iter().all(|api| {
            let published = api["instruction"] == "Publish";
            let state = if published { "deployed" } else { "undeployed" };
            api["gateways"][0]["state"] == state
        });
        (apis.len() == 10 && all).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_snapshot_is_set_aside_and_everything_is_pulled() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    for n in 0..5 {
        nodes.publish(&format!("api{n}"), "one").await.unwrap();
    }
    let conf = nodes.named("gw1");
    let gateway = nodes.gateway_with(&conf).await;
    written(&nodes, &gateway, 5).await;
    gateway.running.kill().await;
    let directory = directory(&nodes, "gw1");
    for entry in std::fs::read_dir(&directory).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        if name == "current.redb" || name.starts_with("generation-") {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            for byte in &mut bytes[100..middle] {
                *byte ^= 0x5a;
            }
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let gateway = nodes.gateway_with(&conf).await;
    assert_eq!(pulled(&nodes, &gateway).await, 5);
    nodes.answers(&gateway, "api4", 200, "one").await;
    written(&nodes, &gateway, 5).await;
    let log = gateway.running.log().await;
    let lines = log.lines().filter(|line| line.contains("was set aside"));
    assert!(lines.count() >= 1, "{log}");
    let names = std::fs::read_dir(&directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        names
            .into_iter()
            .any(|name| name.starts_with("current.redb.unusable-"))
    );
    // The new one is good.
    let gateway = nodes.gateway_with(&conf).await;
    assert_eq!(pulled(&nodes, &gateway).await, 0);
}

#[tokio::test]
async fn an_exported_state_starts_a_new_gateway_without_the_control_plane() {
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    nodes.publish("a", "exported").await.unwrap();
    let conf = nodes.named("gw1");
    let gateway = nodes.gateway_with(&conf).await;
    written(&nodes, &gateway, 1).await;
    stop(&mut nodes).await;

    let folder = nodes.directory.path();
    let (key, file) = (folder.join("key"), folder.join("exported"));
    std::fs::write(&key, "5b".repeat(32)).unwrap();
    let (key, file) = (key.to_str().unwrap(), file.to_str().unwrap());
    let exported = command(&conf, &["export", file, "--key-file", key]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    let bytes = std::fs::read(file).unwrap();
    assert!(!bytes.windows(8).any(|part| part == b"exported"));

    let other = nodes.named("gw2");
    let wrong = folder.join("wrong");
    std::fs::write(&wrong, "5c".repeat(32)).unwrap();
    let wrong = wrong.to_str().unwrap();
    let refused = command(&other, &["import", file, "--key-file", wrong]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let imported = command(&other, &["import", file, "--key-file", key]).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let again = command(&other, &["import", file, "--key-file", key]).await;
    assert!(again.stderr.contains("--replace"), "{again:?}");
    let running = command(&conf, &["import", file, "--key-file", key, "--replace"]).await;
    assert!(
        running.stderr.contains("another program uses it"),
        "{running:?}"
    );
    let usage = command(&other, &["import", file, "--key-file", file]).await;
    assert_ne!(usage.code, 0, "{usage:?}");

    let second = nodes.gateway_with(&other).await;
    nodes.ready(&second).await;
    nodes.answers(&second, "a", 200, "exported").await;
    nodes.answers(&gateway, "a", 200, "exported").await;
}

#[tokio::test]
async fn after_a_restart_the_last_good_revision_serves_and_the_refusal_is_known() {
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    nodes.publish("good", "one").await.unwrap();
    let conf = nodes.named("gw1");
    let gateway = nodes.gateway_with(&conf).await;
    nodes.answers(&gateway, "good", 200, "one").await;
    // Another node writes a revision that no gateway takes.
    let text = answering_dto("good", "/good", "two").replace("<resource>", "<resource");
    let bad = Save {
        artifact: Artifact::parse(&text).unwrap(),
        text,
        routes: vec!["/good".into()],
        labels: vec![Label::parse(DEFAULT_LABEL).unwrap()],
    };
    let config = Config::load(Some(&conf)).unwrap();
    let store = Store::open(&StoreOptions::of(&config).unwrap())
        .await
        .unwrap();
    let saved = store.save(&[bad], SaveMode::Each, 1).await.unwrap();
    assert!(matches!(saved[0], SaveOutcome::Saved { .. }), "{saved:?}");
    eventually("the refusal", || async {
        (nodes.state(&gateway).await["failed"] == 1).then_some(())
    })
    .await;
    written(&nodes, &gateway, 1).await;
    gateway.running.kill().await;
    nodes.manager.take().unwrap().kill().await;

    let gateway = nodes.gateway_with(&conf).await;
    nodes.ready(&gateway).await;
    nodes.answers(&gateway, "good", 200, "one").await;
    let state = nodes.state(&gateway).await;
    assert_eq!(state["failed"], 1, "{state}");
    nodes.start_manager().await;
    assert_eq!(pulled(&nodes, &gateway).await, 0);
    nodes.answers(&gateway, "good", 200, "one").await;
    let url = format!("{}/api/lockstep/v1/apis", nodes.manager_url);
    eventually("the refusal is reported anew", || async {
        let answer = nodes.admin.get(&url).send().await.ok()?;
        let page: serde_json::Value = answer.json().await.ok()?;
        let gateway = &page["list"][0]["gateways"][0];
        (gateway["state"] == "failed").then_some(())
    })
    .await;
}
