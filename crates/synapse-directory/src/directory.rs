//! Keeps a Synapse directory in step with artifacts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use artifact::{Artifact, Digest};

use crate::atomic;
use crate::manifest::{MANIFEST, Manifest, ManifestError, OwnedApi, Paths};
use crate::pieces::{Kind, PieceError};
use crate::plan::{Put, unused};

/// Held while a program writes the directory.
const LOCK: &str = ".lockstep.lock";
/// Where API Manager has its execution plans.
const EXECUTION_PLANS: &str = "executionplans";

/// A Synapse directory that this program writes. Nobody else can open it while this lives.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    manifest: Manifest,
    _lock: File,
}

/// What the directory is to have of an API.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// This artifact; `digest` names it.
    Put {
        artifact: &'a Artifact,
        digest: Digest,
    },
    /// Nothing.
    Take { api_id: &'a str },
}

/// What became of a change.
#[derive(Debug)]
pub struct Applied {
    pub api_id: String,
    pub outcome: Outcome,
    /// What the artifact has besides and no Synapse directory holds: client certificates, credentials
    /// of the secure vault.
    pub left_out: Vec<String>,
}

#[derive(Debug)]
pub enum Outcome {
    /// Its files are in place and on the disk.
    Written,
    /// They were already; nothing was touched.
    Unchanged,
    /// Its files are gone, but for those that other APIs have, too.
    Removed,
    /// There was nothing to remove.
    Absent,
    /// What was there of the API is there, unless some of its pieces had been replaced before a
    /// later one could not be written.
    Failed(ApplyError),
}

/// Why an API could not be put in place or taken away.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Piece(#[from] PieceError),
    #[error("{}: is there already and was not written by Lockstep; remove it, or the piece of that name", .0.display())]
    Foreign(PathBuf),
    #[error("{}: cannot be {done}: {reason}", .file.display())]
    File {
        file: PathBuf,
        done: &'static str,
        reason: String,
    },
}

/// Why nothing can be done with a directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{}: another program writes this directory", .0.display())]
    Locked(PathBuf),
    #[error("{}: {reason}", .file.display())]
    Manifest {
        file: PathBuf,
        reason: ManifestError,
    },
    #[error("{}: {reason}", .file.display())]
    Io { file: PathBuf, reason: io::Error },
}

impl DirectoryError {
    /// Whether it may work later without anybody's help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Manifest { .. })
    }
}

impl Directory {
    /// Opens the directory, which is made if it is not there. `of` says whose APIs it holds, such as
    /// a label; it cannot be opened for somebody else's.
    ///
    /// # Errors
    /// When another program has it open, its manifest cannot be used, or it cannot be written.
    pub fn open(root: &Path, of: &str) -> Result<Self, DirectoryError> {
        let io = |file: &Path| {
            let file = file.to_owned();
            move |reason| DirectoryError::Io { file, reason }
        };
        let plans = root.join(EXECUTION_PLANS);
        fs::create_dir_all(&plans).map_err(io(&plans))?;
        let lock_file = root.join(LOCK);
        let lock = File::create(&lock_file).map_err(io(&lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked(root.to_owned())),
            Err(TryLockError::Error(reason)) => return Err(io(&lock_file)(reason)),
        }
        let file = root.join(MANIFEST);
        let manifest = match fs::read_to_string(&file) {
            Ok(text) => Manifest::parse(&text, of)
                .map_err(|reason| DirectoryError::Manifest { file, reason })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Manifest::new(of),
            Err(reason) => return Err(io(&file)(reason)),
        };
        let directory = Self {
            root: root.to_owned(),
            manifest,
            _lock: lock,
        };
        let folders = directory
            .manifest
            .files
            .keys()
            .map(|path| directory.folder(path));
        let folders: BTreeSet<PathBuf> = folders.chain([root.to_owned()]).collect();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            atomic::tidy(folder).map_err(io(folder))?;
        }
        Ok(directory)
    }

    /// The APIs that have files here.
    pub fn apis(&self) -> impl Iterator<Item = &str> {
        self.manifest.apis.keys().map(String::as_str)
    }

    /// Whether the API is in place, written from this artifact, as the disk has it now.
    #[must_use]
    pub fn has(&self, api_id: &str, digest: Digest) -> bool {
        let Some(api) = self.manifest.apis.get(api_id) else {
            return false;
        };
        api.digest == Some(digest)
            && api.files.iter().all(|path| {
                let known = self.manifest.files.get(path);
                let content = fs::read(self.root.join(path));
                known.is_some_and(|it| content.is_ok_and(|read| Digest::of(&read) == it.digest))
            })
    }

    /// Applies changes, one result for each. Of the files of all of them, local entries are written
    /// first, then endpoints, sequences, APIs; APIs that are taken go before that, what they
    /// referred to goes last. A piece that several APIs have is one file, whose content is that of
    /// the last one written; it goes with the last of them. A file is touched only where its content
    /// differs.
    ///
    /// # Errors
    /// When the manifest cannot be written. What was done is found out by the next call.
    pub fn apply(&mut self, changes: &[Change<'_>]) -> Result<Vec<Applied>, DirectoryError> {
        let mut applied = Vec::with_capacity(changes.len());
        let mut rest = changes;
        while !rest.is_empty() {
            // Several changes of one API are done one after the other.
            let mut seen = HashSet::new();
            let run = rest
                .iter()
                .take_while(|change| seen.insert(change.api_id()));
            let (run, later) = rest.split_at(run.count());
            applied.extend(self.apply_run(run)?);
            rest = later;
        }
        Ok(applied)
    }

    fn apply_run(&mut self, changes: &[Change<'_>]) -> Result<Vec<Applied>, DirectoryError> {
        let mut applied: Vec<Applied> = Vec::with_capacity(changes.len());
        let mut puts: Vec<(usize, Put<'_>)> = Vec::new();
        let mut claimed = self.manifest.clone();
        let mut paths = Paths::of(&claimed);
        for (at, change) in changes.iter().enumerate() {
            let mut left_out = Vec::new();
            let outcome = match change {
                Change::Take { api_id } => match claimed.apis.get_mut(*api_id) {
                    Some(api) => {
                        api.digest = None;
                        Outcome::Removed
                    }
                    None => Outcome::Absent,
                },
                Change::Put { artifact, digest } => match self.put(artifact, *digest, &mut paths) {
                    Err(error) => Outcome::Failed(error),
                    Ok(mut put) => {
                        left_out = std::mem::take(&mut put.left_out);
                        if self.is_in_step(&put) {
                            Outcome::Unchanged
                        } else {
                            puts.push((at, put));
                            Outcome::Written
                        }
                    }
                },
            };
            applied.push(Applied {
                api_id: change.api_id().to_owned(),
                outcome,
                left_out,
            });
        }
        for (_, put) in &puts {
            put.claim(&mut claimed);
        }
        // Before anything is written: what is found after a crash is known to be Lockstep's.
        self.save(claimed)?;

        let mut target = self.manifest.clone();
        for change in &applied {
            if matches!(change.outcome, Outcome::Removed) {
                target.apis.remove(&change.api_id);
            }
        }
        let apis = unused(&target);
        let mut failed: HashMap<String, (&'static str, io::Error)> = HashMap::new();
        self.remove(
            apis.iter().filter(|(kind, _)| *kind == Kind::Api),
            &mut failed,
        );
        self.write(&puts, &mut failed);
        for (at, put) in &puts {
            let broken = put
                .files
                .iter()
                .find_map(|it| failed.get_key_value(&it.path));
            match (broken, applied.get_mut(*at)) {
                (Some((path, why)), Some(applied)) => {
                    applied.outcome = Outcome::Failed(self.failure(path, why));
                }
                _ => put.settle(&mut target),
            }
        }
        disown(&mut target, &failed);
        self.remove(unused(&target).iter(), &mut failed);
        self.keep_what_could_not_be_removed(&mut target, &mut applied, &failed);
        self.save(target.only_used())?;
        Ok(applied)
    }

    fn put<'a>(
        &self,
        artifact: &'a Artifact,
        digest: Digest,
        paths: &mut Paths,
    ) -> Result<Put<'a>, ApplyError> {
        let put = Put::new(artifact, digest, &self.manifest, paths)?;
        for file in &put.files {
            let path = self.root.join(&file.path);
            if !self.manifest.files.contains_key(&file.path) && path.symlink_metadata().is_ok() {
                return Err(ApplyError::Foreign(path));
            }
        }
        Ok(put)
    }

    /// Whether nothing has to be written, not even into the manifest.
    fn is_in_step(&self, put: &Put<'_>) -> bool {
        let api = self.manifest.apis.get(put.api_id);
        let known = api.is_some_and(|api| {
            api.digest == Some(put.digest)
                && api
                    .files
                    .iter()
                    .eq(put.files.iter().map(|it| &it.path).collect::<BTreeSet<_>>())
        });
        known
            && put.files.iter().all(|it| {
                let path = self.root.join(&it.path);
                (it.keep && path.is_file())
                    || atomic::is(&path, it.text.as_bytes()).unwrap_or(false)
            })
    }

    /// Writes the files of all, kind by kind; what fails is noted by its path.
    fn write(
        &self,
        puts: &[(usize, Put<'_>)],
        failed: &mut HashMap<String, (&'static str, io::Error)>,
    ) {
        for kind in Kind::ALL {
            let mut contents: BTreeMap<&str, &str> = BTreeMap::new();
            for (_, put) in puts {
                // An API whose pieces are not all there does not go live.
                if put.files.iter().any(|it| failed.contains_key(&it.path)) {
                    continue;
                }
                for it in put.files.iter().filter(|it| it.file.kind == kind) {
                    if it.keep && self.root.join(&it.path).is_file() {
                        continue;
                    }
                    contents.insert(&it.path, it.text);
                }
            }
            let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
            for (path, text) in contents {
                match self.write_one(path, text.as_bytes()) {
                    Ok(true) => {
                        folders.insert(self.folder(path));
                    }
                    Ok(false) => {}
                    Err(error) => {
                        failed.insert(path.to_owned(), ("written", error));
                    }
                }
            }
            self.sync(&folders, failed);
        }
    }

    /// Whether it had to be written.
    fn write_one(&self, path: &str, content: &[u8]) -> io::Result<bool> {
        let file = self.root.join(path);
        if atomic::is(&file, content)? {
            return Ok(false);
        }
        self.make(&self.folder(path))?;
        // Whatever has the name now is Lockstep's: it had been looked at before it was claimed.
        let fresh = file.symlink_metadata().is_err();
        atomic::place(&file, content, fresh)?;
        Ok(true)
    }

    /// Makes a folder below the root, and brings it to the disk.
    fn make(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let above = folder.ancestors().skip(1);
        let mut above = above.take_while(|it| it.starts_with(&self.root));
        above.try_for_each(atomic::sync)
    }

    fn remove<'a>(
        &self,
        files: impl Iterator<Item = &'a (Kind, String)>,
        failed: &mut HashMap<String, (&'static str, io::Error)>,
    ) {
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        for (_, path) in files {
            match atomic::remove(&self.root.join(path)) {
                Ok(()) => {
                    folders.insert(self.folder(path));
                }
                Err(error) => {
                    failed.insert(path.clone(), ("removed", error));
                }
            }
        }
        folders.retain(|folder| folder.is_dir());
        self.sync(&folders, failed);
    }

    fn sync(
        &self,
        folders: &BTreeSet<PathBuf>,
        failed: &mut HashMap<String, (&'static str, io::Error)>,
    ) {
        for folder in folders {
            let Err(error) = atomic::sync(folder) else {
                continue;
            };
            let files = self.manifest.files.keys();
            for path in files.filter(|path| self.folder(path) == *folder) {
                let error = io::Error::new(error.kind(), error.to_string());
                failed.insert(path.clone(), ("brought to the disk", error));
            }
        }
    }

    /// Files that are still there stay those of the APIs that had them.
    fn keep_what_could_not_be_removed(
        &self,
        target: &mut Manifest,
        applied: &mut [Applied],
        failed: &HashMap<String, (&'static str, io::Error)>,
    ) {
        for (path, why) in failed {
            if target.is_used(path) || why.0 != "removed" {
                continue;
            }
            let owners = self.manifest.apis.iter();
            for (api_id, _) in owners.filter(|(_, api)| api.files.contains(path)) {
                let api: &mut OwnedApi = target.apis.entry(api_id.clone()).or_default();
                api.digest = None;
                api.files.insert(path.clone());
                let result = applied.iter_mut().find(|it| it.api_id == *api_id);
                if let Some(result) = result {
                    result.outcome = Outcome::Failed(self.failure(path, why));
                }
            }
        }
    }

    fn failure(&self, path: &str, (done, reason): &(&'static str, io::Error)) -> ApplyError {
        let file = self.root.join(path);
        match reason.kind() {
            ErrorKind::AlreadyExists => ApplyError::Foreign(file),
            _ => ApplyError::File {
                file,
                done,
                reason: reason.to_string(),
            },
        }
    }

    /// Brings a manifest to the disk; the one that is there stays if it is the same.
    fn save(&mut self, manifest: Manifest) -> Result<(), DirectoryError> {
        if manifest == self.manifest {
            return Ok(());
        }
        let file = self.root.join(MANIFEST);
        let text = manifest.to_text().map_err(|reason| {
            let file = file.clone();
            DirectoryError::Manifest { file, reason }
        })?;
        let saved = atomic::place(&file, text.as_bytes(), false);
        saved
            .and_then(|()| atomic::sync(&self.root))
            .map_err(|reason| DirectoryError::Io { file, reason })?;
        self.manifest = manifest;
        Ok(())
    }

    fn folder(&self, path: &str) -> PathBuf {
        let file = self.root.join(path);
        file.parent().unwrap_or(&self.root).to_owned()
    }
}

/// What somebody else has put in place since it was looked at is not Lockstep's.
fn disown(target: &mut Manifest, failed: &HashMap<String, (&'static str, io::Error)>) {
    for (path, (_, error)) in failed {
        if error.kind() == ErrorKind::AlreadyExists {
            target.files.remove(path);
            for api in target.apis.values_mut() {
                api.files.remove(path);
            }
        }
    }
}

impl<'a> Change<'a> {
    fn api_id(&self) -> &'a str {
        match self {
            Self::Put { artifact, .. } => &artifact.api_id,
            Self::Take { api_id } => api_id,
        }
    }
}

#[cfg(test)]
mod tests;
