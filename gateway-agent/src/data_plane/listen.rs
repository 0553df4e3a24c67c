//! Accepting connections, HTTP and HTTPS, until shutdown; then requests in flight and WebSockets may
//! end, and are cut when they take too long.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kit::config::Config;
use kit::server::StartError;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::batched::Batched;
use super::ending::{Ending, Watch};
use super::forwarded::Peer;
use super::handle::Gateway;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Headers of a request that the HTTP library reads by itself.
const HEADERS: usize = 100;

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
    /// Bytes of a request's head.
    pub(crate) header_size: usize,
    pub(crate) headers: usize,
    /// How long a client may take to send the first head of its connection.
    pub(crate) header_timeout: Duration,
    /// How long a connection is kept without a request; of HTTP/1, until the next head has come.
    pub(crate) idle: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub(crate) slow_client: Duration,
    pub(crate) drain: Duration,
}

/// Serves on both listeners until shutdown, and the drain after it.
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
        gateway: Arc::new(gateway),
        limits,
        shutdown,
    };
    let ends = async {
        server.shutdown.cancelled().await;
        tokio::time::Instant::now() + limits.drain
    };
    let ((), (), end) = tokio::join!(
        server.accept(http, None),
        server.accept(https, Some(acceptor)),
        ends
    );
    // After the connections: until they have ended, they may still become tunnels.
    let time = tokio::time::sleep_until(end);
    server.gateway.tunnels.drain(time).await;
    if let Some(log) = &server.gateway.access_log {
        log.end().await;
    }
    Ok(())
}

struct Server {
    gateway: Arc<Gateway>,
    limits: Limits,
    shutdown: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>) {
        let ending = Ending::default();
        let mut connections = JoinSet::new();
        let port = listener.local_addr().map_or(0, |address| address.port());
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
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
            // The kernel cuts clients that take nothing.
            if let Err(error) =
                SockRef::from(&stream).set_tcp_user_timeout(Some(self.limits.slow_client))
            {
                tracing::debug!(%error, "a slow client of this connection will not be cut");
            }
            let trusted = &self.gateway.trusted_proxies;
            let connection = Connection {
                gateway: Arc::clone(&self.gateway),
                peer: Arc::new(Peer::new(client.ip(), tls.is_some(), port, trusted)),
                limits: self.limits,
                ending: ending.watch(),
            };
            match tls.clone() {
                None => connections.spawn(connection.serve(Batched::new(stream))),
                Some(acceptor) => {
                    let shutdown = self.shutdown.clone();
                    connections.spawn(connection.serve_tls(acceptor, stream, shutdown))
                }
            };
        }
        drop(listener);
        ending.begin();
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.drain, drained)
            .await
            .is_err()
        {
            tracing::warn!("requests still in flight after the drain time are cut");
            connections.shutdown().await;
        }
    }
}

/// A client's connection.
struct Connection {
    gateway: Arc<Gateway>,
    peer: Arc<Peer>,
    limits: Limits,
    ending: Watch,
}

impl Connection {
    async fn serve_tls(
        self,
        acceptor: TlsAcceptor,
        stream: tokio::net::TcpStream,
        shutdown: CancellationToken,
    ) {
        let client = self.peer.address;
        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = shutdown.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, %client, "TLS handshake failed"),
            Err(_) => tracing::debug!(%client, "TLS handshake timed out"),
        }
    }

    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            gateway,
            peer,
            limits,
            mut ending,
        } = self;
        let client = peer.address;
        let activity = Arc::new(Activity::new());
        let requests = Arc::clone(&activity);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let stream = requests.request(request.version());
            let (gateway, peer) = (Arc::clone(&gateway), Arc::clone(&peer));
            async move {
                let answer = gateway.handle(request, peer).await;
                Ok::<_, Infallible>(answer.map(|body| body.of(stream)))
            }
        });
        let builder = builder(&limits);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection.into_owned());
        let (mut ends, mut looks) = (false, false);
        // Covers clients that send nothing, or their first head slowly; then idle ones of HTTP/2. The
        // library looks after the next heads of HTTP/1.
        let mut silence = std::pin::pin!(tokio::time::sleep(limits.header_timeout));
        let ended = poll_fn(|context| {
            if !ends && ending.has_begun(context) {
                ends = true;
                connection.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            if !activity.has_asked() {
                return silence.as_mut().poll(context).map(|()| None);
            }
            if !activity.is_multiplexed() {
                return Poll::Pending;
            }
            if !std::mem::replace(&mut looks, true) {
                let end = tokio::time::Instant::now() + limits.idle;
                silence.as_mut().reset(end);
            }
            while !ends && silence.as_mut().poll(context).is_ready() {
                let idle = activity.idle();
                if idle >= limits.idle {
                    ends = true;
                    connection.as_mut().graceful_shutdown();
                    context.waker().wake_by_ref();
                } else {
                    let end = tokio::time::Instant::now() + (limits.idle - idle);
                    silence.as_mut().reset(end);
                }
            }
            Poll::Pending
        });
        match ended.await {
            None => tracing::debug!(%client, "a client that sent nothing is cut"),
            Some(Err(error)) => tracing::debug!(%error, %client, "connection ended early"),
            Some(Ok(())) => {}
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.header_size.max(8192));
    if limits.headers > HEADERS {
        // Above what the library has room for without asking the allocator, for each request.
        builder.http1().max_headers(limits.headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX));
    builder
}
