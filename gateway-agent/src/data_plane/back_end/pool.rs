//! Connections to back ends that wait for the next request.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tower_service::Service as _;

use super::connection::Connection;
use crate::data_plane::batched::Batched;
use crate::data_plane::body::StreamBody;

/// How often connections that have waited too long, or that back ends have closed, are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Where a connection goes to.
pub(super) type Origin = (Scheme, Authority);

/// Why there is no response.
#[derive(Debug)]
pub(super) enum CallError {
    Connect(Box<dyn Error + Send + Sync>),
    /// `kept`: the connection had served requests before.
    Http {
        error: hyper::Error,
        kept: bool,
    },
}

/// Makes connections and keeps those that can be used again. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    connector: HttpsConnector<HttpConnector>,
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    all: HashMap<Origin, Arc<Place>>,
    /// Whether somebody looks for connections that have waited too long.
    swept: bool,
}

/// The connections to one back end that wait, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Place(Mutex<Vec<Idle>>);

struct Idle {
    connection: Connection,
    /// When it is not to be used any more.
    until: Instant,
}

impl Pool {
    pub(super) fn new(connector: HttpsConnector<HttpConnector>) -> Self {
        Self {
            connector,
            places: Arc::default(),
        }
    }

    /// Makes a request, whose URI is its path, and waits for the head of the response. One that a
    /// kept connection has not taken, because the back end has closed it meanwhile, goes to another
    /// connection. `fresh`: not over one that has been kept.
    pub(super) async fn request(
        &self,
        origin: &Origin,
        mut request: Request<StreamBody>,
        fresh: bool,
    ) -> Result<Response<Incoming>, CallError> {
        let place = self.place(origin);
        loop {
            let idle = if fresh { None } else { place.take() };
            let kept = idle.is_some();
            let connection = match idle {
                Some(connection) => connection,
                None => self.connect(origin).await?,
            };
            match connection.send(request, &place).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(message) if kept => request = message,
                    _ => {
                        let error = error.into_error();
                        return Err(CallError::Http { error, kept });
                    }
                },
            }
        }
    }

    fn place(&self, origin: &Origin) -> Arc<Place> {
        let mut places = lock(&self.places);
        if let Some(place) = places.all.get(origin) {
            return Arc::clone(place);
        }
        if !std::mem::replace(&mut places.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.places)));
        }
        Arc::clone(places.all.entry(origin.clone()).or_default())
    }

    async fn connect(&self, (scheme, authority): &Origin) -> Result<Connection, CallError> {
        let uri = Uri::builder()
            .scheme(scheme.clone())
            .authority(authority.clone())
            .path_and_query(PathAndQuery::from_static("/"))
            .build()
            .map_err(|error| CallError::Connect(error.into()))?;
        let stream = self.connector.clone().call(uri).await;
        let stream = stream.map_err(CallError::Connect)?;
        let connection = match stream {
            MaybeHttpsStream::Http(tcp) => {
                let batched = Batched::new(tcp.into_inner());
                Connection::new(TokioIo::new(batched)).await
            }
            tls @ MaybeHttpsStream::Https(_) => Connection::new(tls).await,
        };
        connection.map_err(|error| CallError::Http { error, kept: false })
    }
}

/// Closes what nobody has used for long, until there is nothing left.
async fn sweep(places: Weak<Mutex<Places>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(places) = places.upgrade() else {
            return;
        };
        let all: Vec<_> = lock(&places).all.values().cloned().collect();
        for place in all {
            // A connection that is asked about takes no part of this task's turn.
            tokio::task::coop::unconstrained(async { place.sweep() }).await;
            tokio::task::yield_now().await;
        }
        let mut places = lock(&places);
        // One without connections may be somebody's who is about to bring one.
        let is_used = |place: &Arc<Place>| !place.is_empty() || Arc::strong_count(place) > 1;
        places.all.retain(|_, place| is_used(place));
        if places.all.is_empty() {
            places.swept = false;
            return;
        }
    }
}

impl Place {
    fn take(&self) -> Option<Connection> {
        loop {
            let last = lock(&self.0).pop()?;
            if Instant::now() < last.until {
                return Some(last.connection);
            }
        }
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&self, connection: Connection) {
        let now = Instant::now();
        let until = connection.waits_until(now);
        if now < until {
            lock(&self.0).push(Idle { connection, until });
        }
    }

    /// Closes those that have waited too long, or that the back end has closed.
    fn sweep(&self) {
        let mut swept = std::mem::take(&mut *lock(&self.0));
        let now = Instant::now();
        swept.retain_mut(|idle| now < idle.until && idle.connection.is_open());
        let mut idle = lock(&self.0);
        // What has come meanwhile was used last.
        swept.append(&mut idle);
        *idle = swept;
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
