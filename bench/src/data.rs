//! What is saved: artifacts of a given size, all different, and the rows they become.

use artifact::{Announcement, Artifact, Digest, Instruction, Label, SavedTo};
use store::Save;

/// The data center of all that is saved here.
pub const DC: &str = "DC1";
/// The one label it goes to.
pub const LABEL: &str = "Production and Sandbox";

/// Makes artifacts, no two alike.
#[derive(Debug)]
pub struct Maker {
    next: u64,
    label: Label,
}

/// What a save of a new artifact leaves behind, worked out beforehand.
#[derive(Clone, Debug)]
pub struct Rows {
    pub save: Save,
    pub digest: String,
    pub announcement: String,
    pub route: String,
    pub seq: i64,
}

impl Maker {
    /// # Errors
    /// Never, as long as the label is one.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            next: 0,
            label: Label::parse(LABEL)?,
        })
    }

    /// New artifacts whose texts have `bytes` bytes each.
    ///
    /// # Errors
    /// When the texts cannot be that short.
    pub fn new_saves(&mut self, count: usize, bytes: usize) -> anyhow::Result<Vec<Save>> {
        (0..count)
            .map(|_| {
                self.next += 1;
                let name = format!("bench-{}", self.next);
                let artifact = Artifact {
                    version: "1.0.0".into(),
                    provider: Some("admin".into()),
                    tenant_domain: artifact::SUPER_TENANT.into(),
                    api_id: artifact::derive_api_id(artifact::SUPER_TENANT, &name, "1.0.0"),
                    name,
                    ..Artifact::default()
                };
                self.sized(artifact, bytes, 1)
            })
            .collect()
    }

    /// The same APIs with other texts of the same size.
    ///
    /// # Errors
    /// As [`Maker::new_saves`].
    pub fn revised(&self, saves: &[Save], bytes: usize) -> anyhow::Result<Vec<Save>> {
        let revised = saves.iter();
        revised
            .map(|save| self.sized(save.artifact.clone(), bytes, 2))
            .collect()
    }

    fn sized(&self, mut artifact: Artifact, bytes: usize, seed: u64) -> anyhow::Result<Save> {
        artifact.api_definition = Some(String::new());
        let filler = bytes.checked_sub(artifact.to_text()?.len());
        let filler = filler.ok_or_else(|| anyhow::anyhow!("{bytes} bytes hold no artifact"))?;
        artifact.api_definition = Some(words(&artifact.name, seed, filler));
        let text = artifact.to_text()?;
        anyhow::ensure!(text.len() == bytes, "the text has {} bytes", text.len());
        Ok(Save {
            routes: vec![format!("/{}/1.0.0", artifact.name)],
            labels: vec![self.label.clone()],
            text,
            artifact,
        })
    }

    /// What the store would write for a new artifact at this position of the label's log.
    ///
    /// # Errors
    /// When the announcement cannot be written.
    pub fn rows(&self, save: Save, seq: u64, now: i64) -> anyhow::Result<Rows> {
        let announcement = self.announcement(&save, seq, now);
        Ok(Rows {
            digest: announcement.digest.to_string(),
            announcement: serde_json::to_string(&announcement)?,
            route: save.routes.concat(),
            seq: i64::try_from(seq)?,
            save,
        })
    }

    /// What a save of a new artifact announces.
    #[must_use]
    pub fn announcement(&self, save: &Save, seq: u64, now: i64) -> Announcement {
        let artifact = &save.artifact;
        Announcement {
            dc: DC.into(),
            api_id: artifact.api_id.clone(),
            name: artifact.name.clone(),
            version: artifact.version.clone(),
            tenant_domain: artifact.tenant_domain.clone(),
            instruction: Instruction::Publish,
            digest: Digest::of(save.text.as_bytes()),
            time: now,
            labels: vec![SavedTo {
                label: self.label.clone(),
                seq,
            }],
        }
    }
}

/// Words that databases compress about as well as Synapse XML; the same for the same name and seed.
fn words(name: &str, seed: u64, bytes: usize) -> String {
    let mut state = name.bytes().fold(seed, |state, byte| {
        state.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        text.push_str("property name: ");
        text.push_str(&format!("{:x} ", word ^ (word >> 31)));
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn artifacts_have_the_size_and_differ() {
        let mut maker = Maker::new().unwrap();
        let saves = maker.new_saves(20, 8192).unwrap();
        let revised = maker.revised(&saves, 8192).unwrap();
        let all: Vec<&Save> = saves.iter().chain(&revised).collect();
        assert!(all.iter().all(|save| save.text.len() == 8192));
        let texts: BTreeSet<&str> = all.iter().map(|save| save.text.as_str()).collect();
        assert_eq!(texts.len(), 40);
        let ids: BTreeSet<&str> = all
            .iter()
            .map(|save| save.artifact.api_id.as_str())
            .collect();
        assert_eq!(ids.len(), 20);
        assert!(maker.new_saves(1, 10).is_err());
    }
}
