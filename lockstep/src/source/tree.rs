//! Files in memory, from a file, a directory or a zip archive.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::archive::{ArchiveLimits, read_zip};

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
    /// Files that may be artifacts and cannot be read, with the reason.
    pub(crate) unreadable: Vec<(String, String)>,
    /// Files that are something else.
    pub(crate) ignored: Vec<String>,
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
    let mut tree = Tree {
        root: path.display().to_string(),
        files: Vec::new(),
        unreadable: Vec::new(),
        ignored: Vec::new(),
        is_single_file: false,
    };
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if metadata.is_dir() {
        let mut walk = Walk {
            tree: &mut tree,
            bytes: 0,
            above: Vec::new(),
        };
        walk.directory(path, "")?;
        return Ok(tree);
    }
    let bytes = read_file(path)?;
    let zipped = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
    if zipped || has_ending(&tree.root, "zip") {
        let entries =
            read_zip(&bytes, &ArchiveLimits::default()).map_err(|error| error.to_string())?;
        for entry in entries {
            if ENDINGS.iter().any(|ending| has_ending(&entry.path, ending)) {
                tree.files.push(File {
                    path: entry.path,
                    bytes: entry.bytes,
                });
            } else {
                tree.ignored.push(entry.path);
            }
        }
        return Ok(tree);
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    tree.files.push(File {
        path: name.unwrap_or_default(),
        bytes,
    });
    tree.is_single_file = true;
    Ok(tree)
}

/// A walk through a directory. What cannot be read is noted; the rest goes on.
struct Walk<'a> {
    tree: &'a mut Tree,
    bytes: u64,
    /// The real directories around the current one, against links that lead back.
    above: Vec<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path, prefix: &str) -> Result<(), String> {
        let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        if self.above.contains(&real) {
            self.tree
                .ignored
                .push(format!("{prefix} (a link back to where it lies)"));
            return Ok(());
        }
        if self.above.len() == MAX_DEPTH {
            return Err(format!(
                "directories are more than {MAX_DEPTH} deep at {prefix}"
            ));
        }
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) if prefix.is_empty() => return Err(format!("cannot be read: {error}")),
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
            let wanted = ENDINGS.iter().any(|ending| has_ending(&path, ending));
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

    fn file(&mut self, file: &Path, path: String) -> Result<(), String> {
        match read_file(file) {
            Ok(bytes) => {
                self.bytes += bytes.len() as u64;
                self.tree.files.push(File { path, bytes });
            }
            Err(reason) => self.note(&path, reason),
        }
        if self.tree.files.len() > MAX_FILES {
            return Err(format!("holds more than {MAX_FILES} files"));
        }
        if self.bytes > MAX_BYTES {
            return Err(format!("holds more than {MAX_BYTES} bytes of artifacts"));
        }
        Ok(())
    }

    fn note(&mut self, path: &str, reason: String) {
        self.tree.unreadable.push((path.to_owned(), reason));
    }
}

/// Reads a regular file; a pipe or a device could go on for ever.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("is neither a file nor a directory".to_owned());
    }
    let mut bytes = Vec::new();
    let mut limited = fs::File::open(path).map_err(failed)?.take(MAX_FILE + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

/// Whether the name ends in `.ending`, in any case.
pub(crate) fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(ending))
}
