//! Files in memory, from a file, a directory or a zip archive.

use std::path::Path;

use synapse_directory::tree::{has_ending, may_be_artifact, read_directory, read_file};

use super::archive::{ArchiveLimits, read_zip};
use super::{File, Tree};

/// Reads a path; the error is the reason without the path.
pub(crate) fn read(path: &Path) -> Result<Tree, String> {
    if path.is_dir() {
        return read_directory(path).map_err(|error| error.to_string());
    }
    let mut tree = Tree::of(path);
    let bytes = read_file(path).map_err(|error| error.to_string())?;
    let zipped = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
    if zipped || has_ending(&tree.root, "zip") {
        let entries =
            read_zip(&bytes, &ArchiveLimits::default()).map_err(|error| error.to_string())?;
        for entry in entries {
            if may_be_artifact(&entry.path) {
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
