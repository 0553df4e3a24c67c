//! The keys of `deployment.toml` that the data plane goes by.

use kit::credentials::Credentials;

use super::kit_of_tests::{Running, client, eventually, free_ports, listening, run};

#[tokio::test]
async fn a_gateway_keeps_its_limits_and_writes_its_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let keys = "correlation_header = 'x-request-id'\ntrusted_proxies = ['127.0.0.0/8']\n\
        [gateway.limits]\nmax_request_body_size = 5\nmax_headers = 20\nslow_client_timeout = 100\n\
        [gateway.access_log]\nenable = true\nformat = 'json'\nquery = true\n\
        [apim.sync_runtime_artifacts.gateway]\ndata_retrieval_mode = 'async'\n";
    let conf = free_ports(directory.path(), keys);
    let mut gateway = Running::start("gateway-agent", &["--conf", conf.to_str().unwrap()]);
    let url = format!("{}/nothing?x=1", listening(&mut gateway).await[0]);
    let client = client(directory.path(), &Credentials::none());
    let large = client.post(&url).body("123456").send().await.unwrap();
    assert_eq!(large.status(), 413);
    let mut request = client.get(&url);
    for number in 0..20 {
        request = request.header(format!("x-{number}"), "1");
    }
    assert_eq!(request.send().await.unwrap().status(), 431);
    let request = client.post(&url).body("12345");
    let request = request
        .header("x-request-id", "r-1")
        .header("x-forwarded-for", "203.0.113.9");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers()["x-request-id"], "r-1");
    assert!(answer.text().await.unwrap().contains("/nothing"));

    let file = directory.path().join("data/log/access.log");
    let lines = eventually("a line for each request", || async {
        let text = std::fs::read_to_string(&file).ok()?;
        let lines = text.lines().map(serde_json::from_str);
        let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().ok()?;
        (lines.len() == 3).then_some(lines)
    })
    .await;
    let statuses: Vec<_> = lines.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, [413, 431, 404]);
    assert_eq!(lines[2]["target"], "/nothing?x=1");
    assert_eq!(lines[2]["correlation"], "r-1");
    assert_eq!(lines[2]["client"], "203.0.113.9");
    assert_eq!(gateway.interrupt().await, 0);
}

#[tokio::test]
async fn a_gateway_that_cannot_open_its_access_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let keys = "[gateway.access_log]\nenable = true\npath = '/dev/null/access.log'\n";
    let conf = free_ports(directory.path(), keys);
    let finished = run("gateway-agent", &["--conf", conf.to_str().unwrap()]).await;
    assert_ne!(finished.code, 0);
    let text = finished.text();
    assert!(
        text.contains("gateway.access_log") && text.contains("/dev/null/access.log"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_keys_are_refused_by_their_rule() {
    let directory = tempfile::tempdir().unwrap();
    for (keys, key) in [
        ("correlation_header = 'a b'\n", "gateway.correlation_header"),
        (
            "trusted_proxies = ['balancer']\n",
            "gateway.trusted_proxies",
        ),
        (
            "[gateway.access_log]\nformat = 'xml'\n",
            "gateway.access_log.format",
        ),
        (
            "[gateway.limits]\nmax_headers = 0\n",
            "gateway.limits.max_headers",
        ),
        (
            "[gateway.limits]\nslow_client_timeout = 1\n",
            "gateway.limits.slow_client_timeout",
        ),
        (
            "[gateway.limits]\ntunnel_idle_timeout = 1\n",
            "gateway.limits.tunnel_idle_timeout",
        ),
    ] {
        let conf = free_ports(directory.path(), keys);
        let arguments = ["--conf", conf.to_str().unwrap()];
        let finished = run("gateway-agent", &arguments).await;
        assert!(
            finished.code != 0 && finished.text().contains(key),
            "{key}: {finished:?}"
        );
    }
}
