//! What a gateway finds when it starts: the newest stored state that can be used.
//!
//! What cannot be used is set aside with one line in the log, and is never an error of the gateway.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use super::seal::Sealer;
use super::state::State;
use super::store::Store;
use super::{Owner, Settings, SnapshotError, generation};

/// A state, and what the next change is written to.
#[derive(Debug)]
pub struct Opened {
    /// `None`: there is none, everything has to be pulled.
    pub state: Option<State>,
    pub base: Base,
    /// Held while this gateway uses the directory.
    pub(super) lock: Option<File>,
}

/// What changes are written to.
#[derive(Debug)]
pub enum Base {
    /// The store that the state came from.
    Store(Box<Store>),
    /// A new store, which has to get this first.
    Anew(State),
    /// Nothing is written: another program uses the directory.
    Off,
}

/// Finds a gateway's state. Labels that it does not carry any more are dropped.
#[must_use]
pub fn open(settings: &Settings) -> Opened {
    let directory = &settings.directory;
    let shown = directory.path().display();
    let mut opened = Opened {
        state: None,
        base: Base::Anew(State::default()),
        lock: None,
    };
    let sealer = directory.make().map_err(SnapshotError::from);
    let sealer = match sealer.and_then(|()| sealer_of(settings)) {
        Ok(sealer) => Arc::new(sealer),
        Err(error) => {
            tracing::warn!(directory = %shown, %error, "the snapshot cannot be opened now");
            return opened;
        }
    };
    match lock(settings) {
        Ok(lock) => opened.lock = Some(lock),
        Err(SnapshotError::InUse) => {
            tracing::warn!(
                directory = %shown,
                "another gateway with this id uses the snapshot, this one keeps none"
            );
            opened.base = Base::Off;
            return opened;
        }
        // It may be readable all the same.
        Err(error) => tracing::warn!(directory = %shown, %error, "the snapshot cannot be written"),
    }
    let Some((mut state, base)) = newest(settings, &sealer) else {
        return opened;
    };
    let dropped = state.keep_labels(&settings.labels);
    opened.base = match base {
        Some(store) if !dropped => Base::Store(Box::new(store)),
        _ => Base::Anew(state.clone()),
    };
    opened.state = Some(state);
    opened
}

/// Takes the directory in use.
///
/// # Errors
/// When another program has it, or it cannot be written.
pub(super) fn lock(settings: &Settings) -> Result<File, SnapshotError> {
    let lock = File::create(settings.directory.path().join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {
            settings.directory.clear_leftovers();
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => Err(SnapshotError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn sealer_of(settings: &Settings) -> Result<Sealer, SnapshotError> {
    match settings.sealer(true) {
        Err(SnapshotError::Unusable(reason)) => {
            set_aside(settings, &settings.directory.key_file(), &reason);
            settings.sealer(true)
        }
        result => result,
    }
}

/// The store's state, else the newest generation that can be used.
fn newest(settings: &Settings, sealer: &Arc<Sealer>) -> Option<(State, Option<Store>)> {
    let current = settings.directory.current();
    match Store::open(&current, Arc::clone(sealer), settings.owner.clone()) {
        Ok((store, state)) => return Some((state, Some(store))),
        Err(SnapshotError::Absent) => {}
        Err(SnapshotError::Unusable(reason)) => set_aside(settings, &current, &reason),
        Err(error) => {
            let shown = current.display();
            tracing::warn!(file = %shown, %error, "the snapshot is read only");
            let look = || Store::look(&current, sealer);
            let copy = |_| Store::look_at_copy(&current, sealer);
            match whole_of(&settings.owner, || look().or_else(copy)) {
                Ok(state) => return Some((state, None)),
                Err(error) => tracing::warn!(file = %shown, %error, "the snapshot cannot be read"),
            }
        }
    }
    for (_, file) in settings.directory.generations() {
        match whole_of(&settings.owner, || generation::read(&file, sealer)) {
            Ok(state) => {
                let shown = file.display();
                tracing::warn!(file = %shown, "fell back to an older generation of the snapshot");
                return Some((state, None));
            }
            Err(SnapshotError::Unusable(reason)) => set_aside(settings, &file, &reason),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "a generation cannot be read");
            }
        }
    }
    None
}

fn whole_of(
    owner: &Owner,
    read: impl FnOnce() -> Result<(Owner, i64, State), SnapshotError>,
) -> Result<State, SnapshotError> {
    let (found, _, state) = read()?;
    found.is(owner)?;
    Ok(state)
}

/// Renames what cannot be used, so that it can be looked at and is not tried again.
pub(super) fn set_aside(settings: &Settings, file: &Path, reason: &super::Unusable) {
    let shown = file.display();
    let aside = settings.directory.set_aside(file, kit::clock::now_ms());
    match aside {
        Ok(aside) => tracing::error!(
            file = %shown,
            %reason,
            aside = %aside.display(),
            "the snapshot cannot be used and was set aside"
        ),
        Err(error) => {
            tracing::error!(file = %shown, %reason, %error, "the snapshot cannot be used");
            // What stays under its name would be in the way of the next one.
            let _ = fs::remove_file(file);
        }
    }
}
