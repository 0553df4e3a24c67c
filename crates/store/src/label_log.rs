//! Reading the label logs: what they say, and apart from that the artifacts they name.

use std::collections::{BTreeMap, HashMap};

use artifact::{Digest, Instruction, Label};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::tx::{self, Arg};
use crate::write::signed;
use crate::{Store, StoreError, sql, state};

/// An entry of a label log, without its artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    pub seq: u64,
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub tenant_domain: String,
    pub instruction: Instruction,
    /// Names the artifact together with the API's id ([`Store::artifacts`]).
    pub revision: u64,
    pub digest: Digest,
    /// When it was saved, milliseconds since the epoch.
    pub time: i64,
    /// Length of the artifact.
    pub bytes: u64,
}

/// What label logs say behind the positions that were asked about, as one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelLogs {
    /// The newest position of every label log of the data center.
    pub seqs: BTreeMap<Label, u64>,
    /// The entries of the logs whose newest position is not the one asked about, in order: those
    /// behind it; all of them where the log ends before it.
    pub entries: BTreeMap<Label, Vec<LogRow>>,
}

const TABLE: &str = "LS_LABEL_LOG";
/// Artifacts in one statement at most …
const LIST: usize = 64;
/// … and so many bytes of them, but at least one.
const LIST_BYTES: u64 = 8 * 1024 * 1024;

/// Which artifact: the API's id, its revision, and about how long it is.
pub type Wanted<'a> = (&'a str, u64, u64);

impl Store {
    /// The newest position of every label log of this store's data center.
    pub async fn label_seqs(&self) -> Result<BTreeMap<Label, u64>, StoreError> {
        self.within(async {
            let mut tx = self.begin_read().await?;
            let seqs = state::seqs(&mut tx, &self.dc).await?;
            tx.commit().await?;
            Ok(seqs)
        })
        .await
    }

    /// What has come since these positions, of all labels.
    pub async fn label_logs(&self, since: &BTreeMap<Label, u64>) -> Result<LabelLogs, StoreError> {
        self.within(async {
            let mut tx = self.begin_read().await?;
            let mut logs = LabelLogs {
                seqs: state::seqs(&mut tx, &self.dc).await?,
                entries: BTreeMap::new(),
            };
            for (label, seq) in &logs.seqs {
                let known = since.get(label).copied().unwrap_or(0);
                if known == *seq {
                    continue;
                }
                let after = if known < *seq { known } else { 0 };
                let args = [
                    self.dc.as_str().into(),
                    label.as_str().into(),
                    signed(after).into(),
                ];
                let rows = tx.fetch(sql::LOG_AFTER, &args).await?;
                let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
                logs.entries.insert(label.clone(), entries);
            }
            tx.commit().await?;
            Ok(logs)
        })
        .await
    }

    /// The bytes of revisions, in the order in which they are asked for; `None` for one that has
    /// left the history. Few statements; each holds a bounded number of bytes.
    pub async fn artifacts(
        &self,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut found: HashMap<(String, u64), Vec<u8>> = HashMap::new();
        let mut rest = wanted;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(LIST).take_while(|(_, _, length)| {
                bytes += length;
                bytes <= LIST_BYTES
            });
            let (part, after) = rest.split_at(fitting.count().max(1));
            let pairs: Vec<[Arg<'_>; 2]> = part
                .iter()
                .map(|(api_id, revision, _)| [(*api_id).into(), signed(*revision).into()])
                .collect();
            // One statement needs no transaction around it.
            let dialect = self.database.dialect();
            let rows = tx::fetch_pairs(&self.read, dialect, sql::ARTIFACTS_OF, &pairs);
            for row in self.within(rows).await? {
                let revision = unsigned(row.try_get(1)?, "LS_REVISION")?;
                found.insert((row.try_get(0)?, revision), row.try_get(2)?);
            }
            rest = after;
        }
        let of = |(api_id, revision, _): &Wanted<'_>| {
            found.get(&((*api_id).to_owned(), *revision)).cloned()
        };
        Ok(wanted.iter().map(of).collect())
    }
}

/// A row of [`sql::LOG_AFTER`]; columns go by their place, for their case differs between databases.
fn entry(row: &AnyRow) -> Result<LogRow, StoreError> {
    Ok(LogRow {
        seq: unsigned(row.try_get(0)?, TABLE)?,
        api_id: row.try_get(1)?,
        instruction: instruction(row.try_get(2)?, TABLE)?,
        revision: unsigned(row.try_get(3)?, TABLE)?,
        digest: digest(row.try_get(4)?, TABLE)?,
        time: row.try_get(5)?,
        name: row.try_get(6)?,
        version: row.try_get(7)?,
        tenant_domain: row.try_get(8)?,
        bytes: unsigned(row.try_get(9)?, TABLE)?,
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
