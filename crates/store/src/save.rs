//! Saving and removing: artifact rows, label-log entries, revision and outbox row commit
//! together or not at all.
//!
//! The state of all that a batch touches is read, the batch is decided (`decide`, pure), the rows
//! are written (`write`). Those who save take turns, from before the state is read until the
//! commit: so positions follow the commits without a gap, and what was decided still holds.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use artifact::{Artifact, Digest, Instruction, Label, RemoveReport, SavedTo};
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

/// How long it is tried to find out what became of a commit whose answer was lost.
const LOST_COMMIT: Duration = Duration::from_secs(30);
/// The wait between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// So many tokens are kept: more saves than others can make while a lost commit is looked for.
const TOKENS: usize = 256;
const TOKEN_LENGTH: usize = 8;

/// How a transaction ended.
enum Ended<T> {
    Committed(T),
    /// The database was lost during the commit.
    Lost(Lost<T>),
}

/// A commit without an answer: its token, the number of saves before it, and what was done, if it
/// took place.
struct Lost<T> {
    token: String,
    saves: i64,
    done: T,
}

/// Tries until it is known what became of a change. After a lost commit each try first looks for
/// that one.
struct Tries<T> {
    lost: Option<Lost<T>>,
    give_up: Option<Instant>,
}

impl<T> Default for Tries<T> {
    fn default() -> Self {
        Self {
            lost: None,
            give_up: None,
        }
    }
}

impl<T> Tries<T> {
    /// What is known after a try; nothing yet, if it is to be tried again.
    fn settle(
        &mut self,
        ended: Result<Ended<T>, StoreError>,
    ) -> ControlFlow<Result<T, StoreError>> {
        match ended {
            Ok(Ended::Committed(done)) => return ControlFlow::Break(Ok(done)),
            Ok(Ended::Lost(lost)) => self.lost = Some(lost),
            Err(StoreError::Unknown) => return ControlFlow::Break(Err(StoreError::Unknown)),
            Err(error) if self.lost.is_none() => return ControlFlow::Break(Err(error)),
            Err(error) => {
                tracing::warn!(%error, "a commit without an answer cannot be looked up yet");
            }
        }
        let give_up = *self
            .give_up
            .get_or_insert_with(|| Instant::now() + LOST_COMMIT);
        if Instant::now() >= give_up {
            return ControlFlow::Break(Err(StoreError::Unknown));
        }
        ControlFlow::Continue(())
    }
}

/// The turn of one who saves.
struct Turn {
    tx: Tx,
    saves: i64,
    /// Of the newest saves, one after the other; empty where commits cannot be lost.
    tokens: String,
}

impl Store {
    /// Saves a batch in one transaction.
    ///
    /// Each saved artifact becomes a new revision with one entry in the log of every label it
    /// goes to, a Remove in every label it had and no longer has, and one outbox row for each of
    /// the two. Saving the bytes that are already there again changes nothing. When the database
    /// is lost during the commit, it is found out whether the commit took place as soon as it is
    /// back; if not, the batch is saved again.
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
        let mut tries = Tries::default();
        loop {
            let ended = self.try_save(batch, mode, now, &mut tries.lost).await;
            if let ControlFlow::Break(settled) = tries.settle(ended) {
                return settled;
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
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
    ) -> Result<Option<RemoveReport>, StoreError> {
        let mut tries = Tries::default();
        loop {
            let lost = &mut tries.lost;
            let ended = self.try_remove(name, version, tenant, now, lost).await;
            if let ControlFlow::Break(settled) = tries.settle(ended) {
                return settled;
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    async fn try_save(
        &self,
        batch: &[Save],
        mode: SaveMode,
        now: i64,
        lost: &mut Option<Lost<Vec<SaveOutcome>>>,
    ) -> Result<Ended<Vec<SaveOutcome>>, StoreError> {
        let ids: BTreeSet<&str> = batch.iter().map(|s| s.artifact.api_id.as_str()).collect();
        let names: BTreeSet<&str> = batch.iter().map(|s| s.artifact.name.as_str()).collect();
        let routes = batch.iter().flat_map(|save| &save.routes);
        let routes: BTreeSet<&str> = routes.map(String::as_str).collect();
        let (ids, names, routes) = (listed(ids), listed(names), listed(routes));
        let _turn = self.turn.lock().await;
        let work = async {
            let mut turn = self.begin_save().await?;
            if let Some(done) = turn.took_place(lost)? {
                return Ok((turn, Err(done)));
            }
            let mut state = State::read(&mut turn.tx, &self.dc, &ids, &names, &routes).await?;
            let mut plan = Plan::new(&self.dc, now);
            let outcomes = plan.save(&mut state, batch)?;
            plan.write(&mut turn.tx, self.history_size).await?;
            Ok((turn, Ok(outcomes)))
        };
        let (turn, outcomes) = match self.within(work).await? {
            (_, Err(done)) => return Ok(Ended::Committed(done)),
            (turn, Ok(outcomes)) => (turn, outcomes),
        };
        let refused = outcomes.iter().any(SaveOutcome::is_refusal);
        if mode == SaveMode::DryRun || (mode == SaveMode::Atomic && refused) {
            self.within(turn.tx.rollback()).await?;
            return Ok(Ended::Committed(outcomes));
        }
        self.end(turn, outcomes).await
    }

    async fn try_remove(
        &self,
        name: &str,
        version: &str,
        tenant: &str,
        now: i64,
        lost: &mut Option<Lost<Option<RemoveReport>>>,
    ) -> Result<Ended<Option<RemoveReport>>, StoreError> {
        let _turn = self.turn.lock().await;
        let work = async {
            let mut turn = self.begin_save().await?;
            if let Some(done) = turn.took_place(lost)? {
                return Ok((turn, done, false));
            }
            let tx = &mut turn.tx;
            let Some(api_id) = published(tx, name, version, tenant).await? else {
                return Ok((turn, None, false));
            };
            let ids = [api_id.as_str()];
            let mut state = State::read(tx, &self.dc, &ids, &[name], &[]).await?;
            let newest = state.apis.get(&api_id);
            let newest = newest
                .ok_or_else(|| StoreError::bad_row("LS_API", format!("no row for {api_id}")))?;
            let removal = tombstone(tx, &api_id, newest.revision).await?;
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
            plan.write(tx, self.history_size).await?;
            let removed = RemoveReport {
                api_id: removal.api_id.clone(),
                name: removal.name.clone(),
                version: removal.version.clone(),
                revision,
                digest,
                labels,
                gateways: Vec::new(),
            };
            Ok((turn, Some(removed), true))
        };
        let (turn, removed, changed) = self.within(work).await?;
        if !changed {
            return Ok(Ended::Committed(removed));
        }
        self.end(turn, removed).await
    }

    /// Begins a transaction that saves, once it is this one's turn.
    async fn begin_save(&self) -> Result<Turn, StoreError> {
        let mut tx = self.begin_write().await?;
        let (mut saves, mut tokens) = (0, String::new());
        if let Some(turn) = tx.dialect.writers_turn() {
            let rows = tx.fetch(turn, &[]).await?;
            let missing = || StoreError::bad_row("LS_WRITER", "its row is missing");
            let row = rows.first().ok_or_else(missing)?;
            (saves, tokens) = (row.try_get(0)?, row.try_get(1)?);
        }
        Ok(Turn { tx, saves, tokens })
    }

    /// Commits, with a token by which it can be found that it took place.
    async fn end<T>(&self, mut turn: Turn, done: T) -> Result<Ended<T>, StoreError> {
        if turn.tx.dialect.writers_turn().is_none() {
            // In this process: it is waited for, and an error is an answer.
            turn.tx.commit().await?;
            return Ok(Ended::Committed(done));
        }
        let token = uuid::Uuid::new_v4().simple().to_string()[..TOKEN_LENGTH].to_owned();
        let kept = turn.tokens.len().min((TOKENS - 1) * TOKEN_LENGTH);
        let tokens = format!("{token}{}", turn.tokens.get(..kept).unwrap_or_default());
        let args = [(turn.saves + 1).into(), tokens.into()];
        let left = turn.tx.execute(sql::LEAVE_TOKEN, &args);
        self.within(left).await?;
        match self.within(turn.tx.commit()).await {
            Ok(()) => Ok(Ended::Committed(done)),
            Err(StoreError::Unknown | StoreError::NoAnswer) => Ok(Ended::Lost(Lost {
                token,
                saves: turn.saves,
                done,
            })),
            Err(error) => Err(error),
        }
    }
}

impl Turn {
    /// What the lost commit did, if it took place. If it did not, it is not looked for any more.
    fn took_place<T>(&self, lost: &mut Option<Lost<T>>) -> Result<Option<T>, StoreError> {
        let Some(looked_for) = lost.take() else {
            return Ok(None);
        };
        let mut tokens = self.tokens.as_bytes().chunks(TOKEN_LENGTH);
        if tokens.any(|token| token == looked_for.token.as_bytes()) {
            return Ok(Some(looked_for.done));
        }
        // Others may have pushed it out.
        if self.saves - looked_for.saves >= i64::try_from(TOKENS).unwrap_or(i64::MAX) {
            return Err(StoreError::Unknown);
        }
        Ok(None)
    }
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
