//! Publish and remove.

use artifact::{
    ArtifactResult, DirectReport, Outcome, PublishReport, PublishRequest, RemoveReport,
    SUPER_TENANT, SavedTo,
};
use store::{Save, SaveMode, SaveOutcome, StoreError};

use crate::Saver;
use crate::check::{Checked, check_batch};

/// Why nothing could be saved at all.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("labels: name at least one label to publish to")]
    NoLabels,
    #[error("no API {name} {version} is published in tenant {tenant}")]
    NotPublished {
        name: String,
        version: String,
        tenant: String,
    },
    #[error("the checks ended early; nothing was saved")]
    CheckFailed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks a batch and saves what may be saved, in one transaction; then publishes it directly to the
/// gateways for which that is configured.
///
/// # Errors
/// Bad artifacts are results, not errors, and so are gateways that fail. An error means that nothing
/// was saved.
pub async fn publish(
    saver: &Saver,
    request: &PublishRequest,
    now: i64,
) -> Result<PublishReport, SaveError> {
    if request.labels.is_empty() {
        return Err(SaveError::NoLabels);
    }
    let mode = match (request.dry_run, request.atomic) {
        (true, _) => SaveMode::DryRun,
        (false, true) => SaveMode::Atomic,
        (false, false) => SaveMode::Each,
    };
    let items = request.items.clone();
    // Checking compiles every artifact; that is work for another thread.
    let checked = tokio::task::spawn_blocking(move || check_batch(&items))
        .await
        .map_err(|_| SaveError::CheckFailed)?;
    let rejected = checked.iter().any(Result::is_err);
    let mut saves = Vec::new();
    for result in checked.iter().flatten() {
        saves.push(Save {
            artifact: result.artifact.clone(),
            text: result.text.clone(),
            routes: result.claims.clone(),
            labels: request.labels.clone(),
        });
    }
    let held_back = request.atomic && rejected && !request.dry_run;
    let outcomes = if held_back {
        Vec::new()
    } else {
        saver.store.save(&saves, mode, now).await?
    };
    let refused = outcomes.iter().any(SaveOutcome::is_refusal);
    let held_back = held_back || (mode == SaveMode::Atomic && refused);
    let mut outcomes = outcomes.into_iter();
    let results: Vec<ArtifactResult> = checked
        .into_iter()
        .map(|result| match result {
            Err(rejected) => *rejected,
            Ok(checked) => match outcomes.next() {
                Some(outcome) => result_of(&checked, outcome, mode, held_back),
                None => checked.result(Outcome::NotSaved),
            },
        })
        .collect();
    saver.wake();
    // What has been saved before is sent, too: a gateway may have missed it.
    let saved = results
        .iter()
        .filter(|result| matches!(result.outcome, Outcome::Saved | Outcome::Unchanged))
        .filter_map(|result| result.api_id.as_deref());
    let gateways = push(saver, &saved.collect::<Vec<_>>()).await;
    Ok(PublishReport { results, gateways })
}

/// Publishes directly, where that is configured.
async fn push(saver: &Saver, api_ids: &[&str]) -> Vec<DirectReport> {
    match &saver.gateways {
        Some(gateways) => gateways.push(api_ids).await,
        None => Vec::new(),
    }
}

fn result_of(
    checked: &Checked,
    outcome: SaveOutcome,
    mode: SaveMode,
    held_back: bool,
) -> ArtifactResult {
    let rejected = |reason: String| ArtifactResult {
        reason: Some(reason),
        ..checked.result(Outcome::Rejected)
    };
    match outcome {
        SaveOutcome::RouteTaken { route, by } => rejected(format!(
            "its context and version ({route}) are those of the published API {by}; \
             remove that one first or change the context"
        )),
        SaveOutcome::NameTaken { api_id } => rejected(format!(
            "an API of this name and version is published under the id {api_id}; \
             remove that one first or use its id"
        )),
        _ if held_back => checked.result(Outcome::NotSaved),
        SaveOutcome::Unchanged { revision, digest } => ArtifactResult {
            revision: Some(revision),
            digest: Some(digest),
            ..checked.result(Outcome::Unchanged)
        },
        SaveOutcome::Saved {
            revision,
            digest,
            labels,
            removed_from,
            created,
        } => ArtifactResult {
            removed_from,
            revision: Some(revision),
            digest: Some(digest),
            labels: if mode == SaveMode::DryRun {
                Vec::<SavedTo>::new()
            } else {
                labels
            },
            ..checked.result(match (mode, created) {
                (SaveMode::DryRun, true) => Outcome::WouldCreate,
                (SaveMode::DryRun, false) => Outcome::WouldUpdate,
                _ => Outcome::Saved,
            })
        },
    }
}

/// Removes a published API from all its labels.
///
/// # Errors
/// [`SaveError::NotPublished`] when there is no such API.
pub async fn remove(
    saver: &Saver,
    name: &str,
    version: &str,
    tenant: Option<&str>,
    now: i64,
) -> Result<RemoveReport, SaveError> {
    let tenant = tenant.unwrap_or(SUPER_TENANT);
    let removed = saver.store.remove(name, version, tenant, now).await?;
    let Some(mut removed) = removed else {
        return Err(SaveError::NotPublished {
            name: name.to_owned(),
            version: version.to_owned(),
            tenant: tenant.to_owned(),
        });
    };
    saver.wake();
    removed.gateways = push(saver, &[&removed.api_id]).await;
    Ok(removed)
}
