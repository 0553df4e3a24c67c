//! Bodies on their way through: streamed, or made by a mediator.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// A body in either direction.
pub(crate) type StreamBody = BoxBody<Bytes, BodyError>;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    #[error("nothing of the body came for {0:?}")]
    Idle(Duration),
    #[error("the stream was reset before its end")]
    BrokenOff,
    #[error("the body goes to another back end now")]
    Superseded,
}

pub(crate) fn empty() -> StreamBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn full(bytes: Bytes) -> StreamBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
