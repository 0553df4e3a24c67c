//! Saving and removing: artifact rows, label-log entries, revision and outbox row commit
//! together or not at all.
//!
//! The state of all that a batch touches is read, the batch is decided (`decide`, pure), the rows
//! are written (`write`). Those who save take turns, from before the state is read until the
//! commit: so positions follow the commits without a gap, and what was decided still holds.

use std::collections::BTreeSet;
use std::time::Duration;

use artifact::{Artifact, Digest, Instruction, Label, SavedTo};
use sqlx::Row;
use tokio::time::Instant;

use crate::decide::{Plan, Revision};
use crate::state::State;
use crate::tx::Tx;
use crate::write::signed;
use crate::{Store, StoreError, sql};

/// One artifact to save.
#[derive(Clone, Debug)]
pub struct Save {
    pub artifact: Artifact,
    /// The artifact's stored text ([`Artifact::to_text`]).
    pub text: String,
    /// The routes that the API claims, its own first; none where it has no definition. No two
    /// published APIs may claim the same.
    pub routes: Vec<String>,
    /// The labels that the API is published to from now on; it is removed from all others.
    pub labels: Vec<Label>,
}

/// What happens to a batch when one of its artifacts is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveMode {
    /// The others are saved.
    Each,
    /// None is saved.
    Atomic,
    /// Nothing is saved in any case; the outcomes tell what would have been.
    DryRun,
}

/// What became of one artifact of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveOutcome {
    Saved {
        revision: u64,
        digest: Digest,
        labels: Vec<SavedTo>,
        /// Labels that had the API and do not have it any more.
        removed_from: Vec<Label>,
        /// Whether the API was not published before.
        created: bool,
    },
    /// These bytes are what these labels already have.
    Unchanged { revision: u64, digest: Digest },
    /// Another published API claims the same route.
    RouteTaken { route: String, by: String },
    /// An API of this name, version and tenant is published under another id.
    NameTaken { api_id: String },
}

impl SaveOutcome {
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::RouteTaken { .. } | Self::NameTaken { .. })
    }
}

/// A tombstone that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    pub api_id: String,
    pub name: String,
    pub version: String,
    pub revision: u64,
    pub digest: Digest,
    pub labels: Vec<SavedTo>,
}

/// How long it is tried to find out what became of a commit whose answer was lost.
const LOST_COMMIT: Duration = Duration::from_secs(30);
/// The wait between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// How a transaction ended.
enum Ended<T> {
    Committed(T),
    /// The database was lost during the commit; this is what was done, if it was.
    Lost(T),
}

impl Store {
    /// Saves a batch in one transaction.
    ///
    /// Each saved artifact becomes a new revision with one entry in the log of every label it
    /// goes to, a Remove in every label it had and no longer has, and one outbox row for each of
    /// the two. Saving the bytes that are already there again changes nothing; so when the
    /// database is lost during the commit, the batch is saved once more when it is back, and the
    /// outcomes are true in either case.
    ///
    /// # Errors
    /// When the database fails; then nothing of the batch is saved. [`StoreError::Unknown`] when
    /// it was lost during the commit and stays away.
    pub async fn save(
        &self,
        batch: &[Save],
        mode: SaveMode,
        now: i64,
    ) -> Result<Vec<SaveOutcome>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut lost: Option<Vec<SaveOutcome>> = None;
        let mut give_up = None;
        loop {
            let ended = self.try_save(batch, mode, now).await;
            match (ended, &lost) {
                (Ok(Ended::Committed(outcomes)), _) => return Ok(settled(outcomes, lost)),
                (Ok(Ended::Lost(outcomes)), _) => lost = Some(settled(outcomes, lost)),
                (Err(error), None) => return Err(error),
                (Err(error), Some(_)) => {
                    tracing::warn!(%error, "a commit without an answer cannot be looked up yet");
                }
            }
            wait_for_database(&mut give_up).await?;
        }
    }

    async fn try_save(
        &self,
        batch: &[Save],
        mode: SaveMode,
        now: i64,
    ) -> Result<Ended<Vec<SaveOutcome>>, StoreError> {
        let ids: BTreeSet<&str> = batch.iter().map(|s| s.artifact.api_id.as_str()).collect();
        let names: BTreeSet<&str> = batch.iter().map(|s| s.artifact.name.as_str()).collect();
        let routes: BTreeSet<&str> = batch
            .iter()
            .flat_map(|save| save.routes.iter().map(String::as_str))
            .collect();
        let (ids, names, routes) = (listed(ids), listed(names), listed(routes));
        let work = async {
            let mut tx = self.begin_save().await?;
            let mut state = State::read(&mut tx, &self.dc, &ids, &names, &routes).await?;
            let mut plan = Plan::new(&self.dc, now);
            let outcomes = plan.save(&mut state, batch)?;
            plan.write(&mut tx, self.history_size).await?;
            Ok((tx, outcomes))
        };
        let (tx, outcomes) = self.within(work).await?;
        let refused = outcomes.iter().any(SaveOutcome::is_refusal);
        if mode == SaveMode::DryRun || (mode == SaveMode::Atomic && refused) {
            self.within(tx.rollback()).await?;
            return Ok(Ended::Committed(outcomes));
        }
        self.end(tx, outcomes).await
    }

    /// Removes a published API from all its labels: a tombstone in every label log.
    /// `None` when no API of that name, version and tenant is published.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub async fn remove(
        &self,
        name: &str,
        version: &str,
        tenant: &str,
        now: i64,
    ) -> Result<Option<Removed>, StoreError> {
        let mut lost: Option<Removed> = None;
        let mut give_up = None;
        loop {
            match (self.try_remove(name, version, tenant, now).await, &lost) {
                // Not there any more: the lost commit took place.
                (Ok(Ended::Committed(None)), Some(_)) => return Ok(lost),
                (Ok(Ended::Committed(removed)), _) => return Ok(removed),
                (Ok(Ended::Lost(removed)), _) => lost = removed,
                (Err(error), None) => return Err(error),
                (Err(error), Some(_)) => {
                    tracing::warn!(%error, "a commit without an answer cannot be looked up yet");
                }
            }
            wait_for_database(&mut give_up).await?;
        }
    }

    async fn try_remove(
        &self,
        name: &str,
        version: &str,
        tenant: &str,
        now: i64,
    ) -> Result<Ended<Option<Removed>>, StoreError> {
        let work = async {
            let mut tx = self.begin_save().await?;
            let Some(api_id) = published(&mut tx, name, version, tenant).await? else {
                return Ok((tx, None));
            };
            let ids = [api_id.as_str()];
            let mut state = State::read(&mut tx, &self.dc, &ids, &[name], &[]).await?;
            let newest = state.apis.get(&api_id);
            let newest = newest
                .ok_or_else(|| StoreError::bad_row("LS_API", format!("no row for {api_id}")))?;
            let removal = tombstone(&mut tx, &api_id, newest.revision).await?;
            let text = removal
                .to_text()
                .map_err(|error| StoreError::bad_row("LS_REVISION", error.to_string()))?;
            let digest = Digest::of(text.as_bytes());
            let revision = newest.revision + 1;
            let mut plan = Plan::new(&self.dc, now);
            let tombstone = Revision {
                artifact: &removal,
                text: &text,
                digest,
                instruction: Instruction::Remove,
                revision,
                routes: &[],
            };
            let labels = plan.remove(&mut state, tombstone);
            plan.write(&mut tx, self.history_size).await?;
            let removed = Removed {
                api_id: removal.api_id.clone(),
                name: removal.name.clone(),
                version: removal.version.clone(),
                revision,
                digest,
                labels,
            };
            Ok((tx, Some(removed)))
        };
        let (tx, removed) = self.within(work).await?;
        self.end(tx, removed).await
    }

    /// Begins a transaction that saves, once it is this one's turn.
    async fn begin_save(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin_write().await?;
        if let Some(turn) = tx.dialect.writers_turn()
            && tx.fetch(turn, &[]).await?.is_empty()
        {
            return Err(StoreError::bad_row("LS_WRITER", "its row is missing"));
        }
        Ok(tx)
    }

    async fn end<T>(&self, tx: Tx, done: T) -> Result<Ended<T>, StoreError> {
        match self.within(tx.commit()).await {
            Ok(()) => Ok(Ended::Committed(done)),
            Err(StoreError::Unknown | StoreError::NoAnswer) => Ok(Ended::Lost(done)),
            Err(error) => Err(error),
        }
    }
}

/// What a repeated save says of what an earlier try has done: the earlier try's own words.
fn settled(outcomes: Vec<SaveOutcome>, earlier: Option<Vec<SaveOutcome>>) -> Vec<SaveOutcome> {
    let Some(earlier) = earlier else {
        return outcomes;
    };
    let pairs = outcomes.into_iter().zip(earlier);
    pairs
        .map(|(now, then)| match (&now, &then) {
            (
                SaveOutcome::Unchanged { revision, digest },
                SaveOutcome::Saved {
                    revision: saved,
                    digest: bytes,
                    ..
                },
            ) if revision == saved && digest == bytes => then,
            _ => now,
        })
        .collect()
}

/// Waits a little, until it has been too long since the first time.
async fn wait_for_database(give_up: &mut Option<Instant>) -> Result<(), StoreError> {
    let give_up = *give_up.get_or_insert_with(|| Instant::now() + LOST_COMMIT);
    if Instant::now() >= give_up {
        return Err(StoreError::Unknown);
    }
    tokio::time::sleep(BETWEEN_TRIES).await;
    Ok(())
}

fn listed(set: BTreeSet<&str>) -> Vec<&str> {
    set.into_iter().collect()
}

/// The id under which an API is published.
async fn published(
    tx: &mut Tx,
    name: &str,
    version: &str,
    tenant: &str,
) -> Result<Option<String>, StoreError> {
    for row in tx.fetch_in(sql::PUBLISHED_BY_NAME, &[], &[name]).await? {
        let found: (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
        if found == (version, tenant) {
            return Ok(Some(row.try_get(3)?));
        }
    }
    Ok(None)
}

/// The tombstone of an API, made from its newest artifact.
async fn tombstone(tx: &mut Tx, api_id: &str, revision: u64) -> Result<Artifact, StoreError> {
    let bad = |what: String| StoreError::bad_row("LS_REVISION", what);
    let args = [api_id.into(), signed(revision).into()];
    let rows = tx.fetch(sql::NEWEST_ARTIFACT, &args).await?;
    let row = rows
        .first()
        .ok_or_else(|| bad(format!("no revision {revision} of {api_id}")))?;
    let stored = String::from_utf8(row.try_get(0)?).map_err(|error| bad(error.to_string()))?;
    let artifact = Artifact::parse(&stored).map_err(|error| bad(error.to_string()))?;
    Ok(artifact.to_removal())
}
