//! The bodies of one exchange: what the engine's handles stand for.

use bytes::Bytes;
use http::HeaderMap;
use synapse::mediate::{Body, Fault, Need};

use super::body::{self, StreamBody};
use super::coding::Coding;
use super::refuse::Refusal;
use super::source::{self, Failure, ReadError, Source};

/// The client's body, and that of the last response.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    pub(crate) request: Option<Source>,
    pub(crate) response: Option<Source>,
}

impl Bodies {
    /// The stream that a message's body stands for, if it is one.
    pub(crate) fn source_of(&self, body: &Body) -> Option<&Source> {
        match body {
            Body::Bytes(_) | Body::Empty => None,
            Body::Request => self.request.as_ref(),
            Body::Response => self.response.as_ref(),
        }
    }

    /// What a message's body stands for, as it leaves. A stream that has been passed on is empty.
    pub(crate) fn take(&self, body: &Body, keeps: bool) -> StreamBody {
        if let Body::Bytes(bytes) = body {
            return body::full(bytes.clone());
        }
        self.source_of(body)
            .filter(|source| source.is_left())
            .map_or_else(body::empty, |source| source.stream(keeps))
    }

    /// A body for mediators that look into it; `None` where it has more bytes than they want.
    /// `headers` are those of its message.
    pub(crate) async fn read(
        &self,
        body: Body,
        need: Need,
        headers: &HeaderMap,
    ) -> Result<Option<Bytes>, Fault> {
        let code = match body {
            Body::Request => Fault::CLIENT_FAILED,
            _ => Fault::RECEIVING_FAILED,
        };
        let Some(source) = self.source_of(&body) else {
            // What has been read for a cache was not decoded.
            let Body::Bytes(bytes) = &body else {
                return Ok(Some(Bytes::new()));
            };
            let decoded = source::decoded(bytes, &Coding::of(headers));
            return decoded
                .map(Some)
                .map_err(|error| Fault::new(code, error.to_string()));
        };
        let read = match need {
            Need::Whole => source.read(usize::MAX, true).await,
            Need::UpTo(most) => source.read(most, false).await,
        };
        match (read, need) {
            (Ok(bytes), _) => Ok(Some(bytes)),
            (Err(ReadError::TooLarge), Need::UpTo(_)) => Ok(None),
            (Err(error), _) => Err(Fault::new(code, error.to_string())),
        }
    }

    /// Why the client's body is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.request.as_ref()?.failure()? {
            // Nobody is there any more to be answered; the artifact may still want to know.
            Failure::BrokenOff => None,
            Failure::Malformed => Some(Refusal::MALFORMED_BODY),
            Failure::TooLarge => Some(Refusal::TOO_LARGE),
            Failure::TooSlow => Some(Refusal::TOO_SLOW),
        }
    }
}
