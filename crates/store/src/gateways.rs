//! Gateways and what they said, and the rows from which the overview is made.

use std::collections::BTreeMap;

use artifact::{DeploymentState, Digest, GatewayNotice, Instruction, Label, NoticeKind};
use sqlx::Row;

use crate::label_log::{digest, instruction, label, unsigned};
use crate::tx::{Arg, Tx};
use crate::write::signed;
use crate::{Store, StoreError, sql};

/// A registered gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRow {
    pub gateway_id: String,
    pub labels: Vec<Label>,
    pub urls: Vec<String>,
    pub registered: i64,
    pub last_seen: i64,
}

/// What a gateway last said about an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    pub gateway_id: String,
    pub api_id: String,
    pub revision: u64,
    pub received: Digest,
    pub deployed: Option<Digest>,
    pub state: DeploymentState,
    pub reason: Option<String>,
    pub since: i64,
}

/// The newest state of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRow {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub context: String,
    pub instruction: Instruction,
    pub revision: u64,
    pub digest: Digest,
    pub saved: i64,
}

/// The newest entry of an API in one label log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRow {
    pub label: Label,
    pub api_id: String,
    pub instruction: Instruction,
    pub revision: u64,
    pub digest: Digest,
}

/// What the overview is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub apis: Vec<ApiRow>,
    pub labels: Vec<LabelRow>,
    pub gateways: Vec<GatewayRow>,
    pub deployments: Vec<DeploymentRow>,
}

impl Store {
    /// Records a registration or heartbeat. A gateway that registers has just started: what it
    /// said before is forgotten, it says anew what it deploys.
    pub async fn record_gateway(&self, notice: &GatewayNotice, now: i64) -> Result<(), StoreError> {
        let json = |error: serde_json::Error| StoreError::bad_row("LS_GATEWAY", error.to_string());
        let row = vec![
            (&notice.gateway_id).into(),
            serde_json::to_string(&notice.environment_labels)
                .map_err(json)?
                .into(),
            serde_json::to_string(&notice.urls).map_err(json)?.into(),
            now.into(),
            now.into(),
        ];
        let work = async {
            let mut tx = self.begin_write().await?;
            tx.put(&sql::GATEWAY, &[row]).await?;
            if notice.payload_type == NoticeKind::Register {
                let gateway = [(&notice.gateway_id).into()];
                tx.execute(sql::FORGET_DEPLOYMENTS, &gateway).await?;
            }
            tx.commit().await
        };
        self.within(work).await
    }

    /// Forgets a gateway and what it said. `false` when it was not known.
    pub async fn forget_gateway(&self, gateway_id: &str) -> Result<bool, StoreError> {
        let work = async {
            let mut tx = self.begin_write().await?;
            let gateway = [gateway_id.into()];
            let forgotten = tx.execute(sql::FORGET_GATEWAY, &gateway).await?;
            tx.execute(sql::FORGET_DEPLOYMENTS, &gateway).await?;
            tx.commit().await?;
            Ok(forgotten > 0)
        };
        self.within(work).await
    }

    /// Records what gateways said, in one transaction. A row about an older revision than the one
    /// recorded changes nothing; of several about one API the newest counts, the last of equals.
    pub async fn record_deployments(&self, rows: &[DeploymentRow]) -> Result<(), StoreError> {
        // Sorted by key: transactions that meet take their locks in one order.
        let mut newest: BTreeMap<(&str, &str), &DeploymentRow> = BTreeMap::new();
        for row in rows {
            let known = newest.entry((&row.gateway_id, &row.api_id)).or_insert(row);
            if row.revision >= known.revision {
                *known = row;
            }
        }
        let rows: Vec<Vec<Arg<'_>>> = newest
            .into_values()
            .map(|row| {
                vec![
                    (&row.gateway_id).into(),
                    (&row.api_id).into(),
                    signed(row.revision).into(),
                    row.received.to_string().into(),
                    Arg::MaybeText(row.deployed.map(|digest| digest.to_string().into())),
                    row.state.as_str().into(),
                    row.reason.as_deref().into(),
                    row.since.into(),
                ]
            })
            .collect();
        let work = async {
            let mut tx = self.begin_write().await?;
            tx.put(&sql::DEPLOYMENT, &rows).await?;
            tx.commit().await
        };
        self.within(work).await
    }

    /// Everything that the overview is made from, as one snapshot.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let work = async {
            let mut tx = self.begin_read().await?;
            let snapshot = Snapshot {
                apis: apis(&mut tx).await?,
                labels: self.label_rows(&mut tx).await?,
                gateways: gateways(&mut tx).await?,
                deployments: deployments(&mut tx).await?,
            };
            tx.commit().await?;
            Ok(snapshot)
        };
        self.within(work).await
    }

    /// How many APIs there are, removed ones included.
    pub async fn api_count(&self) -> Result<u64, StoreError> {
        self.count(sql::API_COUNT).await
    }

    /// The newest entry of every API in every label log of this store's data center.
    async fn label_rows(&self, tx: &mut Tx) -> Result<Vec<LabelRow>, StoreError> {
        const TABLE: &str = "LS_LABEL_LOG";
        let rows = tx
            .fetch(sql::LABEL_ROWS, &[self.dc.as_str().into()])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(LabelRow {
                    label: label(row, 0, TABLE)?,
                    api_id: row.try_get(1)?,
                    instruction: instruction(row.try_get(2)?, TABLE)?,
                    revision: unsigned(row.try_get(3)?, TABLE)?,
                    digest: digest(row.try_get(4)?, TABLE)?,
                })
            })
            .collect()
    }
}

async fn gateways(tx: &mut Tx) -> Result<Vec<GatewayRow>, StoreError> {
    let rows = tx.fetch(sql::GATEWAYS, &[]).await?;
    let json = |error: serde_json::Error| StoreError::bad_row("LS_GATEWAY", error.to_string());
    rows.iter()
        .map(|row| {
            Ok(GatewayRow {
                gateway_id: row.try_get(0)?,
                labels: serde_json::from_str(row.try_get(1)?).map_err(json)?,
                urls: serde_json::from_str(row.try_get(2)?).map_err(json)?,
                registered: row.try_get(3)?,
                last_seen: row.try_get(4)?,
            })
        })
        .collect()
}

async fn deployments(tx: &mut Tx) -> Result<Vec<DeploymentRow>, StoreError> {
    const TABLE: &str = "LS_DEPLOYMENT";
    let rows = tx.fetch(sql::DEPLOYMENTS, &[]).await?;
    rows.iter()
        .map(|row| {
            let state: &str = row.try_get(5)?;
            Ok(DeploymentRow {
                gateway_id: row.try_get(0)?,
                api_id: row.try_get(1)?,
                revision: unsigned(row.try_get(2)?, TABLE)?,
                received: digest(row.try_get(3)?, TABLE)?,
                deployed: row
                    .try_get::<Option<&str>, _>(4)?
                    .map(|text| digest(text, TABLE))
                    .transpose()?,
                state: [
                    DeploymentState::Deployed,
                    DeploymentState::Failed,
                    DeploymentState::Undeployed,
                ]
                .into_iter()
                .find(|known| known.as_str() == state)
                .ok_or_else(|| StoreError::bad_row(TABLE, format!("unknown state {state:?}")))?,
                reason: row.try_get(6)?,
                since: row.try_get(7)?,
            })
        })
        .collect()
}

async fn apis(tx: &mut Tx) -> Result<Vec<ApiRow>, StoreError> {
    const TABLE: &str = "LS_API";
    let rows = tx.fetch(sql::APIS, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(ApiRow {
                api_id: row.try_get(0)?,
                context: row.try_get(1)?,
                instruction: instruction(row.try_get(2)?, TABLE)?,
                revision: unsigned(row.try_get(3)?, TABLE)?,
                digest: digest(row.try_get(4)?, TABLE)?,
                saved: row.try_get(5)?,
                name: row.try_get(6)?,
                version: row.try_get(7)?,
                tenant_domain: row.try_get(8)?,
            })
        })
        .collect()
}
