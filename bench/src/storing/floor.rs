//! The floor under a save: the same rows, plainly inserted one by one in one transaction. Nothing
//! is read, decided or digested; one connection of the database's own driver, its statements
//! prepared once.

use std::sync::Arc;

use sqlx::{
    AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, SqlSafeStr, SqlStr,
    SqliteConnection,
};
use store::Dialect;

use crate::data::{DC, LABEL, Rows};

/// A connection with its statements.
#[derive(Debug)]
pub struct Floor {
    connection: Driver,
    statements: Statements,
    /// The newest position of the label's log.
    pub seq: u64,
}

#[derive(Debug)]
pub enum Driver {
    Sqlite(SqliteConnection),
    PostgreSql(PgConnection),
    MySql(MySqlConnection),
}

#[derive(Debug)]
struct Statements {
    begin: &'static str,
    details: SqlStr,
    artifact: SqlStr,
    api: SqlStr,
    route: SqlStr,
    revision: SqlStr,
    sequence: SqlStr,
    log: SqlStr,
    outbox: SqlStr,
}

/// What the store sets in its own sessions, as far as it matters to speed and safety.
const SQLITE: &[&str] = &[
    "PRAGMA busy_timeout = 20000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];
const MYSQL: &[&str] = &["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"];

/// The same for each driver: a function over all of them would be no shorter.
macro_rules! insert_rows {
    ($connection:expr, $statements:expr, $rows:expr, $now:expr) => {{
        let mut tx = $connection.begin_with($statements.begin).await?;
        for row in $rows {
            let artifact = &row.save.artifact;
            let id = artifact.api_id.as_str();
            let digest = row.digest.as_str();
            let text = row.save.text.as_bytes();
            sqlx::query($statements.details.clone())
                .bind(id)
                .bind(artifact.tenant_domain.as_str())
                .bind(artifact.provider.as_deref())
                .bind(artifact.name.as_str())
                .bind(artifact.version.as_str())
                .execute(&mut *tx)
                .await?;
            sqlx::query($statements.api.clone())
                .bind(id)
                .bind(artifact.name.as_str())
                .bind(artifact.version.as_str())
                .bind(artifact.tenant_domain.as_str())
                .bind(digest)
                .bind(DC)
                .bind($now)
                .execute(&mut *tx)
                .await?;
            sqlx::query($statements.route.clone())
                .bind(id)
                .bind(row.route.as_str())
                .execute(&mut *tx)
                .await?;
            sqlx::query($statements.revision.clone())
                .bind(id)
                .bind(DC)
                .bind(digest)
                .bind(text)
                .bind($now)
                .execute(&mut *tx)
                .await?;
            sqlx::query($statements.artifact.clone())
                .bind(LABEL)
                .bind(id)
                .bind(text)
                .execute(&mut *tx)
                .await?;
            sqlx::query($statements.log.clone())
                .bind(DC)
                .bind(LABEL)
                .bind(id)
                .bind(row.seq)
                .bind(digest)
                .bind($now)
                .execute(&mut *tx)
                .await?;
            sqlx::query($statements.outbox.clone())
                .bind(id)
                .bind(row.announcement.as_str())
                .bind($now)
                .execute(&mut *tx)
                .await?;
        }
        if let Some(last) = $rows.last() {
            sqlx::query($statements.sequence.clone())
                .bind(last.seq)
                .bind(DC)
                .bind(LABEL)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }};
}

impl Floor {
    /// Sets the session up as the store does, and makes the label's row of `LS_LABEL_SEQUENCE`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn new(mut connection: Driver) -> Result<Self, sqlx::Error> {
        let first = SqlStr::from_static(
            "INSERT INTO LS_LABEL_SEQUENCE (DC, GATEWAY_LABEL, SEQ) \
             VALUES ('DC1', 'Production and Sandbox', 0)",
        );
        let dialect = match &mut connection {
            Driver::Sqlite(connection) => {
                for statement in SQLITE {
                    connection.execute(*statement).await?;
                }
                connection.execute(first).await?;
                Dialect::Sqlite
            }
            Driver::PostgreSql(connection) => {
                connection.execute(first).await?;
                Dialect::PostgreSql
            }
            Driver::MySql(connection) => {
                for statement in MYSQL {
                    connection.execute(*statement).await?;
                }
                connection.execute(first).await?;
                Dialect::MySql
            }
        };
        Ok(Self {
            connection,
            statements: Statements::of(dialect),
            seq: 0,
        })
    }

    /// Writes the rows in one transaction.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn write(&mut self, rows: &[Rows], now: i64) -> Result<(), sqlx::Error> {
        let statements = &self.statements;
        match &mut self.connection {
            Driver::Sqlite(connection) => insert_rows!(connection, statements, rows, now),
            Driver::PostgreSql(connection) => insert_rows!(connection, statements, rows, now),
            Driver::MySql(connection) => insert_rows!(connection, statements, rows, now),
        }
    }

    /// # Errors
    /// When the connection does not end in good order.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        match self.connection {
            Driver::Sqlite(connection) => connection.close().await,
            Driver::PostgreSql(connection) => connection.close().await,
            Driver::MySql(connection) => connection.close().await,
        }
    }
}

impl Statements {
    fn of(dialect: Dialect) -> Self {
        let text = |text: &'static str| placed(dialect, text);
        Self {
            begin: match dialect {
                Dialect::Sqlite => "BEGIN IMMEDIATE",
                Dialect::PostgreSql => "BEGIN ISOLATION LEVEL READ COMMITTED",
                Dialect::MySql => "START TRANSACTION",
            },
            details: text(
                "INSERT INTO AM_GW_PUBLISHED_API_DETAILS (API_ID, TENANT_DOMAIN, API_PROVIDER, \
                 API_NAME, API_VERSION) VALUES (?, ?, ?, ?, ?)",
            ),
            artifact: text(
                "INSERT INTO AM_GW_API_ARTIFACTS (GATEWAY_LABEL, API_ID, ARTIFACT, \
                 GATEWAY_INSTRUCTION) VALUES (?, ?, ?, 'Publish')",
            ),
            api: text(
                "INSERT INTO LS_API (API_ID, API_NAME, API_VERSION, TENANT_DOMAIN, INSTRUCTION, \
                 REVISION, DIGEST, DC, SAVED) VALUES (?, ?, ?, ?, 'Publish', 1, ?, ?, ?)",
            ),
            route: text("INSERT INTO LS_ROUTE (API_ID, POSITION, ROUTE) VALUES (?, 0, ?)"),
            revision: text(
                "INSERT INTO LS_REVISION (API_ID, REVISION, DC, INSTRUCTION, DIGEST, ARTIFACT, \
                 SAVED) VALUES (?, 1, ?, 'Publish', ?, ?, ?)",
            ),
            sequence: text(
                "UPDATE LS_LABEL_SEQUENCE SET SEQ = ? WHERE DC = ? AND GATEWAY_LABEL = ?",
            ),
            log: text(
                "INSERT INTO LS_LABEL_LOG (DC, GATEWAY_LABEL, API_ID, SEQ, INSTRUCTION, REVISION, \
                 DIGEST, SAVED) VALUES (?, ?, ?, ?, 'Publish', 1, ?, ?)",
            ),
            outbox: text("INSERT INTO LS_OUTBOX (API_ID, ANNOUNCEMENT, SAVED) VALUES (?, ?, ?)"),
        }
    }
}

/// The text with the driver's placeholders; a copy of it costs nothing.
fn placed(dialect: Dialect, text: &'static str) -> SqlStr {
    if dialect != Dialect::PostgreSql {
        return SqlStr::from_static(text);
    }
    let mut parts = text.split('?');
    let mut placed = parts.next().unwrap_or_default().to_owned();
    for (number, part) in (1..).zip(parts) {
        placed.push_str(&format!("${number}{part}"));
    }
    AssertSqlSafe(Arc::<str>::from(placed)).into_sql_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgresql_has_placeholders_of_its_own() {
        let text = "A = ? AND B = ?";
        assert_eq!(
            placed(Dialect::PostgreSql, text).as_str(),
            "A = $1 AND B = $2"
        );
        assert_eq!(placed(Dialect::MySql, text).as_str(), text);
    }
}
