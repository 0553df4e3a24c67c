//! Reading the label logs.

use std::collections::HashMap;

use artifact::{Digest, Instruction, Label, LabelLogEntry, SavedTo};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::write::signed;
use crate::{Store, StoreError, sql, state};

/// A stretch of one label log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    pub entries: Vec<LabelLogEntry>,
    /// The log is complete up to this position: no entry at or below it is missing.
    pub complete_to: u64,
    /// Whether the log goes on behind `complete_to`.
    pub more: bool,
}

const TABLE: &str = "LS_LABEL_LOG";
/// Artifact bytes after which a page ends.
const PAGE_BYTES: i64 = 8 * 1024 * 1024;

impl Store {
    /// The newest position of every label log of this store's data center.
    pub async fn label_seqs(&self) -> Result<Vec<(Label, u64)>, StoreError> {
        self.within(async {
            let mut tx = self.begin_read().await?;
            let seqs = state::seqs(&mut tx, &self.dc).await?;
            tx.commit().await?;
            Ok(seqs.into_iter().collect())
        })
        .await
    }

    /// Entries of a label log behind position `after`, as one snapshot: up to `limit` of them, and
    /// no more than the first that goes beyond [`PAGE_BYTES`] of artifacts.
    pub async fn label_log(
        &self,
        label: &Label,
        after: u64,
        limit: u32,
    ) -> Result<LogPage, StoreError> {
        self.within(self.page(label, after, limit)).await
    }

    async fn page(&self, label: &Label, after: u64, limit: u32) -> Result<LogPage, StoreError> {
        let mut tx = self.begin_read().await?;
        let of_label = [self.dc.as_str().into(), label.as_str().into()];
        let newest = match tx.fetch(sql::LABEL_SEQ, &of_label).await?.first() {
            None => 0,
            Some(row) => unsigned(row.try_get(0)?, "LS_LABEL_SEQUENCE")?,
        };
        let [dc, name] = of_label;
        let args = [
            dc.clone(),
            name.clone(),
            signed(after).into(),
            i64::from(limit).into(),
        ];
        let rows = tx.fetch(sql::LOG_AFTER, &args).await?;
        let mut entries: Vec<LabelLogEntry> = Vec::new();
        let mut bytes = 0;
        for row in &rows {
            entries.push(entry(row)?);
            bytes += row.try_get::<i64, _>(9)?;
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        // A page that was cut short is complete up to its last entry only.
        let cut = entries.len() < rows.len() || rows.len() == limit as usize;
        let complete_to = match entries.last() {
            Some(last) if cut => last.seq,
            _ => newest,
        };
        let args = [dc, name, signed(after).into(), signed(complete_to).into()];
        let mut artifacts = HashMap::new();
        if bytes > 0 {
            for row in tx.fetch(sql::LOG_ARTIFACTS, &args).await? {
                artifacts.insert(unsigned(row.try_get(0)?, TABLE)?, row.try_get(1)?);
            }
        }
        let removed: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.instruction == Instruction::Remove)
            .map(|entry| entry.api_id.as_str())
            .collect();
        let mut published_to: HashMap<String, Vec<SavedTo>> = HashMap::new();
        let dc = [self.dc.as_str().into()];
        for row in tx.fetch_in(sql::PUBLISHED_TO, &dc, &removed).await? {
            let elsewhere = published_to.entry(row.try_get(0)?).or_default();
            elsewhere.push(SavedTo {
                label: self::label(&row, 1, TABLE)?,
                seq: unsigned(row.try_get(2)?, TABLE)?,
            });
        }
        tx.commit().await?;
        for entry in &mut entries {
            match entry.instruction {
                Instruction::Publish => entry.artifact = Some(text(artifacts.remove(&entry.seq))),
                Instruction::Remove => {
                    entry.published_to = published_to.remove(&entry.api_id).unwrap_or_default();
                }
            }
        }
        Ok(LogPage {
            entries,
            complete_to,
            more: complete_to < newest,
        })
    }
}

/// An artifact that something else has damaged is handed on all the same: its text is not what
/// the digest names, so every gateway refuses it with that reason, and the log goes on.
fn text(artifact: Option<Vec<u8>>) -> String {
    String::from_utf8(artifact.unwrap_or_default())
        .unwrap_or_else(|damaged| String::from_utf8_lossy(damaged.as_bytes()).into_owned())
}

/// A row of [`sql::LOG_AFTER`]; columns go by their place, for their case differs between databases.
fn entry(row: &AnyRow) -> Result<LabelLogEntry, StoreError> {
    Ok(LabelLogEntry {
        seq: unsigned(row.try_get(0)?, TABLE)?,
        api_id: row.try_get(1)?,
        name: row.try_get(6)?,
        version: row.try_get(7)?,
        tenant_domain: row.try_get(8)?,
        instruction: instruction(row.try_get(2)?, TABLE)?,
        revision: unsigned(row.try_get(3)?, TABLE)?,
        digest: digest(row.try_get(4)?, TABLE)?,
        time: row.try_get(5)?,
        artifact: None,
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

pub(crate) fn label(row: &AnyRow, column: usize, table: &'static str) -> Result<Label, StoreError> {
    Label::parse(row.try_get::<String, _>(column)?)
        .map_err(|error| StoreError::bad_row(table, error.to_string()))
}
