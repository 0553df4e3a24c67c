//! Many gateways at once, several instances, and a database that lags or is away.

use std::sync::Arc;

use artifact::{Artifact, Label};
use rustls::pki_types::ServerName;
use store::{Database, Save, SaveMode, Store, StoreOptions};
use test_servers::{Kind, Own};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::kit_of_tests::{answering_dto, basic, decoded, eventually, raw_client};
use super::nodes::{Ground, Nodes};

const LABEL: &str = "Production and Sandbox";

fn save(name: &str, text: &str) -> Save {
    let artifact = answering_dto(name, &format!("/{name}"), text);
    let artifact = Artifact::parse(&artifact).unwrap();
    Save {
        text: artifact.to_text().unwrap(),
        routes: vec![format!("/{name}")],
        labels: vec![Label::parse(LABEL).unwrap()],
        artifact,
    }
}

async fn open(database: Database) -> Store {
    let options = StoreOptions {
        database,
        dc: "DC1".into(),
        history_size: 3,
    };
    Store::open(&options).await.unwrap()
}

async fn saved(store: &Store, saves: &[Save]) {
    let outcomes = store.save(saves, SaveMode::Atomic, kit::clock::now_ms());
    let outcomes = outcomes.await.unwrap();
    assert!(outcomes.iter().all(|outcome| !outcome.is_refusal()));
}

/// The value of a metric without labels.
async fn metric(nodes: &Nodes, base: &str, name: &str) -> Option<f64> {
    let client = nodes.client_of("viewer");
    let answer = client.get(format!("{base}/metrics")).send().await.ok()?;
    let text = answer.text().await.ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn log_url(base: &str, more: &str) -> String {
    format!("{base}/internal/data/v1/label-log?gatewayLabel=Production+and+Sandbox{more}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_reads_each_artifact_once() {
    const APIS: usize = 200;
    const GATEWAYS: usize = 100;
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    let database = Database::file(&nodes.directory.path().join("data/lockstep.db")).unwrap();
    let store = open(database).await;
    let saves: Vec<Save> = (0..APIS)
        .map(|n| save(&format!("A{n}"), &"text ".repeat(500)))
        .collect();
    saved(&store, &saves).await;
    store.close().await;
    // A cold instance, asked by all at once.
    nodes.manager.take().unwrap().kill().await;
    nodes.start_manager().await;
    let url = log_url(&nodes.manager_url, "");
    let gateways = (0..GATEWAYS).map(|n| {
        let client = raw_client(nodes.directory.path(), "gateway");
        let encoding = ["zstd", "zstd", "gzip", "identity"][n % 4];
        let request = client.get(&url).header("Accept-Encoding", encoding);
        tokio::spawn(async move {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let bytes = answer.bytes().await.unwrap();
            let text = decoded(encoding, &bytes);
            assert_eq!(text.lines().count(), APIS + 1);
            assert!(text.ends_with(&format!("{{\"completeTo\":{APIS}}}\n")));
        })
    });
    for gateway in gateways.collect::<Vec<_>>() {
        gateway.await.unwrap();
    }
    let reads = metric(
        &nodes,
        &nodes.manager_url,
        "lockstep_artifact_database_reads_total",
    )
    .await;
    assert_eq!(reads, Some(APIS as f64), "each artifact once");
}

/// A follower of a label log on a connection of its own.
struct Watcher {
    stream: TlsStream<TcpStream>,
    read: String,
}

impl Watcher {
    async fn start(nodes: &Nodes, connector: &TlsConnector) -> Self {
        let (_, address) = nodes.manager_url.split_once("://").unwrap();
        let tcp = TcpStream::connect(address.replace("localhost", "127.0.0.1"));
        let tcp = tcp.await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, tcp).await.unwrap();
        let authorization = basic(nodes.directory.path(), "gateway");
        let request = format!(
            "GET /internal/data/v1/label-log?gatewayLabel=Production+and+Sandbox&follow=true \
             HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = String::new();
        Self { stream, read }
    }

    /// Reads until a text has come; `false` when the stream ends before.
    async fn until(&mut self, text: &str) -> bool {
        let mut buffer = [0; 4096];
        while !self.read.contains(text) {
            match self.stream.read(&mut buffer).await {
                Ok(read) if read > 0 => {
                    self.read
                        .push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                _ => return false,
            }
        }
        true
    }
}

fn connector(nodes: &Nodes) -> TlsConnector {
    kit::tls::install_provider();
    let mut roots = rustls::RootCertStore::empty();
    let authority = nodes.directory.path().join("data/tls/ca.pem");
    roots.add_parsable_certificates(kit::tls::certificates(&authority).unwrap());
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_watchers_hear_of_a_publish() {
    const WATCHERS: usize = 5000;
    kit::process::allow_many_files();
    let nodes = Nodes::start(&Ground::default(), "").await;
    let connector = connector(&nodes);
    // So many handshakes at a time.
    let handshakes = Arc::new(Semaphore::new(32));
    let nodes = Arc::new(nodes);
    let starting = (0..WATCHERS).map(|_| {
        let (nodes, connector) = (Arc::clone(&nodes), connector.clone());
        let handshakes = Arc::clone(&handshakes);
        tokio::spawn(async move {
            let _turn = handshakes.acquire().await.unwrap();
            let mut watcher = Watcher::start(&nodes, &connector).await;
            assert!(
                watcher.until("{\"completeTo\":0}").await,
                "{}",
                watcher.read
            );
            watcher
        })
    });
    let mut watchers = Vec::with_capacity(WATCHERS);
    for watcher in starting.collect::<Vec<_>>() {
        watchers.push(watcher.await.unwrap());
    }
    let followers = metric(&nodes, &nodes.manager_url, "lockstep_watchers").await;
    assert_eq!(followers, Some(WATCHERS as f64));
    nodes.publish("A", "one").await.unwrap();
    let hearing = watchers.into_iter().map(|mut watcher| {
        tokio::spawn(async move {
            assert!(
                watcher.until("{\"completeTo\":1}").await,
                "{}",
                watcher.read
            );
            assert!(watcher.read.contains("id-of-A"));
            watcher
        })
    });
    for watcher in hearing.collect::<Vec<_>>() {
        drop(watcher.await.unwrap());
    }
    eventually("the watchers have gone", || async {
        let followers = metric(&nodes, &nodes.manager_url, "lockstep_watchers").await?;
        (followers == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_cut_and_the_others_go_on() {
    let limits = "[management.limits]\nslow_client_timeout = 1000\n";
    let nodes = Nodes::start(&Ground::default(), limits).await;
    let connector = connector(&nodes);
    let mut slow = Watcher::start(&nodes, &connector).await;
    assert!(slow.until("{\"completeTo\":0}").await);
    let mut other = Watcher::start(&nodes, &connector).await;
    // More than all buffers between the two hold.
    for n in 0..24 {
        let noise = format!("{n} {}", uuid::Uuid::new_v4()).repeat(20_000);
        nodes.publish("A", &noise).await.unwrap();
        assert!(other.until(&format!("{{\"completeTo\":{}}}", n + 1)).await);
        other.read.clear();
    }
    eventually("the slow reader has been cut", || async {
        let followers = metric(&nodes, &nodes.manager_url, "lockstep_watchers").await?;
        (followers == 1.0).then_some(())
    })
    .await;
    assert!(!slow.until("never comes").await, "its connection is closed");
}

#[tokio::test]
async fn instances_side_by_side_answer_alike() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let (mut second, second_url) = nodes.another_manager(&[]).await;
    let client = nodes.client_of("gateway");
    let connector = connector(&nodes);
    let mut watcher = Watcher::start(&nodes, &connector).await;
    assert!(watcher.until("{\"completeTo\":0}").await);
    for n in 1..=10 {
        nodes.publish(&format!("A{n}"), "one").await.unwrap();
        let mut answers = Vec::new();
        for base in [&nodes.manager_url, &second_url] {
            let answer = client.get(log_url(base, &format!("&minSeq={n}"))).send();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            answers.push(answer.text().await.unwrap());
        }
        assert_eq!(answers[0], answers[1]);
        assert!(watcher.until(&format!("{{\"completeTo\":{n}}}")).await);
    }
    // A gateway that registers with one is known to the other.
    let notice = serde_json::json!({
        "payloadType": "REGISTER", "gatewayId": "g/1", "timeStamp": 1,
        "environmentLabels": [LABEL], "gatewayProperties": {"os": "Linux"}, "loadingTenants": [],
    });
    let url = format!("{second_url}/internal/data/v1/notify-gateway");
    let answer = client.post(url).json(&notice).send().await.unwrap();
    let reply: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(
        reply,
        serde_json::json!({"status": "REGISTERED", "gatewayId": "g/1"})
    );
    let url = format!("{}/api/lockstep/v1/gateways", nodes.manager_url);
    let gateways = nodes.client_of("viewer").get(url).send().await.unwrap();
    assert!(gateways.text().await.unwrap().contains("\"g/1\""));
    second.kill_now().await;
}

#[tokio::test]
async fn a_replica_that_lags_says_so() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    nodes.publish("A", "one").await.unwrap();
    // A copy, as a replica that has come so far.
    let source = nodes.directory.path().join("data/lockstep.db");
    let copy = nodes.directory.path().join("replica.db");
    let replica = open(Database::file(&copy).unwrap()).await;
    saved(&replica, &[save("A", "one")]).await;
    let address = format!(
        "[database.sync_runtime_artifacts_db]\nurl = \"sqlite:{}\"\n",
        copy.display()
    );
    let (_second, second_url) = nodes.another_manager(&[&address]).await;
    nodes.publish("B", "one").await.unwrap();
    let client = nodes.client_of("gateway");
    let there = client
        .get(log_url(&nodes.manager_url, "&minSeq=2"))
        .send()
        .await
        .unwrap();
    assert_eq!(there.status(), 200, "{}", source.display());
    let ask = || client.get(log_url(&second_url, "&after=1&minSeq=2")).send();
    let behind = ask().await.unwrap();
    assert_eq!(behind.status(), 409);
    assert_eq!(behind.headers()["retry-after"], "1");
    let problem: serde_json::Value = behind.json().await.unwrap();
    assert_eq!(problem["seq"], 1);
    saved(&replica, &[save("B", "one")]).await;
    let answer = ask().await.unwrap();
    assert_eq!(
        answer.status(),
        200,
        "as soon as it is there, however old the memory is"
    );
    assert!(answer.text().await.unwrap().contains("id-of-B"));
    replica.close().await;
}

#[tokio::test]
async fn without_its_database_it_answers_from_memory_and_says_how_old_that_is() {
    let Some(own) = Own::start(Kind::PostgreSql, "a database that is away").await else {
        return;
    };
    let ground = Ground {
        database: Some((own.server, own.server.new_database().await)),
        broker: None,
    };
    let nodes = Nodes::start(&ground, "").await;
    nodes.publish("A", "one").await.unwrap();
    let client = nodes.client_of("gateway");
    let ask = |more: &str| client.get(log_url(&nodes.manager_url, more)).send();
    let fresh = ask("&minSeq=1").await.unwrap();
    assert_eq!(fresh.status(), 200);
    assert!(!fresh.headers().contains_key("stale-since"));
    let known = fresh.text().await.unwrap();
    own.pause().await;
    let stale = eventually("the answer is stale", || async {
        let answer = ask("").await.unwrap();
        assert_eq!(answer.status(), 200);
        answer
            .headers()
            .contains_key("stale-since")
            .then_some(answer)
    })
    .await;
    assert_eq!(stale.text().await.unwrap(), known);
    let url = format!(
        "{}/internal/data/v1/gateway-synapse-artifacts",
        nodes.manager_url
    );
    let all = client.get(format!("{url}?gatewayLabel=Production%20and%20Sandbox"));
    let all = all.send().await.unwrap();
    assert!(all.headers().contains_key("stale-since"));
    assert!(all.text().await.unwrap().starts_with("{\"count\":1,"));
    // What cannot be known without it.
    let newer = ask("&minSeq=2").await.unwrap();
    assert_eq!(newer.status(), 503);
    assert!(newer.headers().contains_key("retry-after"));
    own.unpause().await;
    nodes.publish("A", "two").await.unwrap();
    eventually("the answer is fresh again", || async {
        let answer = ask("&minSeq=2").await.unwrap();
        let fresh = answer.status() == 200 && !answer.headers().contains_key("stale-since");
        fresh.then_some(())
    })
    .await;
}
