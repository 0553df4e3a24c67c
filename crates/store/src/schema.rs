//! The schema: applying `dbscripts/` and refusing what is newer.

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection, Executor, Row};

use crate::dialect::Script;
use crate::{Database, Dialect, StoreError, sql};

/// The schema version that this program reads and writes.
pub const SCHEMA_VERSION: i64 = 4;

/// What a database has and what it lacks.
#[derive(Clone, Debug)]
pub struct SchemaStatus {
    /// The version found; 0 where there is no schema.
    pub version: i64,
    /// The scripts that are still to be applied.
    pub pending: Vec<Script>,
}

impl Database {
    /// What schema the database has.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it cannot be reached or is no database.
    pub async fn status(&self) -> Result<SchemaStatus, StoreError> {
        if self.path().is_some_and(|file| !file.exists()) {
            return Ok(self.status_at(0));
        }
        let mut connection = connect(self, false).await?;
        let version = version(self, &mut connection).await;
        connection.close().await.ok();
        Ok(self.status_at(version?))
    }

    fn status_at(&self, version: i64) -> SchemaStatus {
        let scripts = self.dialect().scripts().iter();
        let pending = scripts.filter(|script| script.version > version);
        SchemaStatus {
            version,
            pending: pending.copied().collect(),
        }
    }

    /// Applies the scripts that the database has not seen, and returns them. Programs that do so
    /// at once take turns.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer version of Lockstep has written it; when a script
    /// fails, with its name.
    pub async fn migrate(&self) -> Result<SchemaStatus, StoreError> {
        let mut connection = connect(self, true).await?;
        let applied = self.migrate_on(&mut connection).await;
        connection.close().await.ok();
        applied
    }

    async fn migrate_on(&self, connection: &mut AnyConnection) -> Result<SchemaStatus, StoreError> {
        let found = self.checked(version(self, connection).await?)?;
        if found.pending.is_empty() {
            return Ok(found);
        }
        let dialect = self.dialect();
        let failed = |error| StoreError::open(self, error);
        let begin = dialect.begin_write();
        let mut tx = connection.begin_with(begin).await.map_err(failed)?;
        let turn = dialect.schema_turn();
        if let Some((take, _)) = turn {
            sqlx::query(take)
                .fetch_all(&mut *tx)
                .await
                .map_err(failed)?;
        }
        // Another program may have had the turn before.
        let found = self.checked(version(self, &mut tx).await?)?;
        for script in &found.pending {
            let applied = (&mut *tx).execute(sqlx::raw_sql(script.text)).await;
            applied.map_err(|error| StoreError::Script {
                database: self.to_string(),
                script: script.name,
                reason: message(&error),
            })?;
        }
        if let Some((_, Some(give_back))) = turn {
            sqlx::query(give_back)
                .fetch_all(&mut *tx)
                .await
                .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(found)
    }

    fn checked(&self, version: i64) -> Result<SchemaStatus, StoreError> {
        if version > SCHEMA_VERSION {
            return Err(StoreError::NewerSchema {
                database: self.to_string(),
                found: version,
                known: SCHEMA_VERSION,
            });
        }
        Ok(self.status_at(version))
    }
}

/// Connects outside of any pool. A file that is not there is made only if `make` says so.
async fn connect(database: &Database, make: bool) -> Result<AnyConnection, StoreError> {
    sqlx::any::install_default_drivers();
    let failed = |error| StoreError::open(database, error);
    let mut url = database.url();
    if database.path().is_some() {
        url.set_query(Some(if make { "mode=rwc" } else { "mode=rw" }));
    }
    let connect = async {
        let mut connection = AnyConnectOptions::from_url(&url)?.connect().await?;
        let dialect = database.dialect();
        let mut version = String::new();
        if dialect == Dialect::MySql {
            let row = sqlx::query("SELECT VERSION()").fetch_one(&mut connection);
            version = row.await?.try_get(0)?;
        }
        if dialect.too_old(&version).is_none() {
            dialect.set_up(&mut connection, false).await?;
        }
        Ok((connection, version))
    };
    let (connection, version) = match tokio::time::timeout(database.pool.wait, connect).await {
        Ok(connected) => connected.map_err(failed)?,
        Err(_) => return Err(failed(sqlx::Error::PoolTimedOut)),
    };
    match database.dialect().too_old(&version) {
        None => Ok(connection),
        Some(needed) => Err(StoreError::Open {
            database: database.to_string(),
            reason: format!("it is version {version}; {needed}"),
        }),
    }
}

async fn version(database: &Database, connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let failed = |error| StoreError::open(database, error);
    let has_table: i64 = sqlx::query(database.dialect().has_schema_table())
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)?;
    if has_table == 0 {
        return Ok(0);
    }
    sqlx::query(sql::SCHEMA_VERSION)
        .fetch_one(connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)
}

/// What the database says, without the driver's frame around it.
pub(crate) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "it does not answer in time".to_owned(),
        error => error.to_string(),
    }
}
