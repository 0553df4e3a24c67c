//! Errors of the store.

use crate::Database;
use crate::schema::message;

/// What went wrong in the database, with the object concerned. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database{address} {rule}")]
    Address { address: String, rule: String },
    #[error("{database}: cannot open the database: {reason}")]
    Open { database: String, reason: String },
    #[error("{database}: {script} failed: {reason}")]
    Script {
        database: String,
        script: &'static str,
        reason: String,
    },
    #[error(
        "{database}: its schema is version {found}, this program knows up to {known}; \
         use the version of Lockstep that wrote it, or a newer one"
    )]
    NewerSchema {
        database: String,
        found: i64,
        known: i64,
    },
    #[error("database: {}", message(.0))]
    Sql(#[from] sqlx::Error),
    #[error("the database does not answer")]
    NoAnswer,
    /// The connection was lost while a transaction was being committed.
    #[error(
        "the database was lost during the commit; it is not known whether the change was saved"
    )]
    Unknown,
    #[error("database: {table}: {what}")]
    BadRow { table: &'static str, what: String },
}

impl StoreError {
    pub(crate) fn open(database: &Database, error: sqlx::Error) -> Self {
        let text = message(&error);
        let reason = if text.contains("file is not a database") || text.contains("malformed") {
            format!("it is damaged or no SQLite database ({text}); move it away or restore a copy")
        } else {
            text
        };
        Self::Open {
            database: database.to_string(),
            reason,
        }
    }

    /// A commit that the database has refused for what it holds (SQLSTATE 23) or because of
    /// another transaction (40) changed nothing; of any other failure nobody knows.
    pub(crate) fn commit(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refused)
                if refused
                    .code()
                    .is_some_and(|code| code.starts_with("23") || code.starts_with("40")) =>
            {
                Self::Sql(error)
            }
            _ => Self::Unknown,
        }
    }

    pub(crate) fn bad_row(table: &'static str, what: impl Into<String>) -> Self {
        Self::BadRow {
            table,
            what: what.into(),
        }
    }
}
