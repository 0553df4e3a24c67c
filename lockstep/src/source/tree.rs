//! Files in memory, from a file, a directory or a zip archive.

use std::fs;
use std::path::Path;

use super::archive::{ArchiveLimits, read_zip};

/// The largest single file that is read.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Files of one directory, all levels.
const MAX_FILES: usize = 200_000;
/// Directories inside each other.
const MAX_DEPTH: usize = 32;

/// A file with its path inside the tree, `/` between segments.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// All files under one path.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// How messages name the root: the path as given.
    pub(crate) root: String,
    pub(crate) files: Vec<File>,
    /// The path was a file: it has to be an artifact, nothing is left out.
    pub(crate) is_single_file: bool,
}

impl Tree {
    /// A file's name in messages.
    pub(crate) fn name_of(&self, path: &str) -> String {
        if self.is_single_file {
            self.root.clone()
        } else {
            format!("{}/{path}", self.root.trim_end_matches('/'))
        }
    }
}

/// Reads a path; the error is the reason without the path.
pub(crate) fn read(path: &Path) -> Result<Tree, String> {
    let root = path.display().to_string();
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if metadata.is_dir() {
        let mut files = Vec::new();
        walk(path, "", 0, &mut files)?;
        return Ok(Tree {
            root,
            files,
            is_single_file: false,
        });
    }
    let bytes = read_file(path)?;
    if bytes.starts_with(b"PK\x03\x04")
        || bytes.starts_with(b"PK\x05\x06")
        || has_ending(&root, "zip")
    {
        let entries =
            read_zip(&bytes, &ArchiveLimits::default()).map_err(|error| error.to_string())?;
        let files = entries.into_iter().map(|entry| File {
            path: entry.path,
            bytes: entry.bytes,
        });
        return Ok(Tree {
            root,
            files: files.collect(),
            is_single_file: false,
        });
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Tree {
        root,
        files: vec![File {
            path: name.unwrap_or_default(),
            bytes,
        }],
        is_single_file: true,
    })
}

fn walk(directory: &Path, prefix: &str, depth: usize, files: &mut Vec<File>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "directories are more than {MAX_DEPTH} deep at {prefix}"
        ));
    }
    let failed = |error: std::io::Error| format!("{prefix}: cannot be read: {error}");
    let mut entries = fs::read_dir(directory)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let metadata = fs::metadata(entry.path())
            .map_err(|error| format!("{path}: cannot be read: {error}"))?;
        if metadata.is_dir() {
            walk(&entry.path(), &path, depth + 1, files)?;
        } else if metadata.is_file() {
            if files.len() >= MAX_FILES {
                return Err(format!("holds more than {MAX_FILES} files"));
            }
            let bytes = read_file(&entry.path()).map_err(|reason| format!("{path}: {reason}"))?;
            files.push(File { path, bytes });
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(format!("has {size} bytes, at most {MAX_FILE} are read"));
    }
    fs::read(path).map_err(failed)
}

/// Whether the name ends in `.ending`, in any case.
pub(crate) fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(ending))
}
