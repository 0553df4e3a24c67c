//! The outbox relay: what was saved is announced, at least once, in the order of the saves.

use std::sync::Arc;
use std::time::Duration;

use events::{Event, InProcessBus};
use kit::backoff::{Backoff, spread};
use store::{Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a claim holds; a relay that dies in between is followed by another one after it.
const LEASE_MS: i64 = 10_000;
const BATCH: u32 = 200;
/// Looks without being woken: for rows that another process has left.
const IDLE: Duration = Duration::from_secs(1);

/// Moves announcements from the outbox to the bus. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {
    store: Store,
    bus: InProcessBus,
    woken: Arc<Notify>,
}

impl Relay {
    #[must_use]
    pub fn new(store: Store, bus: InProcessBus) -> Self {
        Self {
            store,
            bus,
            woken: Arc::new(Notify::new()),
        }
    }

    /// There may be something in the outbox.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// One step: claims, publishes, marks. Returns how many were announced.
    ///
    /// # Errors
    /// When the database fails; what was claimed is announced again after its lease.
    pub async fn step(&self, now: i64) -> Result<usize, StoreError> {
        let rows = self.store.claim_outbox(now, LEASE_MS, BATCH).await?;
        let mut sent = Vec::with_capacity(rows.len());
        for row in &rows {
            self.bus.publish(Event::of(&row.announcement));
            sent.push(row.id);
        }
        if !sent.is_empty() {
            self.store.mark_announced(&sent).await?;
        }
        Ok(sent.len())
    }

    /// Relays until `shutdown`. What is left then waits in the outbox for the next start.
    pub async fn run(self, shutdown: CancellationToken) {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            most: Duration::from_secs(10),
        };
        let mut failures = 0;
        loop {
            let wait = match self.step(kit::clock::now_ms()).await {
                Ok(0) => {
                    failures = 0;
                    IDLE
                }
                Ok(_) => {
                    failures = 0;
                    continue;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "cannot relay the outbox, trying again");
                    backoff.wait_with_jitter(failures, spread())
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.woken.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}
