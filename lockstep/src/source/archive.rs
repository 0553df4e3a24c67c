//! Reads a zip archive that arrives from outside into memory.
//!
//! Nothing is written to disk. Sizes in the archive's headers are never trusted: bytes are
//! counted while they are inflated, and reading stops at the limit.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use zip::read::ZipFileEntry;
use zip::{CompressionMethod, ZipArchive, ZipReadOptions};

/// What an archive may hold at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Entries, directories included.
    pub max_entries: usize,
    /// Inflated bytes of one entry.
    pub max_entry_bytes: u64,
    /// Inflated bytes of all entries together.
    pub max_total_bytes: u64,
    /// Inflated bytes per compressed byte, for entries above `ratio_free_bytes`.
    pub max_ratio: u64,
    /// Inflated bytes below which the ratio is not looked at: small text compresses well.
    pub ratio_free_bytes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            max_entry_bytes: 16 << 20,
            max_total_bytes: 256 << 20,
            max_ratio: 200,
            ratio_free_bytes: 1 << 20,
        }
    }
}

/// A file of an archive: its path with `/` between segments, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveEntry {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// Why an archive is refused. Each names the entry (escaped, as it is untrusted) and the rule.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("not a readable zip archive: {0}")]
    Unreadable(#[source] zip::result::ZipError),
    #[error("the archive has {count} entries; at most {max} are read")]
    TooManyEntries { count: usize, max: usize },
    #[error("entry {name}: {rule}")]
    Path { name: String, rule: &'static str },
    #[error("entry {name}: the name occurs twice; every file of an archive has its own name")]
    Duplicate { name: String },
    #[error("entry {name}: only files and directories are read, no symbolic links or devices")]
    NotAFile { name: String },
    #[error("entry {name}: encrypted entries are not read; pack the archive without a password")]
    Encrypted { name: String },
    #[error("entry {name}: compression method {method} is not read; use deflate or store")]
    Compression { name: String, method: String },
    #[error("entry {name}: larger than {max} bytes when inflated")]
    EntryTooLarge { name: String, max: u64 },
    #[error("entry {name}: the archive inflates to more than {max} bytes in total")]
    TotalTooLarge { name: String, max: u64 },
    #[error("entry {name}: inflates to more than {max} times its compressed size")]
    Ratio { name: String, max: u64 },
    #[error("entry {name}: damaged: {reason}")]
    Damaged { name: String, reason: String },
}

/// Every file of the zip archive `bytes`, in the order of its directory.
pub fn read_zip(bytes: &[u8], limits: &ArchiveLimits) -> Result<Vec<ArchiveEntry>, ArchiveError> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(ArchiveError::Unreadable)?;
    let count = archive.len();
    if count > limits.max_entries {
        return Err(ArchiveError::TooManyEntries {
            count,
            max: limits.max_entries,
        });
    }
    if archive.has_duplicate_names() {
        let name = first_twin(bytes, archive.central_directory_start());
        return Err(ArchiveError::Duplicate {
            name: quoted(&name),
        });
    }

    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    let mut total = 0;
    for index in 0..count {
        let entry = archive
            .by_index_data(index)
            .map_err(ArchiveError::Unreadable)?;
        let path = safe_path(&entry)?;
        check_kind(&entry, &path)?;
        if entry.is_dir() {
            continue;
        }
        if !seen.insert(path.clone()) {
            return Err(ArchiveError::Duplicate {
                name: quoted(&path),
            });
        }
        let content = inflate(entry, &path, bytes, total, limits)?;
        total += content.len() as u64;
        entries.push(ArchiveEntry {
            path,
            bytes: content,
        });
    }
    Ok(entries)
}

/// The first name that the central directory holds twice, only to be shown: the archive reader
/// keeps one entry per name and does not tell which.
fn first_twin(archive: &[u8], directory_start: u64) -> String {
    const FIXED: usize = 46;
    const LENGTHS: usize = 28; // of name, extra field and comment, 16 bits each

    let mut seen = HashSet::new();
    let start = usize::try_from(directory_start).unwrap_or(usize::MAX);
    let mut rest = archive.get(start..).unwrap_or_default();
    while let Some((header, tail)) = rest.split_at_checked(FIXED) {
        let length = |at: usize| match header.get(at..at + 2) {
            Some(&[low, high]) => usize::from(u16::from_le_bytes([low, high])),
            _ => 0,
        };
        let name = tail.get(..length(LENGTHS)).unwrap_or_default();
        if !seen.insert(name) {
            return String::from_utf8_lossy(name).into_owned();
        }
        let next = length(LENGTHS) + length(LENGTHS + 2) + length(LENGTHS + 4);
        rest = tail.get(next..).unwrap_or_default();
    }
    String::new()
}

/// The entry's path, if it stays below the folder it is read into on every system.
fn safe_path(entry: &ZipFileEntry<'_>) -> Result<String, ArchiveError> {
    let raw = entry.name_raw();
    let refuse = |rule| {
        let name = quoted(&String::from_utf8_lossy(raw));
        Err(ArchiveError::Path { name, rule })
    };
    let Ok(name) = std::str::from_utf8(raw) else {
        return refuse("the name is not UTF-8");
    };
    if name.chars().any(char::is_control) {
        return refuse("the name holds a NUL or another control character");
    }
    if name.contains('\\') {
        return refuse("the name holds a backslash; zip paths are written with /");
    }
    if name.starts_with('/') {
        return refuse("the path is absolute; paths are relative to the archive");
    }
    if matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return refuse("the path begins with a drive letter");
    }
    let segments: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    if segments.contains(&"..") {
        return refuse("the path contains .. and could leave the archive");
    }
    if segments.contains(&"") {
        return refuse("the path has an empty segment");
    }
    let kept: Vec<&str> = segments.into_iter().filter(|it| *it != ".").collect();
    if kept.is_empty() && !entry.is_dir() {
        return refuse("the path names no file");
    }
    Ok(kept.join("/"))
}

fn check_kind(entry: &ZipFileEntry<'_>, path: &str) -> Result<(), ArchiveError> {
    const FILE_TYPE: u32 = 0o170_000;
    const DIRECTORY: u32 = 0o040_000;
    const REGULAR: u32 = 0o100_000;

    let name = quoted(path);
    let unix_mode = entry.external_attributes() >> 16;
    if !matches!(unix_mode & FILE_TYPE, 0 | DIRECTORY | REGULAR) {
        return Err(ArchiveError::NotAFile { name });
    }
    if entry.encrypted() {
        return Err(ArchiveError::Encrypted { name });
    }
    match entry.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated => Ok(()),
        method => Err(ArchiveError::Compression {
            name,
            method: method.to_string(),
        }),
    }
}

/// The entry's content. `total` is what the entries before it came to.
fn inflate(
    entry: ZipFileEntry<'_>,
    path: &str,
    archive: &[u8],
    total: u64,
    limits: &ArchiveLimits,
) -> Result<Vec<u8>, ArchiveError> {
    let damaged = |reason: String| ArchiveError::Damaged {
        name: quoted(path),
        reason,
    };
    let claimed = entry.compressed_size();
    let read = Cell::new(0);
    let mut source = Counted {
        inner: Cursor::new(archive),
        read: &read,
    };
    let mut file = entry
        .with_reader(&mut source, ZipReadOptions::new())
        .map_err(|e| damaged(e.to_string()))?;
    read.set(0);

    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let n = file.read(&mut chunk).map_err(|e| damaged(e.to_string()))?;
        if n == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let size = bytes.len() as u64;
        if size > limits.max_entry_bytes {
            return Err(ArchiveError::EntryTooLarge {
                name: quoted(path),
                max: limits.max_entry_bytes,
            });
        }
        if total + size > limits.max_total_bytes {
            return Err(ArchiveError::TotalTooLarge {
                name: quoted(path),
                max: limits.max_total_bytes,
            });
        }
        let compressed = read.get().min(claimed).max(1);
        if size > limits.ratio_free_bytes && size > compressed.saturating_mul(limits.max_ratio) {
            return Err(ArchiveError::Ratio {
                name: quoted(path),
                max: limits.max_ratio,
            });
        }
    }
}

/// The archive as a reader that counts what was taken from it.
struct Counted<'a> {
    inner: Cursor<&'a [u8]>,
    read: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read.set(self.read.get() + n as u64);
        Ok(n)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.inner.seek(pos)
    }
}

/// An untrusted name fit for one line of an error message.
fn quoted(name: &str) -> String {
    const SHOWN: usize = 120;
    let mut shown: String = name.chars().take(SHOWN).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests;
