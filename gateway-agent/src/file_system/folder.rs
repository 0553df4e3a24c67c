//! Reading a Synapse directory into artifacts, when it has changed and is still.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use artifact::{Artifact, Content, Label};
use synapse_directory::names::directory_name;
use synapse_directory::{Source, TreeError, api_ids};

use super::file_log::{Found, Read};

/// Looks that may find the directory changing before it is read all the same.
const RESTLESS: u32 = 5;
/// Even without a sign of change it is read after so many looks.
const ANYWAY: u32 = 30;
/// Below the directory.
const DEPTH: usize = 8;

/// What tells of changes: paths, sizes and times.
type Signs = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// A directory, and what was in it.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    label: String,
    signs: Signs,
    /// The signs when it was read.
    read: Option<Signs>,
    restless: u32,
    looks: u32,
}

/// Why a directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{}: {reason}", .path.display())]
    Io { path: PathBuf, reason: io::Error },
    #[error("{}: {reason}", .path.display())]
    Tree { path: PathBuf, reason: TreeError },
    #[error("reading it failed by a defect of this program")]
    Defect,
    #[error("{}: has no synapse-configs/default: the shared directory is not there", .0.display())]
    NotThere(PathBuf),
}

impl Folder {
    /// The directory of a label below the root, or the root itself where that is a Synapse directory.
    #[must_use]
    pub fn of_label(root: &Path, label: &Label) -> Self {
        Self {
            root: root.to_owned(),
            label: directory_name(label.as_str()),
            signs: Signs::new(),
            read: None,
            restless: 0,
            looks: 0,
        }
    }

    #[must_use]
    pub fn path(&self) -> PathBuf {
        // It may be mounted later.
        if self.root.join("synapse-configs").is_dir() {
            self.root.clone()
        } else {
            self.root.join(&self.label)
        }
    }

    /// Reads the directory if something has changed since it was read, and nothing since the last look:
    /// the files of one API are written one after the other. `None` where it need not be read.
    ///
    /// # Errors
    /// When it is not there, or cannot be read: nothing is known then, least of all that it is empty.
    pub fn look(&mut self) -> Result<Option<Found>, FolderError> {
        let path = self.path();
        if !path.join("synapse-configs").join("default").is_dir() {
            return Err(FolderError::NotThere(path));
        }
        let signs = signs(&path)?;
        let still = signs == self.signs;
        self.signs = signs;
        self.looks += 1;
        let known = self.read.as_ref() == Some(&self.signs);
        if known && self.looks < ANYWAY {
            self.restless = 0;
            return Ok(None);
        }
        if !still && self.read.is_some() && self.restless < RESTLESS {
            self.restless += 1;
            return Ok(None);
        }
        let mut found = read(&path)?;
        for _ in 0..RESTLESS {
            // The same before and after: nothing was written while it was read.
            let after = self::signs(&path)?;
            if after == self.signs {
                break;
            }
            self.signs = after;
            found = read(&path)?;
        }
        self.restless = 0;
        self.looks = 0;
        self.read = Some(self.signs.clone());
        Ok(Some(found))
    }
}

fn signs(path: &Path) -> Result<Signs, FolderError> {
    let mut signs = Signs::new();
    signs_of(path, DEPTH, &mut signs)?;
    Ok(signs)
}

fn signs_of(path: &Path, depth: usize, signs: &mut Signs) -> Result<(), FolderError> {
    let failed = |reason| FolderError::Io {
        path: path.to_owned(),
        reason,
    };
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // What goes away in between has gone.
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_dir() && depth > 0 {
            signs_of(&entry.path(), depth - 1, signs)?;
        } else if about.is_file() {
            signs.insert(entry.path(), (about.len(), about.modified().ok()));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Found, FolderError> {
    let sources = synapse_directory::read(path).map_err(|reason| FolderError::Tree {
        path: path.to_owned(),
        reason,
    })?;
    let ids = api_ids(path).map_err(|reason| FolderError::Io {
        path: path.to_owned(),
        reason,
    })?;
    let mut found = Found::default();
    let mut by_id: BTreeMap<String, Read> = BTreeMap::new();
    for source in sources.list {
        let (file, findings, artifact) = match source {
            Source::Artifact { item, findings } => {
                (item.source, findings, Artifact::parse(&item.artifact))
            }
            Source::Bad { source, reason } => {
                found.bad.push((source, reason));
                continue;
            }
        };
        let mut artifact = match artifact {
            Ok(artifact) => artifact,
            Err(error) => {
                found.bad.push((file, error.to_string()));
                continue;
            }
        };
        let below = Path::new(&file).strip_prefix(path);
        let below = below.ok().and_then(Path::to_str);
        if let Some(id) = below.and_then(|below| ids.get(below)) {
            artifact.api_id.clone_from(id);
        }
        let id = artifact.api_id.clone();
        let read = Read {
            artifact,
            files: vec![file],
            // All of them are about what an API refers to and is not there.
            lacks: findings.into_iter().next().map(|finding| finding.message),
        };
        let both = match by_id.remove(&id) {
            Some(known) => together(known, read),
            None => read,
        };
        by_id.insert(id, both);
    }
    found.artifacts = by_id.into_values().collect();
    Ok(found)
}

/// One artifact of the two definitions that a version has which is the default one: the API's, and
/// that of its version-less route.
fn together(one: Read, other: Read) -> Read {
    let has_version = |read: &Read| {
        let definition = read.artifact.api_definition.as_deref().unwrap_or_default();
        let key = crate::overrides::api_key(definition);
        key.is_ok_and(|key| key.contains(":v"))
    };
    let (mut first, second) = if has_version(&other) && !has_version(&one) {
        (other, one)
    } else {
        (one, other)
    };
    let (to, from) = (&mut first.artifact, second.artifact);
    to.default_api_definition = from.api_definition;
    add(&mut to.sequence_to_be_add, from.sequence_to_be_add);
    add(
        &mut to.endpoint_entries_to_be_add,
        from.endpoint_entries_to_be_add,
    );
    add(
        &mut to.local_entries_to_be_add,
        from.local_entries_to_be_add,
    );
    first.files.extend(second.files);
    first.lacks = first.lacks.or(second.lacks);
    first
}

fn add(to: &mut Vec<Content>, more: Vec<Content>) {
    for content in more {
        if !to.iter().any(|known| known.name == content.name) {
            to.push(content);
        }
    }
}
