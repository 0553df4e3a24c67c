//! One container: starting a server, waiting for it, making it fail.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor};
use testcontainers::core::Mount;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::{Kind, Server, embedded_only};

/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that one test has for itself; gone when it is dropped.
#[derive(Debug)]
pub struct Own {
    pub server: Server,
    container: ContainerAsync<GenericImage>,
}

impl Own {
    /// Starts one. `None` when tests with servers are left out; `what` is told then.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(kind: Kind, what: &str) -> Option<Self> {
        Self::start_with(kind, None, what).await
    }

    /// Starts one with a directory of certificates: `ca.pem`, `server.pem`, `server.key`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_with(kind: Kind, tls: Option<&Path>, what: &str) -> Option<Self> {
        if embedded_only(what) {
            return None;
        }
        let started = async {
            let (server, container) = start(kind, tls, "own").await?;
            ready(server, container.id()).await?;
            anyhow::Ok(Self { server, container })
        };
        Some(
            started
                .await
                .unwrap_or_else(|error| panic!("cannot start {kind} for a test: {error:#}")),
        )
    }

    /// Runs a command of RabbitMQ's and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn rabbitmqctl(&self, command: &str) -> String {
        let line = format!(
            ". /tmp/environment && rabbitmqctl -n test{}@localhost {command}",
            self.server.port
        );
        let arguments = ["exec", self.container.id(), "sh", "-c", &line];
        docker(&arguments).await.expect("docker")
    }

    /// Freezes all its processes: connections stay open, nothing answers.
    ///
    /// # Panics
    /// When the engine refuses, as all of these.
    pub async fn pause(&self) {
        self.container.pause().await.expect("pause");
    }

    pub async fn unpause(&self) {
        self.container.unpause().await.expect("unpause");
    }

    /// Ends it by SIGKILL; its disk stays.
    pub async fn kill(&self) {
        let stopped = self.container.stop_with_timeout(Some(0)).await;
        stopped.expect("kill");
    }

    /// Starts it again, at the same port with the same disk, and waits until it answers.
    pub async fn restart(&self) {
        self.container.start().await.expect("start");
        let ready = ready(self.server, self.container.id()).await;
        ready.expect("answers");
    }
}

/// Starts a container, with labels by which `./test` finds it.
pub(crate) async fn start(
    kind: Kind,
    tls: Option<&Path>,
    role: &str,
) -> anyhow::Result<(Server, ContainerAsync<GenericImage>)> {
    let image = image()?;
    let (name, tag) = image.split_once(':').context("the image has no tag")?;
    // Held until all are chosen, so that they differ.
    let listeners: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()?;
    drop(listeners);
    let mut command = vec!["start".to_owned(), kind.name().to_owned()];
    let count = match kind {
        Kind::PostgreSql | Kind::MariaDb => 1,
        Kind::RabbitMq | Kind::RabbitMqTls => 3,
    };
    command.extend(ports.iter().take(count).map(u16::to_string));
    let mut request = GenericImage::new(name, tag)
        .with_cmd(command)
        .with_network("host")
        .with_label("org.lockstep.tests.role", role)
        .with_label("org.lockstep.tests.root", root()?);
    if let Some(tls) = tls {
        request = request.with_mount(Mount::bind_mount(tls.display().to_string(), "/tls"));
    }
    let container = request.start().await?;
    let server = Server {
        kind,
        port: ports[0],
    };
    Ok((server, container))
}

/// The project's directory, as `./test` has it in its `PWD`.
pub(crate) fn root() -> anyhow::Result<String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
    Ok(root.display().to_string())
}

/// The image's name; made if it is not there.
fn image() -> anyhow::Result<String> {
    // Asked first: without it the image would be made in vain.
    let engine = Command::new("docker").arg("version").output();
    let engine = engine.context("docker")?;
    ensure!(
        engine.status.success(),
        "the Docker engine does not run (./test starts it): {}",
        String::from_utf8_lossy(&engine.stderr).trim()
    );
    let script = format!("{}/tests/images/build", root()?);
    let built = Command::new(&script).output().context(script)?;
    ensure!(
        built.status.success(),
        "tests/images/build failed: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(String::from_utf8(built.stdout)?.trim().to_owned())
}

/// Waits until the server answers in its own protocol; not any longer when its container has ended.
pub(crate) async fn ready(server: Server, container: &str) -> anyhow::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let error = match timeout(Duration::from_secs(5), answers(server)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer"),
        };
        if Instant::now() >= give_up || !runs(container).await? {
            let logs = docker(&["logs", "--tail", "20", container]).await?;
            return Err(error.context(format!("it does not start; its last words: {logs}")));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a container runs; one that is not there does not.
pub(crate) async fn runs(container: &str) -> anyhow::Result<bool> {
    let state = docker(&["inspect", "--format", "{{.State.Running}}", container]).await?;
    Ok(state.trim() == "true")
}

/// What `docker` says, on both of its outputs.
async fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    let output = tokio::process::Command::new("docker")
        .args(arguments)
        .output();
    let output = output.await.context("docker")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn answers(server: Server) -> anyhow::Result<()> {
    match server.kind {
        Kind::PostgreSql | Kind::MariaDb => administrator(server).await?.ping().await?,
        Kind::RabbitMq => {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await?;
            stream.write_all(b"AMQP\0\0\x09\x01").await?;
            let mut answer = [0; 1];
            stream.read_exact(&mut answer).await?;
            // A method frame: Connection.Start.
            ensure!(answer[0] == 1, "speaks no AMQP");
        }
        Kind::RabbitMqTls => {
            TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).await?;
        }
    }
    Ok(())
}

async fn administrator(server: Server) -> anyhow::Result<sqlx::AnyConnection> {
    sqlx::any::install_default_drivers();
    let (user, password) = server.credentials();
    let (scheme, database) = match server.kind {
        Kind::PostgreSql => ("postgres", "postgres"),
        Kind::MariaDb => ("mysql", "mysql"),
        Kind::RabbitMq | Kind::RabbitMqTls => bail!("is no database"),
    };
    let port = server.port;
    let url = format!("{scheme}://{user}:{password}@127.0.0.1:{port}/{database}");
    Ok(sqlx::AnyConnection::connect(&url).await?)
}

pub(crate) async fn create_database(server: Server, name: &str) -> anyhow::Result<()> {
    let mut connection = administrator(server).await?;
    let statement = format!("CREATE DATABASE {name}");
    connection.execute(AssertSqlSafe(statement)).await?;
    connection.close().await?;
    Ok(())
}
