//! Internal data API, watch stream, gateway registry.
//!
//! The only process besides the saver that knows the database. `growth` notices that label logs
//! have grown, `label_log` sends them, `registry` hears from gateways, `overview` tells what they
//! run; `http` puts all of it on the wire.

mod growth;
mod http;
mod label_log;
pub mod overview;
mod registry;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use artifact::Overview;
use kit::access::Access;
use kit::config::Config;
use kit::server::{Frame, Running, StartError};
use store::{Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use growth::Growth;
pub use http::routes;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct TrafficManager {
    pub store: Store,
    pub growth: Growth,
    settings: Arc<Settings>,
    /// Ends the watch streams.
    shutdown: CancellationToken,
}

#[derive(Debug)]
struct Settings {
    heartbeat: Duration,
    poll: Duration,
    page: u32,
    /// A gateway that is silent for longer counts as offline, milliseconds.
    expiry: i64,
}

impl TrafficManager {
    #[must_use]
    pub fn new(config: &Config, store: Store, shutdown: CancellationToken) -> Self {
        let tm = &config.traffic_manager;
        let expiry = config.apim.gateway_notification.cleanup.expiry_time;
        Self {
            growth: Growth::new(),
            store,
            settings: Arc::new(Settings {
                heartbeat: Duration::from_millis(tm.watch_heartbeat_interval.max(100)),
                poll: Duration::from_millis(tm.log_poll_interval.max(10)),
                page: tm.page_size.clamp(1, 10_000),
                expiry: i64::try_from(expiry).unwrap_or(i64::MAX),
            }),
            shutdown,
        }
    }

    /// What is published and what each gateway runs of it: all APIs, or those with these ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overview(&self, ids: Option<&[&str]>, now: i64) -> Result<Overview, StoreError> {
        let mut rows = self.store.snapshot().await?;
        if let Some(ids) = ids {
            let ids: HashSet<&str> = ids.iter().copied().collect();
            rows.apis.retain(|api| ids.contains(api.api_id.as_str()));
        }
        Ok(overview::overview(&rows, now, self.settings.expiry))
    }

    /// Watches the database for growth until shutdown; events, where there are any, make it
    /// known sooner.
    pub async fn watch(self, events: Option<events::Bus>) {
        let woken = Notify::new();
        let poll = growth::poll(
            self.store.clone(),
            self.growth.clone(),
            self.settings.poll,
            &woken,
            self.shutdown.clone(),
        );
        let listen = async {
            if let Some(bus) = events {
                growth::listen(&bus, &woken, self.shutdown.clone()).await;
            }
        };
        tokio::join!(poll, listen);
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
        move || actix_web::App::new().configure(|app| routes(app, &manager, &access)),
        listener,
        Frame::of(config)?
    )
}
