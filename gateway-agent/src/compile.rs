//! Compiling off the path of requests, as many at a time as there are cores.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use artifact::{Artifact, Digest, LabelLogEntry, Severity};
use synapse::xml::Limits;

use crate::kept::Kept;
use crate::overrides::Overrides;
use crate::snapshot::state::Stamp;
use crate::sync_core::{Compiled, Deployment, Overridden, stored_entry};
use crate::text::Text;

/// Compiles entries as they were pulled.
pub(crate) async fn compile_all(
    entries: Vec<LabelLogEntry>,
    overrides: &Overrides,
) -> Vec<Compiled> {
    let overrides = overrides.clone();
    let one = move |entry| compile_guarded(entry, &overrides);
    in_parts(entries, one).await
}

/// Compiles stored revisions. What is missing or damaged in `texts` is refused.
pub(crate) async fn compile_stored(
    all: &[(String, Stamp)],
    texts: &Arc<BTreeMap<Digest, Text>>,
    overrides: &Overrides,
) -> Vec<Compiled> {
    let (texts, overrides) = (Arc::clone(texts), overrides.clone());
    let one = move |(api_id, stamp): (String, Stamp)| {
        compile_one_stored(&api_id, &stamp, texts.get(&stamp.digest), &overrides)
    };
    in_parts(all.to_vec(), one).await
}

/// On the blocking pool, in as many parts as there are cores; in the order of `items`.
async fn in_parts<T: Send + 'static>(
    items: Vec<T>,
    compile: impl Fn(T) -> Compiled + Clone + Send + 'static,
) -> Vec<Compiled> {
    let cores = cores();
    let mut compiled = Vec::with_capacity(items.len());
    let share = items.len().div_ceil(cores);
    let mut items = items.into_iter();
    let mut tasks = Vec::with_capacity(cores);
    loop {
        let part: Vec<T> = items.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        let compile = compile.clone();
        tasks.push(tokio::task::spawn_blocking(move || {
            part.into_iter().map(compile).collect::<Vec<_>>()
        }));
    }
    for task in tasks {
        match task.await {
            Ok(results) => compiled.extend(results),
            Err(error) => tracing::error!(%error, "compiling ended early"),
        }
    }
    compiled
}

/// Finding it out reads files of the kernel.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Compiles a stored revision, and keeps it as it is stored.
pub(crate) fn compile_one_stored(
    api_id: &str,
    stamp: &Stamp,
    text: Option<&Text>,
    overrides: &Overrides,
) -> Compiled {
    let unpacked = text.and_then(|text| text.unpack().ok());
    let entry = stored_entry(api_id, stamp, unpacked);
    let kept = match text {
        Some(text) => Kept::packed(&entry, text.clone()),
        None => Kept::of(&entry),
    };
    guarded(entry, Arc::new(kept), overrides)
}

/// Compiles an entry as it was pulled.
pub(crate) fn compile_guarded(entry: LabelLogEntry, overrides: &Overrides) -> Compiled {
    let kept = Arc::new(Kept::of(&entry));
    guarded(entry, kept, overrides)
}

/// Compiles; a defect of the compiler is a refusal of this artifact, not the end of the others.
fn guarded(entry: LabelLogEntry, kept: Arc<Kept>, overrides: &Overrides) -> Compiled {
    let compiling = AssertUnwindSafe(|| compile(entry, Arc::clone(&kept), overrides));
    std::panic::catch_unwind(compiling).unwrap_or_else(|_| {
        let api_id = &kept.entry.api_id;
        tracing::error!(api_id, "the compiler failed on an artifact");
        Err((kept, "the compiler failed on it".into()))
    })
}

fn compile(entry: LabelLogEntry, kept: Arc<Kept>, overrides: &Overrides) -> Compiled {
    if !kept.genuine {
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
