//! The store: artifacts, label logs, outbox, revisions and gateway status in SQL.
//!
//! One [`Store`] for all processes that know the database. It decides nothing about artifacts
//! beyond what has to be decided in the transaction that saves them, knows no event bus and no
//! HTTP. Time comes in as an argument, milliseconds since the epoch.

mod error;
mod gateways;
mod label_log;
mod outbox;
mod routes;
mod save;
mod schema;
mod sql;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use error::StoreError;
pub use gateways::{ApiRow, DeploymentRow, GatewayRow, LabelRow, Snapshot};
pub use label_log::LogPage;
pub use outbox::OutboxRow;
pub use save::{Save, SaveMode, SaveOutcome};
pub use schema::SCHEMA_VERSION;

/// Where the store is and what it remembers.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The SQLite file; made when it is not there.
    pub file: PathBuf,
    /// Id of the data center whose label logs this process writes.
    pub dc: String,
    /// How many revisions of each API are kept, at least 1.
    pub history_size: u32,
}

impl StoreOptions {
    #[must_use]
    pub fn new(file: PathBuf, dc: &str, history_size: u32) -> Self {
        Self {
            file,
            dc: dc.to_owned(),
            history_size,
        }
    }
}

/// A handle on the database; cheap to clone.
///
/// Writers take turns on one connection (SQLite has one writer at a time anyway), so that a save
/// never waits in SQLite's busy loop behind another one of this process.
#[derive(Clone, Debug)]
pub struct Store {
    write: SqlitePool,
    read: SqlitePool,
    dc: String,
    history_size: u32,
}

impl Store {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] with the file's name when it cannot be opened or is no database,
    /// [`StoreError::NewerSchema`] when a newer version of Lockstep has written it.
    pub async fn open(options: &StoreOptions, now: i64) -> Result<Self, StoreError> {
        let connect = SqliteConnectOptions::new()
            .filename(&options.file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(20));
        let open = |error| StoreError::open(&options.file, error);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(connect.clone())
            .await
            .map_err(open)?;
        schema::migrate(&write, &options.file, now).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(8)
            .connect_with(connect.read_only(true).create_if_missing(false))
            .await
            .map_err(open)?;
        Ok(Self {
            write,
            read,
            dc: options.dc.clone(),
            history_size: options.history_size.max(1),
        })
    }

    /// Id of the data center whose label logs this store writes.
    #[must_use]
    pub fn dc(&self) -> &str {
        &self.dc
    }

    /// Finishes open statements and closes all connections.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}
