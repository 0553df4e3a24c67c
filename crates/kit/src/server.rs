//! Running an actix-web application on a management address.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{Extensions, Server};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;

use crate::access::{AccessError, CertificateNames, certificate_names};
use crate::config::{Config, ConfigError, ManagementLimits};
pub use crate::in_flight::InFlight;
use crate::problem::Problem;
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
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Connections that wait to be accepted: all clients come again after a restart. The kernel has a
/// bound of its own (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Binds a listener; a port in use is an error of its own.
pub fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |error: io::Error| StartError::Listen {
        address,
        reason: error.to_string(),
    };
    listen(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse {
            address: address.ip().to_string(),
            port: address.port(),
        },
        _ => failed(error),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
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

/// How management servers are run: TLS and limits.
#[derive(Clone, Debug)]
pub struct Frame {
    pub tls: rustls::ServerConfig,
    pub limits: ManagementLimits,
    pub in_flight: InFlight,
}

/// Threads of a management server.
pub const WORKERS: usize = 2;

impl Frame {
    /// The frame that the configuration asks for.
    ///
    /// # Errors
    /// When a certificate or a key cannot be read.
    pub fn of(config: &Config) -> Result<Self, StartError> {
        let identity = management_identity(config)?;
        let authority = &config.management.tls.client_authority;
        let authority = (!authority.is_empty()).then(|| Path::new(authority));
        let limits = config.management.limits;
        Ok(Self {
            tls: tls::server_config(&identity, authority)?,
            limits,
            in_flight: InFlight::new(limits.max_in_flight),
        })
    }

    /// What is done with each new connection: the kernel cuts it when its peer takes nothing, and
    /// the names of its client certificate are kept with it.
    pub fn on_connect(&self) -> impl Fn(&dyn Any, &mut Extensions) + Clone + Send + Sync + use<> {
        let slow_client = Duration::from_millis(self.limits.slow_client_timeout);
        move |io, extensions| {
            let Some(stream) = io.downcast_ref::<TlsStream<TcpStream>>() else {
                return;
            };
            let (tcp, tls) = stream.get_ref();
            if let Err(error) = SockRef::from(tcp).set_tcp_user_timeout(Some(slow_client)) {
                tracing::debug!(%error, "a slow client of this connection will not be cut");
            }
            let shown = tls.peer_certificates().and_then(|chain| chain.first());
            if let Some(certificate) = shown {
                extensions.insert(CertificateNames(certificate_names(certificate)));
            }
        }
    }
}

/// The answer where there is no such resource.
pub async fn no_such_resource(request: HttpRequest) -> HttpResponse {
    let detail = format!("there is no {} {} here", request.method(), request.path());
    Problem::not_found(NO_SUCH_RESOURCE, detail).error_response()
}

/// The code of [`no_such_resource`].
pub const NO_SUCH_RESOURCE: &str = "no-such-resource";

/// Starts `HttpServer::new($app)` on a listener within a [`Frame`]. A macro, because the type of
/// an actix application cannot be named.
#[macro_export]
macro_rules! serve {
    ($app:expr, $listener:expr, $frame:expr) => {{
        let listener: std::net::TcpListener = $listener;
        let frame: $crate::server::Frame = $frame;
        let limits = frame.limits;
        let in_flight = frame.in_flight.clone();
        let on_connect = frame.on_connect();
        let app = $app;
        match listener.local_addr().and_then(|address| {
            actix_web::HttpServer::new(move || {
                app()
                    .default_service(actix_web::web::to($crate::server::no_such_resource))
                    .wrap(in_flight.clone())
                    .wrap(actix_web::middleware::from_fn(
                        $crate::metrics::count_requests,
                    ))
            })
            .workers($crate::server::WORKERS)
            .max_connections(limits.max_connections.div_ceil($crate::server::WORKERS))
            .client_request_timeout(std::time::Duration::from_millis(limits.header_timeout))
            .keep_alive(std::time::Duration::from_millis(limits.keep_alive))
            .on_connect(on_connect)
            // Answers and pushed entries leave at once, not with the next acknowledgement.
            .tcp_nodelay(true)
            .disable_signals()
            .shutdown_timeout(5)
            .listen_rustls_0_23(listener, frame.tls)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    #[tokio::test]
    async fn the_kernel_is_told_to_cut_a_peer_that_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::load(None).unwrap();
        config.lockstep.data_dir = directory.path().to_owned();
        config.management.limits.slow_client_timeout = 1234;
        let frame = Frame::of(&config).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = tls::development_ca(directory.path());
        let client = tls::client_config(Some(&authority), None).unwrap();
        let connecting = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let connector = TlsConnector::from(Arc::new(client));
            let name = "localhost".try_into().unwrap();
            connector.connect(name, tcp).await.unwrap()
        };
        let accepting = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(frame.tls.clone()));
            TlsStream::from(acceptor.accept(tcp).await.unwrap())
        };
        let (_client, accepted) = tokio::join!(connecting, accepting);
        frame.on_connect()(&accepted, &mut Extensions::new());
        let timeout = SockRef::from(accepted.get_ref().0).tcp_user_timeout();
        assert_eq!(timeout.unwrap(), Some(Duration::from_millis(1234)));
    }
}
