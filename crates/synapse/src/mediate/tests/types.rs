//! What type a message has, and what of it the axis2 scope tells.

use bytes::Bytes;

use super::mediators::{run, run_with};
use super::*;

const JSON: &str = "application/json";
const XML: &str = "application/xml";
const SOAP: &str = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header><h/></s:Header>\
     <s:Body><q>1</q></s:Body></s:Envelope>";

fn message_type(value: &str) -> String {
    format!("<property name='messageType' scope='axis2' value='{value}'/>")
}

/// Expressions, each as a header of the answer or call: `x0`, `x1` …
fn say(expressions: &[&str]) -> String {
    let each = expressions.iter().zip(0..).map(|(expression, at)| {
        format!("<property name='x{at}' scope='transport' expression=\"{expression}\"/>")
    });
    each.collect()
}

const SEND: &str = "<send><endpoint key='E'/></send>";

fn text(call: &BackendCall) -> &str {
    match &call.body {
        Body::Bytes(bytes) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_type_is_content_type_and_header_at_once() {
    let told = ["$trp:Content-Type", "$axis2:ContentType", "json-eval($.a)"];
    let inside = format!("{}{}<respond/>", message_type("text/xml"), say(&told));
    let (_, headers, body) = run(&inside, "application/json; x=y", "{\"a\":1}");
    let said = ["x0", "x1", "x2"].map(|name| headers[name].to_str().unwrap());
    assert_eq!(
        said,
        ["text/xml", "text/xml", "1"],
        "the body is still JSON"
    );
    assert_eq!(headers["content-type"], "text/xml");
    assert!(body.contains("<jsonObject><a>1</a></jsonObject>"), "{body}");
    // Without a body there is nothing to announce.
    let resource = format!("<inSequence>{}{SEND}</inSequence>", message_type(JSON));
    let sent = call(start(&artifact(&resource), false).1);
    assert!(sent.headers.get("content-type").is_none());
}

#[test]
fn a_payload_that_is_an_envelope_is_the_message() {
    let format =
        format!("<payloadFactory media-type='xml'><format>{SOAP}</format></payloadFactory>");
    // As API Manager's SOAP to REST does it.
    let rest = format!("{format}{}{SEND}", message_type("text/xml"));
    let sent = call(run_with(&rest, JSON, "{}", &[]).1);
    assert_eq!(
        (text(&sent), &sent.headers["content-type"]),
        (SOAP, &"text/xml".parse().unwrap())
    );
    // In a message that leaves without an envelope, what is inside leaves.
    let (_, headers, body) = run(&format!("{format}<respond/>"), JSON, "{}");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("<q>1</q>", &XML.parse().unwrap())
    );
    let other = SOAP.replace("<q>1</q>", "<old/>");
    let (_, headers, body) = run(&format!("{format}<respond/>"), "text/xml", &other);
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        (SOAP, &"text/xml".parse().unwrap())
    );
    let enrich = format!(
        "<enrich><source type='inline'>{SOAP}</source><target type='body'/></enrich><respond/>"
    );
    assert_eq!(run(&enrich, "text/xml", &other).2, SOAP);
    assert_eq!(run(&enrich, XML, "<a/>").2, "<q>1</q>");
}

#[test]
fn xml_that_is_made_leaves_as_the_message_type_says_already() {
    let make = "<payloadFactory><format><r xmlns=''>2</r></format></payloadFactory>";
    let inside = format!("{}{make}<respond/>", message_type("text/xml"));
    let (_, headers, body) = run(&inside, JSON, "{}");
    assert_eq!(headers["content-type"], "text/xml");
    assert!(
        body.contains("<soapenv:Body><r xmlns=\"\">2</r></soapenv:Body>"),
        "{body}"
    );
    // The headers of an envelope stay.
    let (_, _, body) = run(&inside, "text/xml", SOAP);
    assert!(
        body.contains("<s:Header><h/></s:Header><s:Body><r xmlns=\"\">2</r>"),
        "{body}"
    );
    let inside = format!("{}{make}<respond/>", message_type(JSON));
    let (_, headers, body) = run(&inside, JSON, "{}");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("<r xmlns=''>2</r>", &XML.parse().unwrap())
    );
}

#[test]
fn what_makes_a_body_takes_back_that_there_is_none() {
    let none = "<property name='NO_ENTITY_BODY' scope='axis2' value='true'/>";
    let make = "<payloadFactory media-type='json'><format>{\"a\":2}</format></payloadFactory>";
    let (_, headers, body) = run(&format!("{none}{make}<respond/>"), JSON, "{}");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("{\"a\":2}", &JSON.parse().unwrap())
    );
    let enrich = "<enrich><source type='inline'>{\"a\":3}</source><target type='body'/></enrich>";
    assert_eq!(
        run(&format!("{none}{enrich}<respond/>"), JSON, "{}").2,
        "{\"a\":3}"
    );
    assert_eq!(run(&format!("{make}{none}<respond/>"), JSON, "{}").2, "");
}

#[test]
fn a_status_that_was_set_stays_on_the_way_back() {
    let resource = "<inSequence><property name='HTTP_SC' scope='axis2' value='418'/><loopback/></inSequence>\
        <outSequence><send/></outSequence>";
    assert_eq!(answer(start(&artifact(resource), false).1).0, 418);
}

#[test]
fn a_response_has_a_scope_of_its_own() {
    let names = [
        "HTTP_METHOD",
        "REST_URL_POSTFIX",
        "own",
        "REMOTE_ADDR",
        "TransportInURL",
    ];
    let told = names.map(|name| format!("concat('[', $axis2:{name}, ']')"));
    let told = told.each_ref().map(String::as_str);
    let inside = format!(
        "<property name='own' scope='axis2' value='1'/><property name='kept' scope='operation' value='2'/>\
         <call><endpoint key='E'/></call>{}<property name='k' scope='transport' expression='$operation:kept'/>{SEND}",
        say(&told)
    );
    let (mut exchange, step) = run_with(&inside, JSON, "{}", &[]);
    assert_eq!(call(step).url, "http://b:1/svc/o/7");
    let second = call(exchange.response(respond_with(200), 6));
    assert_eq!(
        (second.method.as_str(), second.url.as_str()),
        ("POST", "http://b:1/svc")
    );
    for name in ["x0", "x1", "x2", "x3", "x4"] {
        assert_eq!(second.headers[name], "[]", "{name}");
    }
    assert_eq!(second.headers["k"], "2");
}

#[test]
fn the_transport_tells_of_the_request_and_of_the_response() {
    let told = [
        "$axis2:messageType",
        "$axis2:ContentType",
        "$axis2:TransportInURL",
        "$axis2:REMOTE_ADDR",
        "$axis2:REMOTE_HOST",
        "$axis2:NO_ENTITY_BODY",
    ];
    let said = |headers: &HeaderMap| {
        let each = (0..told.len()).map(|at| headers[format!("x{at}")].to_str().unwrap().to_owned());
        each.collect::<Vec<_>>()
    };
    let inside = format!("{}{SEND}", say(&told));
    let (_, step) = run_with(&inside, "application/json; charset=utf-8", "{}", &[]);
    let sent = call(step);
    assert_eq!(sent.body, Body::Request, "nobody has looked into it");
    assert_eq!(
        sent.headers["content-type"],
        "application/json; charset=utf-8"
    );
    let expected = [
        JSON,
        "application/json; charset=utf-8",
        "/a/1/o/7",
        "127.0.0.1",
        "127.0.0.1",
        "",
    ];
    assert_eq!(said(&sent.headers), expected);
    let resource = format!(
        "<inSequence>{inside}</inSequence><outSequence>{}<send/></outSequence>",
        say(&told)
    );
    let (mut exchange, step) = start(&artifact(&resource), false);
    assert_eq!(said(&call(step).headers)[5], "true");
    let mut response = respond_with(200);
    response
        .headers
        .insert("content-type", HeaderValue::from_static("text/html; x"));
    let (_, headers, _) = answer(exchange.response(response, 6));
    assert_eq!(
        said(&headers),
        ["text/html", "text/html; x", "", "", "", ""]
    );
}

#[test]
fn what_an_expression_does_not_find_takes_properties_away() {
    let null = |scope: &str, name: &str| {
        format!("<property name='{name}' scope='{scope}' expression='$ctx:nowhere'/>")
    };
    let inside = format!(
        "<property name='d' value='1'/><property name='o' scope='operation' value='1'/>\
         <property name='a' scope='axis2' value='1'/>{}{}{}{}{}{}{SEND}",
        null("default", "d"),
        null("operation", "o"),
        null("axis2", "a"),
        null("axis2", "REST_URL_POSTFIX"),
        null("transport", "x-t"),
        say(&["concat($ctx:d, '|', $operation:o, '|', $axis2:a)"]),
    );
    let sent = call(run_with(&inside, JSON, "{}", &[]).1);
    assert_eq!(
        (sent.url.as_str(), &sent.headers["x0"]),
        ("http://b:1/svc", &"1||".parse().unwrap())
    );
    assert_eq!(sent.headers["x-t"], "");
    let typed = format!(
        "{}{}<respond/>",
        message_type("text/xml"),
        null("axis2", "messageType")
    );
    let (_, headers, body) = run(&typed, JSON, "{}");
    assert_eq!(
        (body.as_str(), &headers["content-type"]),
        ("Request", &JSON.parse().unwrap())
    );
}

#[test]
fn the_postfix_is_for_requests_that_are_not_soap() {
    let action = "<property name='SOAPAction' scope='transport' value='urn:a'/>";
    let get = "<property name='HTTP_METHOD' scope='axis2' value='GET'/>";
    for (before, content_type, rest) in [
        ("", "application/soap+xml; charset=UTF-8", false),
        ("", "text/xml", true),
        (action, "text/xml", false),
        (action, JSON, true),
        (get, "application/soap+xml", true),
        (&message_type(XML), "application/soap+xml", true),
    ] {
        let sent = call(run_with(&format!("{before}{SEND}"), content_type, SOAP, &[]).1);
        let expected = if rest {
            "http://b:1/svc/o/7"
        } else {
            "http://b:1/svc"
        };
        assert_eq!(sent.url, expected, "{before} {content_type}");
    }
}

#[test]
fn default_endpoints_go_where_to_says_with_the_postfix() {
    let to = |to: &str| format!("<header name='To' value='{to}'/>");
    let default = "<send><endpoint><default/></endpoint></send>";
    for (before, send, expected) in [
        (to("http://t"), default, "http://t/o/7"),
        (to("http://t/"), default, "http://t//o/7"),
        (
            to("http://t") + "<property name='REST_URL_POSTFIX' scope='axis2' value='b'/>",
            default,
            "http://t/b",
        ),
        (
            to("http://t") + "<property name='REST_URL_POSTFIX' scope='axis2' action='remove'/>",
            default,
            "http://t",
        ),
        (to("http://t"), "<send/>", "http://t"),
        (String::new(), default, "/a/1/o/7"),
    ] {
        let sent = call(run_with(&format!("{before}{send}"), JSON, "{}", &[]).1);
        assert_eq!(sent.url, expected, "{before}{send}");
    }
}

#[test]
fn soap_faults_have_status_500_unless_another_is_set() {
    let fault = "<makefault><code value='s:Server'/><reason value='r'/></makefault>";
    let set = "<property name='HTTP_SC' scope='axis2' value='418'/>";
    assert_eq!(run(&format!("{fault}<respond/>"), "text/xml", SOAP).0, 500);
    assert_eq!(
        run(&format!("{fault}{set}<respond/>"), "text/xml", SOAP).0,
        418
    );
    assert_eq!(run(&format!("{fault}<respond/>"), JSON, "{}").0, 200);
    let replaced = "<payloadFactory media-type='text'><format>x</format></payloadFactory>";
    assert_eq!(
        run(&format!("{fault}{replaced}<respond/>"), "text/xml", SOAP).0,
        200
    );
}

#[test]
fn a_back_end_s_error_is_a_fault_message() {
    let told = say(&["get-property('FAULT')"]);
    let resource =
        format!("<inSequence>{SEND}</inSequence><outSequence>{told}<send/></outSequence>");
    for (status, expected) in [(399, ""), (400, "TRUE"), (503, "TRUE")] {
        let (mut exchange, _) = start(&artifact(&resource), false);
        let (_, headers, _) = answer(exchange.response(respond_with(status), 6));
        assert_eq!(headers["x0"], expected);
    }
}

#[test]
fn query_parameters_are_found_in_any_case() {
    let told = [
        "$url:Q",
        "concat('[', $url:none, ']')",
        "${params.queryParams.q}",
    ];
    let resource = format!("<inSequence>{}{SEND}</inSequence>", say(&told));
    let sent = call(start(&artifact(&resource), false).1);
    let said = ["x0", "x1", "x2"].map(|name| sent.headers[name].to_str().unwrap());
    assert_eq!(said, ["z", "[]", "z"]);
}

#[test]
fn a_body_that_was_converted_is_converted_again_for_the_next_endpoint() {
    let group = "<send><endpoint><failover><endpoint name='x'><http uri-template='http://x'/></endpoint>\
        <endpoint name='y'><http uri-template='http://y'/></endpoint></failover></endpoint></send>";
    let looked = "<property name='a' expression='json-eval($.a)'/>";
    let only = format!("{looked}<property name='ContentType' scope='axis2' value='{XML}'/>{group}");
    for inside in [format!("{}{group}", message_type(XML)), only] {
        let (mut exchange, step) = run_with(&inside, JSON, "{\"a\":1}", &[]);
        let first = call(step);
        assert_eq!(text(&first), "<jsonObject><a>1</a></jsonObject>");
        let second = call(exchange.failed(Fault::new(101_503, "down"), 6, true));
        assert_eq!(
            (text(&second), second.url.as_str()),
            (text(&first), "http://y/o/7")
        );
        assert_eq!(second.headers["content-type"], XML);
    }
}

#[test]
fn content_type_alone_is_another_label_of_what_streams_through() {
    let inside = format!("<property name='ContentType' scope='axis2' value='{XML}'/>{SEND}");
    let (mut exchange, step) = start(
        &artifact(&format!("<inSequence>{inside}</inSequence>")),
        true,
    );
    let sent = call(step);
    assert_eq!(sent.body, Body::Request);
    assert_eq!(sent.headers["content-type"], XML);
    let (status, ..) = answer(exchange.response(respond_with(200), 6));
    assert_eq!(status, 200);
}

#[test]
fn digest_credentials_are_asked_for_and_the_request_goes_again() {
    // As API Manager generates it, with what DigestAuthMediator would leave.
    let inside = format!(
        "<property name='POSTFIX' expression=\"get-property('axis2', 'REST_URL_POSTFIX')\"/>\
         <property name='HTTP_METHOD' expression=\"get-property('axis2', 'HTTP_METHOD')\"/>\
         <property name='MessageType' expression=\"get-property('axis2', 'messageType')\"/>\
         <enrich><source type='body' clone='true'/><target type='property' property='MessageBody'/></enrich>\
         <call><endpoint key='E'/></call>\
         <property name='messageType' expression=\"get-property('MessageType')\" scope='axis2'/>\
         <property name='HTTP_METHOD' expression=\"get-property('HTTP_METHOD')\" scope='axis2'/>\
         <property name='REST_URL_POSTFIX' expression='$ctx:POSTFIX' scope='axis2'/>\
         <enrich><source type='property' property='MessageBody' clone='true'/><target type='body'/></enrich>{SEND}"
    );
    let soap = format!("text/xml; charset=UTF-8\n{SOAP}");
    for (content_type, body) in [
        (JSON, "{\"a\":1}"),
        (XML, "<a/>"),
        soap.split_once('\n').unwrap(),
    ] {
        let (mut exchange, step) = run_with(&inside, content_type, body, &[]);
        assert_eq!(call(step).url, "http://b:1/svc/o/7");
        let mut response = respond_with(401);
        response
            .headers
            .insert("content-type", HeaderValue::from_static("text/html"));
        let mut step = exchange.response(response, 6);
        if let Step::Read(..) = step {
            step = exchange.read(Ok(Some(Bytes::from_static(b"<p>no"))));
        }
        let again = call(step);
        assert_eq!(
            (again.method.as_str(), again.url.as_str()),
            ("POST", "http://b:1/svc/o/7")
        );
        let media = content_type.split(';').next().unwrap();
        assert_eq!(again.headers["content-type"], media);
        if media == "text/xml" {
            assert!(text(&again).contains("Body><q>1</q></"), "{}", text(&again));
        } else {
            assert_eq!(text(&again), body);
        }
    }
}

#[test]
fn soap_to_rest_as_api_manager_generates_it_sends_soap_and_answers_json() {
    let Some(corpus) = corpus("rendered SOAP to REST") else {
        return;
    };
    let read =
        |path: &str| std::fs::read_to_string(corpus.join("rendered/2.x").join(path)).unwrap();
    let name = "S2RAPI--v1.0.0_APIproductionEndpoint";
    let artifact = Artifact {
        name: "S2RAPI".into(),
        version: "1.0.0".into(),
        api_definition: Some(read("api/75-soap-to-rest__admin--S2RAPI_v1.0.0.xml")),
        endpoint_entries_to_be_add: vec![Content {
            name: name.into(),
            content: read(&format!("endpoints/75-soap-to-rest__{name}.xml")),
        }],
        ..Artifact::default()
    };
    let plan = compile(&artifact, &Limits::default()).plan.unwrap();
    let request = Request {
        method: "POST",
        target: "/s2r/1.0.0/getQuote",
        https: false,
        headers: HeaderMap::from_iter([
            (http::header::CONTENT_TYPE, HeaderValue::from_static(JSON)),
            (
                http::header::AUTHORIZATION,
                HeaderValue::from_static("Bearer t"),
            ),
        ]),
        has_body: true,
        remote: None,
    };
    let target = Target {
        api: 0,
        resource: found(Vec::new()),
        rest_url_postfix: "/getQuote",
    };
    let environment = Environment {
        now: 0,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    let (mut exchange, step) = Exchange::start(plan, target, request, environment);
    assert!(matches!(step, Step::Read(Body::Request, _)), "{step:?}");
    let body = Bytes::from_static(br#"{"symbol":"a&b"}"#);
    let sent = call(exchange.read(Ok(Some(body))));
    assert_eq!(sent.method, "POST");
    assert!(sent.url.ends_with("/api/"), "{}", sent.url);
    assert_eq!(sent.headers["content-type"], "text/xml");
    assert_eq!(sent.headers["soapaction"], "urn:getQuote");
    assert!(sent.headers.get("authorization").is_none());
    let envelope = text(&sent);
    assert!(envelope.starts_with("<soapenv:Envelope"), "{envelope}");
    assert!(envelope.contains("<web:symbol>a&amp;b</web:symbol>"));
    assert_eq!(envelope.matches("Envelope>").count(), 1, "{envelope}");
    let mut response = respond_with(200);
    let soap = HeaderValue::from_static("text/xml; charset=UTF-8");
    response.headers.insert("content-type", soap);
    let step = exchange.response(response, 1);
    assert!(matches!(step, Step::Read(Body::Response, _)), "{step:?}");
    let (status, headers, body) =
        answer(exchange.read(Ok(Some(Bytes::from_static(SOAP.as_bytes())))));
    assert_eq!((status, body.as_str()), (200, r#"{"q":1}"#));
    assert_eq!(headers["content-type"], JSON);
}
