//! What changes about an endpoint, shared by all requests and by the revisions of an artifact
//! that have the endpoint unchanged.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Balance, Sessions, State, StateMachine};

/// Everything about one endpoint that requests change. Locks are held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    machine: Mutex<StateMachine>,
    balance: Mutex<Balance>,
    sessions: Mutex<Sessions>,
}

/// A panic elsewhere leaves the value usable: each change is made in one piece.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn machine(&self) -> MutexGuard<'_, StateMachine> {
        lock(&self.machine)
    }

    pub(crate) fn balance(&self) -> MutexGuard<'_, Balance> {
        lock(&self.balance)
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }
}

/// The place of what revisions share: made when it is first needed, or taken over before.
#[derive(Debug, Default)]
pub(crate) struct Cell<T>(OnceLock<Arc<T>>);

impl<T: Default> Cell<T> {
    pub(crate) fn get(&self) -> &Arc<T> {
        self.0.get_or_init(Arc::default)
    }

    /// What is there, if it has been needed.
    pub(crate) fn peek(&self) -> Option<&Arc<T>> {
        self.0.get()
    }

    /// Goes on with what `older` has; too late once this one has been used.
    pub(crate) fn take_over(&self, older: &Self) {
        let _ = self.0.set(Arc::clone(older.get()));
    }
}

/// What makes two endpoints of two revisions the same: name, definition, and which one it is
/// among equal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// A hash of what is written, whatever its layout and place.
    pub(crate) definition: u64,
    pub(crate) occurrence: usize,
}

/// What kind of endpoint a status is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    Address,
    Default,
    Failover,
    LoadBalance,
    /// One that the engine does not execute.
    Other,
}

impl Kind {
    /// The name of its element.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Address => "address",
            Self::Default => "default",
            Self::Failover => "failover",
            Self::LoadBalance => "loadbalance",
            Self::Other => "other",
        }
    }
}

/// An endpoint as it stands, for those who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Empty for one that is written inline without a name.
    pub name: String,
    pub kind: Kind,
    /// A group is active while one of its children is ready.
    pub state: State,
    pub ready: bool,
    /// Milliseconds since the epoch; `None` where waiting changes nothing.
    pub next_retry: Option<i64>,
    /// The names of a group's children, as far as they have any.
    pub children: Vec<String>,
}
