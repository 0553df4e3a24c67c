//! The bus: one face of AMQP and of the bus within one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::amqp::AmqpBus;
use crate::{Event, InProcessBus};

/// Where events go and come from. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    InProcess(InProcessBus),
    Amqp(AmqpBus),
}

/// Why an event is not known to have arrived; it has to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The broker has no queue for it: nobody listens.
    #[error("the broker returned it: {0}")]
    Returned(String),
    #[error("the broker refused it")]
    Refused,
    #[error("{0}")]
    Lost(String),
    /// It cannot be written; sending it again will not help.
    #[error("{0}")]
    Unwritable(String),
}

/// What a subscriber hears, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The subscription stands. Events before it may have been missed.
    Subscribed,
    Event(Arc<Event>),
    /// Nothing is heard until the next `Subscribed`.
    Lost,
}

/// What came in on a subscription, by number.
#[derive(Debug, Default)]
pub struct Counters {
    events: AtomicU64,
    /// Of types that are for others.
    other: AtomicU64,
    /// Could not be read.
    malformed: AtomicU64,
    subscribed: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    pub events: u64,
    pub other: u64,
    pub malformed: u64,
    /// How many times the subscription was made, the first time included.
    pub subscribed: u64,
}

impl Counters {
    #[must_use]
    pub fn now(&self) -> Counted {
        Counted {
            events: self.events.load(Ordering::Relaxed),
            other: self.other.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            subscribed: self.subscribed.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn other(&self) {
        self.other.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self, heard: &Heard) {
        match heard {
            Heard::Subscribed => self.subscribed.fetch_add(1, Ordering::Relaxed),
            Heard::Event(_) => self.events.fetch_add(1, Ordering::Relaxed),
            Heard::Lost => 0,
        };
    }
}

/// A subscription that mends itself; ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    heard: mpsc::Receiver<Heard>,
    counters: Arc<Counters>,
    _ends: tokio_util::sync::DropGuard,
}

/// The other end of a [`Subscription`].
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) sender: mpsc::Sender<Heard>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ends: CancellationToken,
}

impl Subscription {
    /// `capacity` events wait in memory for a subscriber that is busy.
    pub(crate) fn new(capacity: usize) -> (Self, Feed) {
        let (sender, heard) = mpsc::channel(capacity);
        let counters = Arc::new(Counters::default());
        let ends = CancellationToken::new();
        let subscription = Self {
            heard,
            counters: Arc::clone(&counters),
            _ends: ends.clone().drop_guard(),
        };
        let feed = Feed {
            sender,
            counters,
            ends,
        };
        (subscription, feed)
    }

    /// What comes next; `None` when nothing will come any more.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl Feed {
    /// `false` when the subscriber is gone.
    pub(crate) async fn say(&self, heard: Heard) -> bool {
        self.counters.heard(&heard);
        self.sender.send(heard).await.is_ok()
    }
}

impl Bus {
    /// Sends events and returns what became of each, in their order. On return every event
    /// without an error has been taken over by the broker.
    pub async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotSent>> {
        match self {
            Self::InProcess(bus) => bus.publish(events),
            Self::Amqp(bus) => bus.publish(events).await,
        }
    }

    /// Subscribes to all events; the first thing heard is [`Heard::Subscribed`].
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        match self {
            Self::InProcess(bus) => bus.subscribe(),
            Self::Amqp(bus) => bus.subscribe(),
        }
    }
}
