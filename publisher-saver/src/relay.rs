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

/// How long a claim holds; a relay that dies in between is followed by another one after it.
const LEASE_MS: i64 = 60_000;
/// A wave is sent only while so much of the lease is left: longer than several brokers are waited
/// for.
const LEAST_LEASE_MS: i64 = 40_000;
/// How long an event waits that the broker has refused or returned.
const UNWANTED_MS: i64 = 15_000;
/// How long a step may go on after shutdown.
const GRACE: Duration = Duration::from_secs(3);
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
    /// were not sent: they are claimed again by a later step.
    pub async fn step(&self) -> Result<usize, RelayError> {
        self.step_until(&CancellationToken::new()).await
    }

    /// A step that sends no further wave once `shutdown` is cancelled.
    async fn step_until(&self, shutdown: &CancellationToken) -> Result<usize, RelayError> {
        let now = kit::clock::now_ms();
        let claim = now + LEASE_MS;
        let mut rows = self.store.claim_outbox(now, claim, BATCH).await?;
        let mut announced = 0;
        let mut unsent = Unsent::default();
        while !rows.is_empty() {
            let late = kit::clock::now_ms() > claim - LEAST_LEASE_MS;
            if late || unsent.lost || shutdown.is_cancelled() {
                unsent.left.extend(rows.iter().map(|row| row.id));
                break;
            }
            let (wave, rest) = next_wave(rows);
            let events: Vec<Event> = wave
                .iter()
                .map(|row| Event::of(&row.announcement))
                .collect();
            let results = self.bus.publish(&events).await;
            let mut sent = Vec::with_capacity(wave.len());
            for (row, result) in wave.into_iter().zip(results) {
                match result {
                    Ok(()) => sent.push(row.id),
                    Err(NotSent::Unwritable(reason)) => {
                        // The label log has the entry; gateways find it without the event.
                        let id = row.id;
                        tracing::error!(id, reason, "an event cannot be written, dropping it");
                        sent.push(id);
                    }
                    Err(error) => unsent.add(row, error),
                }
            }
            rows = unsent.without_held_up(rest);
            if !sent.is_empty() {
                self.store.mark_announced(&sent).await?;
                announced += sent.len();
                self.sent.fetch_add(sent.len() as u64, Ordering::Relaxed);
            }
        }
        self.store.give_back(&unsent.left, claim, 0).await?;
        // Others have their turn before those that the broker does not want come again.
        let later = kit::clock::now_ms() + UNWANTED_MS;
        self.store.give_back(&unsent.unwanted, claim, later).await?;
        match unsent.first {
            None => Ok(announced),
            Some(first) => Err(RelayError::NotSent {
                left: unsent.left.len() + unsent.unwanted.len(),
                first,
            }),
        }
    }

    /// Relays until `shutdown`. What is left then waits in the outbox for the next start.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let grace = async {
                shutdown.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            let step = tokio::select! {
                step = self.step_until(&shutdown) => step,
                // As if killed: what was claimed is announced after its lease.
                () = grace => return,
            };
            let wait = match step {
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

/// Rows of a step that were not sent.
#[derive(Default)]
struct Unsent {
    /// Not the fault of the event.
    left: Vec<i64>,
    /// Refused or returned.
    unwanted: Vec<i64>,
    first: Option<NotSent>,
    /// There is no broker to send to for now.
    lost: bool,
    /// APIs whose later events have to wait.
    held_up: HashSet<String>,
}

impl Unsent {
    fn add(&mut self, row: OutboxRow, error: NotSent) {
        if matches!(error, NotSent::Lost(_)) {
            self.lost = true;
            self.left.push(row.id);
        } else {
            self.unwanted.push(row.id);
        }
        self.held_up.insert(row.announcement.api_id);
        self.first.get_or_insert(error);
    }

    /// The rows that may still be sent.
    fn without_held_up(&mut self, rows: Vec<OutboxRow>) -> Vec<OutboxRow> {
        let (held_up, free) = rows
            .into_iter()
            .partition::<Vec<_>, _>(|row| self.held_up.contains(&row.announcement.api_id));
        self.left.extend(held_up.iter().map(|row| row.id));
        free
    }
}

/// The rows that may be sent side by side, the first of each API, and the others in their order.
fn next_wave(rows: Vec<OutboxRow>) -> (Vec<OutboxRow>, Vec<OutboxRow>) {
    let mut seen: HashSet<String> = HashSet::new();
    rows.into_iter()
        .partition(|row| seen.insert(row.announcement.api_id.clone()))
}
