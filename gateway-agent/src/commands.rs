//! What an operator or a saver says on the gateway itself, on its way to the synchronization core.

use artifact::{Digest, DirectEntry, DirectStatus};
use tokio::sync::{mpsc, oneshot};

use crate::sync_core::Shown;

/// Commands that wait at most; whoever comes then waits for room.
const WAITING: usize = 64;

/// The API that a command is about, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub tenant: String,
    pub name: String,
    pub version: String,
    /// Labels that the asker may see, empty for all: what goes by none of them is not there.
    pub labels: Vec<String>,
    /// The asker's user name.
    pub by: String,
}

/// What became of a redeployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeployed {
    /// The newest revision answers requests.
    Done,
    /// It was refused, for this reason.
    Refused(String),
    /// No label of this gateway publishes such an API.
    Unknown,
}

/// A command, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Command {
    Undeploy(Asked, oneshot::Sender<bool>),
    Redeploy(Asked, oneshot::Sender<Redeployed>),
    Show(Asked, oneshot::Sender<Option<Shown>>),
    /// `false` when no such repair is held.
    Accept(Digest, oneshot::Sender<bool>),
    Entries(Vec<DirectEntry>, oneshot::Sender<Vec<DirectStatus>>),
}

/// The core has ended, for the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is ending")]
pub struct Ended;

/// Where commands go; they are done one after the other, between two pulled batches. A command is
/// done even when nobody waits for its answer any more. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// The two ends.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Takes an API down on this gateway; `false` when no label of it publishes such an API.
    ///
    /// # Errors
    /// When the gateway ends.
    pub async fn undeploy(&self, asked: Asked) -> Result<bool, Ended> {
        self.ask(|answer| Command::Undeploy(asked, answer)).await
    }

    /// Puts the newest known revision of an API in place.
    ///
    /// # Errors
    /// When the gateway ends.
    pub async fn redeploy(&self, asked: Asked) -> Result<Redeployed, Ended> {
        self.ask(|answer| Command::Redeploy(asked, answer)).await
    }

    /// What the gateway has of an API; `None` when no label of it publishes such an API.
    ///
    /// # Errors
    /// When the gateway ends.
    pub async fn show(&self, asked: Asked) -> Result<Option<Shown>, Ended> {
        self.ask(|answer| Command::Show(asked, answer)).await
    }

    /// Accepts a repair that is held; `false` when there is none of this name.
    ///
    /// # Errors
    /// When the gateway ends.
    pub async fn accept(&self, repair: Digest) -> Result<bool, Ended> {
        self.ask(|answer| Command::Accept(repair, answer)).await
    }

    /// Applies entries that a saver has sent; one status for each, in their order.
    ///
    /// # Errors
    /// When the gateway ends.
    pub async fn entries(&self, entries: Vec<DirectEntry>) -> Result<Vec<DirectStatus>, Ended> {
        self.ask(|answer| Command::Entries(entries, answer)).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Ended> {
        let (answer, done) = oneshot::channel();
        self.0.send(command(answer)).await.map_err(|_| Ended)?;
        done.await.map_err(|_| Ended)
    }
}
