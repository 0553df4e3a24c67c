//! How far each label log has grown, as far as this instance knows.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use artifact::Label;
use events::{Bus, Heard};
use kit::backoff::{Backoff, spread};
use store::Store;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// The newest known position of each label log; followers wait on it. Cheap to clone.
///
/// It only ever says that it is worth looking: what is sent comes from the store.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    labels: Arc<RwLock<HashMap<Label, watch::Sender<u64>>>>,
}

impl Growth {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a label's log has reached `seq`; a lower one than known changes nothing.
    pub fn reached(&self, label: &Label, seq: u64) {
        self.sender(label).send_if_modified(|known| {
            let grown = seq > *known;
            *known = seq.max(*known);
            grown
        });
    }

    /// A receiver that is woken when the label's log grows.
    #[must_use]
    pub fn follow(&self, label: &Label) -> watch::Receiver<u64> {
        self.sender(label).subscribe()
    }

    /// Forgets labels that nobody follows and that have no log: anybody may ask for any name.
    fn prune(&self) {
        let mut known = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, sender| sender.receiver_count() > 0 || *sender.borrow() > 0);
    }

    fn sender(&self, label: &Label) -> watch::Sender<u64> {
        let known = self.labels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.get(label) {
            return sender.clone();
        }
        drop(known);
        let mut known = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(label.clone())
            .or_insert_with(|| watch::Sender::new(0))
            .clone()
    }
}

/// Asks the database for the newest positions, again and again, and at once when woken.
pub(crate) async fn poll(
    store: Store,
    growth: Growth,
    interval: Duration,
    woken: &Notify,
    shutdown: CancellationToken,
) {
    let backoff = Backoff {
        first: interval,
        most: Duration::from_secs(5),
    };
    let mut failures = 0;
    loop {
        let wait = match store.label_seqs().await {
            Ok(seqs) => {
                for (label, seq) in seqs {
                    growth.reached(&label, seq);
                }
                growth.prune();
                failures = 0;
                interval
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "cannot read the label sequences, trying again");
                backoff.wait_with_jitter(failures, spread())
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = woken.notified(), if failures == 0 => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Wakes the poll with each event: what it says is looked up, not believed.
pub(crate) async fn listen(bus: &Bus, woken: &Notify, shutdown: CancellationToken) {
    let mut events = bus.subscribe();
    loop {
        let heard = tokio::select! {
            () = shutdown.cancelled() => return,
            heard = events.next() => heard,
        };
        match heard {
            Some(Heard::Event(_)) => woken.notify_one(),
            Some(Heard::Subscribed | Heard::Lost) => {}
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_followers_only_when_a_log_grows() {
        let growth = Growth::new();
        let label = Label::parse("Label1").unwrap();
        let mut follower = growth.follow(&label);
        growth.reached(&label, 3);
        follower.changed().await.unwrap();
        assert_eq!(*follower.borrow_and_update(), 3);
        growth.reached(&label, 2);
        growth.reached(&Label::parse("Label2").unwrap(), 9);
        assert!(!follower.has_changed().unwrap());
    }
}
