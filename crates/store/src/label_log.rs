//! Reading the label logs.

use artifact::{Digest, Instruction, Label, LabelLogEntry, SavedTo};
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError, sql};

/// A stretch of one label log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    pub entries: Vec<LabelLogEntry>,
    /// The log is complete up to this position: no entry at or below it is missing.
    pub complete_to: u64,
    /// Whether the log goes on behind `complete_to`.
    pub more: bool,
}

impl Store {
    /// The newest position of every label log of this store's data center.
    pub async fn label_seqs(&self) -> Result<Vec<(Label, u64)>, StoreError> {
        let rows = sqlx::query(sql::LABEL_SEQS)
            .bind(&self.dc)
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    label(row, 0, "LS_LABEL_SEQUENCE")?,
                    unsigned(row.try_get(1)?, "LS_LABEL_SEQUENCE")?,
                ))
            })
            .collect()
    }

    /// Entries of a label log behind position `after`, as one snapshot: up to `limit` of them, and
    /// no more than the first that goes beyond [`PAGE_BYTES`] of artifacts.
    pub async fn label_log(
        &self,
        label: &Label,
        after: u64,
        limit: u32,
    ) -> Result<LogPage, StoreError> {
        let mut tx = self.read.begin().await?;
        let newest = sqlx::query(sql::LABEL_SEQ)
            .bind(&self.dc)
            .bind(label.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let newest = match newest {
            None => 0,
            Some(row) => unsigned(row.try_get(0)?, "LS_LABEL_SEQUENCE")?,
        };
        let mut entries: Vec<LabelLogEntry> = Vec::new();
        let mut bytes = 0;
        let mut rows = sqlx::query(sql::LOG_AFTER)
            .bind(&self.dc)
            .bind(label.as_str())
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(limit)
            .fetch(&mut *tx);
        let mut cut = false;
        while let Some(row) = rows.try_next().await? {
            let entry = entry(&row)?;
            bytes += entry.artifact.as_ref().map_or(0, String::len);
            entries.push(entry);
            if bytes >= PAGE_BYTES {
                cut = true;
                break;
            }
        }
        drop(rows);
        for entry in &mut entries {
            if entry.instruction == Instruction::Remove {
                let rows = sqlx::query(sql::PUBLISHED_TO)
                    .bind(&self.dc)
                    .bind(&entry.api_id)
                    .fetch_all(&mut *tx)
                    .await?;
                let published = rows.iter().map(saved_to);
                entry.published_to = published.collect::<Result<_, _>>()?;
            }
        }
        tx.commit().await?;
        let complete_to = match entries.last() {
            Some(last) if cut || entries.len() == limit as usize => last.seq,
            _ => newest,
        };
        Ok(LogPage {
            entries,
            complete_to,
            more: complete_to < newest,
        })
    }
}

/// Artifact bytes after which a page ends.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

fn saved_to(row: &SqliteRow) -> Result<SavedTo, StoreError> {
    Ok(SavedTo {
        label: label(row, 0, "LS_LABEL_LOG")?,
        seq: unsigned(row.try_get(1)?, "LS_LABEL_LOG")?,
    })
}

/// An entry whose artifact another node has damaged is handed on all the same: its text is not
/// what the digest names, so every gateway refuses it with that reason, and the log goes on.
fn entry(row: &SqliteRow) -> Result<LabelLogEntry, StoreError> {
    const TABLE: &str = "LS_LABEL_LOG";
    let instruction = instruction(row.try_get("INSTRUCTION")?, TABLE)?;
    let artifact: Option<Vec<u8>> = row.try_get("ARTIFACT")?;
    let artifact = match (instruction, artifact) {
        (Instruction::Remove, _) => None,
        (Instruction::Publish, artifact) => {
            let bytes = artifact.unwrap_or_default();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
    };
    Ok(LabelLogEntry {
        seq: unsigned(row.try_get("SEQ")?, TABLE)?,
        api_id: row.try_get("API_ID")?,
        name: row.try_get("API_NAME")?,
        version: row.try_get("API_VERSION")?,
        tenant_domain: row.try_get("TENANT_DOMAIN")?,
        instruction,
        revision: unsigned(row.try_get("REVISION")?, TABLE)?,
        digest: digest(row.try_get("DIGEST")?, TABLE)?,
        time: row.try_get("SAVED")?,
        artifact,
        published_to: Vec::new(),
    })
}

pub(crate) fn unsigned(value: i64, table: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::bad_row(table, "a negative position"))
}

pub(crate) fn digest(text: &str, table: &'static str) -> Result<Digest, StoreError> {
    Digest::parse(text).map_err(|error| StoreError::bad_row(table, error.to_string()))
}

pub(crate) fn instruction(text: &str, table: &'static str) -> Result<Instruction, StoreError> {
    Instruction::parse(text)
        .ok_or_else(|| StoreError::bad_row(table, format!("unknown instruction {text:?}")))
}

pub(crate) fn label(
    row: &SqliteRow,
    column: usize,
    table: &'static str,
) -> Result<Label, StoreError> {
    Label::parse(row.try_get::<String, _>(column)?)
        .map_err(|error| StoreError::bad_row(table, error.to_string()))
}
