//! Bodies in other charsets than UTF-8.

use bytes::Bytes;

use super::*;

const XML_LATIN: &[u8] = b"<?xml version='1.0' encoding='ISO-8859-1'?><a><b>\xe4</b></a>";
const SEND: &str = "<send><endpoint key='E'/></send>";

/// What leaves for a request with this body.
fn sent(inside: &str, content_type: &str, body: &'static [u8]) -> BackendCall {
    let (mut exchange, mut step) = begin(inside, content_type);
    while let Step::Read(Body::Request, Need::Whole) = step {
        step = exchange.read(Ok(Some(Bytes::from_static(body))));
    }
    call(step)
}

fn begin(inside: &str, content_type: &str) -> (Exchange, Step) {
    let resource = format!("<inSequence>{inside}{SEND}</inSequence>");
    let plan = compile(&artifact(&resource), &Limits::default())
        .plan
        .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
    let target = Target {
        api: 0,
        resource: found(Vec::new()),
        rest_url_postfix: "",
    };
    let request = Request {
        method: "POST",
        target: "/a/1/o/7",
        https: false,
        headers,
        has_body: true,
        remote: None,
    };
    let environment = Environment {
        now: 0,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    Exchange::start(plan, target, request, environment)
}

fn look(expression: &str) -> String {
    format!(
        "<property name='v' expression=\"{expression}\"/>\
         <property name='x' scope='transport' expression=\"url-encode($ctx:v)\"/>"
    )
}

#[test]
fn a_body_in_another_charset_is_read_and_leaves_as_it_came() {
    for (expression, content_type, body) in [
        ("//b", "application/xml", XML_LATIN),
        (
            "//b",
            "text/xml; charset=windows-1252",
            b"<a><b>\xe4</b></a>",
        ),
        (
            "json-eval($.a)",
            "application/json; charset=ISO-8859-1",
            b"{\"a\":\"\xe4\"}",
        ),
        (
            "json-eval($.a)",
            "application/json",
            b"\xef\xbb\xbf{\"a\":\"\xc3\xa4\"}",
        ),
        (
            "json-eval($.a)",
            "application/json",
            b"\xff\xfe{\0\"\0a\0\"\0:\0\"\0\xe4\0\"\0}\0",
        ),
        (
            "//xformValues/a",
            "application/x-www-form-urlencoded",
            b"a=%C3%A4",
        ),
    ] {
        let sent = sent(&look(expression), content_type, body);
        assert_eq!(sent.headers["x"], "%C3%A4", "{content_type}");
        assert_eq!(sent.headers["content-type"], content_type);
        assert_eq!(sent.body, Body::Bytes(Bytes::from_static(body)));
    }
}

#[test]
fn what_is_changed_leaves_in_utf_8_and_says_nothing_else() {
    let body = |call: &BackendCall| match &call.body {
        Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let part = "<enrich><source type='inline'>x</source><target xpath='json-eval($.b)'/></enrich>";
    let changed = sent(
        part,
        "application/json; charset=ISO-8859-1; v=1",
        b"{\"a\":\"\xe4\",\"b\":1}",
    );
    assert_eq!(changed.headers["content-type"], "application/json; v=1");
    assert_eq!(body(&changed), "{\"a\":\"ä\",\"b\":\"x\"}");
    let json = "<property name='messageType' scope='axis2' value='application/json'/>";
    let converted = sent(json, "application/xml; charset=ISO-8859-1", b"<a>\xe4</a>");
    assert_eq!(converted.headers["content-type"], "application/json");
    assert_eq!(body(&converted), "{\"a\":\"ä\"}");
    let latin =
        "<property name='messageType' scope='axis2' value='application/json; charset=ISO-8859-1'/>";
    let converted = sent(latin, "application/xml", XML_LATIN);
    assert_eq!(converted.headers["content-type"], "application/json");
    assert_eq!(body(&converted), "{\"a\":{\"b\":\"ä\"}}");
}

#[test]
fn a_body_that_stays_keeps_the_charset_that_it_has() {
    let same = "<property name='messageType' scope='axis2' value='application/xml'/>";
    let sent = sent(same, "application/xml; charset=ISO-8859-1", XML_LATIN);
    assert_eq!(
        sent.headers["content-type"],
        "application/xml; charset=ISO-8859-1"
    );
    assert_eq!(sent.body, Body::Request);
}

#[test]
fn soap_endpoints_get_utf_8() {
    let inside = "<send><endpoint><address uri='http://s' format='soap11'/></endpoint></send>";
    let envelope = "<?xml version='1.0' encoding='UTF-16'?><e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'>\
        <e:Body><q>ä</q></e:Body></e:Envelope>";
    let wide: Vec<u8> = envelope.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (mut exchange, mut step) = begin(inside, "text/xml; charset=UTF-16");
    while let Step::Read(..) = step {
        step = exchange.read(Ok(Some(Bytes::from(wide.clone()))));
    }
    let sent = call(step);
    assert_eq!(sent.headers["content-type"], "text/xml");
    let Body::Bytes(bytes) = &sent.body else {
        panic!("{:?}", sent.body);
    };
    assert!(std::str::from_utf8(bytes).unwrap().contains("<q>ä</q>"));
}
