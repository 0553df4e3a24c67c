//! The outbox: what was saved and still has to be announced.

use std::collections::HashMap;

use artifact::Announcement;
use sqlx::Row;

use crate::tx::Arg;
use crate::{Store, StoreError, sql};

/// A claimed announcement.
#[derive(Clone, Debug)]
pub struct OutboxRow {
    pub id: i64,
    pub announcement: Announcement,
}

impl Store {
    /// Claims up to `limit` of the oldest announcements that are free at `now`, `until` a later
    /// moment. A claim that is not followed by [`Store::mark_announced`] ends then: another relay
    /// takes over.
    ///
    /// Several relays share the work, but an API whose oldest announcement is somebody else's is
    /// left to that one: announcements of one API leave in the order of its saves.
    pub async fn claim_outbox(
        &self,
        now: i64,
        until: i64,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.within(self.claim(now, until, limit)).await
    }

    async fn claim(&self, now: i64, until: i64, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let mut tx = self.begin_write().await?;
        let args = [now.into(), i64::from(limit).into()];
        let rows = tx.fetch(tx.dialect.unclaimed(), &args).await?;
        if rows.is_empty() {
            tx.rollback().await?;
            return Ok(Vec::new());
        }
        let mut found: Vec<(i64, String, String)> = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        }
        found.sort_unstable_by_key(|(id, ..)| *id);
        // The oldest row of each API, claimed or not: rows leave the table when they are sent.
        let mut first_found: HashMap<&str, i64> = HashMap::new();
        for (id, api_id, _) in &found {
            first_found.entry(api_id).or_insert(*id);
        }
        let apis: Vec<&str> = first_found.keys().copied().collect();
        let mut heads: HashMap<String, i64> = HashMap::new();
        for row in tx.fetch_in(sql::OUTBOX_HEADS, &[], &apis).await? {
            heads.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let ours = |api_id: &str| match (first_found.get(api_id), heads.get(api_id)) {
            (Some(first), Some(head)) => first <= head,
            _ => true,
        };
        let claimed: Vec<&(i64, String, String)> =
            found.iter().filter(|(_, api_id, _)| ours(api_id)).collect();
        let ids: Vec<Arg<'_>> = claimed.iter().map(|(id, ..)| Arg::Int(*id)).collect();
        let until = [until.into()];
        tx.execute_in(sql::CLAIM_OUTBOX, &until, &ids).await?;
        tx.commit().await?;
        let (mut readable, mut damaged) = (Vec::with_capacity(claimed.len()), Vec::new());
        for (id, _, text) in claimed {
            // A row that cannot be read announces nothing; the label log itself has the entry.
            match serde_json::from_str(text) {
                Ok(announcement) => readable.push(OutboxRow {
                    id: *id,
                    announcement,
                }),
                Err(error) => {
                    tracing::error!(id, %error, "an outbox row cannot be read, dropping it");
                    damaged.push(*id);
                }
            }
        }
        if !damaged.is_empty() {
            self.mark_announced(&damaged).await?;
        }
        Ok(readable)
    }

    /// Takes announcements that have been sent out of the outbox.
    pub async fn mark_announced(&self, ids: &[i64]) -> Result<(), StoreError> {
        self.change_claimed(sql::DELETE_OUTBOX, &[], ids).await
    }

    /// Gives announcements back that were claimed until `claim`: who claims after `free` gets them.
    /// Those that another relay has claimed in the meantime stay its.
    pub async fn give_back(&self, ids: &[i64], claim: i64, free: i64) -> Result<(), StoreError> {
        let before = [Arg::Int(free), Arg::Int(claim)];
        self.change_claimed(sql::GIVE_BACK_OUTBOX, &before, ids)
            .await
    }

    async fn change_claimed(
        &self,
        statement: &'static str,
        before: &[Arg<'_>],
        ids: &[i64],
    ) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let work = async {
            let mut tx = self.begin_write().await?;
            let ids: Vec<Arg<'_>> = ids.iter().map(|id| Arg::Int(*id)).collect();
            tx.execute_in(statement, before, &ids).await?;
            tx.commit().await
        };
        self.within(work).await
    }

    /// How many announcements wait.
    pub async fn outbox_length(&self) -> Result<u64, StoreError> {
        self.count(sql::OUTBOX_LENGTH).await
    }
}
