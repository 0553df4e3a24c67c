//! The outbox relay: what was saved is announced, at least once, for each API in the order of its
//! saves.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::{Bus, Event, NotSent};
use kit::backoff::{Backoff, spread};
use store::{OutboxRow, Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a claim holds; a relay that dies in between is followed by another one after it. Longer
/// than a broker is waited for.
const LEASE_MS: i64 = 30_000;
/// A wave is sent only while so much of the lease is left.
const LEAST_LEASE_MS: i64 = 15_000;
const BATCH: u32 = 512;
/// Looks without being woken: for rows that another process has left.
const IDLE: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    most: Duration::from_secs(10),
};

/// Moves announcements from the outbox to the bus. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {
    store: Store,
    bus: Bus,
    woken: Arc<Notify>,
    sent: Arc<AtomicU64>,
}

/// Why a step did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first reason of those that were not sent; they stay in the outbox.
    #[error("{left} event(s) not sent: {first}")]
    NotSent { left: usize, first: NotSent },
}

impl Relay {
    #[must_use]
    pub fn new(store: Store, bus: Bus) -> Self {
        Self {
            store,
            bus,
            woken: Arc::new(Notify::new()),
            sent: Arc::default(),
        }
    }

    /// There may be something in the outbox.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// How many events this relay has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// One step: claims, publishes, marks what was confirmed, gives the rest back. Returns how
    /// many were announced.
    ///
    /// # Errors
    /// When the database fails: what was claimed is announced again after its lease. When events
    /// were not sent: they are claimed again by the next step.
    pub async fn step(&self) -> Result<usize, RelayError> {
        let claimed = kit::clock::now_ms();
        let mut rows = self.store.claim_outbox(claimed, LEASE_MS, BATCH).await?;
        let mut announced = 0;
        let mut failed: Option<NotSent> = None;
        let mut left: Vec<i64> = Vec::new();
        while !rows.is_empty() {
            if kit::clock::now_ms() > claimed + LEASE_MS - LEAST_LEASE_MS || failed.is_some() {
                left.extend(rows.iter().map(|row| row.id));
                break;
            }
            let (wave, rest) = next_wave(rows);
            rows = rest;
            let events: Vec<Event> = wave
                .iter()
                .map(|row| Event::of(&row.announcement))
                .collect();
            let results = self.bus.publish(&events).await;
            let mut sent = Vec::with_capacity(wave.len());
            for (row, result) in wave.iter().zip(results) {
                match result {
                    Ok(()) => sent.push(row.id),
                    Err(NotSent::Unwritable(reason)) => {
                        // The label log has the entry; gateways find it without the event.
                        tracing::error!(
                            id = row.id,
                            reason,
                            "an event cannot be written, dropping it"
                        );
                        sent.push(row.id);
                    }
                    Err(error) => {
                        left.push(row.id);
                        failed.get_or_insert(error);
                    }
                }
            }
            if !sent.is_empty() {
                self.store.mark_announced(&sent).await?;
                announced += sent.len();
                self.sent.fetch_add(sent.len() as u64, Ordering::Relaxed);
            }
        }
        if !left.is_empty() {
            self.store.give_back(&left).await?;
        }
        match failed {
            None => Ok(announced),
            Some(first) => Err(RelayError::NotSent {
                left: left.len(),
                first,
            }),
        }
    }

    /// Relays until `shutdown`. What is left then waits in the outbox for the next start.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut failures = 0;
        loop {
            let wait = match self.step().await {
                Ok(0) => {
                    failures = 0;
                    None
                }
                Ok(_) => {
                    failures = 0;
                    continue;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "cannot relay the outbox, trying again");
                    Some(BACKOFF.wait_with_jitter(failures, spread()))
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                // A save does not hurry a relay that waits out a failure.
                () = self.woken.notified(), if wait.is_none() => {}
                () = tokio::time::sleep(wait.unwrap_or(IDLE)) => {}
            }
        }
    }
}

/// The rows that may be sent side by side, the first of each API, and the others in their order.
fn next_wave(rows: Vec<OutboxRow>) -> (Vec<OutboxRow>, Vec<OutboxRow>) {
    let mut seen: HashSet<String> = HashSet::new();
    rows.into_iter()
        .partition(|row| seen.insert(row.announcement.api_id.clone()))
}
