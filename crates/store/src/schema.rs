//! The schema: applying `dbscripts/` and refusing what is newer.

use std::path::Path;

use sqlx::{Row, SqlitePool};

use crate::{StoreError, sql};

/// The scripts in the order in which they are applied; the n-th makes schema version n.
const SCRIPTS: &[&str] = &[include_str!(
    "../../../dbscripts/sqlite/0001-artifacts-and-label-log.sql"
)];

/// The schema version that this program writes.
#[allow(clippy::cast_possible_wrap)]
pub const SCHEMA_VERSION: i64 = SCRIPTS.len() as i64;

/// Applies the scripts that the database has not seen, each in one transaction.
pub(crate) async fn migrate(pool: &SqlitePool, file: &Path, now: i64) -> Result<(), StoreError> {
    let mut tx = pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(|error| StoreError::open(file, error))?;
    let has_schema = sqlx::query(sql::HAS_SCHEMA_TABLE)
        .fetch_optional(&mut *tx)
        .await
        .map_err(|error| StoreError::open(file, error))?;
    let found: i64 = match has_schema {
        None => 0,
        Some(_) => sqlx::query(sql::SCHEMA_VERSION)
            .fetch_one(&mut *tx)
            .await?
            .try_get(0)?,
    };
    if found > SCHEMA_VERSION {
        return Err(StoreError::NewerSchema {
            file: file.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    for (script, version) in SCRIPTS.iter().zip(1_i64..).skip_while(|(_, v)| *v <= found) {
        sqlx::raw_sql(*script).execute(&mut *tx).await?;
        sqlx::query(sql::INSERT_SCHEMA_VERSION)
            .bind(version)
            .bind(now)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}
