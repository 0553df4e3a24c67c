//! One connection to a back end. Whoever waits for a response drives it: no task of its own has to
//! be woken between a request and its response.

use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use tokio::time::Instant;

use super::answering::Answering;
use super::pool::Place;
use crate::data_plane::body::StreamBody;

/// Reads and writes for as long as it is polled; ends with the connection.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a connection waits for the next request before it is closed.
const IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// What is left of the time that a back end says it waits.
const MARGIN: Duration = Duration::from_millis(500);
/// How long a connection is used: a name may stand for another address by then. Some connections
/// less, so that they do not all end together.
const AGE: Duration = Duration::from_secs(600);

pub(super) struct Connection {
    sender: SendRequest<StreamBody>,
    driver: Driver,
    /// When it is used no more.
    ends: Instant,
    /// How long it may wait for the next request.
    idle: Duration,
}

impl Connection {
    pub(super) async fn new<S>(stream: S) -> hyper::Result<Self>
    where
        S: Read + Write + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(Answering::new(stream)).await?;
        let connection = connection.with_upgrades();
        let driver = Box::pin(async move {
            // Who has asked gets the error.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a back end ended early");
            }
        });
        let share = RandomState::new().hash_one(0_u8) % 256;
        let age = AGE - AGE / 1024 * u32::try_from(share).unwrap_or(0);
        Ok(Self {
            sender,
            driver,
            ends: Instant::now() + age,
            idle: IDLE,
        })
    }

    /// When it is not to be used any more, if it waits from now on.
    pub(super) fn waits_until(&self, now: Instant) -> Instant {
        self.ends.min(now + self.idle)
    }

    /// Makes a request and waits for the head of its response. Then the connection goes back to its
    /// place: at once when all of the response is there, else when it has been read.
    pub(super) async fn send(
        mut self,
        request: Request<StreamBody>,
        place: &Arc<Place>,
    ) -> Result<Response<Incoming>, TrySendError<Request<StreamBody>>> {
        let mut response = pin!(self.sender.try_send_request(request));
        let mut driver = Some(self.driver);
        let response = poll_fn(|context| {
            if let Some(driving) = &mut driver
                && driving.as_mut().poll(context).is_ready()
            {
                // What is still waited for fails.
                driver = None;
            }
            response.as_mut().poll(context)
        });
        let response = response.await?;
        let Some(driver) = driver else {
            return Ok(response);
        };
        let connection = Self {
            sender: self.sender,
            driver,
            ends: self.ends,
            idle: waits(response.headers()).unwrap_or(IDLE),
        };
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if connection.sender.is_ready() && !switches {
            place.put(connection);
        } else {
            tokio::spawn(connection.finish(Arc::clone(place)));
        }
        Ok(response)
    }

    /// Drives it until it is ready for the next request, or ends.
    async fn finish(mut self, place: Arc<Place>) {
        let is_ready = poll_fn(|context| {
            if self.driver.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            self.sender.poll_ready(context).map(|ready| ready.is_ok())
        });
        if is_ready.await {
            place.put(self);
        }
    }

    /// Whether the back end has not closed it meanwhile.
    pub(super) fn is_open(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.driver.as_mut().poll(&mut context).is_pending() && !self.sender.is_closed()
    }
}

/// How long the back end says that it waits for the next request: `Keep-Alive: timeout=5`.
fn waits(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    let timeout = value
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?;
    let said = Duration::from_secs(timeout.trim_matches('"').parse().ok()?);
    Some(said.saturating_sub(MARGIN).min(IDLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_back_end_says_of_its_patience_is_heeded() {
        let waits = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("Keep-Alive", http::HeaderValue::from_static(text));
            waits(&headers)
        };
        assert_eq!(
            waits("timeout=5, max=100"),
            Some(Duration::from_millis(4500))
        );
        assert_eq!(waits("max=100, timeout=0"), Some(Duration::ZERO));
        assert_eq!(waits("timeout=86400"), Some(IDLE));
        assert_eq!(waits("max=100"), None);
        assert_eq!(waits("timeout=soon"), None);
    }
}
