//! The label logs in memory: what they say, how far they reach, and since when that is known.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Deref};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use artifact::{Digest, Instruction, Label, LabelDigest, LabelLogEntry, SavedTo};
use store::{LabelLogs, LogRow, Store, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::encoding::{Encoding, Piece};

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

#[derive(Debug, Default)]
struct Known {
    labels: HashMap<Label, LabelLog>,
    /// Which labels publish an API, and where.
    published: HashMap<Arc<str>, BTreeMap<Label, u64>>,
    names: Names,
}

/// Who is called what.
#[derive(Debug, Default)]
struct Names {
    /// The ids of the APIs of a name, version and tenant …
    ids: HashMap<Name, Vec<Arc<str>>>,
    /// … and the name of each.
    names: HashMap<Arc<str>, Name>,
}

type Name = (String, String, String);

/// One label's log, compacted to the newest entry of each API.
#[derive(Debug, Default)]
struct LabelLog {
    seq: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
    by_api: HashMap<Arc<str>, u64>,
    /// The digest and count at this position.
    digest: RwLock<Option<(u64, LabelDigest)>>,
}

/// An entry of a label log: its row, and how it is sent.
#[derive(Debug)]
pub(crate) struct Entry {
    row: LogRow,
    /// Its line up to the artifact, in zstd.
    head: OnceLock<Piece>,
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

impl Known {
    /// Takes what has come. A log that ends before what was known is a restored database's: it
    /// was read from its start and replaces what was known.
    fn take(&mut self, logs: LabelLogs) {
        for (label, rows) in logs.entries {
            let seq = logs.seqs.get(&label).copied().unwrap_or(0);
            let log = self.labels.entry(label.clone()).or_default();
            if seq < log.seq {
                tracing::warn!(
                    %label,
                    known = log.seq,
                    found = seq,
                    "the label log ends before what was known: the database is an older one"
                );
                for api_id in log.by_api.keys() {
                    withdraw(&mut self.published, api_id, &label);
                }
                *log = LabelLog::default();
            }
            for row in rows {
                let api_id: Arc<str> = row.api_id.as_str().into();
                if let Some(before) = log.by_api.insert(Arc::clone(&api_id), row.seq) {
                    log.entries.remove(&before);
                }
                match row.instruction {
                    Instruction::Publish => {
                        let labels = self.published.entry(Arc::clone(&api_id)).or_default();
                        labels.insert(label.clone(), row.seq);
                    }
                    Instruction::Remove => withdraw(&mut self.published, &api_id, &label),
                }
                let name = (
                    row.name.clone(),
                    row.version.clone(),
                    row.tenant_domain.clone(),
                );
                self.names.rename(api_id, name);
                log.entries.insert(row.seq, Arc::new(Entry::new(row)));
            }
            log.seq = seq;
        }
    }
}

impl Entry {
    fn new(row: LogRow) -> Self {
        let head = OnceLock::new();
        Self { row, head }
    }

    /// The line up to the artifact, which is the same for all who ask.
    pub(crate) fn head(&self, encoding: Encoding) -> Piece {
        let make = || {
            let head = self.line(Vec::new()).up_to_artifact();
            // Nothing of the entry can fail to be written as JSON.
            encoding.piece(head.unwrap_or_default().into())
        };
        match encoding {
            Encoding::Zstd => self.head.get_or_init(make).clone(),
            Encoding::Gzip | Encoding::Identity => make(),
        }
    }

    /// The entry on the wire, without its artifact.
    pub(crate) fn line(&self, published_to: Vec<SavedTo>) -> LabelLogEntry {
        let row = &self.row;
        LabelLogEntry {
            seq: row.seq,
            api_id: row.api_id.clone(),
            name: row.name.clone(),
            version: row.version.clone(),
            tenant_domain: row.tenant_domain.clone(),
            instruction: row.instruction,
            revision: row.revision,
            digest: row.digest,
            time: row.time,
            artifact: None,
            published_to,
        }
    }
}

impl Deref for Entry {
    type Target = LogRow;

    fn deref(&self) -> &LogRow {
        &self.row
    }
}

impl Names {
    /// An API has the name of its newest revision, and no other.
    fn rename(&mut self, api_id: Arc<str>, name: Name) {
        match self.names.get(&api_id) {
            Some(before) if *before == name => return,
            Some(before) => {
                if let Some(ids) = self.ids.get_mut(before) {
                    ids.retain(|id| *id != api_id);
                    if ids.is_empty() {
                        self.ids.remove(before);
                    }
                }
            }
            None => {}
        }
        self.names.insert(Arc::clone(&api_id), name.clone());
        self.ids.entry(name).or_default().push(api_id);
    }
}

impl Known {
    /// Forgets logs that the database does not have any more: it is an older one. Tells whether
    /// there were any.
    fn forget_lost(&mut self, seqs: &BTreeMap<Label, u64>) -> bool {
        let lost: Vec<Label> = self
            .labels
            .keys()
            .filter(|label| !seqs.contains_key(label))
            .cloned()
            .collect();
        for label in &lost {
            tracing::warn!(%label, "the label log has gone: the database is an older one");
            let Some(log) = self.labels.remove(label) else {
                continue;
            };
            for api_id in log.by_api.keys() {
                withdraw(&mut self.published, api_id, label);
            }
        }
        !lost.is_empty()
    }
}

fn withdraw(published: &mut HashMap<Arc<str>, BTreeMap<Label, u64>>, api_id: &str, label: &Label) {
    if let Some(labels) = published.get_mut(api_id) {
        labels.remove(label);
        if labels.is_empty() {
            published.remove(api_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Instruction::{Publish, Remove};

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn row(api: &str, seq: u64, instruction: Instruction) -> LogRow {
        LogRow {
            seq,
            api_id: api.into(),
            name: format!("name of {api}"),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            instruction,
            revision: seq,
            digest: Digest::of(api.as_bytes()),
            time: 0,
            bytes: 10,
        }
    }

    /// Logs that took these rows, one after another.
    async fn logs(took: &[(&str, LogRow)]) -> (Logs, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let options = store::StoreOptions {
            database: store::Database::file(&directory.path().join("lockstep.db")).unwrap(),
            dc: "DC1".into(),
            history_size: 2,
        };
        let logs = Logs::new(Store::open(&options).await.unwrap(), 1000);
        for (name, row) in took {
            let read = LabelLogs {
                seqs: [(label(name), row.seq)].into(),
                entries: [(label(name), vec![row.clone()])].into(),
            };
            logs.inner.known.write().unwrap().take(read);
        }
        (logs, directory)
    }

    const ALL: PageSize = PageSize {
        entries: usize::MAX,
        bytes: u64::MAX,
    };

    fn seqs(page: &Page) -> Vec<u64> {
        page.entries.iter().map(|entry| entry.seq).collect()
    }

    #[tokio::test]
    async fn a_log_is_compacted_and_read_in_pages() {
        let (logs, _directory) = logs(&[
            ("L1", row("a", 1, Publish)),
            ("L1", row("b", 2, Publish)),
            ("L1", row("a", 3, Publish)),
            ("L1", row("c", 4, Publish)),
            ("L1", row("c", 5, Remove)),
        ])
        .await;
        let page = logs.page(&label("L1"), 0, ALL);
        assert_eq!(
            (seqs(&page), page.complete_to, page.more),
            (vec![2, 3, 5], 5, false)
        );
        let two = PageSize { entries: 2, ..ALL };
        let page = logs.page(&label("L1"), 0, two);
        assert_eq!(
            (seqs(&page), page.complete_to, page.more),
            (vec![2, 3], 3, true)
        );
        let few = PageSize { bytes: 5, ..ALL };
        let page = logs.page(&label("L1"), 3, few);
        assert_eq!(
            (seqs(&page), page.complete_to, page.more),
            (vec![5], 5, false)
        );
        let page = logs.page(&label("L2"), 3, few);
        assert_eq!(
            (seqs(&page), page.complete_to, page.more),
            (vec![], 0, false)
        );
        let published = logs.published(&label("L1"));
        assert_eq!(published.len(), 2);
    }

    #[tokio::test]
    async fn a_remove_tells_who_still_publishes_as_of_now() {
        let (logs, _directory) = logs(&[
            ("L1", row("a", 1, Publish)),
            ("L2", row("a", 1, Publish)),
            ("L1", row("a", 2, Remove)),
        ])
        .await;
        let at = |name: &str, seq| SavedTo {
            label: label(name),
            seq,
        };
        assert_eq!(logs.published_to("a"), [at("L2", 1)]);
        assert_eq!(
            logs.named("name of a", "1", "carbon.super").as_deref(),
            Some("a")
        );
        let read = LabelLogs {
            seqs: [(label("L2"), 2)].into(),
            entries: [(label("L2"), vec![row("a", 2, Remove)])].into(),
        };
        logs.inner.known.write().unwrap().take(read);
        assert_eq!(logs.published_to("a"), []);
        assert_eq!(
            logs.named("name of a", "1", "carbon.super").as_deref(),
            Some("a"),
            "one that was published is known still"
        );
    }

    #[tokio::test]
    async fn a_restored_database_replaces_what_was_known() {
        let (logs, _directory) = logs(&[
            ("L1", row("a", 1, Publish)),
            ("L1", row("b", 7, Publish)),
            ("L1", row("c", 2, Publish)),
        ])
        .await;
        let page = logs.page(&label("L1"), 0, ALL);
        assert_eq!((seqs(&page), page.complete_to), (vec![2], 2));
        assert_eq!(logs.published_to("b"), []);
    }

    #[tokio::test]
    async fn a_log_that_the_database_has_no_more_is_forgotten() {
        let (logs, _directory) = logs(&[("L1", row("a", 1, Publish))]).await;
        // The database, which knows nothing of it.
        logs.refresh().await.unwrap();
        assert_eq!(logs.seq(&label("L1")), 0);
        assert_eq!(logs.published_to("a"), []);
    }

    #[tokio::test]
    async fn a_name_is_that_of_the_newest_revision() {
        let named = |name: &str, mut row: LogRow| {
            row.name = name.into();
            row
        };
        let (logs, _directory) = logs(&[
            ("L1", named("A", row("a", 1, Publish))),
            ("L1", named("B", row("a", 2, Publish))),
            ("L1", named("A", row("new", 3, Publish))),
        ])
        .await;
        let id = |name: &str| logs.named(name, "1", "carbon.super");
        assert_eq!(id("A").as_deref(), Some("new"));
        assert_eq!(id("B").as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn the_digest_tells_what_is_published_whatever_the_order() {
        let (one, _d1) = logs(&[
            ("L1", row("a", 1, Publish)),
            ("L1", row("b", 2, Publish)),
            ("L1", row("c", 3, Remove)),
        ])
        .await;
        let (other, _d2) =
            logs(&[("L1", row("b", 8, Publish)), ("L1", row("a", 9, Publish))]).await;
        let (seq, digest) = one.digest(&label("L1"), None);
        assert_eq!((seq, digest.count), (3, 2));
        assert_eq!(digest, other.digest(&label("L1"), None).1);
        assert_ne!(digest, one.digest(&label("L2"), None).1);
    }

    #[tokio::test]
    async fn followers_wake_when_the_database_has_more() {
        let (logs, _directory) = logs(&[]).await;
        let mut follower = logs.follow(&label("L1"));
        logs.refresh().await.unwrap();
        assert!(!follower.has_changed().unwrap());
        assert!(logs.stale_since().is_none());
        let artifact = artifact::Artifact {
            name: "A".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            api_id: "u".into(),
            ..artifact::Artifact::default()
        };
        let save = store::Save {
            text: artifact.to_text().unwrap(),
            artifact,
            routes: Vec::new(),
            labels: vec![label("L1")],
        };
        let saves = [save];
        let saving = logs.inner.store.save(&saves, store::SaveMode::Each, 1);
        saving.await.unwrap();
        assert_eq!(logs.seq(&label("L1")), 0, "not looked at yet");
        logs.reached(&label("L1"), 1).await.unwrap();
        follower.changed().await.unwrap();
        assert_eq!(*follower.borrow_and_update(), 1);
        let behind = logs.reached(&label("L1"), 2).await.unwrap_err();
        assert!(matches!(behind, LogsError::Behind { reached: 1 }));
    }
}
