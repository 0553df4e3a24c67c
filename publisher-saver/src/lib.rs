//! Saves artifacts in one transaction and relays the outbox.
//!
//! `check` is pure and decides what may be saved; `publish` and `remove` are the use cases;
//! `relay` empties the outbox; `http` puts them on the wire.

pub mod check;
mod http;
mod publish;
mod relay;

use events::Bus;
use kit::access::Access;
use kit::config::Config;
use kit::server::{Frame, Running, StartError};
use store::Store;

pub use http::routes;
pub use publish::{SaveError, publish, remove};
pub use relay::{Relay, RelayError};

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Saver {
    pub store: Store,
    /// Woken after each save, so that the announcement leaves at once.
    pub relay: Relay,
}

impl Saver {
    #[must_use]
    pub fn new(store: Store, bus: Bus) -> Self {
        let relay = Relay::new(store.clone(), bus);
        Self { store, relay }
    }
}

/// Binds the publisher-saver's own HTTPS interface.
///
/// # Errors
/// When the port is in use, or a certificate or the users cannot be read.
pub fn serve(config: &Config, saver: &Saver) -> Result<Running, StartError> {
    let listener = kit::server::bind(config.publisher_saver_address()?)?;
    let access = Access::of(config)?;
    let saver = saver.clone();
    let limit = config.management.max_body_size;
    kit::serve!(
        move || {
            actix_web::App::new().configure(|app| {
                http::health_routes(app, &saver);
                routes(app, &saver, &access, limit);
            })
        },
        listener,
        Frame::of(config)?
    )
}
