//! The directory of one gateway's snapshot: what lies in it, under which names.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use artifact::Digest;

use super::seal::Key;
use super::{SnapshotError, Unusable};

/// How many files are kept that cannot be used.
const UNUSABLE_KEPT: usize = 4;
/// In the name of a file that is not in place yet.
const ASIDE: &str = ".new-";
const UNUSABLE: &str = ".unusable-";
const GENERATION: &str = "generation-";
/// Characters of a gateway id in the name of its directory.
const MAX_NAME: usize = 64;

/// Where a gateway's snapshot is.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory of a gateway below `above`. An id that is no file name gets some digits of its
    /// digest, so that two ids never share one.
    #[must_use]
    pub fn of(above: &Path, gateway_id: &str) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let mut name: String = gateway_id
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .take(MAX_NAME)
            .collect();
        if name != gateway_id || name.starts_with('.') || name.is_empty() {
            let digest = Digest::of(gateway_id.as_bytes()).short();
            name = format!("{}-{digest}", name.trim_start_matches('.'));
        }
        Self(above.join(name))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The embedded store.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.0.join("current.redb")
    }

    /// Where the key is that was made for it.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.0.join("key")
    }

    /// Makes the directory, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self) -> std::io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        // One that was there may be open to others. One that is right may be on a disk that cannot be
        // written.
        if fs::metadata(&self.0)?.permissions().mode() & 0o777 == 0o700 {
            return Ok(());
        }
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700))
    }

    /// The key that lies beside the snapshot; `make` one if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, or is none.
    pub fn key(&self, make: bool) -> Result<Key, SnapshotError> {
        let file = self.key_file();
        match fs::read_to_string(&file) {
            Ok(text) => {
                let bad = || Unusable::Damaged("it holds no key".into()).into();
                return Key::parse(&text).ok_or_else(bad);
            }
            Err(error) if make && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let key = Key::generate()?;
        write_aside(&file, |mut open| {
            Ok(open.write_all(format!("{}\n", key.expose()).as_bytes())?)
        })?;
        Ok(key)
    }

    /// The generations with their numbers, newest first.
    #[must_use]
    pub fn generations(&self) -> Vec<(u64, PathBuf)> {
        let number = |name: &str| name.strip_prefix(GENERATION)?.parse().ok();
        let mut found: Vec<(u64, PathBuf)> = self
            .names()
            .into_iter()
            .filter_map(|name| Some((number(&name)?, self.0.join(&name))))
            .collect();
        found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        found
    }

    /// Where the next generation is to be written.
    #[must_use]
    pub fn next_generation(&self) -> PathBuf {
        let newest = self.generations().first().map_or(0, |(number, _)| *number);
        self.0.join(format!("{GENERATION}{:06}", newest + 1))
    }

    /// Removes the oldest generations: all but `count`, and more until everything together has at
    /// most `bytes`. The newest one stays.
    pub fn thin_out(&self, count: usize, bytes: u64) {
        for (_, file) in self.generations().into_iter().skip(count) {
            let _ = fs::remove_file(file);
        }
        let mut rest = self.generations();
        while rest.len() > 1 && self.size() > bytes {
            if let Some((_, oldest)) = rest.pop() {
                let _ = fs::remove_file(oldest);
            }
        }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        let files = self.names().into_iter().map(|name| self.0.join(name));
        files
            .filter_map(|file| Some(fs::metadata(file).ok()?.len()))
            .sum()
    }

    /// Renames a file that cannot be used, with the time in milliseconds since the epoch; its new
    /// name. Only the newest of those are kept.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn set_aside(&self, file: &Path, now: i64) -> std::io::Result<PathBuf> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.0.join(format!("{name}{UNUSABLE}{now}"));
        fs::rename(file, &aside)?;
        let time = |name: &str| name.rsplit_once(UNUSABLE)?.1.parse::<i64>().ok();
        let mut all: Vec<(i64, String)> = self
            .names()
            .into_iter()
            .filter_map(|name| Some((time(&name)?, name)))
            .collect();
        all.sort();
        let superfluous = all.len().saturating_sub(UNUSABLE_KEPT);
        for (_, name) in all.into_iter().take(superfluous) {
            let _ = fs::remove_file(self.0.join(name));
        }
        Ok(aside)
    }

    /// Removes what a program that was killed was about to write.
    pub fn clear_leftovers(&self) {
        for name in self.names() {
            if name.contains(ASIDE) {
                let _ = fs::remove_file(self.0.join(name));
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

/// Writes a file for its owner only: beside, to the disk, and then in place. A crash leaves the old
/// one or the new one.
///
/// # Errors
/// When that fails; nothing is left beside then.
pub fn write_aside(
    file: &Path,
    write: impl FnOnce(&File) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let aside = beside(file);
    let _ = fs::remove_file(&aside);
    let open = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    let written = write(&open).and_then(|()| {
        open.sync_all()?;
        move_in_place(&aside, file)
    });
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// The name under which a file is made before it is moved in place.
#[must_use]
pub fn beside(file: &Path) -> PathBuf {
    let mut aside = file.as_os_str().to_owned();
    aside.push(format!("{ASIDE}{}", std::process::id()));
    aside.into()
}

/// Renames, and brings the renaming to the disk.
///
/// # Errors
/// When that fails.
pub fn move_in_place(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    fs::rename(from, to)?;
    let above = to.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}
