//! Bodies in another form, by `messageType`.

use std::sync::{Arc, LazyLock};

use artifact::Artifact;
use http::header::CONTENT_TYPE;

use super::exchange::{Wanted, answer};
use super::first_line;
use crate::mediate::Body;
use crate::message::Document;
use crate::plan::Plan;
use crate::xml::Limits;

/// Answers with the request's body in the form that `to` names.
const API: &str = "<api name='A' context='/a'><resource methods='POST'><inSequence>\
    <property name='messageType' scope='axis2' expression='$url:to'/><respond/></inSequence></resource></api>";

static PLAN: LazyLock<Option<Arc<Plan>>> = LazyLock::new(|| {
    let artifact = Artifact {
        name: "A".into(),
        api_definition: Some(API.into()),
        ..Artifact::default()
    };
    crate::compile(&artifact, &Limits::default()).plan
});

/// First line: the content type of the body and that of the answer; then the body. An answer in
/// another form than the body is well-formed.
pub fn conversion(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (types, body) = first_line(text);
    let (content_type, to) = types.split_once(' ').unwrap_or((types, ""));
    let wanted = Wanted {
        method: "POST",
        target: &format!("/a?to={to}"),
        content_type,
        body: body.as_bytes(),
    };
    let plan = PLAN.as_ref();
    assert!(plan.is_some());
    let Some(answer) = plan.and_then(|plan| answer(plan, &wanted)) else {
        return;
    };
    let announced = answer.headers.get(CONTENT_TYPE);
    let announced = announced
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    // Parameters may hold anything.
    let announced = announced.split(';').next().unwrap_or_default();
    let Body::Bytes(bytes) = &answer.body else {
        return;
    };
    if answer.status != 200 || bytes.as_ref() == body.as_bytes() {
        return;
    }
    let made = String::from_utf8_lossy(bytes);
    if announced.contains("json") {
        let read = serde_json::from_str::<serde_json::Value>(&made);
        assert!(read.is_ok(), "no JSON ({read:?}): {made}");
    } else if announced.contains("xml") {
        let read = Document::parse(&made);
        assert!(read.is_ok(), "no XML ({read:?}): {made}");
    }
}
