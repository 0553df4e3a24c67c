//! Files that are there whole or not at all, whatever happens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// The file that is being written, in the directory where it will be. Hot deployers pass over it: it
/// is hidden, and does not end in `.xml`.
const ASIDE: &str = ".lockstep.tmp";

/// Whether the file is a regular one with exactly this content.
pub(crate) fn is(path: &Path, content: &[u8]) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(known) if known.is_file() && known.len() == content.len() as u64 => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(fs::read(path)? == content)
}

/// Puts a file in place. It is written aside, brought to the disk and then gets its name; the
/// directory has to be brought to the disk by [`sync`]. With `fresh`, nothing may have that name.
///
/// # Errors
/// When it cannot be written; then what was there is there. [`ErrorKind::AlreadyExists`] when
/// something has the name of a `fresh` one.
pub(crate) fn place(path: &Path, content: &[u8], fresh: bool) -> io::Result<()> {
    let aside = path.with_file_name(ASIDE);
    remove(&aside)?;
    let written = write(&aside, content).and_then(|()| match fresh {
        true => name_fresh(&aside, path),
        false => fs::rename(&aside, path),
    });
    if written.is_err() {
        let _ = remove(&aside);
    }
    written
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A rename would replace a file that somebody else has made in between; a link does not.
fn name_fresh(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Ok(()) => remove(aside),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // A file system without links.
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(aside, path),
    }
}

/// Removes a file; one that is not there is none to remove.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a program that was killed has left aside in a directory.
pub(crate) fn tidy(directory: &Path) -> io::Result<()> {
    remove(&directory.join(ASIDE))
}

/// Brings the names in a directory to the disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_file_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.xml");
        place(&path, b"one", true).unwrap();
        let error = place(&path, b"two", true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(is(&path, b"one").unwrap());
        place(&path, b"two", false).unwrap();
        assert!(is(&path, b"two").unwrap() && !is(&path, b"one").unwrap());
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left aside");
    }

    #[test]
    fn what_a_killed_program_left_aside_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(ASIDE), "half").unwrap();
        place(&directory.path().join("a.xml"), b"one", true).unwrap();
        fs::write(directory.path().join(ASIDE), "half").unwrap();
        tidy(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
