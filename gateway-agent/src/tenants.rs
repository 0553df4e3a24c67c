//! Requests of tenants that are loaded when they are needed: the first one asks, all of them wait.
//!
//! A request reads an immutable map and atomics, no lock. What is loaded, the core says
//! ([`Tenants::tell`]): after the route table that has a tenant's APIs is in place, and before the one
//! that has them no more.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::sync_core::{Millis, Told};

/// Tenants that requests wait for; each is named once, until it has been loaded or given up.
pub(crate) type Asks = mpsc::UnboundedReceiver<Arc<str>>;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tenants(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: ArcSwap<HashMap<Arc<str>, Arc<Tenant>>>,
    told: watch::Sender<Told>,
    asks: mpsc::UnboundedSender<Arc<str>>,
    started: Instant,
    /// How long a request waits.
    patience: Duration,
}

#[derive(Debug)]
struct Tenant {
    name: Arc<str>,
    /// Odd while it is loaded; rises with each change.
    epoch: AtomicU64,
    last_use: AtomicU64,
    waiting: AtomicUsize,
    /// The core has been asked.
    asked: AtomicBool,
    changed: Notify,
}

/// Numbers for `/readyz`; names of tenants are not for everybody.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counts {
    /// Tenants that publish something and are loaded when they are needed.
    known: usize,
    loaded: usize,
    loading: usize,
    /// Since the start.
    loads: u64,
    unloads: u64,
}

/// The tenant has not been loaded in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotInTime;

impl Tenants {
    pub(crate) fn new(patience: Duration, told: Told) -> (Self, Asks) {
        let (asks, asked) = mpsc::unbounded_channel();
        let shared = Shared {
            known: ArcSwap::default(),
            told: watch::Sender::new(told),
            asks,
            started: Instant::now(),
            patience,
        };
        (Self(Arc::new(shared)), asked)
    }

    /// When the clock of [`Tenants::uses`] began.
    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    fn now(&self) -> Millis {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What changes, for heartbeats.
    pub(crate) fn watch(&self) -> watch::Receiver<Told> {
        self.0.told.subscribe()
    }

    pub(crate) fn counts(&self) -> Counts {
        let told = self.0.told.borrow();
        Counts {
            known: told.known.len(),
            loaded: told.known.values().filter(|loaded| **loaded).count(),
            loading: told.loading,
            loads: told.loads,
            unloads: told.unloads,
        }
    }

    /// Takes over which tenants there are now, and wakes those who wait.
    pub(crate) fn tell(&self, told: Told) {
        let before = self.0.known.load_full();
        let known = told.known.iter().map(|(name, loaded)| {
            let tenant = match before.get(name) {
                Some(tenant) => Arc::clone(tenant),
                None => Arc::new(Tenant::new(Arc::clone(name), self.now())),
            };
            tenant.set(*loaded);
            (Arc::clone(name), tenant)
        });
        let known: HashMap<_, _> = known.collect();
        self.0.known.store(Arc::new(known));
        self.0.told.send_replace(told);
        // Who has no tenant any more looks again, too.
        for tenant in before.values() {
            tenant.asked.store(false, Ordering::SeqCst);
            tenant.changed.notify_waiters();
        }
    }

    /// When each loaded or awaited tenant was used last.
    pub(crate) fn uses(&self) -> Vec<(String, Millis)> {
        let now = self.now();
        let known = self.0.known.load();
        let used = known.values().filter_map(|tenant| {
            let waits = tenant.waiting.load(Ordering::SeqCst) > 0;
            let at = if waits {
                now
            } else {
                tenant.last_use.load(Ordering::Relaxed)
            };
            (waits || tenant.is_loaded()).then(|| (tenant.name.to_string(), at))
        });
        used.collect()
    }

    /// What `read` gives – the route table – as it is while the tenant of the request is loaded; where
    /// the request is of no such tenant, as it is.
    pub(crate) async fn with<T>(&self, target: &str, read: impl Fn() -> T) -> Result<T, NotInTime> {
        let Some(name) = tenant_of(target) else {
            return Ok(read());
        };
        let waiting = async {
            loop {
                let Some(tenant) = self.0.known.load().get(name).cloned() else {
                    return read();
                };
                tenant.last_use.store(self.now(), Ordering::Relaxed);
                let epoch = tenant.epoch.load(Ordering::SeqCst);
                if epoch % 2 == 1 {
                    let found = read();
                    // Else it has been unloaded meanwhile.
                    if tenant.epoch.load(Ordering::SeqCst) == epoch {
                        return found;
                    }
                    continue;
                }
                self.wait(&tenant).await;
            }
        };
        self.bounded(waiting).await
    }

    async fn bounded<T>(&self, waiting: impl Future<Output = T>) -> Result<T, NotInTime> {
        timeout(self.0.patience, waiting)
            .await
            .map_err(|_| NotInTime)
    }

    /// Waits until something has changed about the tenants, and asks for this one before.
    async fn wait(&self, tenant: &Tenant) {
        let _waiting = Waiting::of(tenant);
        let changed = tenant.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let known = self.0.known.load().contains_key(&tenant.name);
        if tenant.is_loaded() || !known {
            return;
        }
        if !tenant.asked.swap(true, Ordering::SeqCst) {
            // The core ends after the data plane, or the gateway is ending.
            let _ = self.0.asks.send(Arc::clone(&tenant.name));
        }
        changed.await;
    }
}

impl Tenant {
    fn new(name: Arc<str>, now: Millis) -> Self {
        Self {
            name,
            epoch: AtomicU64::new(0),
            last_use: AtomicU64::new(now),
            waiting: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    fn is_loaded(&self) -> bool {
        self.epoch.load(Ordering::SeqCst) % 2 == 1
    }

    /// Only the core's driver calls it.
    fn set(&self, loaded: bool) {
        if self.is_loaded() != loaded {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A request that waits is counted, also when its client goes away.
struct Waiting<'t>(&'t Tenant);

impl<'t> Waiting<'t> {
    fn of(tenant: &'t Tenant) -> Self {
        tenant.waiting.fetch_add(1, Ordering::SeqCst);
        Self(tenant)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The tenant that a path `/t/<tenant>/…` names.
fn tenant_of(target: &str) -> Option<&str> {
    let rest = target.strip_prefix("/t/")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    fn told(known: &[(&str, bool)]) -> Told {
        let known = known.iter().map(|(name, loaded)| ((*name).into(), *loaded));
        Told {
            known: known.collect::<BTreeMap<Arc<str>, bool>>(),
            ..Told::default()
        }
    }

    #[test]
    fn a_path_names_its_tenant() {
        for (target, name) in [
            ("/t/a.example/x/1.0", Some("a.example")),
            ("/t/a.example", Some("a.example")),
            ("/t/a.example?x=/", Some("a.example")),
            ("/t/", None),
            ("/t//x", None),
            ("/x/t/a", None),
            ("/tt/a", None),
        ] {
            assert_eq!(tenant_of(target), name, "{target}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_requests_share_one_load_and_find_what_it_has_brought() {
        let (tenants, mut asks) = Tenants::new(Duration::from_secs(10), Told::default());
        tenants.tell(told(&[("a", false)]));
        let table = Arc::new(Mutex::new("without"));
        let request = |target: &'static str| {
            let (tenants, table) = (tenants.clone(), Arc::clone(&table));
            tokio::spawn(async move { tenants.with(target, || *table.lock().unwrap()).await })
        };
        let requests: Vec<_> = (0..20).map(|_| request("/t/a/x")).collect();
        assert_eq!(&*asks.recv().await.unwrap(), "a");
        // Neither others nor those of nobody wait.
        assert_eq!(request("/x").await.unwrap(), Ok("without"));
        assert_eq!(request("/t/b/x").await.unwrap(), Ok("without"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(tenants.uses(), [("a".to_owned(), 1000)], "they still wait");
        *table.lock().unwrap() = "with";
        tenants.tell(told(&[("a", true)]));
        for request in requests {
            assert_eq!(request.await.unwrap(), Ok("with"));
        }
        assert!(asks.try_recv().is_err(), "asked once");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(tenants.uses(), [("a".to_owned(), 1000)]);
        // Unloaded and loaded again.
        tenants.tell(told(&[("a", false)]));
        assert_eq!(tenants.uses(), []);
        let again = request("/t/a/x");
        assert_eq!(&*asks.recv().await.unwrap(), "a");
        tenants.tell(told(&[("a", true)]));
        assert_eq!(again.await.unwrap(), Ok("with"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_is_given_up_is_asked_for_again_and_the_wait_is_bounded() {
        let (tenants, mut asks) = Tenants::new(Duration::from_secs(10), Told::default());
        tenants.tell(told(&[("a", false), ("b", false)]));
        let waiting = tenants.clone();
        let first = tokio::spawn(async move { waiting.with("/t/a/x", || 1).await });
        assert_eq!(&*asks.recv().await.unwrap(), "a");
        tenants.tell(told(&[("a", false), ("b", false)]));
        assert_eq!(&*asks.recv().await.unwrap(), "a");
        assert_eq!(first.await.unwrap(), Err(NotInTime));
        assert_eq!(tenants.uses(), [], "nobody waits any more");
        // All that it had is removed while a request waits.
        let waiting = tenants.clone();
        let second = tokio::spawn(async move { waiting.with("/t/b/x", || 2).await });
        assert_eq!(&*asks.recv().await.unwrap(), "b");
        tenants.tell(told(&[("a", false)]));
        assert_eq!(second.await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn what_was_read_while_the_tenant_went_is_read_again() {
        let (tenants, mut asks) = Tenants::new(Duration::from_secs(10), Told::default());
        tenants.tell(told(&[("a", true)]));
        let reads = AtomicUsize::new(0);
        let read = || {
            let number = reads.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                tenants.tell(told(&[("a", false)]));
            }
            number
        };
        let loads = async {
            asks.recv().await.unwrap();
            tenants.tell(told(&[("a", true)]));
        };
        let (found, ()) = tokio::join!(tenants.with("/t/a/x", read), loads);
        assert_eq!(found, Ok(1));
    }
}
