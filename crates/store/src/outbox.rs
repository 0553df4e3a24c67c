//! The outbox: what was saved and still has to be announced.

use artifact::Announcement;
use sqlx::{Row, Sqlite, Transaction};

use crate::{Store, StoreError, sql};

/// A claimed announcement.
#[derive(Clone, Debug)]
pub struct OutboxRow {
    pub id: i64,
    pub announcement: Announcement,
}

pub(crate) async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    announcement: &Announcement,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(announcement)
        .map_err(|error| StoreError::bad_row("LS_OUTBOX", error.to_string()))?;
    sqlx::query(sql::INSERT_OUTBOX)
        .bind(&announcement.api_id)
        .bind(text)
        .bind(announcement.time)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// Claims up to `limit` of the oldest announcements for `lease` milliseconds. A claim that is
    /// not followed by [`Store::mark_announced`] ends with its lease: another relay takes over.
    pub async fn claim_outbox(
        &self,
        now: i64,
        lease: i64,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let mut tx = self.write.begin_with("BEGIN IMMEDIATE").await?;
        let rows = sqlx::query(sql::CLAIM_OUTBOX)
            .bind(now + lease)
            .bind(now)
            .bind(limit)
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.try_get(0)?;
            // A row that cannot be read announces nothing; the label log itself has the entry.
            match serde_json::from_str(row.try_get(1)?) {
                Ok(announcement) => claimed.push(OutboxRow { id, announcement }),
                Err(error) => {
                    tracing::error!(id, %error, "an outbox row cannot be read, dropping it");
                    self.mark_announced(&[id]).await?;
                }
            }
        }
        claimed.sort_by_key(|row| row.id);
        Ok(claimed)
    }

    /// Takes announcements that have been sent out of the outbox.
    pub async fn mark_announced(&self, ids: &[i64]) -> Result<(), StoreError> {
        let mut tx = self.write.begin_with("BEGIN IMMEDIATE").await?;
        for id in ids {
            sqlx::query(sql::DELETE_OUTBOX)
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// How many announcements wait.
    pub async fn outbox_length(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(sql::OUTBOX_LENGTH)
            .fetch_one(&self.read)
            .await?;
        crate::label_log::unsigned(row.try_get(0)?, "LS_OUTBOX")
    }
}
