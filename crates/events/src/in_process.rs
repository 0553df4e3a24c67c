//! The bus between parts of one process.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::Event;
use crate::bus::{Feed, Heard, NotSent, Subscription};

/// How many events a subscriber may lag behind before it misses some; it is told so then.
const CAPACITY: usize = 1024;

/// Hands each event to every subscriber of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct InProcessBus {
    sender: broadcast::Sender<Arc<Event>>,
}

impl InProcessBus {
    #[must_use]
    pub fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
        }
    }

    /// Nobody listening is fine: other processes see in the database that a label log has grown.
    pub(crate) fn publish(&self, events: &[Event]) -> Vec<Result<(), NotSent>> {
        for event in events {
            let _ = self.sender.send(Arc::new(event.clone()));
        }
        vec![Ok(()); events.len()]
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        let (subscription, feed) = Subscription::new(1);
        // Subscribed before this returns.
        tokio::spawn(forward(self.sender.subscribe(), feed));
        subscription
    }
}

async fn forward(mut events: broadcast::Receiver<Arc<Event>>, feed: Feed) {
    let mut heard = Heard::Subscribed;
    loop {
        tokio::select! {
            said = feed.say(heard) => if !said {
                return;
            },
            () = feed.ends.cancelled() => return,
        }
        let event = tokio::select! {
            event = events.recv() => event,
            () = feed.ends.cancelled() => return,
        };
        heard = match event {
            Ok(event) => Heard::Event(event),
            // Events were missed, as when a connection was lost and made again.
            Err(RecvError::Lagged(_)) => Heard::Subscribed,
            Err(RecvError::Closed) => return,
        };
    }
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self::new()
    }
}
