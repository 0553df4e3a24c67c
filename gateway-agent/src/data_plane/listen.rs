//! Accepting connections, HTTP and HTTPS, until shutdown; then requests in flight may end.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use kit::config::Config;
use kit::server::StartError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::handle::Gateway;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Bound listeners, not accepting yet.
#[derive(Debug)]
pub struct Listeners {
    pub http: TcpListener,
    pub https: TcpListener,
}

/// Where a gateway serves clients.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub https: SocketAddr,
}

impl Listeners {
    /// # Errors
    /// Those of the operating system.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            http: self.http.local_addr()?,
            https: self.https.local_addr()?,
        })
    }
}

/// Binds both listeners.
///
/// # Errors
/// When a port is in use.
pub fn bind(config: &Config) -> Result<Listeners, StartError> {
    Ok(Listeners {
        http: kit::server::bind(config.gateway_http_address()?)?,
        https: kit::server::bind(config.gateway_https_address()?)?,
    })
}

/// Limits of the data plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) header_size: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) drain: Duration,
}

/// Serves on both listeners until shutdown.
pub(crate) async fn serve(
    listeners: Listeners,
    gateway: Gateway,
    tls: rustls::ServerConfig,
    limits: Limits,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let http = tokio::net::TcpListener::from_std(listeners.http)?;
    let https = tokio::net::TcpListener::from_std(listeners.https)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let server = Server {
        gateway,
        limits,
        shutdown,
    };
    tokio::join!(
        server.accept(http, None),
        server.accept(https, Some(acceptor))
    );
    Ok(())
}

struct Server {
    gateway: Gateway,
    limits: Limits,
    shutdown: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a client that was gone at once.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let gateway = self.gateway.clone();
            let limits = self.limits;
            let watcher = graceful.watcher();
            match tls.clone() {
                None => {
                    tokio::spawn(connection(stream, gateway, false, client, limits, watcher));
                }
                Some(acceptor) => {
                    tokio::spawn(async move {
                        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
                        match handshake.await {
                            Ok(Ok(stream)) => {
                                connection(stream, gateway, true, client, limits, watcher).await;
                            }
                            Ok(Err(error)) => {
                                tracing::debug!(%error, %client, "TLS handshake failed");
                            }
                            Err(_) => tracing::debug!(%client, "TLS handshake timed out"),
                        }
                    });
                }
            }
        }
        drop(listener);
        let drained = graceful.shutdown();
        if tokio::time::timeout(self.limits.drain, drained)
            .await
            .is_err()
        {
            tracing::warn!("requests still in flight after the drain time are cut");
        }
    }
}

async fn connection<S>(
    stream: S,
    gateway: Gateway,
    https: bool,
    client: SocketAddr,
    limits: Limits,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let spoke = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&spoke);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        heard.store(true, Ordering::Relaxed);
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.handle(request, https).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_size.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(watcher.watch(connection.into_owned()));
    let ended = tokio::select! {
        ended = &mut served => ended,
        // The header timeout starts with the first byte; this one covers clients that send none.
        () = tokio::time::sleep(limits.header_timeout) => {
            if !spoke.load(Ordering::Relaxed) {
                tracing::debug!(%client, "a client that sent nothing is cut");
                return;
            }
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %client, "connection ended early");
    }
}
