//! The label logs in memory: what they say, how far they reach, and since when that is known.

mod entry;
mod known;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use artifact::{Digest, Instruction, Label, LabelDigest, SavedTo};
use store::{Store, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

pub(crate) use entry::Entry;
use known::Known;

/// A reader that asks for what is not there yet waits so long for the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// A reader that is answered from memory in any case waits so long for the database.
const SOON: Duration = Duration::from_secs(1);

/// All label logs of the data center. Cheap to clone; followers wait on it.
#[derive(Clone, Debug)]
pub struct Logs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    known: RwLock<Known>,
    /// The newest position of each log that somebody follows or that exists.
    heads: RwLock<HashMap<Label, watch::Sender<u64>>>,
    /// One read of the database at a time …
    reading: Mutex<()>,
    /// … of which so many have begun, …
    begun: AtomicU64,
    /// … and this one was the last to succeed; 0 before the first.
    succeeded: AtomicU64,
    /// Rises whenever what is known changes.
    version: AtomicU64,
    /// The last look has failed, or does not come to its end.
    failing: AtomicBool,
    /// What is known was true then, milliseconds since the epoch.
    true_at: AtomicI64,
    /// Older knowledge is told to be stale, milliseconds.
    stale_after: i64,
}

/// A stretch of one label log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// No entry at or below this position is missing.
    pub(crate) complete_to: u64,
    /// Whether the log goes on behind `complete_to`.
    pub(crate) more: bool,
}

/// Why something cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogsError {
    #[error("the label logs cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the database does not answer")]
    NoAnswer,
    /// The database lags behind what was announced.
    #[error("the label log has reached {reached} only")]
    Behind { reached: u64 },
}

/// How large a page may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize {
    pub(crate) entries: usize,
    /// Of artifacts; the first entry that goes beyond is the last.
    pub(crate) bytes: u64,
}

impl Logs {
    /// `stale_after` is the age from which knowledge is told to be stale, milliseconds.
    #[must_use]
    pub fn new(store: Store, stale_after: i64) -> Self {
        let inner = Inner {
            store,
            known: RwLock::default(),
            heads: RwLock::default(),
            reading: Mutex::default(),
            begun: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            version: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            true_at: AtomicI64::new(0),
            stale_after,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Brings the logs up to date with the database: with what is committed when this is called,
    /// or later. Callers that come while it is read share the next read.
    ///
    /// # Errors
    /// When the database fails; what was known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let wanted = inner.begun.load(Ordering::SeqCst) + 1;
        let _turn = inner.reading.lock().await;
        if inner.succeeded.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let number = inner.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let now = kit::clock::now_ms();
        let since = self.seqs();
        let logs = inner.store.label_logs(&since).await;
        let logs = logs.inspect_err(|_| inner.failing.store(true, Ordering::SeqCst))?;
        let grown = logs.seqs.clone();
        let mut known = inner.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.forget_lost(&logs.seqs) | !logs.entries.is_empty() {
            known.take(logs);
            inner.version.fetch_add(1, Ordering::SeqCst);
        }
        drop(known);
        inner.true_at.store(now, Ordering::SeqCst);
        inner.failing.store(false, Ordering::SeqCst);
        inner.succeeded.store(number, Ordering::SeqCst);
        for (label, seq) in grown {
            self.head(&label).send_if_modified(|known| {
                let changed = *known != seq;
                *known = seq;
                changed
            });
        }
        self.forget_strangers();
        Ok(())
    }

    /// Sees to it that there is something to tell: reads the database if it was never read.
    pub(crate) async fn loaded(&self) -> Result<(), LogsError> {
        if self.inner.succeeded.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        match timeout(PATIENCE, self.refresh()).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(LogsError::NoAnswer),
        }
    }

    /// Sees to it that what is told is as new as the database, where it answers soon: nobody who asks
    /// right after a publish is told what was before. Many who ask at once share a look. What is
    /// known is better than nothing; that it may be old, the answer says ([`Logs::stale_since`]).
    pub(crate) async fn current(&self) -> Result<(), LogsError> {
        self.loaded().await?;
        if self.stale_since().is_none() && timeout(SOON, self.refresh()).await.is_err() {
            self.inner.failing.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Where something is not known: that it is not there, unless the database could not be asked.
    pub(crate) fn is_absent(&self) -> Result<(), LogsError> {
        match self.stale_since() {
            None => Ok(()),
            Some(_) => Err(LogsError::NoAnswer),
        }
    }

    /// Sees to it that the label's log has reached a position.
    pub(crate) async fn reached(&self, label: &Label, seq: u64) -> Result<(), LogsError> {
        self.loaded().await?;
        if self.seq(label) >= seq {
            return Ok(());
        }
        match timeout(PATIENCE, self.refresh()).await {
            Ok(read) => read?,
            Err(_) => return Err(LogsError::NoAnswer),
        }
        match self.seq(label) {
            reached if reached >= seq => Ok(()),
            reached => Err(LogsError::Behind { reached }),
        }
    }

    /// Since when the database could not be asked, milliseconds since the epoch; `None` while what
    /// is told is fresh.
    #[must_use]
    pub fn stale_since(&self) -> Option<i64> {
        let true_at = self.inner.true_at.load(Ordering::SeqCst);
        let old = kit::clock::now_ms() - true_at > self.inner.stale_after;
        (old || self.inner.failing.load(Ordering::SeqCst)).then_some(true_at)
    }

    /// A receiver that is woken when the label's log changes.
    #[must_use]
    pub fn follow(&self, label: &Label) -> watch::Receiver<u64> {
        let seq = self.seq(label);
        let heads = self.inner.heads.write();
        // Under the lock: one without receivers may be forgotten at any time.
        let mut heads = heads.unwrap_or_else(PoisonError::into_inner);
        let head = heads.entry(label.clone());
        head.or_insert_with(|| watch::Sender::new(seq)).subscribe()
    }

    /// The newest position of every label log.
    #[must_use]
    pub fn seqs(&self) -> BTreeMap<Label, u64> {
        let known = self.known();
        let logs = known.labels.iter();
        logs.map(|(label, log)| (label.clone(), log.seq)).collect()
    }

    /// The newest position of a label's log; 0 where there is none.
    #[must_use]
    pub fn seq(&self, label: &Label) -> u64 {
        self.known().labels.get(label).map_or(0, |log| log.seq)
    }

    /// The entries behind a position.
    pub(crate) fn page(&self, label: &Label, after: u64, size: PageSize) -> Page {
        let known = self.known();
        let Some(log) = known.labels.get(label) else {
            return Page::default();
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut rest = log
            .entries
            .range((Bound::Excluded(after), Bound::Unbounded));
        for (_, entry) in rest.by_ref() {
            bytes += entry.bytes;
            entries.push(Arc::clone(entry));
            if entries.len() >= size.entries || bytes >= size.bytes {
                break;
            }
        }
        let more = rest.next().is_some();
        let complete_to = match entries.last() {
            Some(last) if more => last.seq,
            _ => log.seq,
        };
        Page {
            entries,
            complete_to,
            more,
        }
    }

    /// All entries that publish, by position.
    pub(crate) fn published(&self, label: &Label) -> Vec<Arc<Entry>> {
        let known = self.known();
        let entries = known.labels.get(label).map(|log| log.entries.values());
        entries
            .into_iter()
            .flatten()
            .filter(|entry| entry.instruction == Instruction::Publish)
            .cloned()
            .collect()
    }

    /// The newest entry of an API in a label.
    pub(crate) fn entry(&self, label: &Label, api_id: &str) -> Option<Arc<Entry>> {
        let known = self.known();
        let log = known.labels.get(label)?;
        log.entries.get(log.by_api.get(api_id)?).cloned()
    }

    /// The labels that publish an API, each with the position of its entry.
    pub(crate) fn published_to(&self, api_id: &str) -> Vec<SavedTo> {
        let known = self.known();
        let labels = known.published.get(api_id).into_iter().flatten();
        labels
            .map(|(label, seq)| SavedTo {
                label: label.clone(),
                seq: *seq,
            })
            .collect()
    }

    /// The id of the API of this name: the one that is published, else any that was.
    pub(crate) fn named(&self, name: &str, version: &str, tenant: &str) -> Option<Arc<str>> {
        let known = self.known();
        let key = (name.to_owned(), version.to_owned(), tenant.to_owned());
        let ids = known.names.ids.get(&key)?;
        let published = ids.iter().find(|id| known.published.contains_key(*id));
        published.or(ids.last()).cloned()
    }

    /// When a revision of an API was saved, if any label has it, milliseconds since the epoch.
    pub(crate) fn saved(&self, api_id: &str, digest: Digest) -> Option<i64> {
        let known = self.known();
        let labels = known.published.get(api_id)?.iter();
        let mut entries =
            labels.filter_map(|(label, seq)| known.labels.get(label)?.entries.get(seq));
        let entry = entries.find(|entry| entry.digest == digest)?;
        Some(entry.time)
    }

    /// A number that rises whenever what is known changes.
    pub(crate) fn version(&self) -> u64 {
        self.inner.version.load(Ordering::SeqCst)
    }

    /// How often the database was asked.
    pub(crate) fn reads(&self) -> u64 {
        self.inner.begun.load(Ordering::SeqCst)
    }

    /// One digest over what a label publishes – of these tenants, where only some are asked for –
    /// and the position at which that is so.
    pub(crate) fn digest(&self, label: &Label, tenants: Option<&[String]>) -> (u64, LabelDigest) {
        let known = self.known();
        let Some(log) = known.labels.get(label) else {
            return (0, LabelDigest::of([]));
        };
        let seq = log.seq;
        let kept = *log.digest.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = kept.filter(|(at, _)| *at == seq && tenants.is_none()) {
            return (seq, digest);
        }
        let wanted = log.entries.values().filter(|entry| {
            entry.instruction == Instruction::Publish
                && tenants.is_none_or(|tenants| tenants.contains(&entry.tenant_domain))
        });
        let wanted: Vec<Arc<Entry>> = wanted.cloned().collect();
        drop(known);
        // Hashing takes a while: not under the lock.
        let digests = wanted.iter().map(|e| (e.api_id.as_str(), e.digest));
        let made = LabelDigest::of(digests);
        if tenants.is_none()
            && let Some(log) = self.known().labels.get(label)
        {
            *log.digest.write().unwrap_or_else(PoisonError::into_inner) = Some((seq, made));
        }
        (seq, made)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        let known = self.inner.known.read();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets labels that nobody follows and that have no log: anybody may ask for any name.
    fn forget_strangers(&self) {
        let mut heads = self
            .inner
            .heads
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        heads.retain(|_, sender| sender.receiver_count() > 0 || *sender.borrow() > 0);
    }

    /// How many followers there are of all labels.
    #[must_use]
    pub fn followers(&self) -> usize {
        let heads = self.inner.heads.read();
        let heads = heads.unwrap_or_else(PoisonError::into_inner);
        heads.values().map(watch::Sender::receiver_count).sum()
    }

    fn head(&self, label: &Label) -> watch::Sender<u64> {
        let heads = &self.inner.heads;
        let known = heads.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.get(label) {
            return sender.clone();
        }
        drop(known);
        let seq = self.seq(label);
        let mut known = heads.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(label.clone())
            .or_insert_with(|| watch::Sender::new(seq))
            .clone()
    }
}
