//! The store: artifacts, label logs, outbox, revisions and gateway status in SQL.
//!
//! One [`Store`] for all processes that know the database, over SQLite, PostgreSQL and
//! MySQL/MariaDB. It decides nothing about artifacts beyond what has to be decided in the
//! transaction that saves them, knows no event bus and no HTTP. Time comes in as an argument,
//! milliseconds since the epoch.

mod database;
mod decide;
mod dialect;
mod error;
mod gateways;
mod growing;
mod jdbc;
mod label_log;
mod outbox;
mod repairs;
mod routes;
mod save;
mod schema;
mod sql;
mod state;
#[cfg(test)]
mod tests;
mod truth;
mod tx;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kit::config::{Config, ConfigError};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor, Row};
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

pub use database::{Database, Dialect, PoolOptions};
pub use dialect::Script;
pub use error::StoreError;
pub use gateways::{DeploymentRow, GatewayRow, Said};
pub use growing::Growing;
pub use label_log::{LabelLogs, LogRow, Wanted};
pub use outbox::OutboxRow;
pub use repairs::AcceptedRepair;
pub use save::{Save, SaveMode, SaveOutcome};
pub use schema::{SCHEMA_VERSION, SchemaStatus};
pub use truth::{ApiRow, Filter, LabelRow, RevisionRow, Snapshot, Which};

use tx::Tx;

/// Work on the database that takes longer has failed: a server may hang without closing its
/// connections.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may take to answer before it is used.
const TRIAL: Duration = Duration::from_secs(5);
/// Connections that are idle for longer are closed, before the server does.
const IDLE: Duration = Duration::from_secs(60);

/// Where the store is and what it remembers.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub database: Database,
    /// Id of the data center whose label logs this process writes.
    pub dc: String,
    /// How many revisions of each API are kept, at least 1.
    pub history_size: u32,
}

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    write: AnyPool,
    /// The same as `write` but for SQLite, which has one writer at a time: its writers take turns
    /// on one connection, so that none waits in SQLite's busy loop behind another of this process.
    read: AnyPool,
    dc: String,
    history_size: u32,
    /// Those of this process who save wait here for their turn, not on connections.
    turn: Arc<Mutex<()>>,
}

impl StoreOptions {
    /// What a configuration says: `[database.sync_runtime_artifacts_db]`, else
    /// `[database.apim_db]`, else the embedded database under the data directory.
    ///
    /// # Errors
    /// [`ConfigError::Rule`] when the database's address cannot be used.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let (key, said) = config.named_artifacts_database();
        let database = if said.url.is_empty() {
            Database::file(&config.embedded_database())
        } else {
            let password = said.password.expose();
            Database::parse(&said.r#type, &said.url, &said.username, password)
        };
        let mut database = database.map_err(|error| ConfigError::Rule {
            key,
            rule: error.to_string(),
        })?;
        let pool = &said.pool_options;
        database.pool = PoolOptions {
            max: pool.max_active,
            min: pool.min_idle,
            wait: Duration::from_millis(pool.max_wait),
            test: pool.test_on_borrow,
        };
        Ok(Self {
            database,
            dc: config.lockstep.dc.clone(),
            history_size: config.lockstep.history_size,
        })
    }
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it cannot be reached or is no database,
    /// [`StoreError::NewerSchema`] when a newer version of Lockstep has written it.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let database = &options.database;
        if !database.ignored_parameters().is_empty() {
            tracing::warn!(
                %database,
                parameters = database.ignored_parameters().join(", "),
                "parameters of the database's address have no effect"
            );
        }
        let migrated = database.migrate().await?;
        for script in &migrated.pending {
            tracing::info!(%database, script = script.name, "applied");
        }
        let (write, read) = match database.path() {
            Some(_) => (
                pool(database, false, 1).await?,
                pool(database, true, 8).await?,
            ),
            None => {
                let pool = pool(database, false, database.pool.max.max(2)).await?;
                (pool.clone(), pool)
            }
        };
        let store = Self {
            database: database.clone(),
            write,
            read,
            dc: options.dc.clone(),
            history_size: options.history_size.max(1),
            turn: Arc::default(),
        };
        store.warn_of_small_packets().await?;
        Ok(store)
    }

    /// A MySQL server refuses artifacts above its limit for a packet; one that is lower than the
    /// largest artifact is worth knowing before.
    async fn warn_of_small_packets(&self) -> Result<(), StoreError> {
        if self.database.dialect() != Dialect::MySql {
            return Ok(());
        }
        let bytes = self.count(dialect::MAX_PACKET).await?;
        if bytes <= artifact::MAX_ARTIFACT_BYTES as u64 {
            tracing::warn!(
                database = %self.database,
                bytes,
                "the server refuses artifacts above its max_allowed_packet"
            );
        }
        Ok(())
    }

    /// Id of the data center whose label logs this store writes.
    #[must_use]
    pub fn dc(&self) -> &str {
        &self.dc
    }

    /// Finishes open statements and closes all connections; those of a server that hangs are left
    /// to the end of the process.
    pub async fn close(&self) {
        let closed = async {
            self.read.close().await;
            self.write.close().await;
        };
        let _ = timeout(TRIAL, closed).await;
    }

    async fn begin_write(&self) -> Result<Tx, StoreError> {
        let dialect = self.database.dialect();
        let inner = self.write.begin_with(dialect.begin_write()).await?;
        Ok(Tx::new(inner, dialect))
    }

    async fn begin_read(&self) -> Result<Tx, StoreError> {
        let dialect = self.database.dialect();
        let inner = self.read.begin_with(dialect.begin_read()).await?;
        Ok(Tx::new(inner, dialect))
    }

    /// Bounds work on the database. What is cut off is rolled back.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout(PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::NoAnswer),
        }
    }

    async fn count(&self, statement: &'static str) -> Result<u64, StoreError> {
        let work = async {
            let row = sqlx::query(statement).fetch_one(&self.read).await?;
            label_log::unsigned(row.try_get(0)?, "COUNT")
        };
        self.within(work).await
    }
}

async fn pool(database: &Database, read_only: bool, max: u32) -> Result<AnyPool, StoreError> {
    let dialect = database.dialect();
    let mut url: Url = database.url();
    if database.path().is_some() {
        url.set_query(Some("mode=rw"));
    }
    let options = &database.pool;
    let tested = options.test && database.path().is_none();
    AnyPoolOptions::new()
        .max_connections(max)
        .min_connections(options.min.min(max))
        .acquire_timeout(options.wait)
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            Box::pin(async move {
                // What was cut off may have left a transaction open. A connection that does not
                // answer at once is replaced.
                if !tested {
                    return Ok(true);
                }
                let tried = timeout(TRIAL, connection.execute("ROLLBACK")).await;
                Ok(matches!(tried, Ok(Ok(_))))
            })
        })
        .after_connect(move |connection, _| Box::pin(dialect.set_up(connection, read_only)))
        .connect(url.as_str())
        .await
        .map_err(|error| StoreError::open(database, error))
}
