//! Files in memory, from a directory: what the readers of artifacts look at.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest single file that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Files of one directory, all levels, and their bytes.
const MAX_FILES: usize = 200_000;
const MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Directories inside each other.
const MAX_DEPTH: usize = 32;
/// What artifacts are written in; nothing else in a directory is looked at.
const ENDINGS: [&str; 4] = ["xml", "json", "yaml", "yml"];

/// A file with its path inside the tree, `/` between segments.
#[derive(Clone, Debug)]
pub struct File {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// All files under one path.
#[derive(Clone, Debug)]
pub struct Tree {
    /// How messages name the root: the path as given.
    pub root: String,
    pub files: Vec<File>,
    /// Files that may be artifacts and cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Files that are something else.
    pub ignored: Vec<String>,
    /// The path was a file: it has to be an artifact, nothing is left out.
    pub is_single_file: bool,
}

impl Tree {
    /// A tree without files whose root is this path.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self {
            root: path.display().to_string(),
            files: Vec::new(),
            unreadable: Vec::new(),
            ignored: Vec::new(),
            is_single_file: false,
        }
    }

    /// A file's name in messages.
    #[must_use]
    pub fn name_of(&self, path: &str) -> String {
        if self.is_single_file {
            self.root.clone()
        } else {
            format!("{}/{path}", self.root.trim_end_matches('/'))
        }
    }
}

/// Why a path cannot be read; the path itself is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("is neither a file nor a directory")]
    Neither,
    #[error("is larger than {MAX_FILE} bytes")]
    TooLarge,
    #[error("directories are more than {MAX_DEPTH} deep at {0}")]
    TooDeep(String),
    #[error("holds more than {MAX_FILES} files")]
    TooManyFiles,
    #[error("holds more than {MAX_BYTES} bytes of artifacts")]
    TooManyBytes,
}

/// Reads a directory with all below it. Hidden files and directories are not looked at.
///
/// # Errors
/// When the directory itself cannot be read or holds too much; a file that cannot be read is noted
/// in [`Tree::unreadable`].
pub fn read_directory(path: &Path) -> Result<Tree, TreeError> {
    let mut tree = Tree::of(path);
    let mut walk = Walk {
        tree: &mut tree,
        bytes: 0,
        above: Vec::new(),
    };
    walk.directory(path, "")?;
    Ok(tree)
}

/// Whether a file of this name is one that artifacts are written in.
#[must_use]
pub fn may_be_artifact(name: &str) -> bool {
    ENDINGS.iter().any(|ending| has_ending(name, ending))
}

/// A walk through a directory. What cannot be read is noted; the rest goes on.
struct Walk<'a> {
    tree: &'a mut Tree,
    bytes: u64,
    /// The real directories around the current one, against links that lead back.
    above: Vec<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path, prefix: &str) -> Result<(), TreeError> {
        let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        if self.above.contains(&real) {
            self.tree
                .ignored
                .push(format!("{prefix} (a link back to where it lies)"));
            return Ok(());
        }
        if self.above.len() == MAX_DEPTH {
            return Err(TreeError::TooDeep(prefix.to_owned()));
        }
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) if prefix.is_empty() => return Err(error.into()),
            Err(error) => {
                self.note(prefix, format!("cannot be read: {error}"));
                return Ok(());
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        self.above.push(real);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = match prefix {
                "" => name,
                prefix => format!("{prefix}/{name}"),
            };
            let wanted = may_be_artifact(&path);
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_dir() => self.directory(&entry.path(), &path)?,
                Ok(metadata) if metadata.is_file() && wanted => self.file(&entry.path(), path)?,
                Err(error) if wanted => self.note(&path, format!("cannot be read: {error}")),
                Ok(_) | Err(_) => self.tree.ignored.push(path),
            }
        }
        self.above.pop();
        Ok(())
    }

    fn file(&mut self, file: &Path, path: String) -> Result<(), TreeError> {
        match read_file(file) {
            Ok(bytes) => {
                self.bytes += bytes.len() as u64;
                self.tree.files.push(File { path, bytes });
            }
            Err(reason) => self.note(&path, reason.to_string()),
        }
        if self.tree.files.len() > MAX_FILES {
            return Err(TreeError::TooManyFiles);
        }
        if self.bytes > MAX_BYTES {
            return Err(TreeError::TooManyBytes);
        }
        Ok(())
    }

    fn note(&mut self, path: &str, reason: String) {
        self.tree.unreadable.push((path.to_owned(), reason));
    }
}

/// Reads a regular file; a pipe or a device could go on for ever.
///
/// # Errors
/// When it cannot be read, is something else, or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, TreeError> {
    if !fs::metadata(path)?.is_file() {
        return Err(TreeError::Neither);
    }
    let mut bytes = Vec::new();
    let mut limited = fs::File::open(path)?.take(MAX_FILE + 1);
    limited.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(TreeError::TooLarge);
    }
    Ok(bytes)
}

/// Whether the name ends in `.ending`, in any case.
#[must_use]
pub fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(ending))
}
