//! What has to be known before a batch can be decided, read at once for the whole batch.

use std::collections::{BTreeMap, HashMap};

use artifact::{Digest, Instruction, Label};
use sqlx::Row;

use crate::label_log::{digest, instruction, label, unsigned};
use crate::tx::Tx;
use crate::{StoreError, sql};

/// The newest state of an API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    pub(crate) revision: u64,
    pub(crate) digest: Digest,
    pub(crate) instruction: Instruction,
}

/// The newest entry of an API in one label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) instruction: Instruction,
    pub(crate) digest: Digest,
}

/// Who claims a route.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) api_id: String,
    /// Name, version and id, for people.
    pub(crate) shown: String,
}

/// The state of everything that a batch touches, as of the transaction that writes it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) apis: HashMap<String, Newest>,
    /// Ids of the published APIs by name, version and tenant.
    pub(crate) published: HashMap<(String, String, String), Vec<String>>,
    pub(crate) owners: HashMap<String, Vec<Owner>>,
    pub(crate) routes: HashMap<String, Vec<String>>,
    pub(crate) standing: HashMap<String, BTreeMap<Label, Standing>>,
    /// The newest position of every label log.
    pub(crate) seqs: BTreeMap<Label, u64>,
}

impl State {
    /// Reads what concerns these APIs, names and routes. None of the lists may be empty, but the
    /// routes.
    pub(crate) async fn read(
        tx: &mut Tx,
        dc: &str,
        ids: &[&str],
        names: &[&str],
        routes: &[&str],
    ) -> Result<Self, StoreError> {
        let mut state = Self::default();
        for row in tx.fetch_in(sql::APIS_BY_ID, &[], ids).await? {
            let newest = Newest {
                revision: unsigned(row.try_get(1)?, "LS_API")?,
                digest: digest(row.try_get(2)?, "LS_API")?,
                instruction: instruction(row.try_get(3)?, "LS_API")?,
            };
            state.apis.insert(row.try_get(0)?, newest);
        }
        for row in tx.fetch_in(sql::PUBLISHED_BY_NAME, &[], names).await? {
            let name = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let ids = state.published.entry(name).or_default();
            ids.push(row.try_get(3)?);
        }
        for row in tx.fetch_in(sql::ROUTE_OWNERS, &[], routes).await? {
            let api_id: String = row.try_get(1)?;
            let (name, version): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
            let shown = format!("{name} {version} (id {api_id})");
            let owners = state.owners.entry(row.try_get(0)?).or_default();
            owners.push(Owner { api_id, shown });
        }
        for row in tx.fetch_in(sql::ROUTES_OF_APIS, &[], ids).await? {
            let routes = state.routes.entry(row.try_get(0)?).or_default();
            routes.push(row.try_get(1)?);
        }
        let labels = tx.fetch_in(sql::LABELS_OF_APIS, &[dc.into()], ids).await?;
        for row in labels {
            const TABLE: &str = "LS_LABEL_LOG";
            let standing = Standing {
                instruction: instruction(row.try_get(2)?, TABLE)?,
                digest: digest(row.try_get(3)?, TABLE)?,
            };
            let labels = state.standing.entry(row.try_get(0)?).or_default();
            labels.insert(label(&row, 1, TABLE)?, standing);
        }
        state.seqs = seqs(tx, dc).await?;
        Ok(state)
    }
}

/// The newest position of every label log of a data center.
pub(crate) async fn seqs(tx: &mut Tx, dc: &str) -> Result<BTreeMap<Label, u64>, StoreError> {
    const TABLE: &str = "LS_LABEL_SEQUENCE";
    let rows = tx.fetch(sql::LABEL_SEQS, &[dc.into()]).await?;
    rows.iter()
        .map(|row| Ok((label(row, 0, TABLE)?, unsigned(row.try_get(1)?, TABLE)?)))
        .collect()
}
