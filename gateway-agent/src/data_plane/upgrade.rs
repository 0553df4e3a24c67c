//! WebSockets (RFC 6455) over HTTP/1.1: the handshake is an ordinary request; when a back end
//! switches protocols, bytes pass in both directions without being looked at.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use synapse::dispatch::{RequestHead, ResourceOutcome, RouteTable, Selection};
use synapse::mediate::{BackendCall, Body};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access_log::Entry;
use crate::sync_core::Routed;

/// The callers that resources of WebSocket APIs are bound to: API Manager's inbound endpoints for
/// `ws` and `wss`.
const WEBSOCKET_BINDINGS: [&str; 2] = ["WebSocketInboundEndpoint", "SecureWebSocketEP"];

/// Where a request that wants a WebSocket goes: resources that are bound to the listeners for these
/// come first, then those of ordinary requests.
pub(crate) fn select<'t, 'r>(
    routes: &'t RouteTable<Routed>,
    head: &RequestHead<'r>,
) -> Selection<'t, 'r, Routed> {
    let mut bound = WEBSOCKET_BINDINGS
        .into_iter()
        .map(|caller| routes.select_for(head, caller));
    let is_found = |selection: &Selection<'_, '_, Routed>| {
        matches!(selection, Selection::Api(selected)
            if matches!(selected.resource, ResourceOutcome::Found { .. }))
    };
    bound.find(is_found).unwrap_or_else(|| routes.select(head))
}

/// Whether a call can be the handshake: what a plan sends besides is not.
pub(crate) fn may_be_asked(call: &BackendCall) -> bool {
    call.method == "GET" && call.body == Body::Empty
}

/// Takes the client's side out of a request that wants a WebSocket. Other upgrades are not for the
/// back end: their headers do not travel on.
pub(crate) fn wanted<B>(request: &mut http::Request<B>) -> Option<OnUpgrade> {
    let is = request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && is_websocket(request.headers());
    is.then(|| hyper::upgrade::on(request))
}

/// Whether the headers ask for, or agree to, a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let Some(protocol) = protocols.next() else {
        return false;
    };
    let names_upgrade = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    };
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && protocols.next().is_none()
        && headers.get_all(CONNECTION).iter().any(names_upgrade)
}

/// Puts the headers of the handshake in place, in either direction.
pub(crate) fn ask(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// All open tunnels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tunnels {
    open: TaskTracker,
    cut: CancellationToken,
    /// A tunnel without a byte for so long ends.
    idle: Duration,
}

impl Tunnels {
    #[must_use]
    pub fn new(idle: Duration) -> Self {
        Self {
            open: TaskTracker::new(),
            cut: CancellationToken::new(),
            idle,
        }
    }

    /// Passes bytes between the two sides, once both have switched, until one of them ends, nothing
    /// comes for too long, or tunnels are cut.
    pub(crate) fn open(&self, client: OnUpgrade, back_end: OnUpgrade, entry: Option<Entry>) {
        let (cut, idle) = (self.cut.clone(), self.idle);
        self.open.spawn(async move {
            let mut entry = entry;
            let passed = AtomicU64::new(0);
            let ended = tokio::select! {
                ended = pass(client, back_end, &passed) => ended,
                () = silence(&passed, idle) => Err(io::ErrorKind::TimedOut.into()),
                () = cut.cancelled() => Err(io::ErrorKind::Interrupted.into()),
            };
            if let Err(error) = &ended {
                tracing::debug!(%error, "a WebSocket was cut");
            }
            if let Some(entry) = &mut entry {
                entry.note(|record| {
                    record.bytes = passed.load(Ordering::Relaxed);
                    record.complete = ended.is_ok();
                });
            }
        });
    }

    /// Waits for open tunnels to end, and cuts them when `time` has passed.
    pub(crate) async fn drain(&self, time: impl Future<Output = ()>) {
        self.open.close();
        tokio::select! {
            () = self.open.wait() => {}
            () = time => {
                self.cut.cancel();
                self.open.wait().await;
            }
        }
    }
}

async fn pass(client: OnUpgrade, back_end: OnUpgrade, passed: &AtomicU64) -> io::Result<()> {
    let (client, back_end) = futures_util::try_join!(client, back_end).map_err(io::Error::other)?;
    let mut client = Counted {
        side: TokioIo::new(client),
        passed,
    };
    let mut back_end = Counted {
        side: TokioIo::new(back_end),
        passed,
    };
    tokio::io::copy_bidirectional(&mut client, &mut back_end).await?;
    Ok(())
}

/// Ends when nothing has passed for the time.
async fn silence(passed: &AtomicU64, time: Duration) {
    loop {
        let before = passed.load(Ordering::Relaxed);
        tokio::time::sleep(time).await;
        if passed.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// One side of a tunnel; what comes from it is counted.
struct Counted<'p, S> {
    side: S,
    passed: &'p AtomicU64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = std::task::ready!(Pin::new(&mut self.side).poll_read(context, buffer));
        let came = buffer.filled().len() - before;
        self.passed.fetch_add(came as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.side).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.side).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.side).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_websockets_are_upgraded() {
        for (connection, upgrade, expected) in [
            (&["Upgrade"][..], &["websocket"][..], true),
            (&["keep-alive, upgrade"], &["WebSocket"], true),
            (&["keep-alive", "upgrade"], &["websocket"], true),
            (&["keep-alive"], &["websocket"], false),
            (&["upgrade"], &["h2c"], false),
            (&["upgrade"], &["websocket", "h2c"], false),
            (&["upgrade"], &[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in connection {
                headers.append(CONNECTION, HeaderValue::from_static(value));
            }
            for value in upgrade {
                headers.append(UPGRADE, HeaderValue::from_static(value));
            }
            assert_eq!(
                is_websocket(&headers),
                expected,
                "{connection:?} {upgrade:?}"
            );
        }
    }
}
