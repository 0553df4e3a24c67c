//! What belongs to one request and its answer, besides the message itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;

use super::access_log::Entry;
use super::activity::Stream;
use super::body::{BodyError, StreamBody};
use super::forwarded::Peer;

/// One request and its answer.
pub(crate) struct Transaction {
    pub(crate) peer: Arc<Peer>,
    /// The host that the client has asked for.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) correlation: HeaderValue,
    /// The client's side of the WebSocket that it wants.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Its line in the access log, if there is one.
    pub(crate) entry: Option<Entry>,
}

impl Transaction {
    /// The correlation id, for lines of the log.
    pub(crate) fn id(&self) -> &str {
        self.correlation.to_str().unwrap_or_default()
    }

    /// Notes a call that `began` then, for the access log.
    pub(crate) fn note_call(&mut self, endpoint: &str, began: Option<Instant>) {
        let (Some(entry), Some(began)) = (&mut self.entry, began) else {
            return;
        };
        entry.note(|record| {
            *record.back_end.get_or_insert_default() += began.elapsed();
            record.endpoint = Some(endpoint.to_owned());
        });
    }
}

/// The body of an answer, which tells the access log when it has been sent.
pub(crate) struct Answered {
    body: StreamBody,
    entry: Option<Entry>,
    _stream: Option<Stream>,
}

impl Answered {
    pub(crate) fn new(body: StreamBody, mut entry: Option<Entry>) -> Self {
        if let Some(entry) = &mut entry {
            entry.note(|record| record.complete = body.is_end_stream());
        }
        Self {
            body,
            entry,
            _stream: None,
        }
    }

    /// Its stream ends with it.
    pub(crate) fn of(self, stream: Option<Stream>) -> Self {
        Self {
            _stream: stream,
            ..self
        }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let failed = matches!(frame, Some(Err(_)));
        let ended = !failed && (frame.is_none() || self.body.is_end_stream());
        if let Some(entry) = &mut self.entry {
            entry.note(|record| {
                if let Some(Ok(frame)) = &frame {
                    record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
                record.complete |= ended;
            });
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
