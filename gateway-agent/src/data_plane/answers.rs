//! Answers as they go to clients.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, RETRY_AFTER, TE, TRAILER};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use synapse::mediate::{self, Answer, Body, Step};

use super::bodies::Bodies;
use super::body::{self, StreamBody};
use super::hop::strip_hop_by_hop;
use super::refuse::Refusal;
use crate::sync_core::Deployment;

const TRACE_API: HeaderName = HeaderName::from_static("lockstep-api");
const TRACE_REVISION: HeaderName = HeaderName::from_static("lockstep-revision");

/// What the engine answers.
pub(super) fn finished(answer: Answer, bodies: &Bodies) -> Response<StreamBody> {
    let mut headers = answer.headers;
    strip_hop_by_hop(&mut headers);
    headers.remove(TE);
    if answer.body == Body::Empty {
        headers.remove(CONTENT_LENGTH);
    }
    if matches!(answer.body, Body::Bytes(_) | Body::Empty) {
        headers.remove(TRAILER);
    }
    let mut made = Response::new(bodies.take(&answer.body, false));
    *made.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *made.headers_mut() = headers;
    made
}

/// An answer that needs no streams.
pub(super) fn made(step: Step) -> Response<StreamBody> {
    match step {
        Step::Answer(answer) => finished(*answer, &Bodies::default()),
        Step::Call(_) | Step::Token(_) | Step::Read(..) | Step::Ask(_) => {
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The connection ends with it: nobody knows where the next request would begin.
pub(super) fn refused(refusal: Refusal) -> Response<StreamBody> {
    let Refusal { status, rule } = refusal;
    let reason = status.canonical_reason().unwrap_or_default();
    let mut answer = made(mediate::engine_answer(status.as_u16(), reason, rule));
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

/// The gateway cannot tell yet what it has to answer.
pub(super) fn come_again(why: &str) -> Response<StreamBody> {
    let mut answer = made(mediate::engine_answer(503, "Service Unavailable", why));
    let soon = HeaderValue::from_static("1");
    answer.headers_mut().insert(RETRY_AFTER, soon);
    answer
}

pub(super) fn empty(status: StatusCode) -> Response<StreamBody> {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = status;
    answer
}

/// Tells which API and revision answered.
pub(super) fn trace(answer: &mut Response<StreamBody>, deployment: &Deployment) {
    let api = format!("{} {}", deployment.name, deployment.version);
    for (name, value) in [
        (TRACE_API, api),
        (TRACE_REVISION, deployment.digest.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    }
}

/// Gives an answer the length of its body, whatever a mediator has set, and none where none may
/// follow.
pub(super) fn fit(answer: &mut Response<StreamBody>, method: &Method) {
    let is_head = method == Method::HEAD;
    match answer.status() {
        StatusCode::NO_CONTENT => {
            answer.headers_mut().remove(CONTENT_LENGTH);
        }
        StatusCode::NOT_MODIFIED => {}
        // A HEAD tells how long it would have been.
        _ if is_head => {
            if let Some(length @ 1..) = answer.body().size_hint().exact() {
                answer.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
        }
        // The library knows it.
        _ => {
            answer.headers_mut().remove(CONTENT_LENGTH);
            return;
        }
    }
    *answer.body_mut() = body::empty();
}
