//! Saving and removing: artifact rows, label-log entries, revision and outbox row commit
//! together or not at all.

use std::collections::BTreeMap;

use artifact::{Announcement, Artifact, Digest, Instruction, Label, SavedTo};
use sqlx::{Row, Sqlite, Transaction};

use crate::label_log::{digest, instruction, label, unsigned};
use crate::{Store, StoreError, outbox, routes, sql};

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

/// The newest entry of an API in one label.
struct Standing {
    instruction: Instruction,
    digest: Digest,
}

impl Store {
    /// Saves a batch in one transaction.
    ///
    /// Each saved artifact becomes a new revision with one entry in the log of every label it
    /// goes to, a Remove in every label it had and no longer has, and one outbox row for each of
    /// the two. Saving the bytes that are already there again changes nothing.
    ///
    /// # Errors
    /// When the database fails; then nothing of the batch is saved.
    pub async fn save(
        &self,
        batch: &[Save],
        mode: SaveMode,
        now: i64,
    ) -> Result<Vec<SaveOutcome>, StoreError> {
        let mut tx = self.write.begin_with("BEGIN IMMEDIATE").await?;
        let mut refusals = routes::refusals(&mut tx, batch).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (index, save) in batch.iter().enumerate() {
            outcomes.push(match refusals.remove(&index) {
                Some(refusal) => refusal,
                None => self.save_one(&mut tx, save, now).await?,
            });
        }
        let refused = outcomes.iter().any(SaveOutcome::is_refusal);
        if mode == SaveMode::DryRun || (mode == SaveMode::Atomic && refused) {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        Ok(outcomes)
    }

    /// Removes a published API from all its labels: a tombstone in every label log.
    /// `None` when no API of that name, version and tenant is published.
    pub async fn remove(
        &self,
        name: &str,
        version: &str,
        tenant: &str,
        now: i64,
    ) -> Result<Option<(Artifact, u64, Digest, Vec<SavedTo>)>, StoreError> {
        let mut tx = self.write.begin_with("BEGIN IMMEDIATE").await?;
        let Some(api_id) = published_by_name(&mut tx, name, version, tenant, "").await? else {
            return Ok(None);
        };
        let (revision, _, _) = newest(&mut tx, &api_id)
            .await?
            .ok_or_else(|| StoreError::bad_row("LS_API", format!("no row for {api_id}")))?;
        let stored: Vec<u8> = sqlx::query(sql::NEWEST_ARTIFACT)
            .bind(&api_id)
            .bind(signed(revision))
            .fetch_one(&mut *tx)
            .await?
            .try_get(0)?;
        let bad = |what: String| StoreError::bad_row("LS_REVISION", what);
        let stored = String::from_utf8(stored).map_err(|error| bad(error.to_string()))?;
        let removal = Artifact::parse(&stored)
            .map_err(|error| bad(error.to_string()))?
            .to_removal();
        let text = removal.to_text().map_err(|error| bad(error.to_string()))?;
        let digest = Digest::of(text.as_bytes());
        let change = Change {
            artifact: &removal,
            text: &text,
            digest,
            instruction: Instruction::Remove,
            revision: revision + 1,
            now,
        };
        self.write_revision(&mut tx, &change, &[]).await?;
        let standing = self.standing(&mut tx, &api_id).await?;
        let labels = standing
            .into_iter()
            .filter(|(_, standing)| standing.instruction == Instruction::Publish)
            .map(|(label, _)| label)
            .collect::<Vec<_>>();
        let saved = self.append(&mut tx, &change, &labels).await?;
        tx.commit().await?;
        Ok(Some((removal, revision + 1, digest, saved)))
    }

    async fn save_one(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        save: &Save,
        now: i64,
    ) -> Result<SaveOutcome, StoreError> {
        let artifact = &save.artifact;
        let digest = Digest::of(save.text.as_bytes());
        let before = newest(tx, &artifact.api_id).await?;
        let standing = self.standing(tx, &artifact.api_id).await?;
        let published = |label: &Label| {
            standing
                .get(label)
                .filter(|standing| standing.instruction == Instruction::Publish)
        };
        let mut added: Vec<Label> = save
            .labels
            .iter()
            .filter(|label| published(label).is_none_or(|standing| standing.digest != digest))
            .cloned()
            .collect();
        added.sort();
        added.dedup();
        let removed: Vec<Label> = standing
            .keys()
            .filter(|label| published(label).is_some() && !save.labels.contains(label))
            .cloned()
            .collect();
        let same_bytes = before
            .as_ref()
            .filter(|(_, newest, instruction)| {
                *newest == digest && *instruction == Instruction::Publish
            })
            .map(|(revision, _, _)| *revision);
        if let Some(revision) = same_bytes
            && added.is_empty()
            && removed.is_empty()
        {
            return Ok(SaveOutcome::Unchanged { revision, digest });
        }
        let created = before
            .as_ref()
            .is_none_or(|(_, _, instruction)| *instruction == Instruction::Remove);
        let change = Change {
            artifact,
            text: &save.text,
            digest,
            instruction: Instruction::Publish,
            revision: same_bytes.unwrap_or(before.map_or(0, |(revision, _, _)| revision) + 1),
            now,
        };
        if same_bytes.is_none() {
            self.write_revision(tx, &change, &save.routes).await?;
        }
        let removal = artifact.to_removal();
        let removal_text = removal
            .to_text()
            .map_err(|error| StoreError::bad_row("AM_GW_API_ARTIFACTS", error.to_string()))?;
        let removal = Change {
            artifact: &removal,
            text: &removal_text,
            digest: Digest::of(removal_text.as_bytes()),
            instruction: Instruction::Remove,
            ..change
        };
        self.append(tx, &removal, &removed).await?;
        let labels = self.append(tx, &change, &added).await?;
        Ok(SaveOutcome::Saved {
            revision: change.revision,
            digest,
            labels,
            removed_from: removed,
            created,
        })
    }

    async fn standing(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        api_id: &str,
    ) -> Result<BTreeMap<Label, Standing>, StoreError> {
        const TABLE: &str = "LS_LABEL_LOG";
        let rows = sqlx::query(sql::LABELS_OF_API)
            .bind(&self.dc)
            .bind(api_id)
            .fetch_all(&mut **tx)
            .await?;
        rows.iter()
            .map(|row| {
                let standing = Standing {
                    instruction: instruction(row.try_get(1)?, TABLE)?,
                    digest: digest(row.try_get(2)?, TABLE)?,
                };
                Ok((label(row, 0, TABLE)?, standing))
            })
            .collect()
    }

    /// Writes the details row, the API's newest state and its revision; forgets old revisions.
    async fn write_revision(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        change: &Change<'_>,
        routes: &[String],
    ) -> Result<(), StoreError> {
        let artifact = change.artifact;
        sqlx::query(sql::UPSERT_DETAILS)
            .bind(&artifact.api_id)
            .bind(&artifact.tenant_domain)
            .bind(&artifact.provider)
            .bind(&artifact.name)
            .bind(&artifact.version)
            .execute(&mut **tx)
            .await?;
        sqlx::query(sql::UPSERT_API)
            .bind(&artifact.api_id)
            .bind(change.instruction.as_str())
            .bind(signed(change.revision))
            .bind(change.digest.to_string())
            .bind(&self.dc)
            .bind(change.now)
            .execute(&mut **tx)
            .await?;
        routes::write(tx, &artifact.api_id, routes).await?;
        sqlx::query(sql::INSERT_REVISION)
            .bind(&artifact.api_id)
            .bind(signed(change.revision))
            .bind(&self.dc)
            .bind(change.instruction.as_str())
            .bind(change.digest.to_string())
            .bind(change.text.as_bytes())
            .bind(change.now)
            .execute(&mut **tx)
            .await?;
        sqlx::query(sql::PRUNE_REVISIONS)
            .bind(&artifact.api_id)
            .bind(signed(change.revision) - i64::from(self.history_size))
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Appends the change to the label logs, writes WSO2's artifact rows and the outbox row.
    /// The labels come sorted, so that writers take the rows of their logs in one order.
    async fn append(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        change: &Change<'_>,
        labels: &[Label],
    ) -> Result<Vec<SavedTo>, StoreError> {
        if labels.is_empty() {
            return Ok(Vec::new());
        }
        let artifact = change.artifact;
        let mut saved = Vec::with_capacity(labels.len());
        for label in labels {
            let seq: i64 = sqlx::query(sql::NEXT_SEQ)
                .bind(&self.dc)
                .bind(label.as_str())
                .fetch_one(&mut **tx)
                .await?
                .try_get(0)?;
            sqlx::query(sql::UPSERT_ARTIFACT)
                .bind(&artifact.api_id)
                .bind(change.text.as_bytes())
                .bind(change.instruction.as_str())
                .bind(label.as_str())
                .execute(&mut **tx)
                .await?;
            sqlx::query(sql::UPSERT_LOG_ENTRY)
                .bind(&self.dc)
                .bind(label.as_str())
                .bind(&artifact.api_id)
                .bind(seq)
                .bind(change.instruction.as_str())
                .bind(signed(change.revision))
                .bind(change.digest.to_string())
                .bind(change.now)
                .execute(&mut **tx)
                .await?;
            saved.push(SavedTo {
                label: label.clone(),
                seq: unsigned(seq, "LS_LABEL_SEQUENCE")?,
            });
        }
        let announcement = Announcement {
            dc: self.dc.clone(),
            api_id: artifact.api_id.clone(),
            name: artifact.name.clone(),
            version: artifact.version.clone(),
            tenant_domain: artifact.tenant_domain.clone(),
            instruction: change.instruction,
            digest: change.digest,
            time: change.now,
            labels: saved.clone(),
        };
        outbox::insert(tx, &announcement).await?;
        Ok(saved)
    }
}

/// A revision that is being written.
#[derive(Clone, Copy)]
struct Change<'a> {
    artifact: &'a Artifact,
    text: &'a str,
    digest: Digest,
    instruction: Instruction,
    revision: u64,
    now: i64,
}

/// The id under which an API is published, other than `except`.
pub(crate) async fn published_by_name(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    version: &str,
    tenant: &str,
    except: &str,
) -> Result<Option<String>, StoreError> {
    let rows = sqlx::query(sql::PUBLISHED_BY_NAME)
        .bind(name)
        .bind(version)
        .bind(tenant)
        .fetch_all(&mut **tx)
        .await?;
    for row in rows {
        let api_id: String = row.try_get(0)?;
        if api_id != except {
            return Ok(Some(api_id));
        }
    }
    Ok(None)
}

async fn newest(
    tx: &mut Transaction<'_, Sqlite>,
    api_id: &str,
) -> Result<Option<(u64, Digest, Instruction)>, StoreError> {
    const TABLE: &str = "LS_API";
    let row = sqlx::query(sql::API_BY_ID)
        .bind(api_id)
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        Ok((
            unsigned(row.try_get(0)?, TABLE)?,
            digest(row.try_get(1)?, TABLE)?,
            instruction(row.try_get(2)?, TABLE)?,
        ))
    })
    .transpose()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
