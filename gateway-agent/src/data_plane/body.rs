//! Bodies on their way through: streamed, or made by a mediator.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// A body in either direction.
pub(crate) type StreamBody = BoxBody<Bytes, hyper::Error>;

pub(crate) fn empty() -> StreamBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(crate) fn full(bytes: Bytes) -> StreamBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
