//! Endpoint security on exchanges: Basic credentials, OAuth tokens, API keys.

use bytes::Bytes;

use super::*;

const CLIENT: &str =
    "<clientId>cid</clientId><clientSecret>top</clientSecret><tokenUrl>http://t/token</tokenUrl>";

fn secured(grant: &str) -> Artifact {
    let mut artifact = artifact(SEND);
    artifact.endpoint_entries_to_be_add[0].content = format!(
        "<endpoint name='E'><http uri-template='http://b:1/svc'><authentication><oauth>{grant}</oauth>\
         </authentication></http></endpoint>"
    );
    artifact
}

fn plan(artifact: &Artifact) -> std::sync::Arc<crate::Plan> {
    let compilation = compile(artifact, &Limits::default());
    compilation
        .plan
        .unwrap_or_else(|| panic!("{:?}", compilation.findings))
}

/// Starts at a plan, so that exchanges share its tokens.
fn begin(plan: &std::sync::Arc<crate::Plan>, now: i64) -> (Exchange, Step) {
    let target = Target {
        api: 0,
        resource: found(Vec::new()),
        rest_url_postfix: "/o/7",
    };
    let request = Request {
        method: "POST",
        target: "/a/1/o/7",
        https: false,
        headers: HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            HeaderValue::from_static("Bearer client"),
        )]),
        has_body: true,
        remote: None,
    };
    let environment = Environment {
        now,
        message_id: MessageId::default(),
        settings: Arc::default(),
    };
    Exchange::start(std::sync::Arc::clone(plan), target, request, environment)
}

fn text(call: &BackendCall) -> String {
    match &call.body {
        Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Answers the calls for a token one after the other; the calls' bodies, and what follows.
fn granted(
    exchange: &mut Exchange,
    step: &Step,
    answers: &[(u16, &str)],
    now: i64,
) -> (Vec<String>, Step) {
    assert!(matches!(step, Step::Token(_)), "{step:?}");
    let mut bodies = Vec::new();
    while let Some(call) = exchange.token_call(now) {
        let (status, body) = answers[bodies.len()];
        bodies.push(text(&call));
        exchange.token_came(Ok((status, Bytes::copy_from_slice(body.as_bytes()))), now);
    }
    (bodies, exchange.with_token(now))
}

const TOKEN: (u16, &str) = (200, r#"{"access_token":"t1","expires_in":100}"#);

#[test]
fn a_token_is_got_once_and_used_until_it_ends() {
    let plan = plan(&secured(&format!(
        "<clientCredentials>{CLIENT}<authMode/><requestParameters><parameter name='scope'>a b</parameter>\
         </requestParameters></clientCredentials>"
    )));
    let (mut exchange, step) = begin(&plan, 0);
    assert!(matches!(step, Step::Token(_)));
    let wanted = exchange.token_call(0).unwrap();
    assert_eq!(
        (wanted.method.as_str(), wanted.url.as_str()),
        ("POST", "http://t/token")
    );
    assert_eq!(wanted.headers["authorization"], "Basic Y2lkOnRvcA==");
    assert_eq!(
        wanted.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(text(&wanted), "grant_type=client_credentials&scope=a%20b");
    exchange.token_came(Ok((200, Bytes::from_static(TOKEN.1.as_bytes()))), 0);
    assert!(exchange.token_call(0).is_none());
    let sent = call(exchange.with_token(0));
    assert_eq!(sent.headers["authorization"], "Bearer t1");
    assert!(sent.headers["authorization"].is_sensitive() && sent.may_repeat);
    assert_eq!(
        (sent.url.as_str(), &sent.body),
        ("http://b:1/svc/o/7", &Body::Request)
    );
    assert_eq!(
        call(begin(&plan, 98_999).1).headers["authorization"],
        "Bearer t1"
    );
    assert!(matches!(begin(&plan, 99_000).1, Step::Token(_)));
}

#[test]
fn who_has_waited_takes_what_has_come() {
    let plan = plan(&secured(&format!(
        "<clientCredentials>{CLIENT}</clientCredentials>"
    )));
    let (mut first, step) = begin(&plan, 0);
    let (mut second, waiting) = begin(&plan, 0);
    let (mut third, also_waiting) = begin(&plan, 0);
    let (bodies, failed) = granted(&mut first, &step, &[(500, "")], 0);
    assert_eq!(bodies.len(), 1);
    let (status, _, body) = answer(failed);
    assert_eq!(status, 500);
    assert!(
        body.contains("Could not generate access token for oauth configured http endpoint E"),
        "{body}"
    );
    // It failed while the second one waited: it is not asked again for that one.
    let (bodies, failed) = granted(&mut second, &waiting, &[], 0);
    assert!(bodies.is_empty());
    assert_eq!(answer(failed).0, 500);
    let (mut fourth, step) = begin(&plan, 1);
    assert_eq!(granted(&mut fourth, &step, &[TOKEN], 1).0.len(), 1);
    let (bodies, sent) = granted(&mut third, &also_waiting, &[], 1);
    assert!(bodies.is_empty());
    assert_eq!(call(sent).headers["authorization"], "Bearer t1");
}

#[test]
fn a_token_that_is_refused_is_renewed_once() {
    let plan = plan(&secured(&format!(
        "<clientCredentials>{CLIENT}</clientCredentials>"
    )));
    let (mut exchange, step) = begin(&plan, 0);
    granted(&mut exchange, &step, &[TOKEN], 0);
    let step = exchange.response(respond_with(401), 1);
    let newer = (200, r#"{"access_token":"t2"}"#);
    let (_, step) = granted(&mut exchange, &step, &[newer], 1);
    let again = call(step);
    assert_eq!(again.headers["authorization"], "Bearer t2");
    assert_eq!(again.body, Body::Request);
    assert_eq!(answer(exchange.response(respond_with(401), 2)).0, 401);

    // A request that is gone cannot be sent again, but the next one has a new token.
    let (mut exchange, _) = begin(&plan, 3);
    let gone = BackendResponse {
        request_left: false,
        ..respond_with(401)
    };
    assert_eq!(answer(exchange.response(gone, 3)).0, 401);
    assert!(matches!(begin(&plan, 3).1, Step::Token(_)));
}

#[test]
fn passwords_refresh_tokens_and_credentials_in_the_payload() {
    let password = secured(&format!(
        "<passwordCredentials>{CLIENT}<username>u</username><password>{{wso2:vault-lookup('pw')}}</password>\
         <authMode>payload</authMode><customHeaders><header name='X-Tenant'>z</header></customHeaders>\
         </passwordCredentials>"
    ));
    let mut with_secret = password.clone();
    with_secret.credentials_to_be_add = vec![artifact::Credential {
        alias: "pw".into(),
        password: "p%26w".into(),
    }];
    let own = plan(&with_secret);
    let (mut exchange, step) = begin(&own, 0);
    let wanted = exchange.token_call(0).unwrap();
    assert_eq!(wanted.headers["x-tenant"], "z");
    assert!(wanted.headers.get("authorization").is_none());
    assert_eq!(
        text(&wanted),
        "grant_type=password&username=u&password=p%26w&client_id=cid&client_secret=top"
    );
    let refreshable = (
        200,
        r#"{"access_token":"t1","expires_in":10,"refresh_token":"r1"}"#,
    );
    granted(&mut exchange, &step, &[refreshable], 0);
    let (mut exchange, step) = begin(&own, 60_000);
    let (bodies, step) = granted(&mut exchange, &step, &[(400, "{}"), TOKEN], 60_000);
    assert_eq!(
        bodies[0],
        "grant_type=refresh_token&refresh_token=r1&client_id=cid&client_secret=top"
    );
    assert!(bodies[1].starts_with("grant_type=password&"), "{bodies:?}");
    assert_eq!(call(step).headers["authorization"], "Bearer t1");

    // Without the secret it is a finding, and a fault at request time.
    let compilation = compile(&password, &Limits::default());
    assert!(compilation.findings[0].message.contains("alias pw"));
    assert_eq!(answer(begin(&compilation.plan.unwrap(), 0).1).0, 500);

    let code = plan(&secured(&format!(
        "<authorizationCode>{CLIENT}<refreshToken>r0</refreshToken></authorizationCode>"
    )));
    let wanted = begin(&code, 0).0.token_call(0).unwrap();
    assert_eq!(text(&wanted), "grant_type=refresh_token&refresh_token=r0");
}

#[test]
fn a_later_revision_goes_on_with_the_tokens() {
    let artifact = secured(&format!("<clientCredentials>{CLIENT}</clientCredentials>"));
    let older = plan(&artifact);
    let (mut exchange, step) = begin(&older, 0);
    granted(&mut exchange, &step, &[TOKEN], 0);
    let newer = plan(&artifact);
    newer.take_over_states(&older);
    assert_eq!(
        call(begin(&newer, 1).1).headers["authorization"],
        "Bearer t1"
    );
    let other = plan(&secured(&format!(
        "<clientCredentials>{}</clientCredentials>",
        CLIENT.replace("top", "changed")
    )));
    other.take_over_states(&older);
    assert!(matches!(begin(&other, 1).1, Step::Token(_)));
}

#[test]
fn the_mediators_of_api_manager_put_tokens_and_keys_into_the_message() {
    let class = |class: &str, properties: &[(&str, &str)]| {
        let properties: String = properties
            .iter()
            .map(|(name, value)| format!("<property name='{name}' value='{value}' type='STRING'/>"))
            .collect();
        format!(
            "<class name='org.wso2.carbon.apimgt.gateway.mediators.{class}'>{properties}</class>"
        )
    };
    let oauth = class(
        "oauth.OAuthMediator",
        &[
            ("uniqueIdentifier", "u-production"),
            ("tokenEndpointUrl", "http://t/token"),
            ("clientId", "cid"),
            ("grantType", "CLIENT_CREDENTIALS"),
            ("customParameters", "{\"audience\":\"x\"}"),
            ("clientSecret", "top"),
        ],
    );
    let response = class("oauth.OAuthResponseMediator", &[]);
    let plan_of = |mediators: &str| {
        plan(&artifact(&format!(
            "<inSequence>{mediators}<send><endpoint key='E'/></send></inSequence>\
             <outSequence>{response}<send/></outSequence>"
        )))
    };
    let with_token = plan_of(&oauth);
    let (mut exchange, step) = begin(&with_token, 0);
    let (bodies, step) = granted(&mut exchange, &step, &[TOKEN], 0);
    assert_eq!(bodies, ["grant_type=client_credentials&audience=x"]);
    assert_eq!(call(step).headers["authorization"], "Bearer t1");
    let (status, headers, body) = answer(exchange.response(respond_with(401), 1));
    assert_eq!(status, 500);
    assert!(body.contains("900900"), "{body}");
    assert!(headers.get("authorization").is_none());
    assert!(matches!(begin(&with_token, 2).1, Step::Token(_)));

    let key = |kind: &str| {
        class(
            "ApiKeyMediator",
            &[
                ("apiKeyIdentifier", "api key"),
                ("apiKeyIdentifierType", kind),
                ("apiKeyValue", "k&1"),
            ],
        )
    };
    let key = |kind: &str| key(kind).replace("k&1", "k&amp;1");
    let sent = call(begin(&plan_of(&key("QUERY_PARAMETER")), 0).1);
    assert_eq!(sent.url, "http://b:1/svc/o/7?api%20key=k%261");
    let header = key("HEADER").replace("api key", "X-Key");
    assert_eq!(call(begin(&plan_of(&header), 0).1).headers["x-key"], "k&1");
}

#[test]
fn credentials_are_never_shown() {
    let artifact = secured(&format!(
        "<passwordCredentials>{CLIENT}<username>u</username><password>hidden</password></passwordCredentials>"
    ));
    let plan = plan(&artifact);
    let (mut exchange, step) = begin(&plan, 0);
    let asked = exchange.token_call(0).unwrap();
    exchange.token_came(
        Ok((200, Bytes::from_static(b"{\"access_token\":\"unseen\"}"))),
        0,
    );
    let sent = exchange.with_token(0);
    let shown = format!("{plan:?} {exchange:?} {step:?} {asked:?} {sent:?}");
    for secret in ["hidden", "top", "unseen", "Y2lkOnRvcA"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn incomplete_credentials_are_refused_without_showing_them() {
    for (authentication, rule) in [
        (
            "<oauth><clientCredentials><clientId>cid</clientId></clientCredentials></oauth>",
            "tokenUrl",
        ),
        ("<oauth/>", "needs one of"),
        (
            "<oauth><clientCredentials/><passwordCredentials/></oauth>",
            "needs one of",
        ),
        ("<basicAuth><username>u</username></basicAuth>", "password"),
    ] {
        let mut artifact = artifact(SEND);
        artifact.endpoint_entries_to_be_add[0].content = format!(
            "<endpoint name='E'><http uri-template='http://b'><authentication>{authentication}</authentication>\
             </http></endpoint>"
        );
        let compilation = compile(&artifact, &Limits::default());
        assert!(compilation.plan.is_none(), "{authentication}");
        let finding = &compilation.findings[0];
        assert!(finding.message.contains(rule), "{finding:?}");
        assert!(
            finding
                .place
                .starts_with("endpoint E/endpoint/http/authentication")
                || finding.place.contains("authentication"),
            "{finding:?}"
        );
    }
}

/// An API as API Manager renders it, with the endpoints of the same scenario.
fn rendered(corpus: &std::path::Path, scenario: &str) -> Artifact {
    let line = corpus.join("rendered/4.7");
    let of = |folder: &str| -> Vec<Content> {
        let files = std::fs::read_dir(line.join(folder)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|file| {
                file.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(scenario)
            })
            .map(|file| Content {
                name: file.display().to_string(),
                content: std::fs::read_to_string(&file).unwrap(),
            })
            .collect()
    };
    Artifact {
        api_definition: of("api").pop().map(|api| api.content),
        endpoint_entries_to_be_add: of("endpoints"),
        ..artifact("")
    }
}

#[test]
fn endpoint_security_as_it_is_rendered() {
    let Some(corpus) = corpus("rendered endpoint security") else {
        return;
    };
    let mut basic = rendered(&corpus, "61-");
    basic.credentials_to_be_add = vec![artifact::Credential {
        alias: "prod--SecAPI".into(),
        password: "admin".into(),
    }];
    let sent = call(begin(&plan(&basic), 0).1);
    assert_eq!(sent.headers["authorization"], "Basic YWRtaW46YWRtaW4=");

    for scenario in ["63-", "64-"] {
        let own = plan(&rendered(&corpus, scenario));
        let (mut exchange, step) = begin(&own, 0);
        let (bodies, step) = granted(&mut exchange, &step, &[TOKEN], 0);
        assert_eq!(bodies, ["grant_type=client_credentials"], "{scenario}");
        let sent = call(step);
        assert_eq!(sent.headers["authorization"], "Bearer t1");
        assert!(
            sent.url
                .starts_with("https://localhost:9443/am/sample/pizzashack/v1/api/")
        );
        let sent = call(begin(&own, 1).1);
        assert_eq!(sent.headers["authorization"], "Bearer t1");
    }
}
