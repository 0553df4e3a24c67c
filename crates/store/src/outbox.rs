//! The outbox: what was saved and still has to be announced.

use std::collections::{BTreeMap, HashMap};

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

/// A row that nobody has claimed.
struct Found {
    id: i64,
    api_id: String,
    announcement: String,
    /// The oldest row of the same API.
    head: Option<i64>,
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
        let mut found: Vec<Found> = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(Found {
                id: row.try_get(0)?,
                api_id: row.try_get(1)?,
                announcement: row.try_get(2)?,
                head: row.try_get(3)?,
            });
        }
        found.sort_unstable_by_key(|found| found.id);
        // An API is ours when its oldest row is among those found: rows leave the table when they
        // are sent. One that was saved after the statement began has no oldest row yet.
        let mut ours: HashMap<&str, bool> = HashMap::new();
        for found in &found {
            ours.entry(&found.api_id)
                .or_insert_with(|| found.head == Some(found.id));
        }
        let claimed: Vec<&Found> = found
            .iter()
            .filter(|found| ours.get(found.api_id.as_str()) == Some(&true))
            .collect();
        let ids: Vec<Arg<'_>> = claimed.iter().map(|found| Arg::Int(found.id)).collect();
        let until = [until.into()];
        tx.execute_in(sql::CLAIM_OUTBOX, &until, &ids).await?;
        tx.commit().await?;
        let (mut readable, mut damaged) = (Vec::with_capacity(claimed.len()), Vec::new());
        for Found {
            id, announcement, ..
        } in claimed
        {
            // A row that cannot be read announces nothing; the label log itself has the entry.
            match serde_json::from_str(announcement) {
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
        let ids: Vec<Arg<'_>> = damaged.into_iter().map(Arg::Int).collect();
        self.change(sql::DELETE_OUTBOX, &[], &ids).await?;
        Ok(readable)
    }

    /// Takes announcements that were sent at `now` out of the outbox, and notes it for their APIs.
    pub async fn mark_announced(&self, rows: &[OutboxRow], now: i64) -> Result<(), StoreError> {
        // By key: transactions that meet take their locks in one order.
        let newest: BTreeMap<&str, &OutboxRow> = rows
            .iter()
            .map(|row| (row.announcement.api_id.as_str(), row))
            .collect();
        let announced: Vec<Vec<Arg<'_>>> = newest
            .into_iter()
            .map(|(api_id, row)| {
                let digest = row.announcement.digest.to_string();
                vec![api_id.into(), digest.into(), now.into()]
            })
            .collect();
        let ids: Vec<Arg<'_>> = rows.iter().map(|row| Arg::Int(row.id)).collect();
        let work = async {
            let mut tx = self.begin_write().await?;
            tx.execute_in(sql::DELETE_OUTBOX, &[], &ids).await?;
            tx.put(&sql::ANNOUNCED, &announced).await?;
            tx.commit().await
        };
        self.within(work).await
    }

    /// Gives announcements back that were claimed until `claim`: who claims after `free` gets them.
    /// Those that another relay has claimed in the meantime stay its. Returns how many were this
    /// claim's.
    pub async fn give_back(&self, ids: &[i64], claim: i64, free: i64) -> Result<u64, StoreError> {
        let before = [Arg::Int(free), Arg::Int(claim)];
        let ids: Vec<Arg<'_>> = ids.iter().map(|id| Arg::Int(*id)).collect();
        self.change(sql::GIVE_BACK_OUTBOX, &before, &ids).await
    }

    async fn change(
        &self,
        statement: &'static str,
        before: &[Arg<'_>],
        ids: &[Arg<'_>],
    ) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let work = async {
            let mut tx = self.begin_write().await?;
            let changed = tx.execute_in(statement, before, ids).await?;
            tx.commit().await?;
            Ok(changed)
        };
        self.within(work).await
    }

    /// How many announcements wait.
    pub async fn outbox_length(&self) -> Result<u64, StoreError> {
        self.count(sql::OUTBOX_LENGTH).await
    }
}
