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
const LEASE_MS: i64 = 20_000;
/// A wave is sent only while so much of the lease is left, longer than the broker is waited for;
/// before that the claim is renewed.
const LEAST_LEASE_MS: i64 = 15_000;
/// How long an event waits that the broker has refused or returned.
const UNWANTED_MS: i64 = 15_000;
/// How long a step may go on after shutdown.
const GRACE: Duration = Duration::from_secs(3);
const BATCH: u32 = 512;
/// Batches of one step at most.
const BATCHES: u32 = 16;
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

    /// A step that sends no further wave once `shutdown` is cancelled. Behind a full batch comes
    /// another one, which is claimed while that is announced: database and broker work at the same
    /// time.
    async fn step_until(&self, shutdown: &CancellationToken) -> Result<usize, RelayError> {
        let mut batch = self.claim().await?;
        let mut announced = 0;
        for after in (0..BATCHES).rev() {
            let full = after > 0 && batch.rows.len() == BATCH as usize && !shutdown.is_cancelled();
            let claim_next = async {
                // Of an API that is being announced nothing is claimed, so nothing overtakes.
                if full {
                    self.claim().await.map(Some)
                } else {
                    Ok(None)
                }
            };
            let (done, next) = tokio::join!(self.announce(batch, shutdown), claim_next);
            let (sent, unsent) = done?;
            announced += sent;
            if unsent.is_empty() {
                match next? {
                    Some(next) => batch = next,
                    None => break,
                }
                continue;
            }
            if let Ok(Some(next)) = next {
                let ids: Vec<i64> = next.rows.iter().map(|row| row.id).collect();
                self.store.give_back(&ids, next.claim, 0).await?;
            }
            self.give_back(&unsent).await?;
            return match unsent.first {
                None => Ok(announced),
                Some(first) => Err(RelayError::NotSent {
                    left: unsent.left.len() + unsent.unwanted.len(),
                    first,
                }),
            };
        }
        Ok(announced)
    }

    async fn claim(&self) -> Result<Batch, StoreError> {
        let now = kit::clock::now_ms();
        let claim = now + LEASE_MS;
        let rows = self.store.claim_outbox(now, claim, BATCH).await?;
        Ok(Batch { claim, rows })
    }

    /// Publishes a batch in waves and takes what was confirmed out of the outbox, until the broker
    /// is lost or another relay has taken the claim. Returns how many were sent, and those that were not.
    async fn announce(
        &self,
        batch: Batch,
        shutdown: &CancellationToken,
    ) -> Result<(usize, Unsent), StoreError> {
        let mut rows = batch.rows;
        let mut announced = 0;
        let mut unsent = Unsent {
            claim: batch.claim,
            ..Unsent::default()
        };
        while !rows.is_empty() {
            if unsent.lost || shutdown.is_cancelled() {
                unsent.left.extend(rows.iter().map(|row| row.id));
                break;
            }
            let now = kit::clock::now_ms();
            if now > unsent.claim - LEAST_LEASE_MS && !self.renew(&mut unsent, &rows, now).await? {
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
                    Ok(()) => sent.push(row),
                    Err(NotSent::Unwritable(reason)) => {
                        // The label log has the entry; gateways find it without the event.
                        let id = row.id;
                        tracing::error!(id, reason, "an event cannot be written, dropping it");
                        sent.push(row);
                    }
                    Err(error) => unsent.add(row, error),
                }
            }
            rows = unsent.without_held_up(rest);
            if !sent.is_empty() {
                let now = kit::clock::now_ms();
                self.store.mark_announced(&sent, now).await?;
                announced += sent.len();
                self.sent.fetch_add(sent.len() as u64, Ordering::Relaxed);
            }
        }
        Ok((announced, unsent))
    }

    /// Prolongs the claim; `false` when another relay has taken some of it, which then goes on.
    async fn renew(
        &self,
        unsent: &mut Unsent,
        rows: &[OutboxRow],
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        ids.extend(unsent.left.iter().chain(&unsent.unwanted));
        let claim = now + LEASE_MS;
        let renewed = self.store.give_back(&ids, unsent.claim, claim).await?;
        unsent.claim = claim;
        Ok(renewed == ids.len() as u64)
    }

    async fn give_back(&self, unsent: &Unsent) -> Result<(), StoreError> {
        let claim = unsent.claim;
        self.store.give_back(&unsent.left, claim, 0).await?;
        // Others have their turn before those that the broker does not want come again.
        let later = kit::clock::now_ms() + UNWANTED_MS;
        self.store.give_back(&unsent.unwanted, claim, later).await?;
        Ok(())
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

/// What was claimed at once, and until when.
struct Batch {
    claim: i64,
    rows: Vec<OutboxRow>,
}

/// Rows of a batch that were not sent.
#[derive(Default)]
struct Unsent {
    /// Until when they are claimed.
    claim: i64,
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
    fn is_empty(&self) -> bool {
        self.left.is_empty() && self.unwanted.is_empty()
    }

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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use artifact::{Artifact, Label};
    use events::{AmqpBus, AmqpOptions, AmqpTls, Heard, InProcessBus};
    use kit::config::BrokerEndpoint;
    use kit::secret::Secret;
    use store::{Database, Save, SaveMode, StoreOptions};
    use tempfile::TempDir;

    use super::*;

    /// A store with 400 APIs, 300 of them saved twice: more than a batch of announcements.
    async fn saved() -> (Store, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::file(&directory.path().join("lockstep.db")).unwrap(),
            dc: "DC1".into(),
            history_size: 2,
        };
        let store = Store::open(&options).await.unwrap();
        for (count, content) in [(400, "1"), (300, "2")] {
            let saves: Vec<Save> = (0..count).map(|n| save(n, content)).collect();
            let saving = store.save(&saves, SaveMode::Atomic, 1);
            saving.await.unwrap();
        }
        assert_eq!(store.outbox_length().await.unwrap(), 700);
        (store, directory)
    }

    fn save(n: u32, content: &str) -> Save {
        let artifact = Artifact {
            name: format!("api{n}"),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            api_id: format!("id-{n}"),
            api_definition: Some(content.into()),
            ..Artifact::default()
        };
        Save {
            text: artifact.to_text().unwrap(),
            artifact,
            routes: vec![format!("/api{n}")],
            labels: vec![Label::parse("L1").unwrap()],
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_waits_is_announced_once_and_nothing_overtakes() {
        let (store, _directory) = saved().await;
        let bus = Bus::InProcess(InProcessBus::new());
        let mut subscription = bus.subscribe();
        let relay = Relay::new(store.clone(), bus);
        let mut announced = 0;
        while store.outbox_length().await.unwrap() > 0 {
            announced += relay.step().await.unwrap();
        }
        assert_eq!((announced, relay.sent()), (700, 700));
        let mut positions: HashMap<String, Vec<u64>> = HashMap::new();
        for _ in 0..=700 {
            if let Some(Heard::Event(event)) = subscription.next().await {
                let of_api = positions.entry(event.api_id.clone()).or_default();
                of_api.push(event.positions[0].seq);
            }
        }
        let mut all: Vec<u64> = positions.values().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (1..=700).collect::<Vec<_>>());
        assert!(positions.values().all(|of_api| of_api.is_sorted()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_not_sent_is_given_back() {
        let (store, _directory) = saved().await;
        let bus = Bus::Amqp(AmqpBus::new(AmqpOptions {
            endpoints: vec![BrokerEndpoint::parse("tcp://127.0.0.1:1").unwrap()],
            username: "guest".into(),
            password: Secret::new("guest"),
            virtual_host: "/".into(),
            topic: "notification".into(),
            heartbeat: 0,
            failback: Duration::from_secs(60),
            tls: AmqpTls::default(),
            name: "test".into(),
        }));
        let relay = Relay::new(store.clone(), bus);
        let error = relay.step().await.unwrap_err();
        assert!(
            matches!(error, RelayError::NotSent { left, .. } if left >= 512),
            "{error}"
        );
        let claimed = store.claim_outbox(kit::clock::now_ms(), i64::MAX, 1000);
        assert_eq!(claimed.await.unwrap().len(), 700);
    }
}
