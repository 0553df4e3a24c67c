//! Repairs that gateways hold and that operators have accepted.

use artifact::Digest;
use sqlx::Row;

use crate::label_log::digest;
use crate::tx::Arg;
use crate::{Store, StoreError, sql};

/// What was accepted longer ago is not kept, milliseconds: a day.
const KEPT: i64 = 24 * 3600 * 1000;
const TABLE: &str = "LS_ACCEPTED_REPAIR";

/// An operator's word for a repair that a gateway holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedRepair {
    pub gateway_id: String,
    /// What it does.
    pub repair: Digest,
    /// When the gateway has begun to hold it, by its own clock: with another one it is not what the
    /// operator saw.
    pub since: i64,
    /// The operator's user name.
    pub by: String,
    /// Milliseconds since the epoch.
    pub accepted: i64,
}

impl Store {
    /// Notes that an operator accepts a repair, in the place of an earlier word for it, and forgets
    /// what was accepted a day before.
    pub async fn accept_repair(&self, row: &AcceptedRepair) -> Result<(), StoreError> {
        let values = vec![
            Arg::from(&row.gateway_id),
            row.repair.to_string().into(),
            row.since.into(),
            Arg::from(&row.by),
            row.accepted.into(),
        ];
        let before = [Arg::Int(row.accepted.saturating_sub(KEPT))];
        let work = async {
            let mut tx = self.begin_write().await?;
            tx.execute(sql::PRUNE_ACCEPTED_REPAIRS, &before).await?;
            tx.put(&sql::ACCEPTED_REPAIR, &[values]).await?;
            tx.commit().await
        };
        self.within(work).await
    }

    /// What was accepted for these gateways, by gateway and repair.
    pub async fn accepted_repairs(
        &self,
        gateways: &[&str],
    ) -> Result<Vec<AcceptedRepair>, StoreError> {
        let work = async {
            let mut tx = self.begin_read().await?;
            let rows = tx.fetch_in(sql::ACCEPTED_REPAIRS, &[], gateways).await?;
            tx.commit().await?;
            rows.iter()
                .map(|row| {
                    Ok(AcceptedRepair {
                        gateway_id: row.try_get(0)?,
                        repair: digest(row.try_get(1)?, TABLE)?,
                        since: row.try_get(2)?,
                        by: row.try_get(3)?,
                        accepted: row.try_get(4)?,
                    })
                })
                .collect()
        };
        self.within(work).await
    }
}
