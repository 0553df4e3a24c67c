//! Artifacts as a gateway keeps them for its REST API: compressed, with what the label log said.

use artifact::{Artifact, LabelLogEntry};

use crate::text::Text;

/// A Publish of a label log whose artifact is compressed.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Without its artifact.
    pub entry: LabelLogEntry,
    /// The artifact's text.
    pub text: Text,
    /// Whether that is the one that the entry's digest names.
    pub genuine: bool,
}

/// Why a kept artifact cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("what is kept of the artifact cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error(transparent)]
    NotAnArtifact(#[from] artifact::ArtifactError),
}

impl Kept {
    /// Compresses the artifact.
    #[must_use]
    pub fn of(entry: &LabelLogEntry) -> Self {
        let text = entry.artifact.as_deref().unwrap_or_default();
        Self::packed(entry, Text::of(text))
    }

    /// The same where the artifact has been compressed before.
    #[must_use]
    pub fn packed(entry: &LabelLogEntry, text: Text) -> Self {
        Self {
            text,
            genuine: entry.artifact.is_some() && entry.is_genuine(),
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

    /// The artifact.
    ///
    /// # Errors
    /// When it was not kept, or what was published is none.
    pub fn artifact(&self) -> Result<Artifact, KeptError> {
        Ok(Artifact::parse(&self.text.unpack()?)?)
    }

    /// The entry as it was pulled, to be compiled again.
    ///
    /// # Errors
    /// When its artifact was not kept.
    pub fn whole(&self) -> Result<LabelLogEntry, KeptError> {
        Ok(LabelLogEntry {
            artifact: Some(self.text.unpack()?),
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
        let text = "{\"name\":\"A\"}";
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
        assert!(kept.entry.artifact.is_none() && kept.genuine);
        assert_eq!(kept.whole().unwrap(), entry);
        let other = LabelLogEntry {
            artifact: Some("{}".into()),
            ..entry
        };
        assert!(!Kept::of(&other).genuine);
        let none = LabelLogEntry {
            artifact: None,
            ..other
        };
        assert!(!Kept::packed(&none, Text::of(text)).genuine);
    }
}
