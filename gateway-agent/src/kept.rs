//! Artifacts as a gateway keeps them for its REST API: compressed, with what the label log said.

use artifact::{Artifact, LabelLogEntry};

/// Fast; a small artifact becomes a third as long, a large one less.
const LEVEL: i32 = 3;

/// A Publish of a label log whose artifact is compressed.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Without its artifact.
    pub entry: LabelLogEntry,
    /// The artifact's text as one zstd frame, and its length in bytes.
    frame: Box<[u8]>,
    length: usize,
}

/// Why a kept artifact cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("what is kept of the artifact cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    NotAnArtifact(#[from] artifact::ArtifactError),
}

impl Kept {
    #[must_use]
    pub fn of(entry: &LabelLogEntry) -> Self {
        let text = entry.artifact.as_deref().unwrap_or_default();
        // It fails where there is no memory only; then there is nothing to show later.
        let frame = zstd::bulk::compress(text.as_bytes(), LEVEL).unwrap_or_default();
        Self {
            frame: frame.into_boxed_slice(),
            length: text.len(),
            entry: LabelLogEntry {
                seq: entry.seq,
                api_id: entry.api_id.clone(),
                name: entry.name.clone(),
                version: entry.version.clone(),
                tenant_domain: entry.tenant_domain.clone(),
                instruction: entry.instruction,
                revision: entry.revision,
                digest: entry.digest,
                time: entry.time,
                artifact: None,
                published_to: Vec::new(),
            },
        }
    }

    /// The artifact's text.
    ///
    /// # Errors
    /// When it was not kept.
    pub fn text(&self) -> Result<String, KeptError> {
        let unreadable = |reason: String| KeptError::Unreadable(reason);
        let bytes = zstd::bulk::decompress(&self.frame, self.length)
            .map_err(|error| unreadable(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))
    }

    /// The artifact.
    ///
    /// # Errors
    /// When it was not kept, or what was published is none.
    pub fn artifact(&self) -> Result<Artifact, KeptError> {
        Ok(Artifact::parse(&self.text()?)?)
    }

    /// The entry as it was pulled, to be compiled again.
    ///
    /// # Errors
    /// When its artifact was not kept.
    pub fn whole(&self) -> Result<LabelLogEntry, KeptError> {
        Ok(LabelLogEntry {
            artifact: Some(self.text()?),
            ..self.entry.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use artifact::{Digest, Instruction};

    use super::*;

    #[test]
    fn gives_back_what_was_pulled() {
        for text in ["", "{\"name\":\"ä\"}", &"<a/>".repeat(10_000)] {
            let entry = LabelLogEntry {
                seq: 1,
                api_id: "a".into(),
                name: "A".into(),
                version: "1".into(),
                tenant_domain: "carbon.super".into(),
                instruction: Instruction::Publish,
                revision: 3,
                digest: Digest::of(text.as_bytes()),
                time: 4,
                artifact: Some(text.to_owned()),
                published_to: Vec::new(),
            };
            let kept = Kept::of(&entry);
            assert!(kept.entry.artifact.is_none());
            assert!(kept.frame.len() < 100 + text.len() / 10);
            assert_eq!(kept.whole().unwrap(), entry);
        }
    }
}
