//! Plans run on exchanges, without any I/O.

mod charsets;
mod endpoints;
mod enrich;
mod forms;
mod handlers;
mod kept;
mod mediators;
mod payloads;
mod threats;
mod tokens;
mod types;

use std::sync::Arc;

use artifact::{Artifact, Content, Severity};
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::compile;
use crate::dispatch::ResourceOutcome;
use crate::xml::Limits;

fn artifact(resource: &str) -> Artifact {
    Artifact {
        name: "A".into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        api_id: "u".into(),
        api_definition: Some(format!(
            "<api xmlns='http://ws.apache.org/ns/synapse' name='A' context='/a/{{version}}' version='1' \
             version-type='context'><resource methods='GET POST' uri-template='/o/{{id}}'>{resource}</resource></api>"
        )),
        endpoint_entries_to_be_add: vec![Content {
            name: "E".into(),
            content: "<endpoint name='E'><http uri-template='http://b:1/svc'><timeout><duration>500</duration>\
                      <responseAction>fault</responseAction></timeout></http></endpoint>"
                .into(),
        }],
        ..Artifact::default()
    }
}

/// Dispatch has found the first resource.
fn found(variables: Vec<(String, String)>) -> ResourceOutcome {
    ResourceOutcome::Found {
        index: 0,
        variables,
    }
}

/// The real artifacts in the folder of shared test data.
fn corpus(what: &str) -> Option<std::path::PathBuf> {
    use std::io::Write as _;
    let shared = std::env::var_os("LOCKSTEP_SHARED").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into(),
        std::path::PathBuf::from,
    );
    let corpus = shared.join("synapse/corpus");
    if !corpus.is_dir() {
        let line = format!("LEFT OUT: {what}: no corpus in the shared folder\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    Some(corpus)
}

fn start(artifact: &Artifact, body: bool) -> (Exchange, Step) {
    let compilation = compile(artifact, &Limits::default());
    let plan = compilation
        .plan
        .unwrap_or_else(|| panic!("{:?}", compilation.findings));
    let mut headers = HeaderMap::new();
    headers.insert("x-in", HeaderValue::from_static("1"));
    headers.insert("authorization", HeaderValue::from_static("Bearer t"));
    let target = Target {
        api: 0,
        resource: found(vec![("id".into(), "7".into())]),
        rest_url_postfix: "/o/7?q=z",
    };
    let request = Request {
        method: "POST",
        target: "/a/1/o/7?q=z",
        https: false,
        headers,
        has_body: body,
        remote: None,
    };
    let environment = Environment {
        now: 5,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    Exchange::start(plan, target, request, environment)
}

fn call(step: Step) -> BackendCall {
    match step {
        Step::Call(call) => *call,
        other => panic!("{other:?}"),
    }
}

fn answer(step: Step) -> (u16, HeaderMap, String) {
    match step {
        Step::Answer(answer) => {
            let text = match answer.body {
                Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Body::Empty => String::new(),
                other => format!("{other:?}"),
            };
            (answer.status, answer.headers, text)
        }
        other => panic!("{other:?}"),
    }
}

const SEND: &str = "<inSequence><send><endpoint key='E'/></send></inSequence>";

fn respond_with(status: u16) -> BackendResponse {
    let mut headers = HeaderMap::new();
    headers.insert("x-out", HeaderValue::from_static("2"));
    BackendResponse {
        status,
        headers,
        request_left: true,
    }
}

#[test]
fn a_request_goes_to_the_back_end_and_its_response_to_the_client() {
    let out = format!("{SEND}<outSequence><send/></outSequence>");
    let (mut exchange, step) = start(&artifact(&out), true);
    let call = call(step);
    assert_eq!(
        (call.method.as_str(), call.url.as_str()),
        ("POST", "http://b:1/svc/o/7?q=z")
    );
    assert_eq!(call.body, Body::Request);
    assert_eq!(call.headers["x-in"], "1");
    assert_eq!(call.timeout.unwrap().as_millis(), 500);
    let (status, headers, body) = answer(exchange.response(respond_with(404), 5));
    assert_eq!((status, body.as_str()), (404, "Response"));
    assert_eq!(headers["x-out"], "2");
}

#[test]
fn without_an_out_sequence_the_response_goes_back_as_it_is() {
    let (mut exchange, _) = start(&artifact(SEND), false);
    assert_eq!(answer(exchange.response(respond_with(201), 5)).0, 201);
}

#[test]
fn a_failed_call_runs_the_fault_sequence() {
    let (mut exchange, _) = start(&artifact(SEND), false);
    let (status, headers, body) =
        answer(exchange.failed(Fault::new(101_503, "no \"one\" there"), 5, true));
    assert_eq!(status, 500);
    assert_eq!(headers["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["code"], "101503");
    assert_eq!(body["description"], "no \"one\" there");

    let own = format!(
        "{SEND}<faultSequence><property name='HTTP_SC' scope='axis2' value='599'/><respond/></faultSequence>"
    );
    let (mut exchange, _) = start(&artifact(&own), true);
    let (status, headers, body) = answer(exchange.failed(Fault::new(101_504, "t"), 5, true));
    assert_eq!(
        (status, body.as_str()),
        (599, ""),
        "the request body has been sent"
    );
    assert!(
        headers.get("authorization").is_none(),
        "request headers do not come back"
    );
}

#[test]
fn filters_properties_and_headers_decide_as_written() {
    let resource = "<inSequence>\
        <property name='x' expression=\"fn:concat($axis2:REST_URL_POSTFIX,'|',$ctx:uri.var.id,'|',$url:q,'|',get-property('SYSTEM_TIME'))\"/>\
        <property name='X-Out' scope='transport' expression='$ctx:x'/>\
        <property name='X-In' scope='transport' action='remove'/>\
        <log level='custom'><property name='k' expression='$ctx:AM_KEY_TYPE'/></log>\
        <filter source='$ctx:AM_KEY_TYPE' regex='PROD'><then><drop/></then><else>\
          <filter xpath=\"$trp:authorization and not($trp:x-in)\"><send><endpoint key='E'/></send></filter>\
        </else></filter></inSequence>";
    let (mut exchange, step) = start(&artifact(resource), false);
    let call = call(step);
    assert_eq!(call.headers["x-out"], "/o/7?q=z|7|z|5");
    assert!(call.headers.get("x-in").is_none());
    assert_eq!(
        exchange.take_logs()[0].fields,
        [("k".to_owned(), "PRODUCTION".to_owned())]
    );
}

#[test]
fn an_answer_can_be_made_without_a_back_end() {
    let resource = "<inSequence><payloadFactory><format><e xmlns='' a='1'>$1</e></format>\
        <args><arg expression='$ctx:uri.var.id'/></args></payloadFactory>\
        <property name='HTTP_SC' value='401' scope='axis2'/><property name='RESPONSE' value='true'/>\
        <header name='To' action='remove'/><send/></inSequence>";
    let (_, step) = start(&artifact(resource), true);
    let (status, headers, body) = answer(step);
    assert_eq!((status, body.as_str()), (401, "<e xmlns='' a='1'>7</e>"));
    assert_eq!(headers["content-type"], "application/xml");
}

#[test]
fn what_is_not_executed_is_a_finding_and_answers_501() {
    let artifact =
        artifact("<inSequence><script language='js'>x()</script><respond/></inSequence>");
    let findings = compile(&artifact, &Limits::default()).findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].severity, Severity::NotExecuted);
    assert_eq!(
        findings[0].place,
        "apiDefinition/api/resource/inSequence/script"
    );
    let (_, step) = start(&artifact, false);
    let (status, _, body) = answer(step);
    assert_eq!(status, 501);
    assert!(body.contains("not executed: <script>"), "{body}");
}

#[test]
fn a_missing_endpoint_or_sequence_is_a_fault_at_request_time() {
    let missing = "<inSequence><send><endpoint key='nowhere'/></send></inSequence>";
    let (_, step) = start(&artifact(missing), false);
    assert!(answer(step).2.contains("305100"));
    let (_, step) = start(
        &artifact("<inSequence><sequence key='s'/></inSequence>"),
        false,
    );
    assert!(answer(step).2.contains("Sequence named s"));
}

#[test]
fn sequences_that_call_each_other_without_end_are_stopped() {
    let mut looping = artifact("<inSequence><sequence key='s'/></inSequence>");
    looping.sequence_to_be_add = vec![Content {
        name: "s".into(),
        content: "<sequence name='s'><sequence key='s'/></sequence>".into(),
    }];
    let (_, step) = start(&looping, false);
    let (status, _, body) = answer(step);
    assert_eq!(status, 500);
    assert!(body.contains("without end"));
}

#[test]
fn a_sequence_handles_its_own_faults_first() {
    let mut own = artifact("<inSequence><sequence key='s'/></inSequence>");
    own.sequence_to_be_add = vec![
        Content {
            name: "s".into(),
            content: "<sequence name='s' onError='h'><send><endpoint key='E'/></send></sequence>".into(),
        },
        Content {
            name: "h".into(),
            content: "<sequence name='h'><property name='HTTP_SC' scope='axis2' value='555'/><respond/></sequence>".into(),
        },
    ];
    let (mut exchange, _) = start(&own, false);
    assert_eq!(
        answer(exchange.failed(Fault::new(101_500, "x"), 5, true)).0,
        555
    );
}

#[test]
fn what_was_set_for_the_back_end_is_not_told_to_the_client() {
    let resource = format!(
        "<inSequence><property name='X-Key' scope='transport' value='secret'/>\
         <property name='messageType' scope='axis2' value='text/xml'/>{}",
        SEND.trim_start_matches("<inSequence>")
    );
    let (mut exchange, step) = start(&artifact(&resource), false);
    assert_eq!(call(step).headers["x-key"], "secret");
    let (status, headers, _) = answer(exchange.failed(Fault::new(101_503, "gone"), 5, true));
    assert_eq!(status, 500);
    assert!(headers.get("x-key").is_none());
    assert!(headers.get("x-in").is_none());
}

#[test]
fn the_response_path_has_the_resource_s_fault_handler_again() {
    let resource = format!("{SEND}<outSequence><sequence key='nowhere'/></outSequence>");
    let (mut exchange, _) = start(&artifact(&resource), false);
    let (status, _, body) = answer(exchange.response(respond_with(200), 5));
    assert_eq!(status, 500);
    assert!(body.contains("Status report"), "{body}");
}

#[test]
fn sending_from_the_response_path_ends() {
    let out = format!("{SEND}{}", SEND.replace("inSequence", "outSequence"));
    let (mut exchange, mut step) = start(&artifact(&out), false);
    let mut calls = 0;
    while let Step::Call(_) = step {
        calls += 1;
        step = exchange.response(respond_with(200), 5);
    }
    assert_eq!(calls, 16);
    assert!(answer(step).2.contains("more than 16 back-end calls"));
}

#[test]
fn a_property_that_doubles_itself_is_stopped() {
    let double = "<property name='x' expression=\"fn:concat($ctx:x,$ctx:x)\"/>";
    let resource = format!(
        "<inSequence><property name='x' value='0123456789'/>{}<respond/></inSequence>",
        double.repeat(40)
    );
    let (_, step) = start(&artifact(&resource), false);
    assert!(answer(step).2.contains("property x is too large"));
}

#[test]
fn loopback_goes_through_the_out_sequence() {
    let resource = "<inSequence><payloadFactory media-type='text'><format>hi</format></payloadFactory><loopback/></inSequence>\
        <outSequence><property name='X-Out' value='1' scope='transport'/><send/></outSequence>";
    let (_, step) = start(&artifact(resource), false);
    let (status, headers, body) = answer(step);
    assert_eq!((status, body.as_str()), (200, "hi"));
    assert_eq!(headers["x-out"], "1");
    assert!(headers.get("authorization").is_none());
}

#[test]
fn the_artifact_s_own_sequences_go_first_in_those_of_the_gateway() {
    let mut own = artifact(SEND);
    let sequence = |name: &str, inside: &str| Content {
        name: name.into(),
        content: format!("<sequence name='{name}'>{inside}</sequence>"),
    };
    own.sequence_to_be_add = vec![sequence(
        "_cors_request_handler_",
        "<property name='X-Mine' scope='transport' value='1'/>",
    )];
    let (mut exchange, _) = start(&own, false);
    let (status, headers, _) = answer(exchange.failed(Fault::new(101_503, "gone"), 5, true));
    assert_eq!(status, 500);
    assert_eq!(headers["x-mine"], "1");

    let mut own =
        artifact("<inSequence><sequence key='_resource_mismatch_handler_'/></inSequence>");
    own.sequence_to_be_add = vec![sequence(
        "fault",
        "<property name='HTTP_SC' scope='axis2' value='418'/><respond/>",
    )];
    assert_eq!(answer(start(&own, false).1).0, 418);
}

#[test]
fn the_gateway_s_failure_handlers_say_what_has_failed() {
    for (name, status, body) in [
        (
            "_opa_policy_failure_handler_",
            403,
            r#"{"code":"9","message":"Forbidden","description":"d"}"#,
        ),
        ("webhooksFaultSequence", 200, r#"{"error":"d"}"#),
    ] {
        let resource = format!(
            "<inSequence><property name='ERROR_CODE' value='9'/><property name='ERROR_MESSAGE' value='Forbidden'/>\
             <property name='ERROR_DETAIL' value='d'/><property name='HTTP_RESPONSE_STATUS_CODE' value='403'/>\
             <sequence key='{name}'/><respond/></inSequence>"
        );
        let (own_status, _, text) = answer(start(&artifact(&resource), false).1);
        assert_eq!((own_status, text.as_str()), (status, body), "{name}");
    }
}
