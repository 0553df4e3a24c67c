//! Mediators on exchanges, one by one.

use bytes::Bytes;

use super::*;

/// Runs the in-sequence with a request body; gives the exchange and its first step that is not
/// reading that body.
pub(super) fn run_with(
    inside: &str,
    content_type: &str,
    body: &str,
    sequences: &[(&str, &str)],
) -> (Exchange, Step) {
    let mut artifact = artifact(&format!("<inSequence>{inside}</inSequence>"));
    artifact.sequence_to_be_add = sequences
        .iter()
        .map(|(name, content)| Content {
            name: (*name).into(),
            content: (*content).into(),
        })
        .collect();
    artifact.credentials_to_be_add = vec![artifact::Credential {
        alias: "back".into(),
        password: "pass".into(),
    }];
    let compilation = compile(&artifact, &Limits::default());
    let plan = compilation
        .plan
        .unwrap_or_else(|| panic!("{:?}", compilation.findings));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
    let target = Target {
        api: 0,
        resource: found(vec![("id".into(), "7".into())]),
        rest_url_postfix: "/o/7",
    };
    let request = Request {
        method: "POST",
        target: "/a/1/o/7",
        https: false,
        headers,
        has_body: true,
        remote: Some([127, 0, 0, 1].into()),
    };
    let environment = Environment {
        now: 5,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    let (mut exchange, mut step) = Exchange::start(plan, target, request, environment);
    while let Step::Read(Body::Request, Need::Whole) = step {
        step = exchange.read(Ok(Some(Bytes::from(body.to_owned()))));
    }
    (exchange, step)
}

pub(super) fn run(inside: &str, content_type: &str, body: &str) -> (u16, HeaderMap, String) {
    answer(run_with(inside, content_type, body, &[]).1)
}

fn say(expression: &str) -> String {
    format!(
        "<payloadFactory media-type='text'><format>$1</format><args><arg expression=\"{expression}\"/></args>\
         </payloadFactory><respond/>"
    )
}

const JSON: &str = "application/json";
const XML: &str = "application/xml";

#[test]
fn a_body_is_read_only_for_mediators_that_look_into_it() {
    let (_, step) = run_with(
        "<log level='full'/><send><endpoint key='E'/></send>",
        JSON,
        "",
        &[],
    );
    assert_eq!(call(step).body, Body::Request);
    let look = "<property name='a' expression='json-eval($.a)'/><property name='X-A' scope='transport' expression='$ctx:a'/>\
                <send><endpoint key='E'/></send>";
    let (_, step) = run_with(look, JSON, "{\"a\": 1, \"b\":2}", &[]);
    let call = call(step);
    assert_eq!(call.headers["x-a"], "1");
    assert_eq!(
        call.body,
        Body::Bytes(Bytes::from_static(b"{\"a\": 1, \"b\":2}")),
        "as it came"
    );
}

#[test]
fn filters_and_switches_look_into_bodies() {
    let filter =
        "<filter xpath=\"//kind = 'b'\"><then><property name='p' value='yes'/></then></filter>";
    let inside = format!("{filter}{}", say("$ctx:p"));
    assert_eq!(run(&inside, XML, "<a><kind>b</kind></a>").2, "yes");
    assert_eq!(run(&inside, JSON, "{\"kind\":\"b\"}").2, "yes");
    assert_eq!(run(&inside, JSON, "{\"kind\":\"c\"}").2, "");
    let switch = format!(
        "<switch source='json-eval($.kind)'><case regex='[ab]'>{}</case><default>{}</default></switch>",
        say("'one'"),
        say("'other'")
    );
    assert_eq!(run(&switch, JSON, "{\"kind\":\"a\"}").2, "one");
    assert_eq!(run(&switch, JSON, "{}").2, "other");
}

#[test]
fn synapse_expressions_name_values() {
    let body = r#"{"a":{"b":[1,"x"]}}"#;
    for (expression, expected) in [
        ("${payload.a.b[1]}", "x"),
        ("${payload.a}", r#"{"b":[1,"x"]}"#),
        ("${headers.content-type}", JSON),
        ("${props.axis2.HTTP_METHOD}", "POST"),
        ("${params.pathParams.id}", "7"),
        ("${xpath('//b[2]')}", "x"),
    ] {
        assert_eq!(
            run(&say(expression), JSON, body).2,
            expected,
            "{expression}"
        );
    }
}

#[test]
fn a_body_that_is_not_what_is_looked_for_is_a_fault() {
    let (status, _, body) = run(&say("json-eval($.a)"), JSON, "{broken");
    assert_eq!(status, 500);
    assert!(body.contains("not JSON"), "{body}");
    let (_, _, body) = run(&say("//a"), "application/octet-stream", "\u{1}");
    assert!(body.contains("not XML"), "{body}");
}

#[test]
fn arguments_stand_in_payloads_as_what_they_are() {
    let make = |media: &str, format: &str, arguments: &str| {
        format!(
            "<payloadFactory media-type='{media}'><format>{format}</format><args>{arguments}</args></payloadFactory><respond/>"
        )
    };
    let arguments = "<arg evaluator='json' expression='$.o'/><arg evaluator='json' expression='$.s'/><arg value='a\"b'/>\
                     <arg evaluator='json' expression='$.n'/>";
    let body = r#"{"o":{"k":[1,"x"]},"s":"q\"<","n":1.5}"#;
    let (_, _, text) = run(
        &make("json", r#"{"o":$1,"s":"$2","v":"$3","n":$4}"#, arguments),
        JSON,
        body,
    );
    assert_eq!(text, r#"{"o":{"k":[1,"x"]},"s":"q\"<","v":"a\"b","n":1.5}"#);
    let (_, _, text) = run(&make("xml", "<r xmlns=''>$1 $2</r>", arguments), JSON, body);
    assert_eq!(
        text,
        "<r xmlns=''><jsonObject><k>1</k><k>x</k></jsonObject> q&quot;&lt;</r>"
    );
    let nodes = "<arg expression='//item'/><arg expression='//item/@n'/>";
    let xml = "<a><item n='1'><b/></item></a>";
    let (_, _, text) = run(&make("xml", "<r xmlns=''>$1$2</r>", nodes), XML, xml);
    assert_eq!(text, "<r xmlns=''><item n=\"1\"><b/></item>1</r>");
    let (_, _, text) = run(&make("json", "{\"i\":$1,\"n\":$2}", nodes), XML, xml);
    assert_eq!(text, "{\"i\":{\"item\":{\"@n\":\"1\",\"b\":null}},\"n\":1}");
}

#[test]
fn bodies_travel_through_properties() {
    let inside = "<enrich><source type='body' clone='true'/><target type='property' property='kept'/></enrich>\
        <payloadFactory media-type='json'><format>{\"other\":1}</format></payloadFactory>\
        <enrich><source type='property' property='kept'/><target type='body'/></enrich><respond/>";
    for (media, body) in [(JSON, "{\"a\":[1, 2]}"), (XML, "<a b=\"1\"><c/></a>")] {
        let (_, headers, text) = run(inside, media, body);
        assert_eq!(
            (text.as_str(), headers["content-type"].to_str().unwrap()),
            (body, media)
        );
    }
    let part = "<enrich><source xmlns:m='urn:m' xpath='//m:part'/><target type='body'/></enrich><respond/>";
    let (_, _, text) = run(
        part,
        XML,
        "<m:a xmlns:m='urn:m'><m:part><x/></m:part></m:a>",
    );
    assert_eq!(text, "<m:part xmlns:m=\"urn:m\"><x/></m:part>");
    let inline =
        "<enrich><source type='inline'>{\"x\":1}</source><target type='body'/></enrich><respond/>";
    assert_eq!(run(inline, JSON, "{}").2, "{\"x\":1}");
    let removed =
        "<enrich><source type='body'/><target type='body' action='remove'/></enrich><respond/>";
    assert_eq!(run(removed, JSON, "{}").2, "");
}

#[test]
fn soap_stays_in_its_envelope() {
    let soap = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header><h/></s:Header>\
                <s:Body><q>1</q></s:Body></s:Envelope>";
    let inside = "<payloadFactory><format><r xmlns=''>$1</r></format><args><arg expression='$body/q'/></args></payloadFactory><respond/>";
    let (_, headers, text) = run(inside, "text/xml", soap);
    assert_eq!(headers["content-type"], "text/xml");
    assert!(
        text.contains("<s:Header><h/></s:Header><s:Body><r xmlns=\"\">1</r></s:Body>"),
        "{text}"
    );
    let plain = "<property name='messageType' scope='axis2' value='application/xml'/><respond/>";
    assert_eq!(run(plain, "text/xml", soap).2, "<q>1</q>");
    let wrapped = "<property name='messageType' scope='axis2' value='text/xml'/><respond/>";
    let (_, headers, text) = run(wrapped, XML, "<q>1</q>");
    assert_eq!(headers["content-type"], "text/xml");
    assert!(
        text.contains("<soapenv:Body><q>1</q></soapenv:Body>"),
        "{text}"
    );
}

#[test]
fn message_type_converts() {
    let to = |media: &str| {
        format!("<property name='messageType' scope='axis2' value='{media}'/><respond/>")
    };
    let (_, headers, text) = run(&to(JSON), XML, "<a><b>1</b><b>x</b></a>");
    assert_eq!(
        (text.as_str(), headers["content-type"].to_str().unwrap()),
        (r#"{"a":{"b":[1,"x"]}}"#, JSON)
    );
    assert_eq!(
        run(&to(XML), JSON, "{\"a\":1}").2,
        "<jsonObject><a>1</a></jsonObject>"
    );
    let (status, _, text) = run(&to(JSON), XML, "<a><b></a>");
    assert_eq!(status, 500, "{text}");
}

#[test]
fn faults_are_soap_for_soap_and_json_otherwise() {
    let inside = "<makefault version='soap11'><code value='s:Client'/><reason value='no &lt;'/>\
        <detail expression=\"'d'\"/></makefault><property name='f' expression=\"get-property('FAULT')\"/><respond/>";
    let soap =
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body/></s:Envelope>";
    let (_, headers, text) = run(inside, "text/xml", soap);
    assert_eq!(headers["content-type"], "text/xml");
    assert!(text.contains("<faultcode>soapenv:Client</faultcode><faultstring>no &lt;</faultstring><detail>d</detail>"), "{text}");
    let (_, headers, text) = run(inside, JSON, "{}");
    assert_eq!(headers["content-type"], JSON);
    assert!(text.contains("\"faultstring\":\"no <\""), "{text}");
}

#[test]
fn a_call_goes_on_with_the_response() {
    let inside = "<call><endpoint key='E'/></call><property name='got' expression='json-eval($.token)'/>\
        <property name='REST_URL_POSTFIX' scope='axis2' value='/next'/>\
        <property name='X-Token' scope='transport' expression='$ctx:got'/><send><endpoint key='E'/></send>";
    let (mut exchange, step) = run_with(inside, JSON, "{}", &[]);
    assert_eq!(call(step).url, "http://b:1/svc/o/7");
    let mut head = respond_with(200);
    head.headers
        .insert("content-type", HeaderValue::from_static(JSON));
    let step = exchange.response(head, 6);
    assert!(
        matches!(step, Step::Read(Body::Response, Need::Whole)),
        "{step:?}"
    );
    let step = exchange.read(Ok(Some(Bytes::from_static(b"{\"token\":\"t\"}"))));
    let second = call(step);
    assert_eq!(
        (
            second.url.as_str(),
            second.headers["x-token"].to_str().unwrap()
        ),
        ("http://b:1/svc/next", "t")
    );
    assert_eq!(answer(exchange.response(respond_with(201), 7)).0, 201);
    // A failed call is a fault where it stands.
    let own = [
        (
            "s",
            "<sequence name='s' onError='h'><call><endpoint key='E'/></call><drop/></sequence>",
        ),
        (
            "h",
            "<sequence name='h'><property name='HTTP_SC' scope='axis2' value='599'/><respond/></sequence>",
        ),
    ];
    let (mut exchange, _) = run_with("<sequence key='s'/>", JSON, "{}", &own);
    assert_eq!(
        answer(exchange.failed(Fault::new(101_503, "x"), 6, true)).0,
        599
    );
}

#[test]
fn a_response_can_go_to_a_sequence_of_its_own() {
    let own = [(
        "r",
        "<sequence name='r'><property name='X-R' value='1' scope='transport'/><send/></sequence>",
    )];
    let (mut exchange, _) = run_with(
        "<send receive='r'><endpoint key='E'/></send>",
        JSON,
        "{}",
        &own,
    );
    let (status, headers, _) = answer(exchange.response(respond_with(200), 6));
    assert_eq!((status, headers["x-r"].to_str().unwrap()), (200, "1"));
}

#[test]
fn templates_have_parameters_of_their_own() {
    let template = "<template name='t'><parameter name='p'/><parameter name='q' defaultValue='d'/>\
        <sequence><property name='X-P' scope='transport' expression=\"fn:concat($func:p, '-', $func:q)\"/></sequence></template>";
    let inside = "<call-template target='t'><with-param name='p' value='{$ctx:uri.var.id}'/></call-template>\
        <property name='after' expression='$func:p'/><filter xpath='boolean($ctx:after)'><drop/></filter><respond/>";
    let (_, headers, _) = answer(run_with(inside, JSON, "{}", &[("t", template)]).1);
    assert_eq!(headers["x-p"], "7-d");
    let (status, _, body) = run("<call-template target='gone'/>", JSON, "{}");
    assert_eq!(status, 500);
    assert!(body.contains("template named gone"), "{body}");
}

#[test]
fn urls_are_rewritten_by_rules() {
    let inside = format!(
        "<property name='u' expression='$axis2:REST_URL_POSTFIX'/><rewrite inProperty='u' outProperty='v'>\
         <rewriterule><condition><equal type='url' source='path' value='/nowhere'/></condition><action value='/x' fragment='path'/></rewriterule>\
         <rewriterule><condition><and><match type='header' source='content-type' regex='.*json'/>\
         <not><equal type='property' source='u' value=''/></not></and></condition>\
         <action type='replace' regex='^/o' value='/orders' fragment='path'/>\
         <action type='append' value='/more' fragment='path'/><action value='q=1' fragment='query'/></rewriterule></rewrite>{}",
        say("$ctx:v")
    );
    assert_eq!(run(&inside, JSON, "{}").2, "/orders/7/more?q=1");
}

#[test]
fn properties_have_types_and_parts() {
    let typed = |kind: &str, expression: &str| {
        format!(
            "<property name='p' type='{kind}' expression=\"{expression}\"/>{}",
            say("$ctx:p")
        )
    };
    assert_eq!(run(&typed("INTEGER", "'12'"), JSON, "{}").2, "12");
    assert!(
        run(&typed("INTEGER", "'1x'"), JSON, "{}")
            .2
            .contains("none of its type")
    );
    assert!(run(&typed("OM", "'x'"), JSON, "{}").2.contains("no XML"));
    assert_eq!(
        run(&typed("OM", "//a"), XML, "<r><a><b/></a></r>").2,
        "<a><b/></a>"
    );
    let part = format!(
        "<property name='p' value='/v12/x' pattern='v([0-9]+)' group='1'/>{}",
        say("$ctx:p")
    );
    assert_eq!(run(&part, JSON, "{}").2, "12");
    let vault = say("base64Encode(concat('u:', wso2:vault-lookup('back')))");
    assert_eq!(run(&vault, JSON, "{}").2, "dTpwYXNz");
    assert!(
        run(&say("wso2:vault-lookup('other')"), JSON, "{}")
            .2
            .contains("alias")
    );
}

#[test]
fn an_alias_that_the_artifact_does_not_bring_is_a_finding() {
    let inside = "<property name='p' expression=\"concat('x', wso2:vault-lookup('gone'))\"/>";
    let artifact = artifact(&format!("<inSequence>{inside}<respond/></inSequence>"));
    let findings = compile(&artifact, &Limits::default()).findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::NotExecuted);
    assert!(findings[0].message.starts_with("alias gone is not among"));
}

#[test]
fn in_and_out_are_for_requests_and_responses() {
    let inside =
        "<in><property name='X-In' value='1' scope='transport'/></in><out><drop/></out><loopback/>";
    let artifact = artifact(&format!(
        "<inSequence>{inside}</inSequence><outSequence><in><drop/></in><out><property name='X-O' value='1' scope='transport'/></out><send/></outSequence>"
    ));
    let (status, headers, _) = answer(start(&artifact, false).1);
    assert_eq!(status, 200);
    assert_eq!(headers["x-o"], "1");
}

#[test]
fn shipped_sequences_answer_unless_the_artifact_has_its_own() {
    let inside = "<property name='ERROR_CODE' value='900901'/><property name='ERROR_MESSAGE' value='m'/>\
        <property name='ERROR_DETAIL' value='d'/><property name='HTTP_RESPONSE_STATUS_CODE' value='429'/>\
        <sequence key='_auth_failure_handler_'/><send/>";
    let (status, headers, text) = run(inside, JSON, "{}");
    assert_eq!(status, 429);
    assert_eq!(headers["content-type"], JSON);
    assert_eq!(text, r#"{"code":"900901","message":"m","description":"d"}"#);
    let own = [(
        "_auth_failure_handler_",
        "<sequence name='_auth_failure_handler_'><drop/></sequence>",
    )];
    assert_eq!(answer(run_with(inside, JSON, "{}", &own).1).0, 202);
    let cors = "<property name='CORSConfiguration.Enabled' value='true'/><property name='Access-Control-Allow-Origin' value='*'/>\
        <sequence key='_cors_request_handler_'/><respond/>";
    assert_eq!(run(cors, JSON, "{}").1["access-control-allow-origin"], "*");
    let (status, _, text) = run("<sequence key='_api_blocked_sequence_'/>", JSON, "{}");
    assert_eq!(status, 503);
    assert!(text.contains("700700"), "{text}");
}

#[test]
fn faults_go_up_the_stack_and_tell_what_happened() {
    let own = [
        (
            "s",
            "<sequence name='s' onError='h1'><sequence key='t'/></sequence>",
        ),
        (
            "t",
            "<sequence name='t' onError='h2'><property name='x' expression='json-eval($.a)'/></sequence>",
        ),
        // Fails itself: the next one on the stack is told of that.
        (
            "h2",
            "<sequence name='h2'><property name='first' expression='$ctx:ERROR_MESSAGE'/><sequence key='gone'/></sequence>",
        ),
        (
            "h1",
            "<sequence name='h1'><payloadFactory media-type='text'><format>$1|$2|$3</format><args><arg expression='$ctx:first'/>\
         <arg expression='$ctx:ERROR_CODE'/><arg expression='$ctx:ERROR_EXCEPTION'/></args></payloadFactory><respond/></sequence>",
        ),
    ];
    let (_, _, text) = answer(run_with("<sequence key='s'/>", JSON, "no", &own).1);
    assert_eq!(
        text,
        "the message's body is not JSON|0|Sequence named gone cannot be found"
    );
    // A sequence that has been left handles nothing any more.
    let left = [
        ("s", "<sequence name='s' onError='h'><log/></sequence>"),
        ("h", "<sequence name='h'><drop/></sequence>"),
    ];
    let (status, _, _) =
        answer(run_with("<sequence key='s'/><sequence key='gone'/>", JSON, "", &left).1);
    assert_eq!(status, 500);
}

#[test]
fn an_api_may_say_what_happens_without_a_resource() {
    let mut artifact = artifact(SEND);
    artifact.sequence_to_be_add = vec![Content {
        name: "_resource_mismatch_handler_".into(),
        content: "<sequence name='_resource_mismatch_handler_'><payloadFactory media-type='text'><format>none</format>\
                  </payloadFactory><respond/></sequence>"
            .into(),
    }];
    let plan = compile(&artifact, &Limits::default()).plan.unwrap();
    let unmatched = |resource| {
        let target = Target {
            api: 0,
            resource,
            rest_url_postfix: "/none",
        };
        let request = Request {
            method: "GET",
            target: "/a/1/none",
            https: false,
            headers: HeaderMap::new(),
            has_body: false,
            remote: None,
        };
        let environment = Environment {
            now: 0,
            message_id: MessageId::default(),
            settings: Arc::default(),
        };
        let (_, step) = Exchange::start(Arc::clone(&plan), target, request, environment);
        let (status, _, text) = answer(step);
        (status, text)
    };
    assert_eq!(unmatched(ResourceOutcome::NotFound), (404, "none".into()));
    let (status, text) = unmatched(ResourceOutcome::MethodNotAllowed);
    assert_eq!(status, 405);
    assert!(text.contains("Method not allowed"), "{text}");
}
