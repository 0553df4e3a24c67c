//! Internal data API, watch stream, gateway registry, the truth per gateway and API.
//!
//! The only process besides the saver that knows the database. `growth` notices that label logs
//! have grown, `logs` has them in memory and `blobs` the artifacts, `chunks` are made of both, `label_log` sends
//! them as Lockstep's stream and `synapse_artifacts` as API Manager's resources; `registry` hears from
//! gateways, `batch` decides what counts of it, `instances` knows which process speaks for one, `truth` tells what they run
//! and `repairs` what they hold; `http` and `operator` put all of it on the wire,
//! `measure` counts.

mod batch;
mod blobs;
mod chunks;
mod encoding;
mod growth;
mod http;
mod instances;
mod label_log;
mod logs;
mod measure;
mod operator;
mod parameters;
mod permissions;
mod presence;
mod registry;
mod repairs;
mod synapse_artifacts;
pub mod truth;

use std::sync::Arc;
use std::time::Duration;

use artifact::{Label, Overview};
use kit::access::Access;
use kit::config::Config;
use kit::server::{Frame, Running, StartError};
use store::{Store, StoreError, Which};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use blobs::Blobs;
use chunks::Chunks;
use logs::PageSize;
use presence::Presence;
use registry::Registry;

pub use http::routes;
pub use logs::Logs;

/// Entries of a page, and bytes of their artifacts.
const PAGE: PageSize = PageSize {
    entries: 64,
    bytes: 256 * 1024,
};
/// Knowledge that is older than this many looks at the database, but at least …
const STALE_LOOKS: u64 = 30;
/// … so old, is told to be stale, milliseconds.
const STALE: u64 = 2000;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct TrafficManager {
    pub store: Store,
    pub logs: Logs,
    blobs: Blobs,
    chunks: Chunks,
    /// Places for readers of label logs.
    readers: Arc<Semaphore>,
    registry: Registry,
    settings: Arc<Settings>,
    presence: Presence,
    /// Ends the watch streams.
    shutdown: CancellationToken,
}

/// Why artifacts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] blobs::BlobError),
}

#[derive(Debug)]
struct Settings {
    heartbeat: Duration,
    poll: Duration,
    page: PageSize,
    /// A gateway that is silent for longer counts as offline, milliseconds.
    expiry: i64,
}

impl TrafficManager {
    /// To be called in a runtime: parts of it run in tasks of their own.
    #[must_use]
    pub fn new(config: &Config, store: Store, shutdown: CancellationToken) -> Self {
        kit::metrics::init();
        let tm = &config.traffic_manager;
        let expiry = config.apim.gateway_notification.cleanup.expiry_time;
        let poll = tm.log_poll_interval.max(10);
        let stale = (poll * STALE_LOOKS).max(STALE);
        let expiry = i64::try_from(expiry).unwrap_or(i64::MAX);
        Self {
            logs: Logs::new(store.clone(), i64::try_from(stale).unwrap_or(i64::MAX)),
            blobs: Blobs::new(store.clone(), tm.artifact_cache_size),
            chunks: Chunks::new(),
            readers: Arc::new(Semaphore::new(tm.max_readers)),
            registry: Registry::new(store.clone(), expiry),
            presence: Presence::new(expiry),
            store,
            settings: Arc::new(Settings {
                heartbeat: Duration::from_millis(tm.watch_heartbeat_interval.max(100)),
                poll: Duration::from_millis(poll),
                page: PAGE,
                expiry,
            }),
            shutdown,
        }
    }

    /// What is published and what each gateway runs of it: all APIs, or those with these ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overview(&self, ids: Option<&[&str]>, now: i64) -> Result<Overview, StoreError> {
        let which = match ids {
            Some(ids) => Which::These(ids),
            None => Which::Behind(None, u32::MAX),
        };
        let rows = self.store.snapshot(which).await?;
        Ok(truth::overview(&rows, now, self.settings.expiry))
    }

    /// The artifacts that a label publishes, as they were saved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifacts(&self, label: &Label) -> Result<Vec<String>, TextError> {
        self.logs.refresh().await?;
        let mut texts = Vec::new();
        for entry in self.logs.published(label) {
            texts.push(
                self.blobs
                    .text(&entry)
                    .await
                    .map_err(|error| (*error).clone())?,
            );
        }
        Ok(texts)
    }

    /// Watches the database for growth, and for gateways that fall silent, until shutdown; events and
    /// the database itself, where they can, make growth known sooner.
    pub async fn watch(self, events: Option<events::Bus>) {
        let woken = Notify::new();
        let (telling, told) = watch::channel(false);
        let shutdown = || self.shutdown.clone();
        let poll = growth::poll(
            self.logs.clone(),
            self.settings.poll,
            &woken,
            told,
            shutdown(),
        );
        let listen = async {
            if let Some(bus) = events {
                growth::listen(&bus, &woken, shutdown()).await;
            }
        };
        let hear = growth::hear(&self.store, &woken, telling, shutdown());
        let presence = self.presence.watch(&self.store, shutdown());
        // A look that hangs does not hold up the end.
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            _ = Box::pin(async { tokio::join!(poll, listen, hear, presence) }) => {}
        }
    }
}

/// Binds the traffic manager's own HTTPS interface.
///
/// # Errors
/// When the port is in use, or a certificate or the users cannot be read.
pub fn serve(config: &Config, manager: &TrafficManager) -> Result<Running, StartError> {
    let listener = kit::server::bind(config.traffic_manager_address()?)?;
    let access = Access::of(config)?;
    let manager = manager.clone();
    kit::serve!(
        move || { actix_web::App::new().configure(|app| routes(app, &manager, &access)) },
        listener,
        Frame::of(config)?
    )
}
