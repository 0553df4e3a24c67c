//! Synapse directories: what a Synapse engine deploys from its disk, as artifacts, and back.
//!
//! [`read`] makes an artifact of each API of a directory, with the sequences, endpoints and local
//! entries that it reaches. [`Directory`] keeps a directory in step with artifacts: it writes their
//! files as API Manager lays them out, each of them atomically, and takes away what it has written
//! itself, nothing else.
//!
//! ```text
//! ROOT/                                     repository/deployment/server of a gateway
//!   synapse-configs/default/local-entries/  ┐
//!   synapse-configs/default/endpoints/      │ written in this order, removed in the opposite one
//!   synapse-configs/default/sequences/      │
//!   synapse-configs/default/api/            ┘
//!   tenants/TENANT/synapse-configs/default/ the same for each tenant but carbon.super
//!   executionplans/                         made if it is not there; no artifact has such plans
//!   .lockstep-manifest.json                 the files that are Lockstep's
//! ```
//!
//! API Manager itself has its tenants beside the server, at `repository/tenants/ID`, with a number
//! that only its user store knows; here they go by their domain, below the root.
//!
//! Who keeps a directory opens it for what it is about – a label, a gateway – and goes on with changes,
//! a [`Change::Put`] for each artifact that is to be there and a [`Change::Take`] for each API that is
//! not; [`Directory::apply`] gives one [`Applied`] for each. It may be called with everything after
//! each start: [`Directory::has`] tells what does not have to be put, [`Directory::apis`] what may have
//! to be taken. All of it blocks, so asynchronous programs call it on a thread for that.
//!
//! ```ignore
//! let mut directory = Directory::open(Path::new("repository/deployment/server"), "gateway-1")?;
//! let gone: Vec<String> = directory.apis().filter(|id| !wanted(id)).map(str::to_owned).collect();
//! let puts = deployed.iter().filter(|it| !directory.has(&it.artifact.api_id, it.digest));
//! let puts = puts.map(|it| Change::Put { artifact: &it.artifact, digest: it.digest });
//! let takes = gone.iter().map(|api_id| Change::Take { api_id });
//! for applied in directory.apply(&takes.chain(puts).collect::<Vec<_>>())? {
//!     match applied.outcome {
//!         Outcome::Failed(error) => refuse(&applied.api_id, error),
//!         _ => deployed_on_disk(&applied.api_id),
//!     }
//! }
//! ```
//!
//! The files stand in the order of the flow: `tree` brings files into memory and `layout` bundles
//! them (reading); `pieces` takes an artifact apart, `names` finds its file names, `manifest` knows
//! whose files are whose, `plan` decides, `atomic` and `directory` write. What is not `tree`,
//! `atomic` or `directory` is pure.

mod atomic;
mod directory;
pub mod layout;
mod manifest;
pub mod names;
mod pieces;
mod plan;
pub mod tree;

use std::path::Path;

use artifact::{Finding, PublishItem};

pub use directory::{Applied, ApplyError, Change, Directory, DirectoryError, Outcome};
pub use manifest::{MANIFEST, ManifestError, api_ids};
pub use pieces::{Kind, PieceError};
pub use tree::TreeError;

/// One thing that was found.
#[derive(Debug)]
pub enum Source {
    /// An artifact, with what is to be said about how it was put together.
    Artifact {
        item: PublishItem,
        findings: Vec<Finding>,
    },
    /// Something that should have been one: the file, and the place and rule.
    Bad { source: String, reason: String },
}

/// Everything that was found, in a stable order.
#[derive(Debug, Default)]
pub struct Sources {
    pub list: Vec<Source>,
    /// Files in directories and archives that are no API artifacts.
    pub left_out: Vec<String>,
}

/// Reads a Synapse directory: one that has a folder `api` with XML files, or that has such
/// directories in it, as `repository/deployment/server` does. An API that cannot be read is one of
/// the sources ([`Source::Bad`]); files that are no part of an API are left out.
///
/// # Errors
/// When the directory itself cannot be read, or holds too much.
pub fn read(path: &Path) -> Result<Sources, TreeError> {
    let tree = tree::read_directory(path)?;
    let mut sources = Sources::default();
    let used = layout::read(&tree, &mut sources);
    let bad = tree.unreadable.iter().map(|(path, reason)| Source::Bad {
        source: tree.name_of(path),
        reason: reason.clone(),
    });
    sources.list.extend(bad);
    let others = tree.files.iter().map(|file| &file.path);
    let others = others.filter(|path| !used.contains(*path));
    let left_out = others.chain(&tree.ignored).map(|path| tree.name_of(path));
    sources.left_out.extend(left_out);
    Ok(sources)
}
