//! Small documents, and every error.

use super::*;

const ORDERS: &str = r#"
openapi: 3.0.3
info:
  title: Order Service
  version: "1.2"
x-wso2-basePath: /shop/orders/1.2
x-wso2-production-endpoints:
  urls: [https://orders.example.com/api]
x-wso2-sandbox-endpoints:
  type: http
  urls: ["http://sandbox.example.com:8080"]
paths:
  /orders:
    get: {responses: {200: {description: ok}}}
    post: {responses: {201: {description: made}}}
  /orders/{id}:
    parameters: []
    delete: {}
    get: {}
  /files/*:
    get: {}
"#;

/// A document with one path and the given other members, in YAML.
pub(super) fn document(members: &str) -> String {
    format!("openapi: 3.1.0\npaths: {{/a: {{get: {{}}}}}}\n{members}\n")
}

pub(super) const INFO: &str = "info: {title: A, version: '1'}\n";
const SERVER: &str = "servers: [{url: 'http://localhost:1'}]\n";

pub(super) fn generated(text: &str) -> GeneratedApi {
    read_openapi(text).unwrap().unwrap()
}

fn with_paths(paths: &str) -> String {
    format!("openapi: 3.0.0\n{INFO}{SERVER}paths:\n{paths}\n")
}

#[track_caller]
pub(super) fn refused(text: &str, pointer: &str, rule: &str) {
    let error = read_openapi(text).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{pointer}: ")), "{error}");
    assert!(error.contains(rule), "{error}");
}

#[test]
fn generates_api_and_endpoints() {
    let api = generated(ORDERS);
    assert_eq!(api.name, "OrderService");
    assert_eq!(api.version, "1.2");
    assert_eq!(api.context, "/shop/orders/{version}");
    assert_eq!(
        api.api_definition,
        r#"<api xmlns="http://ws.apache.org/ns/synapse" name="OrderService" context="/shop/orders/{version}" version="1.2" transports="" version-type="context">
  <resource url-mapping="/orders" methods="GET POST" faultSequence="fault">
    <inSequence>
      <filter source="$ctx:AM_KEY_TYPE" regex="PRODUCTION">
        <then><send><endpoint key="OrderService--v1.2_APIproductionEndpoint"/></send></then>
        <else><send><endpoint key="OrderService--v1.2_APIsandboxEndpoint"/></send></else>
      </filter>
    </inSequence>
    <outSequence><send/></outSequence>
  </resource>
  <resource uri-template="/orders/{id}" methods="GET DELETE" faultSequence="fault">
    <inSequence>
      <filter source="$ctx:AM_KEY_TYPE" regex="PRODUCTION">
        <then><send><endpoint key="OrderService--v1.2_APIproductionEndpoint"/></send></then>
        <else><send><endpoint key="OrderService--v1.2_APIsandboxEndpoint"/></send></else>
      </filter>
    </inSequence>
    <outSequence><send/></outSequence>
  </resource>
  <resource url-mapping="/files/*" methods="GET" faultSequence="fault">
    <inSequence>
      <filter source="$ctx:AM_KEY_TYPE" regex="PRODUCTION">
        <then><send><endpoint key="OrderService--v1.2_APIproductionEndpoint"/></send></then>
        <else><send><endpoint key="OrderService--v1.2_APIsandboxEndpoint"/></send></else>
      </filter>
    </inSequence>
    <outSequence><send/></outSequence>
  </resource>
</api>
"#
    );
    let names: Vec<&str> = api
        .endpoints
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "OrderService--v1.2_APIproductionEndpoint",
            "OrderService--v1.2_APIsandboxEndpoint"
        ]
    );
    assert!(
        api.endpoints[0]
            .1
            .contains("uri-template=\"https://orders.example.com/api\"")
    );
    assert_eq!(
        api.findings,
        ["/info/title: \"Order Service\" became the API name OrderService"]
    );
    let entry = api.local_entry("11111111-2222-3333-4444-555555555555");
    assert!(entry.starts_with("<localEntry key=\"11111111-"), "{entry}");
    assert!(
        entry.contains("&quot;openapi&quot;:&quot;3.0.3&quot;"),
        "{entry}"
    );
}

#[test]
fn json_and_yaml_give_the_same_api() {
    let value: serde_json::Value = serde_saphyr::from_str(ORDERS).unwrap();
    assert_eq!(generated(&value.to_string()), generated(ORDERS));
}

#[test]
fn other_documents_are_none() {
    for text in [
        "",
        "a: 1",
        "{\"a\": 1}",
        "[1]",
        "plain text",
        "# only a comment",
    ] {
        assert_eq!(read_openapi(text), Ok(None), "{text}");
    }
}

#[test]
fn other_versions_are_refused() {
    refused("swagger: '2.0'", "/swagger", "Swagger 2.0 is not read");
    refused("openapi: 4.0.0", "/openapi", "3.0 and 3.1");
    refused("openapi: 3.1", "/openapi", "quotes");
}

#[test]
fn title_and_version_are_required_and_checked() {
    refused(&document(SERVER), "/info", "needs an info object");
    refused(
        &document("info: {version: '1'}"),
        "/info/title",
        "info.title",
    );
    refused(
        &document("info: {title: A}"),
        "/info/version",
        "info.version",
    );
    refused(
        &document("info: {title: A, version: 1.0}"),
        "/info/version",
        "quotes",
    );
    refused(
        &document("info: {title: A, version: 1/2}"),
        "/info/version",
        "part of the URL",
    );
    refused(
        &document("info: {title: A, version: ''}"),
        "/info/version",
        "part of the URL",
    );
    refused(
        &document("info: {title: '! /', version: '1'}"),
        "/info/title",
        "API name",
    );
    refused(&document("info: []"), "/info", "must be an object");
    let chars =
        format!("{SERVER}info: {{title: 'a~!@#;%^*()+={{}}|<>\",[]/$\\&-b', version: '1'}}");
    assert_eq!(generated(&document(&chars)).name, "a-b");
}

#[test]
fn context_holds_the_version_once() {
    for (base, context) in [
        ("/shop", "/shop/{version}"),
        ("/shop/", "/shop/{version}"),
        ("/shop/1", "/shop/{version}"),
        ("/1/shop", "/{version}/shop"),
        ("/t/acme/shop/{version}", "/t/acme/shop/{version}"),
        ("/{version}/shop", "/{version}/shop"),
        ("/", "/{version}"),
    ] {
        let text = document(&format!("{INFO}{SERVER}x-wso2-basePath: '{base}'"));
        assert_eq!(generated(&text).context, context, "{base}");
    }
    for base in [
        "shop",
        "",
        "/a?b",
        "/{tenant}/a",
        "/a//b",
        "/a b",
        "/a/*",
        "/../a",
    ] {
        let text = document(&format!("{INFO}{SERVER}x-wso2-basePath: '{base}'"));
        refused(&text, "/x-wso2-basePath", "base path");
    }
    assert_eq!(
        generated(&document(&format!("{INFO}{SERVER}"))).context,
        "/a/{version}"
    );
    let foreign = format!("{SERVER}info: {{title: Ж, version: '1'}}");
    refused(&document(&foreign), "/info", "x-wso2-basePath");
}

#[test]
fn paths_are_checked() {
    let none = format!("openapi: 3.0.0\n{INFO}{SERVER}");
    refused(&none, "/paths", "needs paths");
    refused(&with_paths("  {}"), "/paths", "at least one");
    refused(
        &with_paths("  /a: {description: x}"),
        "/paths",
        "at least one",
    );
    refused(&with_paths("  a: {get: {}}"), "/paths/a", "begins with /");
    refused(
        &with_paths("  /a?b=1: {get: {}}"),
        "/paths/~1a?b=1",
        "query",
    );
    refused(&with_paths("  '/a b': {get: {}}"), "/paths/~1a b", "%20");
    refused(
        &with_paths("  '/a/{b': {get: {}}"),
        "/paths/~1a~1{b",
        "not closed",
    );
    refused(
        &with_paths("  '/a/b}': {get: {}}"),
        "/paths/~1a~1b}",
        "not opened",
    );
    refused(
        &with_paths("  '/a/{}': {get: {}}"),
        "/paths/~1a~1{}",
        "{name}",
    );
    refused(
        &with_paths("  /a: [get]"),
        "/paths/~1a",
        "must be an object",
    );
    refused(
        &with_paths("  /a: {get: 1}"),
        "/paths/~1a/get",
        "must be an object",
    );
    refused(
        &with_paths("  /a: {$ref: other.yaml}"),
        "/paths/~1a/$ref",
        "bundle",
    );
    for name in ["+a", "a:3", "a,b", "a*", ".a"] {
        let text = with_paths(&format!("  '/a/{{{name}}}': {{get: {{}}}}"));
        refused(&text, &format!("/paths/~1a~1{{{name}}}"), "another meaning");
    }
    let slash = read_openapi(&with_paths("  /a: {get: {}}\n  /a/: {put: {}}"));
    assert!(matches!(slash, Err(OpenApiError::SameTemplate { .. })));
    let error = read_openapi(&with_paths("  '/a/{b}': {get: {}}\n  '/a/{c}': {put: {}}"));
    assert_eq!(
        error,
        Err(OpenApiError::SameTemplate {
            first: "/paths/~1a~1{b}".into(),
            second: "/paths/~1a~1{c}".into()
        })
    );
}

#[test]
fn the_catch_all_comes_last() {
    let text = with_paths("  /*: {get: {}}\n  /a/*: {get: {}}\n  /b: {get: {}}");
    let xml = generated(&text).api_definition;
    let at = |path: &str| xml.find(&format!("url-mapping=\"{path}\"")).unwrap();
    assert!(at("/b") < at("/a/*") && at("/a/*") < at("/*"), "{xml}");
}

#[test]
fn a_path_item_may_be_referenced_inside_the_document() {
    let text = with_paths("  /a: {$ref: '#/paths/~1b'}\n  /b: {put: {}}");
    let xml = generated(&text).api_definition;
    assert!(xml.contains("url-mapping=\"/a\" methods=\"PUT\""), "{xml}");
}

#[test]
fn what_is_not_used_is_a_finding() {
    let text = with_paths(
        "  /a:
    x-wso2-production-endpoints: {urls: ['http://x']}
    servers: []
    GET: {}
    trace: {}
    x-note: fine
    get: {x-wso2-sandbox-endpoints: {}, servers: []}
  /empty: {}
  x-note: fine
x-wso2-cors: {}
x-other: fine",
    );
    let mut findings = generated(&text).findings;
    findings.sort();
    assert_eq!(
        findings,
        [
            "/paths/~1a/GET: not used",
            "/paths/~1a/get/servers: not used",
            "/paths/~1a/get/x-wso2-sandbox-endpoints: not used",
            "/paths/~1a/servers: not used; one back end serves the whole API",
            "/paths/~1a/trace: TRACE is not published",
            "/paths/~1a/x-wso2-production-endpoints: not used",
            "/paths/~1empty: no operation, so no resource",
            "/x-wso2-cors: not used",
        ]
    );
}

#[test]
fn everything_is_escaped() {
    let text = with_paths("  \"/a'<\\\"&>\": {get: {}}");
    let xml = generated(&text).api_definition;
    assert!(
        xml.contains("url-mapping=\"/a&apos;&lt;&quot;&amp;&gt;\""),
        "{xml}"
    );
}

#[test]
fn the_sample_document_gives_an_api_without_findings() {
    let api = generated(include_str!(
        "../../../../conf/samples/weather-openapi.yaml"
    ));
    assert_eq!(
        (api.name.as_str(), api.version.as_str()),
        ("WeatherAPI", "2.1.0")
    );
    assert_eq!(api.context, "/weather/{version}");
    assert_eq!(api.api_definition.matches("<resource ").count(), 4);
    assert!(
        api.endpoints[0]
            .1
            .contains("\"http://localhost:9580/weather\"")
    );
    assert!(api.findings.is_empty(), "{:?}", api.findings);
}
