//! What gateways say of themselves and of what they deployed.

use std::collections::BTreeMap;

use artifact::{DeploymentState, Digest, Label};
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::label_log::{digest, unsigned};
use crate::tx::{Arg, Tx};
use crate::write::signed;
use crate::{Store, StoreError, sql};

/// A gateway as it last described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRow {
    pub gateway_id: String,
    pub labels: Vec<Label>,
    /// Where clients reach it.
    pub urls: Vec<String>,
    /// The tenants whose APIs it has loaded; empty where it does not tell.
    pub tenants: Vec<String>,
    /// What else it tells, as it says it.
    pub properties: Map<String, Value>,
    /// How far it has applied the log of each label.
    pub applied: BTreeMap<Label, u64>,
    /// When it started, milliseconds since the epoch.
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

/// What gateways have said, in one batch. What it says is written in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// They have ended and are forgotten with all they said.
    pub ended: Vec<String>,
    /// They have just started: what they said before is forgotten, they say anew what they deploy.
    pub started: Vec<GatewayRow>,
    /// They are still there.
    pub seen: Vec<GatewayRow>,
    pub deployments: Vec<DeploymentRow>,
}

const TABLE: &str = "LS_GATEWAY";

impl Store {
    /// Records what gateways said, in one transaction. A deployment that was said before the
    /// one recorded changes nothing; of several about one API the newest counts, the last of
    /// equals. A gateway's times rise while it runs; what its label log says may fall back, where a
    /// database was restored.
    pub async fn record(&self, said: &Said) -> Result<(), StoreError> {
        let started = gateway_rows(&said.started)?;
        let seen = gateway_rows(&said.seen)?;
        let deployments = deployment_rows(&said.deployments);
        let ids = |ids: &mut dyn Iterator<Item = &String>| -> Vec<Arg<'_>> {
            // Copied: the borrow of the closure's argument does not last.
            ids.map(|id| Arg::from(id.clone())).collect()
        };
        let forgotten = ids(&mut said.ended.iter());
        let silenced = ids(&mut said
            .ended
            .iter()
            .chain(said.started.iter().map(|row| &row.gateway_id)));
        let work = async {
            let mut tx = self.begin_write().await?;
            tx.execute_in(sql::FORGET_GATEWAYS, &[], &forgotten).await?;
            tx.execute_in(sql::FORGET_DEPLOYMENTS, &[], &silenced)
                .await?;
            tx.execute_in(sql::FORGET_ACCEPTED_REPAIRS, &[], &silenced)
                .await?;
            tx.put(&sql::GATEWAY_STARTED, &started).await?;
            tx.put(&sql::GATEWAY_SEEN, &seen).await?;
            tx.put(&sql::DEPLOYMENT, &deployments).await?;
            tx.commit().await
        };
        self.within(work).await
    }

    /// Forgets a gateway and what it said. `false` when it was not known.
    pub async fn forget_gateway(&self, gateway_id: &str) -> Result<bool, StoreError> {
        let work = async {
            let mut tx = self.begin_write().await?;
            let gateway = [gateway_id.into()];
            let forgotten = tx.execute_in(sql::FORGET_GATEWAYS, &[], &gateway).await?;
            tx.execute_in(sql::FORGET_DEPLOYMENTS, &[], &gateway)
                .await?;
            tx.execute_in(sql::FORGET_ACCEPTED_REPAIRS, &[], &gateway)
                .await?;
            tx.commit().await?;
            Ok(forgotten > 0)
        };
        self.within(work).await
    }

    /// The gateways with these ids, as far as they are known.
    pub async fn gateways_of(&self, ids: &[&str]) -> Result<Vec<GatewayRow>, StoreError> {
        let work = async {
            let mut tx = self.begin_read().await?;
            let rows = tx.fetch_in(sql::GATEWAYS_THESE, &[], ids).await?;
            tx.commit().await?;
            rows.iter().map(gateway).collect()
        };
        self.within(work).await
    }

    /// All gateways, by their ids.
    pub async fn gateways(&self) -> Result<Vec<GatewayRow>, StoreError> {
        let work = async {
            let mut tx = self.begin_read().await?;
            let rows = gateways(&mut tx).await?;
            tx.commit().await?;
            Ok(rows)
        };
        self.within(work).await
    }
}

/// The newest row of each gateway, sorted by key: transactions that meet take their locks in one
/// order.
fn gateway_rows(gateways: &[GatewayRow]) -> Result<Vec<Vec<Arg<'_>>>, StoreError> {
    let newest: BTreeMap<&str, &GatewayRow> = gateways
        .iter()
        .map(|row| (row.gateway_id.as_str(), row))
        .collect();
    let row = |gateway: &GatewayRow| -> Result<Vec<Arg<'_>>, serde_json::Error> {
        Ok(vec![
            gateway.gateway_id.clone().into(),
            serde_json::to_string(&gateway.labels)?.into(),
            serde_json::to_string(&gateway.urls)?.into(),
            serde_json::to_string(&gateway.tenants)?.into(),
            serde_json::to_string(&gateway.properties)?.into(),
            serde_json::to_string(&gateway.applied)?.into(),
            gateway.registered.into(),
            gateway.last_seen.into(),
        ])
    };
    newest
        .into_values()
        .map(|gateway| row(gateway).map_err(|error| StoreError::bad_row(TABLE, error.to_string())))
        .collect()
}

fn deployment_rows(rows: &[DeploymentRow]) -> Vec<Vec<Arg<'_>>> {
    let mut newest: BTreeMap<(&str, &str), &DeploymentRow> = BTreeMap::new();
    for row in rows {
        let known = newest.entry((&row.gateway_id, &row.api_id)).or_insert(row);
        if row.since >= known.since {
            *known = row;
        }
    }
    newest
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
        .collect()
}

pub(crate) async fn gateways(tx: &mut Tx) -> Result<Vec<GatewayRow>, StoreError> {
    let rows = tx.fetch(sql::GATEWAYS, &[]).await?;
    rows.iter().map(gateway).collect()
}

/// A row of [`sql::GATEWAYS`].
fn gateway(row: &AnyRow) -> Result<GatewayRow, StoreError> {
    let json = |error: serde_json::Error| StoreError::bad_row(TABLE, error.to_string());
    Ok(GatewayRow {
        gateway_id: row.try_get(0)?,
        labels: serde_json::from_str(row.try_get(1)?).map_err(json)?,
        urls: serde_json::from_str(row.try_get(2)?).map_err(json)?,
        tenants: serde_json::from_str(row.try_get(3)?).map_err(json)?,
        properties: serde_json::from_str(row.try_get(4)?).map_err(json)?,
        applied: serde_json::from_str(row.try_get(5)?).map_err(json)?,
        registered: row.try_get(6)?,
        last_seen: row.try_get(7)?,
    })
}

/// A row of [`sql::DEPLOYMENTS_OF`].
pub(crate) fn deployment(row: &AnyRow) -> Result<DeploymentRow, StoreError> {
    const TABLE: &str = "LS_DEPLOYMENT";
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
        state: DeploymentState::parse(state)
            .ok_or_else(|| StoreError::bad_row(TABLE, format!("unknown state {state:?}")))?,
        reason: row.try_get(6)?,
        since: row.try_get(7)?,
    })
}
