//! Saves artifacts in one transaction and relays the outbox.
//!
//! `check` is pure and decides what may be saved; `publish` and `remove` are the use cases;
//! `direct` sends what was saved to gateways at once; `relay` empties the outbox; `file_system` keeps
//! Synapse directories in step with what was saved; `http` puts them on the wire.

pub mod check;
mod direct;
mod file_system;
mod http;
mod publish;
mod relay;

use events::Bus;
use kit::access::Access;
use kit::config::Config;
use kit::server::{Frame, Running, StartError};
use store::Store;
use tokio_util::sync::CancellationToken;

pub use direct::DirectGateways;
pub use file_system::{FileSystemSaver, LabelStatus};
pub use http::routes;
pub use publish::{SaveError, publish, remove};
pub use relay::{Relay, RelayError};

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Saver {
    pub store: Store,
    /// Woken after each save, so that the announcement leaves at once.
    pub relay: Relay,
    /// Those that are published directly to; `None` where that is not configured.
    pub gateways: Option<DirectGateways>,
    /// Keeps Synapse directories; `None` where another `artifact_saver` is configured.
    pub file_system: Option<FileSystemSaver>,
}

impl Saver {
    /// The saver that the configuration asks for.
    ///
    /// # Errors
    /// When the directory of `FileSystemSaver` cannot be made, or the gateways that are published
    /// directly to cannot be used as they are configured.
    pub fn of(config: &Config, store: Store, bus: Bus) -> anyhow::Result<Self> {
        Ok(Self {
            gateways: DirectGateways::of(config, &store)?,
            file_system: FileSystemSaver::of(config, &store)?,
            relay: Relay::new(store.clone(), bus),
            store,
        })
    }

    /// Something has been saved.
    pub(crate) fn wake(&self) {
        self.relay.wake();
        if let Some(file_system) = &self.file_system {
            file_system.wake();
        }
    }

    /// Announces what is saved, and keeps Synapse directories in step with it, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let directories = async {
            if let Some(file_system) = self.file_system {
                file_system.run(shutdown.clone()).await;
            }
        };
        tokio::join!(
            Box::pin(self.relay.run(shutdown.clone())),
            Box::pin(directories)
        );
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
