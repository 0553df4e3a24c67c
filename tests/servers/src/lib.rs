//! PostgreSQL, MariaDB and RabbitMQ for tests: real servers in containers of an image that
//! `tests/images/build` makes.
//!
//! A server that tests share is started by the first of them and left running for the others,
//! those of other test programs included; `./test` or `.ci/run` ends it. Each test takes a database or a topic
//! of its own there. A test that pauses or kills a server starts one for itself.

// Part of tests: what fails here fails the test.
#![allow(clippy::expect_used, clippy::panic)]

mod container;
mod shared;

use std::fmt;

pub use container::Own;

/// The servers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    PostgreSql,
    MariaDb,
    RabbitMq,
    /// RabbitMQ by TLS, which asks clients for certificates; takes a directory of them.
    RabbitMqTls,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::PostgreSql => "postgresql",
            Self::MariaDb => "mariadb",
            Self::RabbitMq => "rabbitmq",
            Self::RabbitMqTls => "rabbitmq-tls",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a server listens: always 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    pub kind: Kind,
    pub port: u16,
}

impl Server {
    /// User and password of the server's administrator.
    #[must_use]
    pub fn credentials(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::PostgreSql => ("postgres", "postgres"),
            Kind::MariaDb => ("root", "root"),
            Kind::RabbitMq | Kind::RabbitMqTls => ("guest", "guest"),
        }
    }

    /// The address of one of its databases, as WSO2's deployment.toml writes it.
    #[must_use]
    pub fn jdbc_url(&self, database: &str) -> String {
        let scheme = match self.kind {
            Kind::MariaDb => "mysql",
            _ => "postgresql",
        };
        format!("jdbc:{scheme}://127.0.0.1:{}/{database}", self.port)
    }

    /// `tcp://127.0.0.1:5672`.
    #[must_use]
    pub fn broker_url(&self) -> String {
        let scheme = match self.kind {
            Kind::RabbitMqTls => "amqps",
            _ => "tcp",
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Makes a database that nobody else has and returns its name.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn new_database(&self) -> String {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        container::create_database(*self, &name)
            .await
            .unwrap_or_else(|error| panic!("{}: cannot make a database: {error:#}", self.kind));
        name
    }
}

/// Whether tests with servers are left out (`./test --embedded-only`). Says so.
#[must_use]
pub fn embedded_only(what: &str) -> bool {
    use std::io::Write;
    if std::env::var_os("LOCKSTEP_EMBEDDED_ONLY").is_none() {
        return false;
    }
    // Not by eprintln!, which the test harness keeps back.
    let line = format!("LEFT OUT (--embedded-only): {what}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    true
}

/// A server that is shared with others, started if it does not run.
///
/// # Errors
/// When it cannot be started.
pub async fn started(kind: Kind) -> anyhow::Result<Server> {
    shared::server(kind).await
}

/// A server that is shared with other tests, started if it does not run. `None` when tests with
/// servers are left out; `what` is told then.
///
/// # Panics
/// When it cannot be started.
pub async fn shared(kind: Kind, what: &str) -> Option<Server> {
    if embedded_only(what) {
        return None;
    }
    let server = started(kind).await;
    Some(server.unwrap_or_else(|error| panic!("cannot start {kind} for tests: {error:#}")))
}
