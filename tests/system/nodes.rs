//! Saver, traffic manager and gateway as processes of their own, on any database, with or without
//! a broker.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use kit::access::development;
use tempfile::TempDir;
use test_servers::{Kind, Server};

use super::kit_of_tests::{
    Running, answering_dto, client, development_client, eventually, free_ports,
};
use kit::credentials::Credentials;

/// What the processes stand on.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// A database of the server's; `None` is the embedded one.
    pub database: Option<(Server, String)>,
    /// A broker and the topic there; `None` is the watch stream.
    pub broker: Option<(Server, String)>,
}

impl Ground {
    /// On the shared broker, with a topic of its own; `None` when tests with servers are left out.
    pub async fn amqp(what: &str) -> Option<Self> {
        let server = test_servers::shared(Kind::RabbitMq, what).await?;
        Some(Self {
            broker: Some((server, format!("notification-{}", uuid::Uuid::new_v4()))),
            ..Self::default()
        })
    }

    /// On a database of its own in a shared server.
    pub async fn on(mut self, kind: Kind, what: &str) -> Option<Self> {
        let server = test_servers::shared(kind, what).await?;
        self.database = Some((server, server.new_database().await));
        Some(self)
    }

    /// The lines of deployment.toml.
    pub fn toml(&self) -> String {
        let mut text = format!("[apim.event_hub]\n{}", self.event_hub());
        text += &self.database_toml();
        text
    }

    fn database_toml(&self) -> String {
        let mut text = String::new();
        if let Some((server, name)) = &self.database {
            let (user, password) = server.credentials();
            text += &format!(
                "[database.sync_runtime_artifacts_db]\nurl = \"{}\"\nusername = \"{user}\"\n\
                 password = \"$secret{{database}}\"\n[secrets]\ndatabase = \"[{password}]\"\n",
                server.jdbc_url(name)
            );
        }
        text
    }

    fn event_hub(&self) -> String {
        let Some((server, topic)) = &self.broker else {
            return String::new();
        };
        let (user, password) = server.credentials();
        format!(
            "event_listening_endpoints = [\"{}\"]\nusername = \"{user}\"\n\
             password = \"{password}\"\ntopic = \"{topic}\"\nheartbeat = 2\n",
            server.broker_url()
        )
    }
}

/// The processes of one test.
pub struct Nodes {
    pub directory: TempDir,
    conf: PathBuf,
    pub saver: Option<Running>,
    pub saver_url: String,
    pub manager: Option<Running>,
    pub manager_url: String,
    /// Says nothing of itself.
    pub client: reqwest::Client,
    /// The development user `admin`.
    pub admin: reqwest::Client,
}

/// A gateway process.
pub struct Gateway {
    pub running: Running,
    pub http: String,
    pub management: String,
}

impl Nodes {
    /// Starts saver and traffic manager; `more` are lines of deployment.toml.
    pub async fn start(ground: &Ground, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (saver_port, manager_port) = (free_port(), free_port());
        // Named, because the user of the event hub is the broker's.
        let data = directory.path().join("data");
        development::make(&data).unwrap();
        let password = development::password(&data, "gateway").unwrap();
        let event_hub = format!(
            "[apim.event_hub]\nservice_url = \"https://localhost:{manager_port}/services/\"\n\
             service.username = \"gateway\"\nservice.password = \"{}\"\n{}",
            password.expose(),
            ground.event_hub()
        );
        let sync = "[apim.sync_runtime_artifacts.gateway]\ndeployment_retry_duration = 50\n\
                    max_retry_duration = 500\n";
        let conf = free_ports(
            directory.path(),
            &format!("{event_hub}{sync}{more}{}", ground.database_toml()),
        );
        let text = std::fs::read_to_string(&conf).unwrap();
        let text = text
            .replace(
                "[transport.https.properties]\nport = 0",
                &format!("[transport.https.properties]\nport = {manager_port}"),
            )
            .replace(
                "[publisher_saver]\nport = 0",
                &format!("[publisher_saver]\nport = {saver_port}"),
            );
        std::fs::write(&conf, text).unwrap();
        let saver = start_saver(&conf).await;
        let mut nodes = Self {
            conf,
            saver: Some(saver),
            saver_url: format!("https://localhost:{saver_port}"),
            manager: None,
            manager_url: format!("https://localhost:{manager_port}"),
            client: client(directory.path(), &Credentials::none()),
            admin: development_client(directory.path(), "admin"),
            directory,
        };
        nodes.start_manager().await;
        nodes
    }

    pub async fn start_saver(&mut self) {
        self.saver = Some(start_saver(&self.conf).await);
    }

    pub async fn start_manager(&mut self) {
        let conf = self.conf.to_str().unwrap();
        let mut manager = Running::start("traffic-manager", &["--conf", conf]);
        manager.line("listens on").await;
        self.manager = Some(manager);
    }

    /// Another traffic manager on the same data directory, and its address; `more` are lines of its
    /// deployment.toml.
    pub async fn another_manager(&self, more: &[&str]) -> (Running, String) {
        let (_, port) = self.manager_url.rsplit_once(':').unwrap();
        let mut text = std::fs::read_to_string(&self.conf).unwrap();
        text = text.replace(&format!("port = {port}"), "port = 0");
        text.extend(more.iter().copied());
        let conf = self.directory.path().join("another.toml");
        std::fs::write(&conf, text).unwrap();
        let arguments = ["--conf", conf.to_str().unwrap()];
        let mut manager = Running::start("traffic-manager", &arguments);
        let line = manager.line("listens on").await;
        let (_, port) = line.rsplit_once(':').unwrap();
        (manager, format!("https://localhost:{port}"))
    }

    /// A client that is one of the development users.
    pub fn client_of(&self, user: &str) -> reqwest::Client {
        development_client(self.directory.path(), user)
    }

    /// Starts a gateway and waits until it has applied its label log.
    pub async fn gateway(&self) -> Gateway {
        let gateway = self.unready_gateway().await;
        self.ready(&gateway).await;
        gateway
    }

    pub async fn unready_gateway(&self) -> Gateway {
        self.gateway_with(&self.conf).await
    }

    /// The file of a gateway that has an id of its own, so that it finds its snapshot again.
    pub fn named(&self, id: &str) -> PathBuf {
        let text = std::fs::read_to_string(&self.conf).unwrap();
        let text = text.replace("[gateway]\n", &format!("[gateway]\nid = \"{id}\"\n"));
        let file = self.directory.path().join(format!("{id}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Starts a gateway with another configuration file.
    pub async fn gateway_with(&self, conf: &Path) -> Gateway {
        let conf = conf.to_str().unwrap();
        let mut running = Running::start("gateway-agent", &["--conf", conf]);
        let line = running.line("listens on").await;
        let urls: Vec<&str> = line
            .split([' ', ','])
            .filter(|word| word.starts_with("http"))
            .collect();
        // One that serves no clients has its management interface only.
        let (http, management) = match urls[..] {
            [http, _, management] => (http, management),
            [management] => ("", management),
            _ => panic!("{line}"),
        };
        Gateway {
            http: http.to_owned(),
            management: management.to_owned(),
            running,
        }
    }

    pub async fn ready(&self, gateway: &Gateway) {
        let url = format!("{}/readyz", gateway.management);
        eventually("the gateway is ready", || async {
            let answer = self.client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// What the gateway says of itself.
    pub async fn state(&self, gateway: &Gateway) -> serde_json::Value {
        let url = format!("{}/readyz", gateway.management);
        let answer = self.client.get(&url).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Waits until the gateway has counted so many of `what` from the broker.
    pub async fn heard(&self, gateway: &Gateway, what: &str, least: u64) {
        eventually(&format!("{least} {what} counted"), || async {
            let counted = self.state(gateway).await["events"][what].as_u64()?;
            (counted >= least).then_some(())
        })
        .await;
    }

    /// Publishes an API that answers `text`; `None` when it was not reported as saved.
    pub async fn publish(&self, name: &str, text: &str) -> Option<serde_json::Value> {
        let artifact = answering_dto(name, &format!("/{name}"), text);
        let request = serde_json::json!({
            "labels": ["Production and Sandbox"],
            "items": [{"source": name, "artifact": artifact}],
        });
        let url = format!("{}/api/lockstep/v1/publish", self.saver_url);
        let answer = self.admin.post(url).json(&request).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let report: serde_json::Value = answer.json().await.ok()?;
        let outcome = report["results"][0]["outcome"].as_str()?;
        assert!(["saved", "unchanged"].contains(&outcome), "{report}");
        Some(report["results"][0].clone())
    }

    pub async fn remove(&self, name: &str) {
        let url = format!("{}/api/lockstep/v1/apis", self.saver_url);
        let query = [("name", name), ("version", "1.0")];
        let answer = self.admin.delete(url).query(&query).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Waits until the gateway answers so for an API.
    pub async fn answers(&self, gateway: &Gateway, name: &str, status: u16, text: &str) {
        let url = format!("{}/{name}", gateway.http);
        eventually(&format!("{name} answers {status} {text}"), || async {
            let answer = self.client.get(&url).send().await.ok()?;
            let found = answer.status().as_u16();
            let body = answer.text().await.ok()?;
            (found == status && (text.is_empty() || body == text)).then_some(())
        })
        .await;
    }

    /// How many announcements wait.
    pub async fn outbox(&self) -> Option<u64> {
        let url = format!("{}/readyz", self.saver_url);
        let answer = self.client.get(url).send().await.ok()?;
        let state: serde_json::Value = answer.json().await.ok()?;
        state["outbox"].as_u64()
    }
}

async fn start_saver(conf: &Path) -> Running {
    let conf = conf.to_str().unwrap();
    let mut saver = Running::start("publisher-saver", &["serve", "--conf", conf]);
    saver.line("listens on").await;
    saver
}

/// A port that nobody listens on now, below those that the system chooses from: while the program
/// that has it is dead, no connection of another one comes to have it.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(uuid::Uuid::new_v4().as_fields().1));
    loop {
        let port = 10_000 + next.fetch_add(1, Ordering::Relaxed) % 22_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
