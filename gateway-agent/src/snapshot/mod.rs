//! The last known good on disk: what the gateway has applied, so that it serves at once after a
//! restart and pulls only what has changed.
//!
//! `state` is what is stored, `seal` encrypts it, `store` keeps it in an embedded store and
//! `generation` in single files, both in a `directory`; `open` finds what can be used at start,
//! `ledger` notes what the deployer has applied, `writer` brings it to the disk, `command` exports,
//! imports and shows.

pub mod command;
pub mod directory;
pub mod generation;
pub mod ledger;
pub mod open;
pub mod seal;
pub mod state;
pub mod store;
#[cfg(test)]
mod tests;
pub mod writer;

use std::path::PathBuf;

use artifact::Label;
use kit::config::Config;
use serde::{Deserialize, Serialize};

use directory::Directory;
use seal::{Key, SealError, Sealer};

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub gateway_id: String,
    pub dc: String,
}

impl Owner {
    /// # Errors
    /// When it is another one.
    fn is(&self, expected: &Self) -> Result<(), Unusable> {
        if self == expected {
            return Ok(());
        }
        let Self { gateway_id, dc } = self;
        Err(Unusable::Foreign(format!(
            "gateway {gateway_id:?}, dc {dc:?}"
        )))
    }
}

/// Why a stored state is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is that of another gateway or data center: {0}")]
    Foreign(String),
    #[error("its format {0} is newer than this program")]
    Newer(u64),
    #[error("it does not open: it was sealed with another key or in another mode, or is damaged")]
    Sealed,
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// What can go wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("another program uses it")]
    InUse,
    #[error("there is none")]
    Absent,
    #[error("{0}")]
    Io(String),
    #[error("it has {bytes} bytes, [gateway.snapshot] max_size is {most}")]
    TooLarge { bytes: u64, most: u64 },
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl SnapshotError {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Io(error.to_string())
    }
}

/// What `[gateway.snapshot]` says for one gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    pub directory: Directory,
    pub owner: Owner,
    pub labels: Vec<Label>,
    /// The configured key; without one it lies beside the snapshot.
    key: Option<Key>,
    encrypt: bool,
    /// How many older states are kept.
    pub generations: usize,
    /// Bytes of everything.
    pub max_size: u64,
}

impl Settings {
    /// The settings of the gateway `id`; `None` when it keeps no snapshot.
    #[must_use]
    pub fn of(config: &Config, id: &str, labels: &[Label]) -> Option<Self> {
        config
            .gateway
            .snapshot
            .enable
            .then(|| Self::even_if_off(config, id, labels))
    }

    /// As [`Settings::of`], for commands.
    #[must_use]
    pub fn even_if_off(config: &Config, id: &str, labels: &[Label]) -> Self {
        let snapshot = &config.gateway.snapshot;
        let above = match snapshot.directory.as_str() {
            "" => config.lockstep.data_dir.join("snapshot"),
            directory => PathBuf::from(directory),
        };
        Self {
            directory: Directory::of(&above, id),
            owner: Owner {
                gateway_id: id.to_owned(),
                dc: config.lockstep.dc.clone(),
            },
            labels: labels.to_vec(),
            key: Key::parse(snapshot.key.expose()),
            encrypt: snapshot.encrypt,
            generations: snapshot.generations,
            max_size: snapshot.max_size,
        }
    }

    /// What seals the snapshot; a key is made if there is none and `make` says so.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub fn sealer(&self, make: bool) -> Result<Sealer, SnapshotError> {
        let key = match &self.key {
            _ if !self.encrypt => None,
            Some(key) => Some(key.clone()),
            None => Some(self.directory.key(make)?),
        };
        Ok(Sealer::new(key.as_ref())?)
    }
}
