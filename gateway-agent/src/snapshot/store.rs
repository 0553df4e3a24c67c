//! The embedded store: the state of one gateway in one file, changed by transactions.
//!
//! Every value is sealed for its key. A sum over all rows is written with each change, so a file
//! in which rows are missing or older than others is found out about when it is opened.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, ReadTransaction, ReadableDatabase,
    ReadableTable, StorageBackend, TableDefinition,
};
use serde::{Deserialize, Serialize};

use super::seal::Sealer;
use super::state::{Row, State, is_text, share, toggle};
use super::{Owner, SnapshotError, Unusable};

/// The layout of the store and of files; a newer one is not read.
pub const FORMAT: u64 = 1;
/// Bytes of pages that are kept in memory.
const CACHE: usize = 16 * 1024 * 1024;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// `format` (a number of 8 bytes, little endian) and `about` (sealed).
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const ABOUT_PLACE: &[u8] = b"about";

/// Whose state it is, and the sum over its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    owner: Owner,
    sum: String,
    /// When it was written, milliseconds since the epoch.
    time: i64,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    database: Database,
    sealer: Arc<Sealer>,
    owner: Owner,
    sum: [u8; 32],
}

impl Store {
    /// Makes a new store with `state` in it; the file must not be there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(
        file: &Path,
        sealer: Arc<Sealer>,
        owner: Owner,
        state: &State,
    ) -> Result<Self, SnapshotError> {
        guarded(|| {
            let database = builder().create(file)?;
            let mut store = Self {
                database,
                sealer,
                owner,
                sum: [0; 32],
            };
            store.commit(state)?;
            Ok(store)
        })
    }

    /// Opens a store for writing and reads its state. All of it is checked.
    ///
    /// # Errors
    /// When it cannot be used, is in use by another program, or cannot be written.
    pub fn open(
        file: &Path,
        sealer: Arc<Sealer>,
        owner: Owner,
    ) -> Result<(Self, State), SnapshotError> {
        guarded(|| {
            let database = builder().set_check_integrity_on_open(true).open(file)?;
            let read = database.begin_read()?;
            let (about, sum, state) = read_all(&read, &sealer)?;
            drop(read);
            about.owner.is(&owner)?;
            let store = Self {
                database,
                sealer,
                owner,
                sum,
            };
            Ok((store, state))
        })
    }

    /// Reads a store that another program may be writing; whose it is and when it was written
    /// besides, in milliseconds since the epoch.
    ///
    /// # Errors
    /// When it cannot be used or read.
    pub fn look(file: &Path, sealer: &Sealer) -> Result<(Owner, i64, State), SnapshotError> {
        guarded(|| {
            let database = builder().open_read_only(file)?;
            let read = database.begin_read()?;
            let (about, _, state) = read_all(&read, sealer)?;
            Ok((about.owner, about.time, state))
        })
    }

    /// As [`Store::look`] at a store that no program has open: what a program that was killed has left
    /// in disorder is put in order in memory, for the file cannot be written.
    ///
    /// # Errors
    /// When it cannot be used or read.
    pub fn look_at_copy(
        file: &Path,
        sealer: &Sealer,
    ) -> Result<(Owner, i64, State), SnapshotError> {
        let bytes = std::fs::read(file)?;
        guarded(|| {
            let copy = InMemoryBackend::new();
            copy.set_len(bytes.len() as u64)?;
            copy.write(0, &bytes)?;
            drop(bytes);
            let database = builder()
                // Memory knows no locks.
                .set_concurrency_mode(ConcurrencyMode::ExclusiveWriter)
                .set_check_integrity_on_open(true)
                .create_with_backend(copy)?;
            let read = database.begin_read()?;
            let (about, _, state) = read_all(&read, sealer)?;
            Ok((about.owner, about.time, state))
        })
    }

    /// Writes a change in one transaction; when this returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written; the store has to be opened anew then.
    pub fn commit(&mut self, change: &State) -> Result<(), SnapshotError> {
        let rows = change.rows().map_err(SnapshotError::other)?;
        self.write(&rows)
    }

    /// Everything that is stored.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self) -> Result<State, SnapshotError> {
        guarded(|| {
            let read = self.database.begin_read()?;
            Ok(read_all(&read, &self.sealer)?.2)
        })
    }

    /// Takes artifacts away that nothing refers to any more; what is left.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn sweep(&mut self) -> Result<State, SnapshotError> {
        let mut state = self.state()?;
        let needed = state.needed();
        let superfluous = state
            .texts
            .extract_if(.., |digest, _| !needed.contains(digest));
        let superfluous = State {
            texts: superfluous.collect(),
            ..State::default()
        };
        if !superfluous.texts.is_empty() {
            let mut rows = superfluous.rows().map_err(SnapshotError::other)?;
            for row in &mut rows {
                row.value = None;
            }
            self.write(&rows)?;
        }
        Ok(state)
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), SnapshotError> {
        let sealer = &*self.sealer;
        let mut sum = self.sum;
        let owner = &self.owner;
        let database = &self.database;
        guarded(|| {
            let write = database.begin_write()?;
            {
                let mut table = write.open_table(ROWS)?;
                for row in rows {
                    let old = match &row.value {
                        Some(value) => {
                            toggle(&mut sum, &share(&row.key, value));
                            let sealed = sealer.seal(&row.key, value)?;
                            table.insert(&*row.key, &*sealed)?
                        }
                        None => table.remove(&*row.key)?,
                    };
                    let Some(old) = old else { continue };
                    let old = if is_text(&row.key) {
                        Vec::new()
                    } else {
                        let old = sealer.open(&row.key, old.value());
                        old.ok_or(Unusable::Sealed)?
                    };
                    toggle(&mut sum, &share(&row.key, &old));
                }
                let mut table = write.open_table(ABOUT)?;
                let about = About {
                    owner: owner.clone(),
                    sum: hex::encode(sum),
                    time: kit::clock::now_ms(),
                };
                let about = serde_json::to_vec(&about).map_err(SnapshotError::other)?;
                let sealed = sealer.seal(ABOUT_PLACE, &about)?;
                table.insert("about", &*sealed)?;
                table.insert("format", &FORMAT.to_le_bytes()[..])?;
            }
            write.commit()?;
            Ok(())
        })?;
        self.sum = sum;
        Ok(())
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

/// The whole state, checked, with the sum over it.
fn read_all(
    read: &ReadTransaction,
    sealer: &Sealer,
) -> Result<(About, [u8; 32], State), SnapshotError> {
    let table = read.open_table(ABOUT)?;
    let format = table.get("format")?.map(|format| format.value().to_vec());
    let format = format.and_then(|format| format.try_into().ok());
    match format.map(u64::from_le_bytes) {
        Some(FORMAT) => {}
        Some(format) if format > FORMAT => return Err(Unusable::Newer(format).into()),
        _ => return Err(Unusable::Damaged("it has no format".into()).into()),
    }
    let about = table.get("about")?;
    let about = about.and_then(|sealed| sealer.open(ABOUT_PLACE, sealed.value()));
    let about: About = about
        .and_then(|about| serde_json::from_slice(&about).ok())
        .ok_or(Unusable::Sealed)?;
    let mut state = State::default();
    let mut sum = [0; 32];
    for row in read.open_table(ROWS)?.iter()? {
        let (key, sealed) = row?;
        let key = key.value();
        let value = sealer.open(key, sealed.value()).ok_or(Unusable::Sealed)?;
        toggle(&mut sum, &share(key, &value));
        state.take(key, value)?;
    }
    if hex::encode(sum) != about.sum {
        return Err(Unusable::Damaged("rows of it are missing or outdated".into()).into());
    }
    state.check()?;
    Ok((about, sum, state))
}

/// What was written by nobody but this library makes it fail in no way but by its errors; of a
/// damaged file that is not certain.
fn guarded<T>(run: impl FnOnce() -> Result<T, SnapshotError>) -> Result<T, SnapshotError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Unusable::Damaged("the embedded store failed on it".into()).into()))
}

impl From<redb::Error> for SnapshotError {
    fn from(error: redb::Error) -> Self {
        use redb::Error;
        match error {
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => Self::InUse,
            Error::Io(error) => error.into(),
            Error::PreviousIo | Error::DatabaseClosed => Self::Io(error.to_string()),
            error => Unusable::Damaged(error.to_string()).into(),
        }
    }
}

impl From<std::io::Error> for SnapshotError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => {
                Unusable::Damaged(error.to_string()).into()
            }
            ErrorKind::NotFound => Self::Absent,
            _ => Self::Io(error.to_string()),
        }
    }
}

macro_rules! by_the_general_error {
    ($($error:ty),*) => {
        $(impl From<$error> for SnapshotError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

by_the_general_error!(
    DatabaseError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError
);
