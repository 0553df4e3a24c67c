//! The bus between parts of one process.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::Event;

/// How many events a subscriber may lag behind before it misses some; it then pulls anyway.
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

    /// Hands the event over and returns how many subscribers there are. None is fine: in other
    /// processes the traffic manager sees in the database that a label log has grown.
    pub fn publish(&self, event: Event) -> usize {
        self.sender.send(Arc::new(event)).unwrap_or(0)
    }

    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.sender.subscribe()
    }
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self::new()
    }
}
