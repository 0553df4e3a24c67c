//! The three programs as processes of their own.

use super::kit_of_tests::{Running, answering_dto, client, eventually, free_ports, listening, run};
use kit::credentials::Credentials;

async fn get(client: &reqwest::Client, url: &str) -> Option<(u16, String)> {
    let answer = client.get(url).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

#[tokio::test]
async fn saver_traffic_manager_and_gateway_work_as_separate_processes() {
    let directory = tempfile::tempdir().unwrap();
    let conf = free_ports(directory.path(), "");
    let conf = conf.to_str().unwrap();
    let mut saver = Running::start("publisher-saver", &["serve", "--conf", conf]);
    let saver_url = listening(&mut saver).await.remove(0);
    let mut manager = Running::start("traffic-manager", &["--conf", conf]);
    let manager_url = listening(&mut manager).await.remove(0);
    let gateway_conf = directory.path().join("gateway.toml");
    let gateway_text = std::fs::read_to_string(conf).unwrap()
        + &format!("\n[apim.event_hub]\nservice_url = \"{manager_url}/services/\"\n");
    std::fs::write(&gateway_conf, gateway_text).unwrap();
    let mut gateway = Running::start("gateway-agent", &["--conf", gateway_conf.to_str().unwrap()]);
    let gateway_urls = listening(&mut gateway).await;

    let data = directory.path().join("data");
    let authority = data.join("tls/ca.pem");
    let client = client(directory.path(), &Credentials::none());
    for url in [&saver_url, &manager_url, &gateway_urls[2]] {
        let health = get(&client, &format!("{url}/healthz")).await.unwrap();
        assert_eq!(health, (200, "ok\n".into()), "{url}");
        eventually("readiness", || async {
            let (status, _) = get(&client, &format!("{url}/readyz")).await?;
            (status == 200).then_some(())
        })
        .await;
    }

    let file = directory.path().join("a.json");
    std::fs::write(&file, answering_dto("A", "/a", "hello")).unwrap();
    let finished = run(
        "lockstep",
        &[
            "publish",
            file.to_str().unwrap(),
            "--wait",
            "--server",
            &manager_url,
            "--publisher",
            &saver_url,
            "--cacert",
            authority.to_str().unwrap(),
            "--data-dir",
            data.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(
        finished.stdout.contains("deployed on 1 gateway(s)"),
        "{finished:?}"
    );
    let answer = get(&client, &format!("{}/a", gateway_urls[0]))
        .await
        .unwrap();
    assert_eq!(answer, (200, "hello".into()));

    let list = async || {
        let arguments = [
            "list",
            "--json",
            "--server",
            &manager_url,
            "--cacert",
            authority.to_str().unwrap(),
            "--data-dir",
            data.to_str().unwrap(),
        ];
        run("lockstep", &arguments).await.json()
    };
    assert_eq!(list().await["apis"][0]["gateways"][0]["state"], "deployed");

    // A second gateway ends in good order: nobody waits for it. Killed, it is waited for.
    let second = || Running::start("gateway-agent", &["--conf", gateway_conf.to_str().unwrap()]);
    let gateways = async |count: usize| {
        eventually("the number of gateways", || async {
            let known = list().await["gateways"].as_array().unwrap().len();
            (known == count).then_some(())
        })
        .await;
    };
    let other = second();
    gateways(2).await;
    assert_eq!(other.interrupt().await, 0);
    gateways(1).await;
    let other = second();
    gateways(2).await;
    other.kill().await;
    let known = list().await["gateways"].as_array().unwrap().clone();
    let mut ids = known
        .iter()
        .map(|gateway| gateway["gatewayId"].as_str().unwrap());
    let port = gateway_urls[0].rsplit(':').next().unwrap();
    let gone = ids.find(|id| !id.ends_with(port)).unwrap();
    let arguments = [
        "forget",
        gone,
        "--server",
        &manager_url,
        "--cacert",
        authority.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    assert_eq!(run("lockstep", &arguments).await.code, 0);
    assert_eq!(run("lockstep", &arguments).await.code, 1);
    gateways(1).await;

    // The control plane dies; the gateway goes on.
    manager.kill().await;
    saver.kill().await;
    let answer = get(&client, &format!("{}/a", gateway_urls[0]))
        .await
        .unwrap();
    assert_eq!(answer, (200, "hello".into()));
    assert_eq!(gateway.interrupt().await, 0);
}

#[tokio::test]
async fn a_gateway_in_sync_mode_says_what_is_missing_until_its_logs_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there yet.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let more = format!(
        "[apim.event_hub]\nservice_url = \"https://localhost:{port}/services/\"\n\
         [apim.sync_runtime_artifacts.gateway]\ndeployment_retry_duration = 50\n\
         gateway_labels = [\"Label1\", \"Label2\"]\n"
    );
    let conf = free_ports(directory.path(), &more);
    let mut gateway = Running::start("gateway-agent", &["--conf", conf.to_str().unwrap()]);
    let urls = listening(&mut gateway).await;
    let client = client(directory.path(), &Credentials::none());
    let ready = format!("{}/readyz", urls[2]);
    let (status, body) = get(&client, &ready).await.unwrap();
    assert_eq!(status, 503);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["missing"], serde_json::json!(["Label1", "Label2"]));
    let (status, _) = get(&client, &format!("{}/x", urls[0])).await.unwrap();
    assert_eq!(status, 503, "not a 404: the gateway does not know yet");

    let text = std::fs::read_to_string(&conf).unwrap().replace(
        "[transport.https.properties]\nport = 0",
        &format!("[transport.https.properties]\nport = {port}"),
    );
    std::fs::write(&conf, text).unwrap();
    let _manager = Running::start("traffic-manager", &["--conf", conf.to_str().unwrap()]);
    eventually("the gateway is ready", || async {
        let (status, _) = get(&client, &ready).await?;
        (status == 200).then_some(())
    })
    .await;
    let (status, _) = get(&client, &format!("{}/x", urls[0])).await.unwrap();
    assert_eq!(status, 404);
}
