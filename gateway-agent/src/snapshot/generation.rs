//! A consistent state in one file: the older generations of a snapshot, and what `export` writes.
//!
//! Layout: a head in clear – 17 bytes `lockstep-snapshot`, the format (u32), whether it is encrypted
//! (u8), 16 random bytes – and sealed records, each after its length (u32). The first tells whose it
//! is and when it was written, the next ones hold a row each (length of the key as u32, key, value),
//! the last one the number of rows. Numbers are little endian. A record is sealed for the head, its
//! index and whether it is the last, so none can be moved, left out or cut off.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::directory::write_aside;
use super::seal::Sealer;
use super::state::State;
use super::store::FORMAT;
use super::{Owner, SnapshotError, Unusable};

const MAGIC: &[u8; 17] = b"lockstep-snapshot";
const HEAD: usize = MAGIC.len() + 4 + 1 + 16;
/// Bytes of a record at most: an artifact of the greatest length with its seal.
const MAX_RECORD: usize = crate::lines::MAX_LINE + 1024 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    owner: Owner,
    /// Milliseconds since the epoch.
    time: i64,
}

/// Writes a file with the whole state, aside and then in place; readable by its owner only.
///
/// # Errors
/// When it cannot be written.
pub fn write(
    file: &Path,
    sealer: &Sealer,
    owner: &Owner,
    state: &State,
) -> Result<(), SnapshotError> {
    let rows = state.rows().map_err(SnapshotError::other)?;
    let head = head(sealer)?;
    let about = About {
        owner: owner.clone(),
        time: kit::clock::now_ms(),
    };
    let about = serde_json::to_vec(&about).map_err(SnapshotError::other)?;
    write_aside(file, |open| {
        let mut to = BufWriter::new(open);
        to.write_all(&head)?;
        record(&mut to, sealer, &head, 0, false, &about)?;
        let mut index = 1;
        for row in &rows {
            // A state has no rows that take others away.
            let Some(value) = &row.value else { continue };
            let mut bytes = length(row.key.len())?.to_vec();
            bytes.extend_from_slice(&row.key);
            bytes.extend_from_slice(value);
            record(&mut to, sealer, &head, index, false, &bytes)?;
            index += 1;
        }
        record(&mut to, sealer, &head, index, true, &index.to_le_bytes())?;
        to.flush()?;
        Ok(())
    })
}

/// Reads a file: whose it is, when it was written in milliseconds since the epoch, and the state.
///
/// # Errors
/// When it is damaged, cut off, of a newer format, sealed with another key, or cannot be read.
pub fn read(file: &Path, sealer: &Sealer) -> Result<(Owner, i64, State), SnapshotError> {
    let mut from = BufReader::new(File::open(file)?);
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let (magic, rest) = head.split_at(MAGIC.len());
    let (format, rest) = rest.split_at(4);
    let format = u64::from(number(format)?);
    if magic != MAGIC {
        return Err(Unusable::Damaged("it is no snapshot".into()).into());
    }
    if format > FORMAT {
        return Err(Unusable::Newer(format).into());
    }
    if rest.first() != Some(&u8::from(sealer.encrypts())) {
        return Err(Unusable::Sealed.into());
    }
    let mut records = Records {
        from,
        sealer,
        head: &head,
        index: 0,
    };
    let about = match records.next()? {
        (false, about) => about,
        (true, _) => return Err(Unusable::Damaged("it is cut off".into()).into()),
    };
    let about: About = serde_json::from_slice(&about)
        .map_err(|_| Unusable::Damaged("it does not say whose it is".into()))?;
    let mut state = State::default();
    while let (false, bytes) = records.next()? {
        let row = bytes.split_at_checked(4).and_then(|(length, rest)| {
            let length = number(length).ok()?;
            rest.split_at_checked(usize::try_from(length).ok()?)
        });
        let (key, value) = row.ok_or_else(|| Unusable::Damaged("a row is cut off".into()))?;
        state.take(key, value.to_vec())?;
    }
    state.check()?;
    Ok((about.owner, about.time, state))
}

fn head(sealer: &Sealer) -> Result<[u8; HEAD], SnapshotError> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| super::seal::SealError)?;
    let format = u32::try_from(FORMAT).map_err(SnapshotError::other)?;
    let mut head = [0; HEAD];
    let all = MAGIC
        .iter()
        .chain(&format.to_le_bytes())
        .copied()
        .chain([u8::from(sealer.encrypts())])
        .chain(random)
        .collect::<Vec<u8>>();
    head.copy_from_slice(&all);
    Ok(head)
}

fn place(head: &[u8; HEAD], index: u64, last: bool) -> Vec<u8> {
    let mut place = head.to_vec();
    place.extend_from_slice(&index.to_le_bytes());
    place.push(u8::from(last));
    place
}

fn length(length: usize) -> Result<[u8; 4], SnapshotError> {
    let length = u32::try_from(length).map_err(SnapshotError::other)?;
    Ok(length.to_le_bytes())
}

fn number(bytes: &[u8]) -> Result<u32, SnapshotError> {
    let bytes = bytes.try_into().map_err(SnapshotError::other)?;
    Ok(u32::from_le_bytes(bytes))
}

fn record(
    to: &mut impl Write,
    sealer: &Sealer,
    head: &[u8; HEAD],
    index: u64,
    last: bool,
    bytes: &[u8],
) -> Result<(), SnapshotError> {
    let sealed = sealer.seal(&place(head, index, last), bytes)?;
    to.write_all(&length(sealed.len())?)?;
    to.write_all(&sealed)?;
    Ok(())
}

struct Records<'a> {
    from: BufReader<File>,
    sealer: &'a Sealer,
    head: &'a [u8; HEAD],
    index: u64,
}

impl Records<'_> {
    /// The next record, and whether it is the last.
    fn next(&mut self) -> Result<(bool, Vec<u8>), SnapshotError> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        let most = u32::try_from(MAX_RECORD).unwrap_or(u32::MAX);
        if length > most {
            return Err(Unusable::Damaged("a record is too long".into()).into());
        }
        let mut sealed = Vec::new();
        let read = (&mut self.from)
            .take(u64::from(length))
            .read_to_end(&mut sealed)?;
        if u32::try_from(read) != Ok(length) {
            return Err(Unusable::Damaged("it is cut off".into()).into());
        }
        for last in [false, true] {
            let place = place(self.head, self.index, last);
            if let Some(bytes) = self.sealer.open(&place, &sealed) {
                self.index += 1;
                return Ok((last, bytes));
            }
        }
        Err(Unusable::Sealed.into())
    }
}
