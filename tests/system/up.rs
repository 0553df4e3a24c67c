//! `lockstep up` as a newcomer runs it.

use super::kit_of_tests::{Up, free_ports, run};

#[tokio::test]
async fn once_publishes_the_samples_checks_them_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let conf = free_ports(directory.path(), "");
    let finished = run(
        "lockstep",
        &["up", "--once", "--conf", conf.to_str().unwrap()],
    )
    .await;
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(
        finished
            .stdout
            .contains("Converged: 5 API(s) on 2 gateway(s)"),
        "{finished:?}"
    );
    assert!(
        finished
            .stdout
            .contains("self-check: 7 request(s), all answered"),
        "{finished:?}"
    );
    assert!(!finished.stdout.contains("FAIL"), "{finished:?}");
}

#[tokio::test]
async fn the_printed_curl_lines_work() {
    let up = Up::start(&[]).await;
    let lines: Vec<&str> = up
        .running
        .printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("curl "))
        .collect();
    assert_eq!(lines.len(), 5, "{}", up.running.printed);
    let client = up.client();
    for line in lines {
        let url = line.rsplit(' ').next().unwrap().trim_matches('\'');
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{line}");
    }
    assert_eq!(up.running.interrupt().await, 0);
}

#[tokio::test]
async fn comes_back_with_the_same_apis_without_publishing() {
    let first = Up::start(&[]).await;
    let before = first.command(&["list", "--json"]).await.json();
    let Up {
        directory, running, ..
    } = first;
    assert_eq!(running.interrupt().await, 0);

    let second = Up::start_in(directory, &[]).await;
    assert!(
        second
            .running
            .printed
            .contains("5 API(s) are published already")
    );
    let after = second.command(&["list", "--json"]).await.json();
    let revisions = |overview: &serde_json::Value| {
        let apis = overview["apis"].as_array().unwrap().iter();
        apis.map(|api| {
            (
                api["apiId"].clone(),
                api["revision"].clone(),
                api["digest"].clone(),
            )
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(revisions(&before), revisions(&after));
    let url = format!("{}/pizzashack/1.0.0/menu", second.gateways[0]);
    assert_eq!(second.client().get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn gateways_differ_by_label() {
    let up = Up::start(&["--gateways", "3"]).await;
    let client = up.client();
    let get = async |gateway: usize, path: &str| {
        let url = format!("{}{path}", up.gateways[gateway]);
        client.get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(get(0, "/calc/1.0/add?a=1&b=2").await, 200);
    assert_eq!(get(1, "/calc/1.0/add?a=1&b=2").await, 404);
    assert_eq!(get(0, "/weather/2.1.0/cities").await, 404);
    assert_eq!(get(2, "/weather/2.1.0/cities").await, 200);
    for gateway in 0..3 {
        assert_eq!(get(gateway, "/pizzashack/1.0.0/menu").await, 200);
        assert_eq!(get(gateway, "/status").await, 200);
    }
    let https = format!("{}/status", up.gateways_https[0]);
    assert_eq!(client.get(https).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let more = "";
    let conf = free_ports(directory.path(), more);
    let text = std::fs::read_to_string(&conf).unwrap().replace(
        "[transport.passthru_http.listener.parameters]\nport = 0",
        &format!("[transport.passthru_http.listener.parameters]\nport = {port}"),
    );
    std::fs::write(&conf, text).unwrap();
    let finished = run(
        "lockstep",
        &["up", "--once", "--conf", conf.to_str().unwrap()],
    )
    .await;
    assert_eq!(finished.code, 1);
    let expected =
        format!("error: port {port} of 127.0.0.1 is in use; choose other ports with --offset N");
    assert!(finished.stderr.contains(&expected), "{finished:?}");
}

#[tokio::test]
async fn a_damaged_database_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let conf = free_ports(directory.path(), "");
    let file = directory.path().join("data/lockstep.db");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let garbage = "this is no database, and it is long enough to be looked at. ".repeat(100);
    std::fs::write(&file, &garbage).unwrap();
    let finished = run(
        "lockstep",
        &[
            "up",
            "--once",
            "--data-dir",
            directory.path().join("data").to_str().unwrap(),
            "--conf",
            conf.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(finished.code, 1);
    assert!(
        finished
            .stderr
            .contains("lockstep.db: cannot open the database: it is damaged"),
        "{finished:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), garbage);
}

#[tokio::test]
async fn an_unknown_key_is_named_with_the_nearest_known_one() {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("d.toml");
    std::fs::write(&conf, "[server]\nofset = 1\n").unwrap();
    for (program, arguments) in [
        ("lockstep", vec!["up", "--conf", conf.to_str().unwrap()]),
        (
            "publisher-saver",
            vec!["serve", "--conf", conf.to_str().unwrap()],
        ),
        ("traffic-manager", vec!["--conf", conf.to_str().unwrap()]),
        ("gateway-agent", vec!["--conf", conf.to_str().unwrap()]),
    ] {
        let finished = run(program, &arguments).await;
        assert_eq!(finished.code, 2, "{program}: {finished:?}");
        assert!(
            finished
                .stderr
                .contains("d.toml:2:1: unknown key server.ofset; did you mean offset?"),
            "{program}: {finished:?}"
        );
    }
}

#[tokio::test]
async fn a_data_directory_is_used_by_one_cluster_at_a_time() {
    let up = Up::start(&[]).await;
    let conf = up.directory.path().join("deployment.toml");
    let second = run(
        "lockstep",
        &[
            "up",
            "--once",
            "--conf",
            conf.to_str().unwrap(),
            "--data-dir",
            up.directory.path().join("data").to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(second.code, 1);
    assert!(
        second
            .stderr
            .contains("another program uses this data directory"),
        "{second:?}"
    );
}
