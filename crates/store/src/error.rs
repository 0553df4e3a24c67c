//! Errors of the store.

use std::path::{Path, PathBuf};

/// What went wrong in the database, with the object concerned.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{file}: cannot open the database: {reason}")]
    Open { file: PathBuf, reason: String },
    #[error(
        "{file}: its schema is version {found}, this program knows up to {known}; \
         use the version of Lockstep that wrote it, or a newer one"
    )]
    NewerSchema {
        file: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("database: {table}: {what}")]
    BadRow { table: &'static str, what: String },
}

impl StoreError {
    pub(crate) fn open(file: &Path, error: sqlx::Error) -> Self {
        let text = match &error {
            sqlx::Error::Database(error) => error.message().to_owned(),
            error => error.to_string(),
        };
        let reason = if text.contains("file is not a database") || text.contains("malformed") {
            format!("it is damaged or no SQLite database ({text}); move it away or restore a copy")
        } else {
            text
        };
        Self::Open {
            file: file.to_owned(),
            reason,
        }
    }

    pub(crate) fn bad_row(table: &'static str, what: impl Into<String>) -> Self {
        Self::BadRow {
            table,
            what: what.into(),
        }
    }
}
