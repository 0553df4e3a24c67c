//! A body that comes in: streamed on, read as a whole, or streamed once more.
//!
//! What may be needed again is kept while it streams, up to a bound, so that nothing waits for a
//! body to be complete before it is sent.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::body::StreamBody;

/// Bytes of a request's body that are kept to be sent to a group's next endpoint.
const REPEAT_BOUND: usize = 1024 * 1024;
/// Bytes of a body that mediators look into.
const READ_BOUND: usize = 16 * 1024 * 1024;

/// A body that comes in. Clones are the same body.
#[derive(Clone)]
pub(crate) struct Source(Arc<Mutex<State>>);

struct State {
    incoming: Incoming,
    /// What has been passed on; `None` once something has been that is not kept.
    kept: Option<Vec<Bytes>>,
    size: usize,
    /// How many bytes of what is passed on are kept.
    keeps: usize,
    /// The stream that may take from it; older ones have ended.
    reader: u64,
    failed: bool,
}

/// Why a body could not be read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the body has more than {READ_BOUND} bytes, and a mediator looks into it")]
    TooLarge,
    #[error("the body ended early")]
    Failed,
    #[error("the body has been sent already")]
    Gone,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self(Arc::new(Mutex::new(State {
            incoming,
            kept: Some(Vec::new()),
            size: 0,
            keeps: 0,
            reader: 0,
            failed: false,
        })))
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
        }
        .boxed()
    }

    /// Whether it can be streamed from its beginning (once more).
    pub(crate) fn is_left(&self) -> bool {
        self.state().kept.is_some()
    }

    /// Whether the side that it comes from broke off.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// Reads it to its end. One with more than `most` bytes can still be streamed.
    pub(crate) async fn read(&self, most: usize) -> Result<Bytes, ReadError> {
        if !self.is_left() {
            return Err(ReadError::Gone);
        }
        let most = most.min(READ_BOUND);
        let mut stream = self.reader(usize::MAX);
        let mut bytes = BytesMut::new();
        while let Some(frame) = stream.frame().await {
            if let Ok(data) = frame.map_err(|_| ReadError::Failed)?.into_data() {
                if bytes.len() + data.len() > most {
                    return Err(ReadError::TooLarge);
                }
                bytes.extend_from_slice(&data);
            }
        }
        // The reader of the bytes has them now.
        self.state().kept = None;
        Ok(bytes.freeze())
    }
}

/// A stream over a source: first what was kept, then what comes.
struct Reader {
    source: Source,
    reader: u64,
    next: usize,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let source = self.source.clone();
        let mut state = source.state();
        if state.reader != self.reader {
            return Poll::Ready(None);
        }
        if let Some(data) = state.kept.as_ref().and_then(|kept| kept.get(self.next)) {
            let data = data.clone();
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = std::task::ready!(Pin::new(&mut state.incoming).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len);
                let keeps = state.size.saturating_add(size) <= state.keeps;
                state.size += size;
                match (frame.data_ref(), &mut state.kept) {
                    (Some(data), Some(kept)) if keeps => {
                        kept.push(data.clone());
                        self.next += 1;
                    }
                    (_, kept) => *kept = None,
                }
            }
            Some(Err(_)) => {
                state.failed = true;
                state.kept = None;
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.source.state();
        let kept = state.kept.as_ref().map_or(0, Vec::len);
        state.reader != self.reader || (self.next >= kept && state.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.source.state();
        let rest = state.incoming.size_hint();
        let kept = state.kept.iter().flatten().skip(self.next);
        let ahead: u64 = kept.map(|data| data.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}
