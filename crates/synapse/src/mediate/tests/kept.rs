//! `cache`: responses that are kept.

use bytes::Bytes;

use super::*;
use crate::plan::Plan;

/// Starts a request at a time.
fn begin(plan: &Arc<Plan>, now: i64) -> (Exchange, Step) {
    let target = Target {
        api: 0,
        resource: found(Vec::new()),
        rest_url_postfix: "",
    };
    let request = Request {
        method: "GET",
        target: "/a/1/x",
        https: false,
        headers: HeaderMap::new(),
        has_body: false,
        remote: None,
    };
    let environment = Environment {
        now,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    Exchange::start(Arc::clone(plan), target, request, environment)
}

#[test]
fn kept_responses_answer_until_they_end() {
    let resource = "<inSequence><cache collector='false' timeout='10'><implementation type='memory' maxSize='5'/>\
        <onCacheHit><property name='X-Hit' value='1' scope='transport'/><respond/></onCacheHit></cache>\
        <send><endpoint key='E'/></send></inSequence><outSequence><cache collector='true'/><send/></outSequence>";
    let plan = compile(&artifact(resource), &Limits::default())
        .plan
        .unwrap();
    let begin = |now| begin(&plan, now);
    let (mut exchange, step) = begin(0);
    call(step);
    let step = exchange.response(respond_with(200), 0);
    assert!(
        matches!(step, Step::Read(Body::Response, Need::UpTo(_))),
        "{step:?}"
    );
    let (_, headers, text) = answer(exchange.read(Ok(Some(Bytes::from_static(b"kept")))));
    assert_eq!(text, "kept");
    assert!(headers.get("x-hit").is_none());
    let (status, headers, text) = answer(begin(9_999).1);
    assert_eq!((status, text.as_str()), (200, "kept"));
    assert_eq!(
        (
            headers["x-hit"].to_str().unwrap(),
            headers["x-out"].to_str().unwrap()
        ),
        ("1", "2")
    );
    let (mut exchange, step) = begin(10_000);
    call(step);
    // Too large to be kept: it passes by.
    let _ = exchange.response(respond_with(200), 10_000);
    assert_eq!(answer(exchange.read(Ok(None))).2, "Response");
    call(begin(10_001).1);
}

#[test]
fn a_response_is_kept_as_what_it_leaves_as() {
    let resource = "<inSequence><cache collector='false' timeout='10'><implementation type='memory' maxSize='5'/></cache>\
        <send><endpoint key='E'/></send></inSequence><outSequence>\
        <property name='messageType' scope='axis2' value='application/json'/><cache collector='true'/><send/></outSequence>";
    let plan = compile(&artifact(resource), &Limits::default())
        .plan
        .unwrap();
    let (mut exchange, step) = begin(&plan, 0);
    call(step);
    let mut response = respond_with(200);
    let xml = HeaderValue::from_static("application/xml");
    response.headers.insert("content-type", xml);
    let step = exchange.response(response, 0);
    assert!(
        matches!(step, Step::Read(Body::Response, Need::Whole)),
        "{step:?}"
    );
    let first = answer(exchange.read(Ok(Some(Bytes::from_static(b"<a><b>1</b></a>")))));
    let hit = answer(begin(&plan, 1).1);
    for (status, headers, text) in [first, hit] {
        assert_eq!((status, text.as_str()), (200, "{\"a\":{\"b\":1}}"));
        assert_eq!(headers["content-type"], "application/json");
    }
}
