//! Forms and texts as other kinds of bodies, and endpoints that say what messages leave as.

use super::mediators::{run, run_with};
use super::*;

const JSON: &str = "application/json";
const XML: &str = "application/xml";
const FORM: &str = "application/x-www-form-urlencoded";
const SOAP: &str = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header><h/></s:Header>\
     <s:Body><q>1</q></s:Body></s:Envelope>";

/// Body and content type of what leaves as `message_type`.
fn converted(message_type: &str, content_type: &str, body: &str) -> (String, String) {
    let inside =
        format!("<property name='messageType' scope='axis2' value='{message_type}'/><respond/>");
    let (_, headers, text) = run(&inside, content_type, body);
    let content_type = headers["content-type"].to_str().unwrap();
    (text, content_type.to_owned())
}

fn pair(body: &str, content_type: &str) -> (String, String) {
    (body.to_owned(), content_type.to_owned())
}

#[test]
fn forms_can_be_looked_into() {
    let say = |expression: &str| {
        format!("<property name='x' scope='transport' expression=\"{expression}\"/><respond/>")
    };
    for (expression, expected) in [
        ("//xformValues/a", "1 2"),
        ("json-eval($.xformValues.b)", "3"),
        ("$body/xformValues/b", "3"),
    ] {
        let (_, headers, body) = run(&say(expression), FORM, "a=1+2&b=3");
        assert_eq!(headers["x"], expected, "{expression}");
        assert_eq!(body, "a=1+2&b=3", "as it came");
    }
}

#[test]
fn forms_and_texts_are_converted() {
    let json = r#"{"xformValues":{"a":["1 2",3]}}"#;
    let xml = "<xformValues><a>1 2</a><a>3</a></xformValues>";
    assert_eq!(converted(JSON, FORM, "a=1+2&a=3"), pair(json, JSON));
    assert_eq!(converted(XML, FORM, "a=1+2&a=3"), pair(xml, XML));
    assert_eq!(converted(FORM, XML, xml), pair("a=1+2&a=3", FORM));
    assert_eq!(
        converted(FORM, JSON, r#"{"a":"ä&","b":[1,2]}"#),
        pair("a=%C3%A4%26&b=1&b=2", FORM)
    );
    assert_eq!(
        converted(JSON, "text/plain", "hi <"),
        pair(r#"{"text":"hi <"}"#, JSON)
    );
    let text = "<text xmlns=\"http://ws.apache.org/commons/ns/payload\">hi &lt;</text>";
    assert_eq!(converted(XML, "text/html; x=y", "hi <"), pair(text, XML));
    let (envelope, content_type) = converted("text/xml", FORM, "a=1");
    assert_eq!(content_type, "text/xml");
    assert!(
        envelope.contains("<xformValues><a>1</a></xformValues></soapenv:Body>"),
        "{envelope}"
    );
}

#[test]
fn a_body_that_cannot_be_converted_keeps_its_type() {
    for content_type in ["application/octet-stream", "image/png", "text/event-stream"] {
        for wanted in [JSON, XML, "text/xml", FORM] {
            let (body, left) = converted(wanted, content_type, "\u{1}");
            assert_eq!(
                (body.as_str(), left.as_str()),
                ("Request", content_type),
                "{wanted}"
            );
        }
    }
}

#[test]
fn a_text_is_only_called_something_else_without_a_message_type() {
    let inside = "<property name='ContentType' scope='axis2' value='application/json'/><respond/>";
    let (_, headers, body) = run(inside, "text/plain", "{}");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("Request", &JSON.parse().unwrap())
    );
}

#[test]
fn fields_that_xml_cannot_name_are_a_fault_and_no_broken_xml() {
    let (body, _) = converted(XML, FORM, "a[0]=1");
    assert!(
        body.contains("a field \\\"a[0]\\\", which cannot be an element"),
        "{body}"
    );
    assert_eq!(
        converted(JSON, FORM, "a[0]=1"),
        pair(r#"{"xformValues":{"a[0]":1}}"#, JSON)
    );
    let kept =
        "<enrich><source type='body'/><target type='property' property='p'/></enrich><respond/>";
    let (status, _, body) = run(kept, FORM, "1=2");
    assert!(
        status == 500 && body.contains("which cannot be an element"),
        "{body}"
    );
}

#[test]
fn forms_stay_forms_when_parts_change() {
    let part = "<enrich><source type='inline'>9</source><target xpath='//a'/></enrich><respond/>";
    let (_, headers, body) = run(part, FORM, "a=1&b=2");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("a=9&b=2", &FORM.parse().unwrap())
    );
    let kept = "<enrich><source type='body' clone='true'/><target type='property' property='p'/></enrich>\
        <enrich><source type='property' property='p'/><target type='body'/></enrich><respond/>";
    let (_, headers, body) = run(kept, FORM, "a=1+2&b=2");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("a=1+2&b=2", &FORM.parse().unwrap())
    );
}

/// What an endpoint with a format is sent.
fn sent(format: &str, before: &str, content_type: &str, body: &str) -> BackendCall {
    let inside = format!(
        "{before}<send><endpoint><address uri='http://s' format='{format}'/></endpoint></send>"
    );
    call(run_with(&inside, content_type, body, &[]).1)
}

fn text(call: &BackendCall) -> &str {
    match &call.body {
        Body::Bytes(bytes) => std::str::from_utf8(bytes).unwrap(),
        Body::Empty => "",
        other => panic!("{other:?}"),
    }
}

#[test]
fn endpoints_with_a_soap_format_get_envelopes() {
    let types = "<property name='messageType' scope='axis2' value='application/json'/>\
        <property name='HTTP_METHOD' scope='axis2' value='PUT'/>";
    for (content_type, body) in [(JSON, r#"{"q":1}"#), (XML, "<q>1</q>"), ("text/xml", SOAP)] {
        let sent = sent("soap11", types, content_type, body);
        assert_eq!(
            (sent.method.as_str(), sent.url.as_str()),
            ("POST", "http://s")
        );
        assert_eq!(sent.headers["content-type"], "text/xml");
        let text = text(&sent);
        assert!(
            text.contains("<q>1</q>") && text.contains("schemas.xmlsoap.org"),
            "{text}"
        );
    }
    assert_eq!(
        text(&sent("soap11", "", "text/xml; charset=utf-8", SOAP)),
        SOAP,
        "as it came"
    );
    let action = "<property name='SOAPAction' scope='transport' value='\"urn:a\"'/>";
    let twelve = sent("soap12", action, "text/xml", SOAP);
    assert_eq!(
        twelve.headers["content-type"],
        "application/soap+xml;action=\"urn:a\""
    );
    assert!(text(&twelve).contains("http://www.w3.org/2003/05/soap-envelope"));
    assert_eq!(
        sent("soap12", "", JSON, "{}").headers["content-type"],
        "application/soap+xml"
    );
    let removed = "<enrich><source type='body'/><target type='body' action='remove'/></enrich>";
    let nothing = sent("soap11", removed, JSON, "{}");
    assert!(
        text(&nothing).contains("<soapenv:Body/>"),
        "{}",
        text(&nothing)
    );
    assert_eq!(nothing.headers["content-type"], "text/xml");
    let inside = "<send><endpoint><address uri='http://s' format='soap11'/></endpoint></send>";
    let (_, _, answer) = run(inside, "application/octet-stream", "\u{1}");
    assert!(answer.contains("that can be converted"), "{answer}");
}

#[test]
fn other_formats_of_endpoints_change_what_they_say() {
    let pox = sent("pox", "", "text/xml", SOAP);
    assert_eq!(
        (text(&pox), &pox.headers["content-type"]),
        ("<q>1</q>", &XML.parse().unwrap())
    );
    assert_eq!(pox.url, "http://s/o/7");
    let bare = artifact(
        "<inSequence><send><endpoint><address uri='http://s' format='pox'/></endpoint></send></inSequence>",
    );
    let (_, step) = start(&bare, false);
    assert_eq!(call(step).body, Body::Empty);
    let get = sent("get", "", JSON, "{}");
    assert_eq!((get.method.as_str(), text(&get)), ("GET", ""));
    assert!(get.headers.get("content-type").is_none());
    let rest = sent("rest", "", JSON, "{}");
    assert_eq!((rest.method.as_str(), rest.body), ("POST", Body::Request));
}

#[test]
fn a_group_sends_to_each_endpoint_in_its_own_format() {
    let child = |name: &str, format: &str| {
        format!("<endpoint name='{name}'><address uri='http://{name}' {format}/></endpoint>")
    };
    let group = format!(
        "<send><endpoint><failover>{}{}{}</failover></endpoint></send>",
        child("x", "format='soap11'"),
        child("y", ""),
        child("z", "format='soap12'")
    );
    let (mut exchange, step) = run_with(&group, JSON, "{\"q\":1}", &[]);
    let down = || Fault::new(101_503, "down");
    assert_eq!(call(step).headers["content-type"], "text/xml");
    let second = call(exchange.failed(down(), 6, true));
    assert_eq!(
        (text(&second), second.url.as_str()),
        ("{\"q\":1}", "http://y/o/7")
    );
    assert_eq!(second.headers["content-type"], JSON);
    let third = call(exchange.failed(down(), 6, true));
    assert_eq!(third.headers["content-type"], "application/soap+xml");
}

#[test]
fn optimizations_and_unknown_formats_are_findings() {
    let inside = "<inSequence><send><endpoint><address uri='http://s' optimize='mtom' format='x'/></endpoint></send></inSequence>";
    let findings = compile(&artifact(inside), &Limits::default()).findings;
    let told: Vec<_> = findings
        .iter()
        .map(|it| (it.severity, it.message.as_str()))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].0 == Severity::Ignored && told[0].1.starts_with("optimize \"mtom\""),
        "{told:?}"
    );
    assert!(
        told[1].0 == Severity::NotExecuted && told[1].1.starts_with("format \"x\""),
        "{told:?}"
    );
}
