//! Running an actix-web application on a management address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_web::dev::Server;

use crate::config::{Config, ConfigError};
use crate::tls::{self, Identity, TlsError};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "port {port} of {address} is in use; choose other ports with --offset N, \
         or end the program that holds it"
    )]
    PortInUse { address: String, port: u16 },
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: SocketAddr, reason: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Binds a listener; a port in use is an error of its own.
pub fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |error: io::Error| StartError::Listen {
        address,
        reason: error.to_string(),
    };
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse {
            address: address.ip().to_string(),
            port: address.port(),
        },
        _ => failed(error),
    })?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// The certificate of the management interfaces: the configured one, else the development one.
pub fn management_identity(config: &Config) -> Result<Identity, StartError> {
    let tls = &config.management.tls;
    match (tls.certificate.is_empty(), tls.key.is_empty()) {
        (true, true) => Ok(tls::development_identity(
            &config.lockstep.data_dir,
            &config.server.hostname,
        )?),
        (false, false) => Ok(Identity {
            certificate: (&tls.certificate).into(),
            key: (&tls.key).into(),
        }),
        _ => Err(StartError::Config(ConfigError::Rule {
            key: "management.tls",
            rule: "certificate and key belong together; name both or none".into(),
        })),
    }
}

/// A management server that has been bound and started.
pub struct Running {
    /// Where it listens, with the port that was really bound.
    pub address: SocketAddr,
    /// To be awaited; ends when the server has been stopped.
    pub server: Server,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Serves until `shutdown`, then lets requests in flight end.
    pub async fn until(self, shutdown: tokio_util::sync::CancellationToken) -> io::Result<()> {
        let handle = self.server.handle();
        let mut server = std::pin::pin!(self.server);
        tokio::select! {
            ended = &mut server => return ended,
            () = shutdown.cancelled() => {}
        }
        let (ended, ()) = tokio::join!(server, handle.stop(true));
        ended
    }
}

/// Starts `HttpServer::new($app)` on a listener with TLS. A macro, because the type of an actix
/// application cannot be named.
#[macro_export]
macro_rules! serve {
    ($app:expr, $listener:expr, $identity:expr) => {{
        let listener: std::net::TcpListener = $listener;
        let tls = $crate::tls::server_config($identity)?;
        match listener.local_addr().and_then(|address| {
            actix_web::HttpServer::new($app)
                .workers(2)
                // Answers and pushed entries leave at once, not with the next acknowledgement.
                .tcp_nodelay(true)
                .disable_signals()
                .shutdown_timeout(5)
                .listen_rustls_0_23(listener, tls)
                .map(|server| (address, server))
        }) {
            Ok((address, server)) => Ok($crate::server::Running {
                address,
                server: server.run(),
            }),
            Err(error) => Err($crate::server::StartError::Listen {
                address: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
                reason: error.to_string(),
            }),
        }
    }};
}
