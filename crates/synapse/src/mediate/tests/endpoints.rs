//! Endpoints and groups on exchanges. The plain cases are those of `tests/cases.rs`.

use std::sync::Arc;

use http::HeaderValue;

use super::*;
use crate::Plan;
use crate::endpoint::State;

const NOW: i64 = 1_000_000;

fn plan(endpoints: &[(&str, &str)]) -> Arc<Plan> {
    let mut artifact = artifact(SEND);
    artifact.endpoint_entries_to_be_add = endpoints
        .iter()
        .map(|(name, kind)| Content {
            name: (*name).into(),
            content: format!("<endpoint name='{name}'>{kind}</endpoint>"),
        })
        .collect();
    let compilation = compile(&artifact, &Limits::default());
    compilation
        .plan
        .unwrap_or_else(|| panic!("{:?}", compilation.findings))
}

fn begin(plan: &Arc<Plan>, cookie: Option<&'static str>, now: i64) -> (Exchange, Step) {
    let set = |headers: &mut HeaderMap| {
        if let Some(cookie) = cookie {
            headers.insert("cookie", HeaderValue::from_static(cookie));
        }
    };
    begin_with(plan, set, now)
}

fn begin_with(plan: &Arc<Plan>, set: impl Fn(&mut HeaderMap), now: i64) -> (Exchange, Step) {
    let target = Target {
        api: 0,
        resource: found(vec![("id".into(), "B".into())]),
        rest_url_postfix: "",
    };
    let mut headers = HeaderMap::new();
    set(&mut headers);
    let request = Request {
        method: "POST",
        target: "/a/1",
        https: false,
        headers,
        has_body: true,
        remote: None,
    };
    let environment = Environment {
        now,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    Exchange::start(Arc::clone(plan), target, request, environment)
}

/// The hosts that a request goes to while those in `down` fail, and the last step.
fn hosts(plan: &Arc<Plan>, down: &[(&str, u32)], now: i64) -> (Vec<String>, Step) {
    let (mut exchange, mut step) = begin(plan, None, now);
    let mut hosts = Vec::new();
    while let Step::Call(call) = step {
        let host = call.url.trim_start_matches("http://").to_owned();
        step = match down.iter().find(|(name, _)| *name == host) {
            Some((_, code)) => exchange.failed(Fault::new(*code, "down"), now, true),
            None => exchange.response(respond_with(200), now),
        };
        hosts.push(host);
    }
    (hosts, step)
}

fn leaf(host: &str) -> String {
    format!("<endpoint name='{host}'><http uri-template='http://{host}'/></endpoint>")
}

fn code(step: Step) -> String {
    let (_, _, body) = answer(step);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_group_in_a_group_gives_way_to_the_next() {
    let inner = format!(
        "<endpoint name='in'><loadbalance>{}{}</loadbalance></endpoint>",
        leaf("x"),
        leaf("y")
    );
    let plan = plan(&[("E", &format!("<failover>{inner}{}</failover>", leaf("z")))]);
    let (called, _) = hosts(&plan, &[("x", 101_503), ("y", 101_503)], NOW);
    assert_eq!(called, ["x", "y", "z"]);
    assert_eq!(hosts(&plan, &[], NOW + 1).0, ["z"]);
    assert_eq!(hosts(&plan, &[], NOW + 30_000).0, ["y"]);
    let (called, step) = hosts(
        &plan,
        &[("x", 101_503), ("y", 101_503), ("z", 101_503)],
        NOW + 60_001,
    );
    assert_eq!(called, ["x", "y", "z"]);
    assert_eq!(code(step), "303000");
}

#[test]
fn a_child_may_use_its_retries_in_one_request() {
    let marked = "<endpoint name='m'><http uri-template='http://m'><markForSuspension>\
        <errorCodes>101504</errorCodes><retriesBeforeSuspension>2</retriesBeforeSuspension><retryDelay>0</retryDelay>\
        </markForSuspension></http></endpoint>";
    let plan = plan(&[("E", &format!("<failover>{marked}{}</failover>", leaf("n")))]);
    assert_eq!(hosts(&plan, &[("m", 101_504)], NOW).0, ["m", "m", "m", "n"]);
}

#[test]
fn children_may_be_keys() {
    let plan = plan(&[
        (
            "E",
            "<failover><endpoint key='gone'/><endpoint key='B'/></failover>",
        ),
        ("B", "<http uri-template='http://b'/>"),
    ]);
    assert_eq!(hosts(&plan, &[], NOW).0, ["b"]);
    hosts(&plan, &[("b", 101_503)], NOW);
    let states = plan.endpoint_states(NOW);
    let b = states.iter().find(|state| state.name == "B").unwrap();
    assert_eq!(
        (b.state, b.next_retry),
        (State::Suspended, Some(NOW + 30_000))
    );
    let group = states.iter().find(|state| state.name == "E").unwrap();
    assert!(!group.ready && group.children == ["B"]);
}

#[test]
fn keys_are_computed_and_do_not_run_in_circles() {
    let mut dynamic =
        artifact("<inSequence><send><endpoint key='{$ctx:uri.var.id}'/></send></inSequence>");
    dynamic.endpoint_entries_to_be_add = vec![
        Content {
            name: "B".into(),
            content: "<endpoint name='B' key='C'/>".into(),
        },
        Content {
            name: "C".into(),
            content: "<endpoint name='C'><http uri-template='http://c'/></endpoint>".into(),
        },
    ];
    let plan = compile(&dynamic, &Limits::default()).plan.unwrap();
    assert_eq!(call(begin(&plan, None, NOW).1).url, "http://c");
    dynamic.endpoint_entries_to_be_add[1].content = "<endpoint name='C' key='B'/>".into();
    let plan = compile(&dynamic, &Limits::default()).plan.unwrap();
    assert_eq!(code(begin(&plan, None, NOW).1), "305100");
    dynamic.endpoint_entries_to_be_add[1].content =
        "<endpoint name='C'><failover><endpoint key='B'/></failover></endpoint>".into();
    let plan = compile(&dynamic, &Limits::default()).plan.unwrap();
    assert_eq!(code(begin(&plan, None, NOW).1), "303000");
    assert!(!plan.endpoint_states(NOW)[0].ready);
}

#[test]
fn a_session_stays_with_the_child_that_began_it() {
    let group = format!(
        "<session type='http'><sessionTimeout>1000</sessionTimeout></session><loadbalance>{}{}</loadbalance>",
        leaf("x"),
        leaf("y")
    );
    let plan = plan(&[("E", &group)]);
    let (mut exchange, step) = begin(&plan, None, NOW);
    assert_eq!(call(step).url, "http://x");
    let mut response = respond_with(200);
    let cookie = HeaderValue::from_static("JSESSIONID=7; Path=/");
    response.headers.insert("set-cookie", cookie);
    let _ = exchange.response(response, NOW);
    let url = |cookie, now| call(begin(&plan, cookie, now).1).url;
    let bound = Some("JSESSIONID=7");
    assert_eq!(url(bound, NOW + 1), "http://x");
    assert_eq!(url(bound, NOW + 2), "http://x");
    assert_eq!(url(None, NOW + 3), "http://y");
    assert_eq!(url(Some("JSESSIONID=8"), NOW + 4), "http://x");
    // Not used for its time, it is forgotten.
    assert_eq!(url(bound, NOW + 2000), "http://y");
}

#[test]
fn sessions_may_be_told_by_soap_headers() {
    let group = |kind: &str| {
        format!(
            "<session type='{kind}'/><loadbalance>{}{}</loadbalance>",
            leaf("x"),
            leaf("y")
        )
    };
    let soap = |header: &str| {
        let text = format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header>{header}</s:Header>\
             <s:Body><b/></s:Body></s:Envelope>"
        );
        Ok(Some(bytes::Bytes::from(text)))
    };
    let content_type = |headers: &mut HeaderMap| {
        headers.insert("content-type", HeaderValue::from_static("text/xml"));
    };
    // A request with this header: where it goes, and its exchange.
    let send = |plan: &Arc<Plan>, header: &str| {
        let (mut exchange, step) = begin_with(plan, content_type, NOW);
        assert!(
            matches!(step, Step::Read(Body::Request, Need::Whole)),
            "{step:?}"
        );
        let sent = call(exchange.read(soap(header)));
        (sent.url, exchange)
    };
    let client = |id: &str| {
        format!("<i:ClientID xmlns:i='http://ws.apache.org/ns/synapse'>{id}</i:ClientID>")
    };
    let of_client = plan(&[("E", &group("simpleClientSession"))]);
    let (url, mut exchange) = send(&of_client, &client("7"));
    assert_eq!(url, "http://x");
    let _ = exchange.response(respond_with(200), NOW);
    assert_eq!(send(&of_client, &client("7")).0, "http://x");
    assert_eq!(send(&of_client, &client("8")).0, "http://y");

    let id =
        "<g:ServiceGroupId xmlns:g='http://ws.apache.org/namespaces/axis2'>u</g:ServiceGroupId>";
    let reply = format!(
        "<a:ReplyTo xmlns:a='http://www.w3.org/2005/08/addressing'><a:ReferenceParameters>{id}\
         </a:ReferenceParameters></a:ReplyTo>"
    );
    let of_back_end = plan(&[("E", &group("soap"))]);
    let (url, mut exchange) = send(&of_back_end, "");
    assert_eq!(url, "http://x");
    let mut response = respond_with(200);
    content_type(&mut response.headers);
    let step = exchange.response(response, NOW);
    assert!(
        matches!(step, Step::Read(Body::Response, Need::Whole)),
        "{step:?}"
    );
    let (status, _, body) = answer(exchange.read(soap(&reply)));
    assert!(status == 200 && body.contains("ServiceGroupId"), "{body}");
    assert_eq!(send(&of_back_end, id).0, "http://x");
    assert_eq!(send(&of_back_end, "").0, "http://y");
    assert_eq!(send(&of_back_end, id).0, "http://x");
}

#[test]
fn weights_timeouts_and_credentials_are_read() {
    let weighted = "<loadbalance algorithm='org.apache.synapse.endpoints.algorithms.WeightedRoundRobin'>\
        <endpoint name='x'><address uri='http://x'><timeout><duration>{$ctx:ms}</duration></timeout>\
        </address><property name='loadbalance.weight' value='2'/><property name='ms' value='70'/></endpoint>\
        <endpoint name='y'><http uri-template='http://y'><authentication><basicAuth><username>u</username>\
        <password>p</password></basicAuth></authentication></http></endpoint></loadbalance>";
    let plan = plan(&[("E", weighted)]);
    let calls = [(); 3].map(|()| call(begin(&plan, None, NOW).1));
    assert_eq!(
        calls.each_ref().map(|call| call.url.as_str()),
        ["http://x", "http://x", "http://y"]
    );
    assert_eq!(calls[0].timeout.unwrap().as_millis(), 70);
    assert_eq!(calls[2].headers["authorization"], "Basic dTpw");
}

#[test]
fn a_client_that_goes_away_suspends_nobody() {
    let plan = plan(&[("E", "<http uri-template='http://e'/>")]);
    let (mut exchange, _) = begin(&plan, None, NOW);
    let step = exchange.failed(Fault::new(Fault::CLIENT_FAILED, "gone"), NOW, true);
    assert_eq!(code(step), "101001");
    assert_eq!(plan.endpoint_states(NOW)[0].state, State::Active);
}

#[test]
fn a_body_that_is_gone_ends_the_tries() {
    let plan = plan(&[(
        "E",
        &format!("<failover>{}{}</failover>", leaf("x"), leaf("y")),
    )]);
    let (mut exchange, _) = begin(&plan, None, NOW);
    let step = exchange.failed(Fault::new(101_500, "broken"), NOW, false);
    assert_eq!(code(step), "101500");
}

#[test]
fn malformed_rules_are_refused_with_their_place() {
    for (kind, rule) in [
        (
            "<http uri-template='http://h'><suspendOnFailure><errorCodes>x</errorCodes></suspendOnFailure></http>",
            "errorCodes must be a number",
        ),
        (
            "<http uri-template='http://h'><timeout><duration>soon</duration></timeout></http>",
            "milliseconds",
        ),
        (
            "<http uri-template='http://h'><timeout><responseAction>retry</responseAction></timeout></http>",
            "fault or discard",
        ),
        ("<failover/>", "at least one <endpoint>"),
        (
            "<session type='jdbc'/><loadbalance><endpoint key='E'/></loadbalance>",
            "session type",
        ),
        ("<address/>", "needs a uri"),
        ("", "an endpoint needs"),
    ] {
        let mut artifact = artifact(SEND);
        artifact.endpoint_entries_to_be_add[0].content =
            format!("<endpoint name='E'>{kind}</endpoint>");
        let compilation = compile(&artifact, &Limits::default());
        assert!(compilation.plan.is_none(), "{kind}");
        let refused = compilation
            .findings
            .iter()
            .find(|finding| finding.severity == Severity::Refused);
        let finding = refused.unwrap();
        assert!(finding.message.contains(rule), "{finding:?}");
        assert!(finding.place.starts_with("endpoint E"), "{finding:?}");
    }
}
