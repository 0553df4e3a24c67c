//! A body that comes in: streamed on, read as a whole, or streamed once more.
//!
//! What may be needed again is kept while it streams, up to a bound, so that nothing waits for a
//! body to be complete before it is sent. What nobody has taken of a request's body is read on for a
//! while: a connection that is closed with something unread loses the answer on its way.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::body::{BodyError, StreamBody};
use super::coding::{Coding, DecodeError};
use super::hop::strip_trailers;
use super::pieces::Pieces;

/// Bytes of a request's body that are kept to be sent to a group's next endpoint.
const REPEAT_BOUND: usize = 1024 * 1024;
/// Bytes of a body that mediators look into.
const READ_BOUND: usize = 16 * 1024 * 1024;
/// For so long the rest of a body that is not wanted is read, and as long as something of it comes
/// every so often.
const REST: Duration = Duration::from_secs(10);
const REST_SILENCE: Duration = Duration::from_secs(2);

/// A body that comes in. Clones are the same body.
#[derive(Clone)]
pub(crate) struct Source(Arc<Mutex<State>>);

struct State {
    /// `None` only while it is dropped.
    incoming: Option<Incoming>,
    /// The side that it comes from says itself where it ends (HTTP/2): else it has broken off.
    tells_end: bool,
    /// It is a request's: what is left when nobody wants it is read all the same.
    drains: bool,
    /// The client waits until something is wanted of it; then it is told to continue.
    waits_to_be_asked: bool,
    /// What has been passed on; `None` once something has been that is not kept.
    kept: Option<Pieces>,
    size: usize,
    /// How many bytes of what is passed on are kept.
    keeps: usize,
    /// The stream that may take from it; older ones have ended.
    reader: u64,
    coding: Coding,
    bounds: Bounds,
    /// Runs out while nothing comes; made when something is waited for the first time.
    patience: Option<Pin<Box<Sleep>>>,
    waits: bool,
    failure: Option<Failure>,
}

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes.
    pub(crate) size: u64,
    /// How long nothing may come; `None`: for ever.
    pub(crate) silence: Option<Duration>,
}

impl Bounds {
    pub(crate) const NONE: Self = Self {
        size: u64::MAX,
        silence: None,
    };
}

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The side that it comes from broke off.
    BrokenOff,
    /// It is not what HTTP allows.
    Malformed,
    TooLarge,
    TooSlow,
}

impl Failure {
    fn of(error: &hyper::Error) -> Self {
        let cause = error
            .source()
            .and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Self::Malformed,
            _ => Self::BrokenOff,
        }
    }
}

/// Why a body could not be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the body has more than {READ_BOUND} bytes, and a mediator looks into it")]
    TooLarge,
    #[error("the body ended early")]
    Failed,
    #[error("the body has been sent already")]
    Gone,
    #[error("the body cannot be looked into: {0}")]
    Coded(DecodeError),
}

impl From<DecodeError> for ReadError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge => Self::TooLarge,
            error => Self::Coded(error),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    /// The body of a request, or of what a back end answers. `headers` are those that it comes with.
    pub(crate) fn new(
        incoming: Incoming,
        version: Version,
        headers: &HeaderMap,
        bounds: Bounds,
    ) -> Self {
        Self(Arc::new(Mutex::new(State {
            tells_end: version == Version::HTTP_2,
            drains: false,
            waits_to_be_asked: headers.contains_key(EXPECT),
            kept: Some(Pieces::default()),
            size: 0,
            keeps: 0,
            reader: 0,
            // Answers to HEAD and 304 tell of a coding, and have nothing to decode.
            coding: match incoming.is_end_stream() {
                true => Coding::Identity,
                false => Coding::of(headers),
            },
            incoming: Some(incoming),
            bounds,
            patience: None,
            waits: false,
            failure: None,
        })))
    }

    /// The body of a request.
    pub(crate) fn of_client(
        incoming: Incoming,
        version: Version,
        headers: &HeaderMap,
        bounds: Bounds,
    ) -> Self {
        let source = Self::new(incoming, version, headers, bounds);
        source.state().drains = true;
        source
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams it from its beginning. Streams that were made before end. `may_repeat`: it may be
    /// streamed once more, if it is not too large to be kept.
    pub(crate) fn stream(&self, may_repeat: bool) -> StreamBody {
        self.reader(if may_repeat { REPEAT_BOUND } else { 0 })
    }

    fn reader(&self, keeps: usize) -> StreamBody {
        let mut state = self.state();
        state.keeps = keeps;
        state.reader += 1;
        let (reader, source) = (state.reader, self.clone());
        drop(state);
        Reader {
            source,
            reader,
            next: 0,
            caught_up: false,
        }
        .boxed()
    }

    /// Whether it can be streamed from its beginning (once more).
    pub(crate) fn is_left(&self) -> bool {
        self.state().kept.is_some()
    }

    /// Whether the side that it comes from is what is waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        let state = self.state();
        state.waits && state.failure.is_none()
    }

    /// Why it ended early, if it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.state().failure
    }

    /// Reads it to its end, as it came or `decoded`. One with more than `most` bytes can still be
    /// streamed.
    pub(crate) async fn read(&self, most: usize, decoded: bool) -> Result<Bytes, ReadError> {
        if !self.is_left() {
            return Err(ReadError::Gone);
        }
        let coding = match decoded {
            true => self.state().coding.clone(),
            false => Coding::Identity,
        };
        let mut decoder = coding.decoder(most.min(READ_BOUND))?;
        let mut stream = self.reader(usize::MAX);
        let mut raw = 0;
        while let Some(frame) = stream.frame().await {
            if let Ok(data) = frame.map_err(|_| ReadError::Failed)?.into_data() {
                // Some coded bytes decode to nothing, and are kept all the same.
                raw += data.len();
                if raw > READ_BOUND {
                    return Err(ReadError::TooLarge);
                }
                decoder.write(&data)?;
            }
        }
        // The reader of the bytes has them now.
        self.state().kept = None;
        Ok(decoder.finish()?)
    }
}

/// Decodes a body that has been read as it came.
pub(crate) fn decoded(bytes: &[u8], coding: &Coding) -> Result<Bytes, ReadError> {
    let mut decoder = coding.decoder(READ_BOUND)?;
    decoder.write(bytes)?;
    Ok(decoder.finish()?)
}

impl State {
    /// Takes the next piece of what comes.
    fn poll_incoming(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.failure.is_some() {
            return Poll::Ready(None);
        }
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        self.waits_to_be_asked = false;
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(context) else {
            return match self.poll_patience(context) {
                Some(silence) => Poll::Ready(Some(Err(
                    self.fail(Failure::TooSlow, BodyError::Idle(silence))
                ))),
                None => Poll::Pending,
            };
        };
        self.waits = false;
        let frame = match frame {
            // A stream that has been reset without an error ends like this, too (RFC 9113, 8.1).
            None if self.tells_end && !incoming.is_end_stream() => {
                let error = self.fail(Failure::BrokenOff, BodyError::BrokenOff);
                return Poll::Ready(Some(Err(error)));
            }
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                let error = self.fail(Failure::of(&error), error.into());
                return Poll::Ready(Some(Err(error)));
            }
            Some(Ok(frame)) => frame,
        };
        let came = self.size as u64 + frame.data_ref().map_or(0, |data| data.len() as u64);
        if came > self.bounds.size {
            let error = BodyError::TooLarge(self.bounds.size);
            return Poll::Ready(Some(Err(self.fail(Failure::TooLarge, error))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// How long nothing has come, when that is too long.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Option<Duration> {
        let silence = self.bounds.silence?;
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        if !self.waits {
            self.waits = true;
            patience.as_mut().reset(Instant::now() + silence);
        }
        patience
            .as_mut()
            .poll(context)
            .is_ready()
            .then_some(silence)
    }

    fn fail(&mut self, failure: Failure, error: BodyError) -> BodyError {
        self.failure = Some(failure);
        self.kept = None;
        error
    }

    fn is_at_end(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let more_may_come = matches!(self.failure, None | Some(Failure::TooLarge));
        if self.drains
            && more_may_come
            && !self.waits_to_be_asked
            && !self.is_at_end()
            && let (Some(incoming), Ok(runtime)) =
                (self.incoming.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(drain(incoming));
        }
    }
}

/// Reads what is left of a body that nobody wants, so that who sends it can read the answer, and
/// the connection can be used again.
async fn drain(mut incoming: Incoming) {
    let reading = async {
        while let Ok(Some(Ok(_))) = tokio::time::timeout(REST_SILENCE, incoming.frame()).await {}
    };
    let _ = tokio::time::timeout(REST, reading).await;
}

/// A stream over a source: first what was kept, then what comes.
struct Reader {
    source: Source,
    reader: u64,
    next: usize,
    /// It has passed on all that was kept when it began: what is kept now has gone through it.
    caught_up: bool,
}

impl Reader {
    /// Bytes that were kept and are passed on once more.
    fn ahead(&self, state: &State) -> u64 {
        match &state.kept {
            Some(kept) if !self.caught_up => kept.len_from(self.next) as u64,
            _ => 0,
        }
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let source = self.source.clone();
        let mut state = source.state();
        if state.reader != self.reader {
            // Not an end: who has sent the beginning must not take it for the whole.
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if !self.caught_up {
            let kept = state.kept.as_mut();
            if let Some(data) = kept.and_then(|kept| kept.get(self.next)) {
                self.next += 1;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.caught_up = true;
        }
        let mut frame = std::task::ready!(state.poll_incoming(context));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            strip_trailers(trailers);
        }
        if let Some(Ok(frame)) = &frame {
            let size = frame.data_ref().map_or(0, Bytes::len);
            let keeps = state.size.saturating_add(size) <= state.keeps;
            state.size += size;
            match (frame.data_ref(), &mut state.kept) {
                (Some(data), Some(kept)) if keeps => kept.push(data),
                (_, kept) => *kept = None,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.source.state();
        state.reader == self.reader && self.ahead(&state) == 0 && state.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.source.state();
        let rest = state.incoming.as_ref().map(Body::size_hint);
        let rest = rest.unwrap_or_default();
        let ahead = self.ahead(&state);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}
