//! The handlers of API Manager, run by the engine itself.

use super::*;

/// An API with `handlers`, sent to E; `resources` before its own.
fn with_handlers(handlers: &str, resources: &str) -> Artifact {
    let mut artifact = artifact("<inSequence><send><endpoint key='E'/></send></inSequence>");
    let definition = artifact.api_definition.take().unwrap();
    let definition = definition.replace("<resource ", &format!("{resources}<resource "));
    artifact.api_definition =
        Some(definition.replace("</api>", &format!("<handlers>{handlers}</handlers></api>")));
    artifact
}

fn cors(properties: &str) -> String {
    handler("security.CORSRequestHandler", properties)
}

fn handler(class: &str, properties: &str) -> String {
    let properties: String = properties
        .split_terminator(';')
        .filter_map(|property| property.split_once('='))
        .map(|(name, value)| format!("<property name='{name}' value='{value}'/>"))
        .collect();
    format!(
        "<handler class='org.wso2.carbon.apimgt.gateway.handlers.{class}'>{properties}</handler>"
    )
}

/// A request that dispatch, too, has a say in.
fn ask(
    artifact: &Artifact,
    method: &str,
    path: &str,
    headers: &[(&'static str, &'static str)],
    settings: Settings,
) -> (Exchange, Step) {
    let plan = compile(artifact, &Limits::default()).plan.unwrap();
    let head = crate::dispatch::RequestHead {
        method,
        target: path,
        ..Default::default()
    };
    let resource =
        plan.apis[0]
            .route
            .choose_resource(&head, path, crate::dispatch::DEFAULT_BINDING);
    let target = Target {
        api: 0,
        resource,
        rest_url_postfix: path,
    };
    let full = format!("/a/1{path}");
    let request = Request {
        method,
        target: &full,
        https: false,
        headers: headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect(),
        has_body: false,
        remote: None,
    };
    let environment = Environment {
        now: 0,
        message_id: MessageId::default(),
        settings: Arc::new(settings),
    };
    Exchange::start(plan, target, request, environment)
}

fn back_end_says(exchange: &mut Exchange) -> HeaderMap {
    let head = BackendResponse {
        status: 200,
        headers: HeaderMap::new(),
        request_left: false,
    };
    answer(exchange.response(head, 0)).1
}

const ORIGIN: (&str, &str) = ("origin", "https://shop.example");

fn preflight_for(method: &'static str) -> [(&'static str, &'static str); 2] {
    [ORIGIN, ("access-control-request-method", method)]
}

#[test]
fn a_preflight_is_answered_with_what_the_elected_resource_allows() {
    let artifact = with_handlers(&cors(""), "");
    let asked = preflight_for("POST");
    let (status, headers, text) =
        answer(ask(&artifact, "OPTIONS", "/o/7", &asked, Settings::default()).1);
    assert_eq!((status, text.as_str()), (200, ""));
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-allow-methods"], "GET,POST");
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    assert!(
        allowed.starts_with("authorization,") && allowed.ends_with(",Authorization"),
        "{allowed}"
    );
    assert!(headers.get("access-control-allow-credentials").is_none());
    // Nothing that the client sent comes back.
    assert!(headers.get("origin").is_none());
}

#[test]
fn an_api_says_itself_which_origins_methods_and_headers() {
    let own = "allowedOrigins=https://shop.example,https://b.example;allowHeaders=X-Own;\
               allowedMethods=GET;allowCredentials=true;AuthorizationHeader=X-Token";
    let artifact = with_handlers(&cors(own), "");
    let asked = preflight_for("GET");
    let (_, headers, _) = answer(ask(&artifact, "OPTIONS", "/o/7", &asked, Settings::default()).1);
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://shop.example"
    );
    assert_eq!(headers["vary"], "Origin");
    assert_eq!(headers["access-control-allow-methods"], "GET");
    assert_eq!(headers["access-control-allow-headers"], "X-Own,X-Token");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    let other = [
        ("origin", "https://other.example"),
        ("access-control-request-method", "GET"),
    ];
    let (status, headers, _) =
        answer(ask(&artifact, "OPTIONS", "/o/7", &other, Settings::default()).1);
    assert_eq!(status, 200);
    assert!(headers.get("access-control-allow-origin").is_none());
    assert!(headers.get("access-control-allow-credentials").is_none());
}

#[test]
fn answers_of_the_back_end_get_the_headers_that_they_lack() {
    let artifact = with_handlers(&cors(""), "");
    let (mut exchange, _) = ask(&artifact, "GET", "/o/7", &[ORIGIN], Settings::default());
    let headers = back_end_says(&mut exchange);
    assert_eq!(headers["access-control-allow-origin"], "*");
    // Of preflights only.
    assert!(headers.get("access-control-allow-methods").is_none());
    let (mut exchange, _) = ask(&artifact, "GET", "/o/7", &[ORIGIN], Settings::default());
    let mut headers = HeaderMap::new();
    headers.insert(
        "access-control-allow-origin",
        HeaderValue::from_static("https://own.example"),
    );
    let response = BackendResponse {
        status: 200,
        headers,
        request_left: false,
    };
    assert_eq!(
        answer(exchange.response(response, 0)).1["access-control-allow-origin"],
        "https://own.example"
    );
    let mut off = Settings::default();
    off.cors.enable = false;
    let (mut exchange, _) = ask(&artifact, "GET", "/o/7", &[ORIGIN], off);
    assert!(back_end_says(&mut exchange).is_empty());
}

#[test]
fn without_a_resource_the_cors_handler_says_404_or_405() {
    let artifact = with_handlers(&cors(""), "");
    for (method, path, status, description) in [
        (
            "GET",
            "/none",
            404,
            "No matching resource found for given API Request",
        ),
        (
            "DELETE",
            "/o/7",
            405,
            "Method not allowed for given API resource",
        ),
        (
            "OPTIONS",
            "/o/7",
            405,
            "Method not allowed for given API resource",
        ),
    ] {
        let (found, _, text) =
            answer(ask(&artifact, method, path, &[ORIGIN], Settings::default()).1);
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found, status, "{method} {path}");
        assert_eq!(body["code"], status.to_string());
        assert_eq!(body["description"], description);
    }
    let mut own = artifact;
    own.sequence_to_be_add = vec![Content {
        name: "fault".into(),
        content: "<sequence name='fault'><payloadFactory media-type='text'><format>$1</format><args>\
                  <arg expression='$ctx:ERROR_MESSAGE'/></args></payloadFactory><respond/></sequence>".into(),
    }];
    let (status, _, text) = answer(ask(&own, "GET", "/none", &[], Settings::default()).1);
    assert_eq!(
        (status, text.as_str()),
        (404, "No matching resource found for given API Request")
    );
}

#[test]
fn a_resource_that_lists_options_lets_the_back_end_answer() {
    let own = "<resource methods='OPTIONS' url-mapping='/own'><inSequence><send><endpoint key='E'/></send></inSequence></resource>";
    let artifact = with_handlers(&cors(""), own);
    let (mut exchange, step) = ask(
        &artifact,
        "OPTIONS",
        "/own",
        &preflight_for("GET"),
        Settings::default(),
    );
    assert_eq!(call(step).method, "OPTIONS");
    assert!(back_end_says(&mut exchange).is_empty());
}

#[test]
fn policies_see_the_elected_resource_and_synapse_runs_its_own() {
    let catch_all = "<resource methods='GET' url-mapping='/*'><inSequence><payloadFactory media-type='text'><format>$1</format>\
        <args><arg expression='$ctx:API_ELECTED_RESOURCE'/></args></payloadFactory><respond/></inSequence></resource>";
    let (_, _, text) = answer(
        ask(
            &with_handlers(&cors(""), catch_all),
            "GET",
            "/o/7",
            &[],
            Settings::default(),
        )
        .1,
    );
    assert_eq!(text, "/o/{id}");
    let (_, _, text) = answer(
        ask(
            &with_handlers("", catch_all),
            "GET",
            "/o/7",
            &[],
            Settings::default(),
        )
        .1,
    );
    assert_eq!(text, "/*");
}

#[test]
fn a_blocked_api_answers_nothing_else() {
    let mut artifact = with_handlers(&handler("common.APIStatusHandler", ""), "");
    call(ask(&artifact, "GET", "/o/7", &[], Settings::default()).1);
    artifact.other.insert(
        "additionalProperties".into(),
        serde_json::json!({ "apiStatus": "BLOCKED" }),
    );
    let (status, _, text) = answer(ask(&artifact, "GET", "/o/7", &[], Settings::default()).1);
    assert_eq!(status, 503);
    assert!(text.contains("700700"), "{text}");
}

fn enforced() -> Settings {
    Settings {
        security: Security::Enforce,
        ..Settings::default()
    }
}

fn secured() -> Artifact {
    let authentication = handler(
        "security.APIAuthenticationHandler",
        "APISecurity=oauth2,api_key;AuthorizationHeader=X-Token",
    );
    let handlers = [
        cors(""),
        authentication,
        handler("throttling.ThrottleHandler", ""),
    ]
    .concat();
    with_handlers(&handlers, "")
}

#[test]
fn credentials_and_quotas_are_asked_for_only_where_security_is_enforced() {
    call(ask(&secured(), "GET", "/o/7", &[], Settings::default()).1);
    let (mut exchange, step) = ask(&secured(), "GET", "/o/7", &[("x-token", "t")], enforced());
    assert!(matches!(step, Step::Ask(Question::Credentials)), "{step:?}");
    let asked = exchange.asked().unwrap();
    assert_eq!(
        (asked.api, asked.resource, asked.method),
        ("A", "/o/{id}", "GET")
    );
    assert_eq!(asked.schemes, ["oauth2", "api_key"]);
    assert_eq!(
        (asked.authorization_header, asked.api_key_header),
        ("X-Token", "ApiKey")
    );
    assert_eq!(asked.headers["x-token"], "t");
    let admitted = Admitted {
        key_type: crate::plan::KeyType::Sandbox,
        properties: vec![("APPLICATION_NAME".into(), "shop".into())],
    };
    let step = exchange.answered(Question::Credentials, Ok(admitted.clone()));
    assert!(matches!(step, Step::Ask(Question::Quota)), "{step:?}");
    call(exchange.answered(Question::Quota, Ok(admitted)));
    // A preflight carries no credentials.
    let (status, ..) = answer(
        ask(
            &secured(),
            "OPTIONS",
            "/o/7",
            &preflight_for("GET"),
            enforced(),
        )
        .1,
    );
    assert_eq!(status, 200);
}

#[test]
fn who_is_refused_is_told_why_and_scripts_can_read_it() {
    let refused = |status, code: u32, challenge: Option<&str>| Refused {
        status,
        code,
        message: "m".into(),
        description: "d".into(),
        challenge: challenge.map(str::to_owned),
    };
    let (mut exchange, _) = ask(&secured(), "GET", "/o/7", &[ORIGIN], enforced());
    let challenge = "OAuth2 realm=\"WSO2 API Manager\"";
    let step = exchange.answered(
        Question::Credentials,
        Err(refused(401, 900_902, Some(challenge))),
    );
    let (status, headers, text) = answer(step);
    assert_eq!(status, 401);
    assert_eq!(text, r#"{"code":"900902","message":"m","description":"d"}"#);
    assert_eq!(headers["www-authenticate"], challenge);
    assert_eq!(headers["access-control-allow-origin"], "*");
    let (mut exchange, _) = ask(&secured(), "GET", "/o/7", &[], enforced());
    let step = exchange.answered(Question::Quota, Err(refused(429, 900_804, None)));
    let (status, _, text) = answer(step);
    assert_eq!(status, 429);
    assert_eq!(text, r#"{"code":"900804","message":"m","description":"d"}"#);
}

#[test]
fn open_operations_ask_nobody() {
    let mut artifact = secured();
    artifact.local_entries_to_be_add = vec![Content {
        name: "u".into(),
        content: "<localEntry key='u'>{\"paths\":{\"/o/{id}\":{\"get\":{\"x-auth-type\":\"None\"},\
                  \"post\":{\"x-auth-type\":\"Any\"}}}}</localEntry>"
            .into(),
    }];
    let step = |method| ask(&artifact, method, "/o/7", &[], enforced()).1;
    assert!(matches!(step("GET"), Step::Ask(Question::Quota)));
    assert!(matches!(step("POST"), Step::Ask(Question::Credentials)));
}

#[test]
fn an_unknown_handler_may_be_what_protects_the_api() {
    let artifact = with_handlers("<handler class='com.example.Verifier'/>", "");
    let findings = compile(&artifact, &Limits::default()).findings;
    assert!(
        findings.iter().any(
            |it| it.severity == Severity::NotExecuted && it.place.ends_with("handlers/handler")
        ),
        "{findings:?}"
    );
    call(ask(&artifact, "GET", "/o/7", &[], Settings::default()).1);
    let (status, _, text) = answer(ask(&artifact, "GET", "/o/7", &[], enforced()).1);
    assert_eq!(status, 501);
    assert!(text.contains("com.example.Verifier"), "{text}");
}

#[test]
fn handlers_behind_the_extension_wait_for_its_sequences() {
    let handlers = [
        handler("ext.APIManagerExtensionHandler", ""),
        handler("security.APIAuthenticationHandler", ""),
    ]
    .concat();
    let mut artifact = with_handlers(&handlers, "");
    let sequence = |name: &str, inside: &str| Content {
        name: name.into(),
        content: format!("<sequence name='{name}'>{inside}</sequence>"),
    };
    artifact.sequence_to_be_add = vec![
        sequence(
            "A:v1--In",
            "<property name='x-own' scope='transport' value='1'/>",
        ),
        sequence(
            "A:v1--Out",
            "<property name='x-out' scope='transport' value='2'/>",
        ),
    ];
    let (mut exchange, step) = ask(&artifact, "GET", "/o/7", &[], enforced());
    assert!(matches!(step, Step::Ask(Question::Credentials)), "{step:?}");
    assert_eq!(exchange.asked().unwrap().headers["x-own"], "1");
    let admitted = Admitted {
        key_type: crate::plan::KeyType::Production,
        properties: Vec::new(),
    };
    call(exchange.answered(Question::Credentials, Ok(admitted)));
    assert_eq!(back_end_says(&mut exchange)["x-out"], "2");
    // A sequence that answers ends it: nobody is asked any more.
    artifact.sequence_to_be_add[0] = sequence("A:v1--In", "<drop/>");
    assert_eq!(
        answer(ask(&artifact, "GET", "/o/7", &[], enforced()).1).0,
        202
    );
}

#[test]
fn extension_sequences_see_the_variables_of_the_request() {
    let handlers = [cors(""), handler("ext.APIManagerExtensionHandler", "")].concat();
    let mut artifact = with_handlers(&handlers, "");
    artifact.sequence_to_be_add = vec![Content {
        name: "A:v1--In".into(),
        content: "<sequence name='A:v1--In'><payloadFactory media-type='text'><format>$1 $2</format><args>\
                  <arg expression='$ctx:uri.var.id'/><arg expression='$url:q'/></args></payloadFactory><respond/></sequence>"
            .into(),
    }];
    let (_, _, text) = answer(ask(&artifact, "GET", "/o/7?q=z", &[], Settings::default()).1);
    assert_eq!(text, "7 z");
}

#[test]
fn a_quota_does_not_say_who_it_is() {
    let (mut exchange, _) = ask(&secured(), "GET", "/o/7", &[], enforced());
    let admitted = |key_type| Admitted {
        key_type,
        properties: Vec::new(),
    };
    let _ = exchange.answered(
        Question::Credentials,
        Ok(admitted(crate::plan::KeyType::Sandbox)),
    );
    call(exchange.answered(
        Question::Quota,
        Ok(admitted(crate::plan::KeyType::Production)),
    ));
    assert_eq!(
        exchange.default_text("AM_KEY_TYPE").as_deref(),
        Some("SANDBOX")
    );
}

#[test]
fn an_open_template_does_not_open_the_mapping_that_mediates() {
    let catch_all = "<resource methods='GET' url-mapping='/*'><inSequence><send><endpoint key='E'/></send></inSequence></resource>";
    let authentication = handler("security.APIAuthenticationHandler", "");
    let mut artifact = with_handlers(&[cors(""), authentication].concat(), catch_all);
    artifact.local_entries_to_be_add = vec![Content {
        name: "u".into(),
        content: "<localEntry key='u'>{\"paths\":{\"/o/{id}\":{\"get\":{\"x-auth-type\":\"None\"}}}}</localEntry>"
            .into(),
    }];
    let (_, step) = ask(&artifact, "GET", "/o/7", &[], enforced());
    assert!(matches!(step, Step::Ask(Question::Credentials)), "{step:?}");
}

#[test]
fn a_class_of_others_is_not_known_by_its_last_name() {
    let own = "<handler class='com.example.ThrottleHandler'/>";
    let (status, ..) = answer(ask(&with_handlers(own, ""), "GET", "/o/7", &[], enforced()).1);
    assert_eq!(status, 501);
}

#[test]
fn caches_are_told_that_the_origin_matters() {
    let artifact = with_handlers(&cors("allowedOrigins=https://shop.example"), "");
    let (mut exchange, _) = ask(&artifact, "GET", "/o/7", &[], Settings::default());
    let headers = back_end_says(&mut exchange);
    assert_eq!(headers["vary"], "Origin");
    assert!(headers.get("access-control-allow-origin").is_none());
    // Also where the answer is an error of the gateway.
    let (_, headers, _) = answer(exchange_with_fault(&artifact));
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://shop.example"
    );
    assert_eq!(headers["vary"], "Origin");
}

fn exchange_with_fault(artifact: &Artifact) -> Step {
    let (mut exchange, _) = ask(artifact, "GET", "/o/7", &[ORIGIN], Settings::default());
    exchange.failed(Fault::new(Fault::CONNECTION_FAILED, "down"), 0, true)
}

#[test]
fn credentials_for_the_gateway_do_not_travel_on() {
    let sent = |properties: &str, name: &'static str, value: &'static str| {
        let authentication = handler("security.APIAuthenticationHandler", properties);
        let all = format!("{}{authentication}", cors("apiImplementationType=ENDPOINT"));
        let artifact = with_handlers(&all, "");
        let (_, step) = ask(
            &artifact,
            "GET",
            "/o/1",
            &[(name, value)],
            Settings::default(),
        );
        let headers = call(step).headers;
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let removes = "RemoveOAuthHeadersFromOutMessage=true;";
    for (properties, value, left) in [
        ("", "Bearer t", Some("Bearer t")),
        (removes, "Bearer t", None),
        (
            removes,
            "bearer  t , Digest a=\"b\",c=d",
            Some("Digest a=\"b\",c=d"),
        ),
        (removes, "Basic dTpw", Some("Basic dTpw")),
        (removes, "Bearers t", Some("Bearers t")),
        (
            &format!("{removes}APISecurity=basic_auth,api_key"),
            "Basic dTpw",
            None,
        ),
        (
            &format!("{removes}APISecurity=api_key"),
            "Bearer t",
            Some("Bearer t"),
        ),
        (
            &format!("{removes}APISecurity=oauth2,basic_auth"),
            "Basic dTpw, Bearer t",
            None,
        ),
    ] {
        let found = sent(properties, "authorization", value);
        assert_eq!(found.as_deref(), left, "{properties} {value}");
    }
    let other = format!("{removes}AuthorizationHeader=X-Auth");
    assert_eq!(sent(&other, "x-auth", "Bearer t"), None);
    assert_eq!(
        sent(&other, "authorization", "Bearer t").unwrap(),
        "Bearer t"
    );
}

#[test]
fn credentials_of_the_back_end_are_set_behind_those_for_the_gateway() {
    let properties = "RemoveOAuthHeadersFromOutMessage=true";
    let authentication = handler("security.APIAuthenticationHandler", properties);
    let mut artifact = with_handlers(&authentication, "");
    let definition = artifact.api_definition.take().unwrap();
    let basic =
        "<property name='Authorization' scope='transport' value='Bearer of-the-back-end'/><send>";
    artifact.api_definition = Some(definition.replace("<send>", basic));
    let headers = [("authorization", "Bearer t")];
    let settings = Settings {
        security: Security::Enforce,
        ..Settings::default()
    };
    let (mut exchange, step) = ask(&artifact, "GET", "/o/1", &headers, settings);
    assert!(matches!(step, Step::Ask(Question::Credentials)), "{step:?}");
    assert_eq!(
        exchange.asked().unwrap().headers["authorization"],
        "Bearer t"
    );
    let admitted = Admitted {
        key_type: crate::plan::KeyType::Production,
        properties: Vec::new(),
    };
    let sent = call(exchange.answered(Question::Credentials, Ok(admitted)));
    assert_eq!(sent.headers["authorization"], "Bearer of-the-back-end");
}

#[test]
fn a_body_without_a_type_is_a_form_for_the_properties_handler() {
    let ports = handler("common.SynapsePropertiesHandler", "");
    let artifact = with_handlers(&ports, "");
    let (_, step) = start(&artifact, true);
    let sent = call(step);
    assert_eq!(
        sent.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(sent.body, Body::Request);
    let (_, step) = start(&artifact, false);
    assert!(call(step).headers.get("content-type").is_none());
}
