//! Compiling off the path of requests, as many at a time as there are cores.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use artifact::{Artifact, Digest, LabelLogEntry, Severity};
use synapse::xml::Limits;

use crate::kept::Kept;
use crate::overrides::Overrides;
use crate::snapshot::state::{Stamp, Text};
use crate::sync_core::{Compiled, Deployment, Overridden, stored_entry};

/// Stored artifacts that are unpacked at a time.
const BATCH: usize = 64;

/// Compiles on the blocking pool, as many at a time as there are cores.
pub(crate) async fn compile_all(
    entries: Vec<LabelLogEntry>,
    overrides: &Overrides,
) -> Vec<Compiled> {
    if entries.is_empty() {
        return Vec::new();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(cores);
    let mut entries = entries.into_iter();
    let mut tasks = Vec::with_capacity(cores);
    loop {
        let part: Vec<LabelLogEntry> = entries.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        let overrides = overrides.clone();
        tasks.push(tokio::task::spawn_blocking(move || {
            let compiled = part.into_iter();
            compiled
                .map(|entry| compile_guarded(entry, &overrides))
                .collect::<Vec<_>>()
        }));
    }
    let mut compiled = Vec::new();
    for task in tasks {
        match task.await {
            Ok(results) => compiled.extend(results),
            Err(error) => tracing::error!(%error, "compiling ended early"),
        }
    }
    compiled
}

/// Compiles; a defect of the compiler is a refusal of this artifact, not the end of the others.
pub(crate) fn compile_guarded(entry: LabelLogEntry, overrides: &Overrides) -> Compiled {
    let kept = Arc::new(Kept::of(&entry));
    let compiling = AssertUnwindSafe(|| compile(entry, Arc::clone(&kept), overrides));
    std::panic::catch_unwind(compiling).unwrap_or_else(|_| {
        let api_id = &kept.entry.api_id;
        tracing::error!(api_id, "the compiler failed on an artifact");
        Err((kept, "the compiler failed on it".into()))
    })
}

fn compile(entry: LabelLogEntry, kept: Arc<Kept>, overrides: &Overrides) -> Compiled {
    if !entry.is_genuine() {
        return Err((kept, "the artifact does not match its digest".into()));
    }
    let mut artifact = match Artifact::parse(entry.artifact.as_deref().unwrap_or_default()) {
        Ok(artifact) => artifact,
        Err(error) => return Err((kept, error.to_string())),
    };
    let files = overrides.apply(&mut artifact);
    let overridden = match overridden(&entry, &artifact, files) {
        Ok(overridden) => overridden,
        Err(error) => return Err((kept, error.to_string())),
    };
    let compilation = synapse::compile(&artifact, &Limits::default());
    let Some(plan) = compilation.plan else {
        let reasons: Vec<String> = compilation
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Refused)
            .map(|finding| format!("{}: {}", finding.place, finding.message))
            .collect();
        let reason = reasons.join("; ");
        if let Some(Overridden { files, .. }) = overridden {
            let (api_id, files) = (&entry.api_id, files.join(", "));
            tracing::warn!(
                api_id,
                files,
                reason,
                "an override is refused, the published API answers"
            );
            return compile(entry, kept, &Overrides::default());
        }
        return Err((kept, reason));
    };
    Ok(Arc::new(Deployment {
        api_id: entry.api_id,
        name: entry.name,
        version: entry.version,
        tenant_domain: entry.tenant_domain,
        revision: entry.revision,
        digest: entry.digest,
        plan,
        kept,
        overridden,
    }))
}

/// What answers where files override parts of the artifact.
fn overridden(
    entry: &LabelLogEntry,
    artifact: &Artifact,
    files: Vec<String>,
) -> Result<Option<Overridden>, serde_json::Error> {
    if files.is_empty() {
        return Ok(None);
    }
    let text = artifact.to_text()?;
    let live = LabelLogEntry {
        digest: Digest::of(text.as_bytes()),
        artifact: Some(text),
        ..entry.clone()
    };
    let live = Arc::new(Kept::of(&live));
    Ok(Some(Overridden { files, live }))
}

/// Compiles stored revisions. What is missing or damaged in `texts` is refused.
pub(crate) async fn compile_stored(
    all: &[(String, Stamp)],
    texts: &Arc<BTreeMap<Digest, Text>>,
    overrides: &Overrides,
) -> Vec<Compiled> {
    let mut compiled = Vec::with_capacity(all.len());
    let mut all = all.iter().cloned();
    loop {
        let part: Vec<(String, Stamp)> = all.by_ref().take(BATCH).collect();
        if part.is_empty() {
            return compiled;
        }
        let texts = Arc::clone(texts);
        // Unpacking and hashing takes a while: not on a thread that serves.
        let expand = move || -> Vec<LabelLogEntry> {
            let expanded = part.into_iter().map(|(api_id, stamp)| {
                let text = texts.get(&stamp.digest);
                let text = text.and_then(|text| text.expand(&stamp.digest));
                stored_entry(&api_id, &stamp, text)
            });
            expanded.collect()
        };
        match tokio::task::spawn_blocking(expand).await {
            Ok(entries) => compiled.extend(compile_all(entries, overrides).await),
            Err(error) => tracing::error!(%error, "unpacking the snapshot ended early"),
        }
    }
}
