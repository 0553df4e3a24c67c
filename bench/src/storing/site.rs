//! Where it is measured: one server with two databases of the same schema, one for the store and
//! one for the floor.

use anyhow::Context;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr};
use store::{Database, Store, StoreOptions};
use tempfile::TempDir;
use test_servers::Server;
use tokio::sync::Mutex;

use super::Kind;
use super::floor::{Driver, Floor};
use crate::data::{DC, Maker};

/// The two databases, both in use.
#[derive(Debug)]
pub struct Site {
    pub kind: Kind,
    /// Of the server, for the report.
    pub version: String,
    pub store: Store,
    pub floor: Mutex<Floor>,
    pub maker: Mutex<Maker>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Files(TempDir),
    Server { server: Server, names: [String; 2] },
}

impl Site {
    /// Starts the server where there is none yet, and makes the databases.
    ///
    /// # Errors
    /// When the server does not start, or refuses.
    pub async fn open(kind: Kind) -> anyhow::Result<Self> {
        let (place, version) = match kind {
            Kind::Sqlite => (Place::Files(tempfile::tempdir()?), sqlite_version().await?),
            Kind::Postgresql => on_server(test_servers::Kind::PostgreSql).await?,
            Kind::Mysql => on_server(test_servers::Kind::MariaDb).await?,
        };
        let [database, for_floor] = place.databases()?;
        for_floor.migrate().await?;
        let floor = place.plain_connection().await?;
        let options = StoreOptions {
            database,
            dc: DC.into(),
            history_size: 3,
        };
        Ok(Self {
            kind,
            version: format!("{}: {version}", kind.name()),
            store: Store::open(&options).await?,
            floor: Mutex::new(Floor::new(floor).await?),
            maker: Mutex::new(Maker::new()?),
            place,
        })
    }

    /// Takes the databases away again.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn close(self) -> anyhow::Result<()> {
        self.store.close().await;
        self.floor.into_inner().close().await?;
        match self.place {
            Place::Files(directory) => directory.close()?,
            Place::Server { server, names } => {
                for name in names {
                    administer(server, &format!("DROP DATABASE {name}")).await?;
                }
            }
        }
        Ok(())
    }
}

impl Place {
    fn databases(&self) -> anyhow::Result<[Database; 2]> {
        Ok(match self {
            Self::Files(directory) => [
                Database::file(&directory.path().join("store.db"))?,
                Database::file(&directory.path().join("floor.db"))?,
            ],
            Self::Server { server, names } => {
                let (user, password) = server.credentials();
                let [store, floor] = names;
                [
                    Database::parse("", &server.jdbc_url(store), user, password)?,
                    Database::parse("", &server.jdbc_url(floor), user, password)?,
                ]
            }
        })
    }

    async fn plain_connection(&self) -> anyhow::Result<Driver> {
        Ok(match self {
            Self::Files(directory) => Driver::Sqlite(
                SqliteConnectOptions::new()
                    .filename(directory.path().join("floor.db"))
                    .connect()
                    .await?,
            ),
            Self::Server { server, names } => match server.kind {
                test_servers::Kind::PostgreSql => {
                    Driver::PostgreSql(postgresql(*server, &names[1]).await?)
                }
                _ => Driver::MySql(mysql(*server, &names[1]).await?),
            },
        })
    }
}

async fn on_server(kind: test_servers::Kind) -> anyhow::Result<(Place, String)> {
    let server = test_servers::started(kind).await?;
    let version = version(server).await?;
    let names =
        ["store", "floor"].map(|of| format!("bench_{of}_{}", uuid::Uuid::new_v4().simple()));
    for name in &names {
        administer(server, &format!("CREATE DATABASE {name}")).await?;
    }
    Ok((Place::Server { server, names }, version))
}

async fn postgresql(server: Server, database: &str) -> Result<PgConnection, sqlx::Error> {
    let (user, password) = server.credentials();
    PgConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port)
        .username(user)
        .password(password)
        .database(database)
        .connect()
        .await
}

async fn mysql(server: Server, database: &str) -> Result<MySqlConnection, sqlx::Error> {
    let (user, password) = server.credentials();
    MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port)
        .username(user)
        .password(password)
        .database(database)
        .connect()
        .await
}

/// A statement of the server's administrator.
async fn administer(server: Server, statement: &str) -> anyhow::Result<()> {
    let text = AssertSqlSafe(statement).into_sql_str();
    let done = async {
        if server.kind == test_servers::Kind::PostgreSql {
            let mut connection = postgresql(server, "postgres").await?;
            connection.execute(text).await?;
            connection.close().await
        } else {
            let mut connection = mysql(server, "mysql").await?;
            connection.execute(text).await?;
            connection.close().await
        }
    };
    done.await.with_context(|| statement.to_owned())
}

async fn version(server: Server) -> Result<String, sqlx::Error> {
    if server.kind == test_servers::Kind::PostgreSql {
        let mut connection = postgresql(server, "postgres").await?;
        let version = sqlx::query_scalar("SHOW server_version");
        version.fetch_one(&mut connection).await
    } else {
        let mut connection = mysql(server, "mysql").await?;
        let version = sqlx::query_scalar("SELECT VERSION()");
        version.fetch_one(&mut connection).await
    }
}

async fn sqlite_version() -> Result<String, sqlx::Error> {
    let options = SqliteConnectOptions::new().in_memory(true);
    let mut connection = options.connect().await?;
    let version = sqlx::query_scalar("SELECT sqlite_version()");
    version.fetch_one(&mut connection).await
}
