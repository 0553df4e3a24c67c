//! One connection to a back end. Whoever waits for a response drives it: no task of its own has to
//! be woken between a request and its response.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};

use super::pool::Place;
use crate::data_plane::body::StreamBody;

/// Reads and writes for as long as it is polled; ends with the connection.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Connection {
    sender: SendRequest<StreamBody>,
    driver: Driver,
}

impl Connection {
    pub(super) async fn new<S>(stream: S) -> hyper::Result<Self>
    where
        S: Read + Write + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(stream).await?;
        let connection = connection.with_upgrades();
        let driver = Box::pin(async move {
            // Who has asked gets the error.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a back end ended early");
            }
        });
        Ok(Self { sender, driver })
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
    async fn finish(self, place: Arc<Place>) {
        let Self {
            mut sender,
            mut driver,
        } = self;
        let is_ready = poll_fn(|context| {
            if driver.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            sender.poll_ready(context).map(|ready| ready.is_ok())
        });
        if is_ready.await {
            place.put(Self { sender, driver });
        }
    }

    /// Whether the back end has not closed it meanwhile.
    pub(super) fn is_open(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.driver.as_mut().poll(&mut context).is_pending() && !self.sender.is_closed()
    }
}
