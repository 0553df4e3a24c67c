//! What was published and what gateways made of it: the rows from which the truth is told.

use artifact::{Digest, Instruction, Label};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::gateways::{deployment, gateways};
use crate::label_log::{digest, instruction, label, unsigned};
use crate::tx::{Arg, Tx};
use crate::{DeploymentRow, GatewayRow, Store, StoreError, sql};

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
    /// The revision that was last announced, and when, milliseconds since the epoch.
    pub announced: Option<(Digest, i64)>,
}

/// The newest entry of an API in one label log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRow {
    pub label: Label,
    pub api_id: String,
    pub seq: u64,
    pub instruction: Instruction,
    pub revision: u64,
    pub digest: Digest,
}

/// A revision in the history of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRow {
    pub revision: u64,
    pub instruction: Instruction,
    pub digest: Digest,
    pub bytes: u64,
    pub saved: i64,
}

/// Which APIs.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// In the order of tenant, name, version and id: so many behind the one with this id.
    Behind(Option<&'a str>, u32),
    These(&'a [&'a str]),
    /// In the same order: so many of those that match, behind the one with this id.
    Matching(Filter<'a>, Option<&'a str>, u32),
}

/// Which APIs match; what is empty matches all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    pub name: &'a str,
    pub tenant_domain: &'a str,
    /// The API is published to it.
    pub label: &'a str,
}

/// APIs with all that concerns them, as one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub apis: Vec<ApiRow>,
    pub labels: Vec<LabelRow>,
    /// All gateways.
    pub gateways: Vec<GatewayRow>,
    pub deployments: Vec<DeploymentRow>,
}

impl Store {
    /// APIs, their label-log entries in this store's data center, all gateways, and what these said
    /// about the APIs.
    pub async fn snapshot(&self, which: Which<'_>) -> Result<Snapshot, StoreError> {
        let work = async {
            let mut tx = self.begin_read().await?;
            let apis = apis(&mut tx, &self.dc, which).await?;
            let ids: Vec<&str> = match which {
                Which::These(ids) => ids.to_vec(),
                Which::Behind(..) | Which::Matching(..) => {
                    apis.iter().map(|api| api.api_id.as_str()).collect()
                }
            };
            let dc = [self.dc.as_str().into()];
            let labels = tx.fetch_in(sql::LABELS_OF_APIS, &dc, &ids).await?;
            let deployments = tx.fetch_in(sql::DEPLOYMENTS_OF_APIS, &[], &ids).await?;
            let snapshot = Snapshot {
                labels: labels.iter().map(label_row).collect::<Result<_, _>>()?,
                gateways: gateways(&mut tx).await?,
                deployments: deployments
                    .iter()
                    .map(deployment)
                    .collect::<Result<_, _>>()?,
                apis,
            };
            tx.commit().await?;
            Ok(snapshot)
        };
        self.within(work).await
    }

    /// The revisions of an API that are kept, the newest first; none where it is not known.
    pub async fn revisions(&self, api_id: &str) -> Result<Vec<RevisionRow>, StoreError> {
        const TABLE: &str = "LS_REVISION";
        let work = async {
            let mut tx = self.begin_read().await?;
            let rows = tx.fetch(sql::REVISIONS, &[api_id.into()]).await?;
            tx.commit().await?;
            rows.iter()
                .map(|row| {
                    Ok(RevisionRow {
                        revision: unsigned(row.try_get(0)?, TABLE)?,
                        instruction: instruction(row.try_get(1)?, TABLE)?,
                        digest: digest(row.try_get(2)?, TABLE)?,
                        bytes: unsigned(row.try_get(3)?, TABLE)?,
                        saved: row.try_get(4)?,
                    })
                })
                .collect()
        };
        self.within(work).await
    }

    /// How many APIs there are, removed ones included.
    pub async fn api_count(&self) -> Result<u64, StoreError> {
        self.count(sql::API_COUNT).await
    }
}

async fn apis(tx: &mut Tx, dc: &str, which: Which<'_>) -> Result<Vec<ApiRow>, StoreError> {
    let rows = match which {
        Which::These(ids) => tx.fetch_in(sql::APIS_THESE, &[], ids).await?,
        Which::Behind(None, limit) => {
            tx.fetch(sql::APIS_FIRST, &[i64::from(limit).into()])
                .await?
        }
        Which::Behind(Some(api_id), limit) => {
            let args = [api_id.into(), i64::from(limit).into()];
            tx.fetch(sql::APIS_BEHIND, &args).await?
        }
        Which::Matching(filter, behind, limit) => {
            let behind = behind.unwrap_or_default();
            let texts = [
                filter.name,
                filter.name,
                filter.tenant_domain,
                filter.tenant_domain,
                filter.label,
                dc,
                filter.label,
                behind,
                behind,
            ];
            let mut args: Vec<Arg<'_>> = texts.into_iter().map(Arg::from).collect();
            args.push(i64::from(limit).into());
            tx.fetch(sql::APIS_MATCHING, &args).await?
        }
    };
    rows.iter().map(api).collect()
}

fn api(row: &AnyRow) -> Result<ApiRow, StoreError> {
    const TABLE: &str = "LS_API";
    let announced: Option<&str> = row.try_get(9)?;
    let announced = match announced {
        Some(text) => Some((digest(text, "LS_ANNOUNCED")?, row.try_get(10)?)),
        None => None,
    };
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
        announced,
    })
}

/// A row of [`sql::LABELS_OF_APIS`].
fn label_row(row: &AnyRow) -> Result<LabelRow, StoreError> {
    const TABLE: &str = "LS_LABEL_LOG";
    Ok(LabelRow {
        api_id: row.try_get(0)?,
        label: label(row, 1, TABLE)?,
        instruction: instruction(row.try_get(2)?, TABLE)?,
        digest: digest(row.try_get(3)?, TABLE)?,
        seq: unsigned(row.try_get(4)?, TABLE)?,
        revision: unsigned(row.try_get(5)?, TABLE)?,
    })
}
