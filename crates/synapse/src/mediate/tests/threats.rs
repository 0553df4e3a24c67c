//! Threat protection on exchanges.

use super::mediators::run;
use super::*;

fn class(properties: &[(&str, &str)], class: &str) -> String {
    let properties: String = properties
        .iter()
        .map(|(name, value)| format!("<property name='{name}' value=\"{value}\"/>"))
        .collect();
    format!(
        "{properties}<class name='org.wso2.carbon.apimgt.gateway.mediators.{class}'/>\
         <property name='HTTP_SC' scope='axis2' value='299'/><respond/>"
    )
}

#[test]
fn patterns_are_looked_for_in_payloads_headers_and_paths() {
    let with = |properties: &[(&str, &str)], body: &str, content_type: &str| {
        let (status, _, body) = run(
            &class(properties, "RegularExpressionProtector"),
            content_type,
            body,
        );
        (status, body)
    };
    let sql = ("regex", ".*drop\\s*table.*");
    let (status, body) = with(
        &[sql, ("threatType", "SQL-Injection")],
        r#"{"a":"DROP  table x"}"#,
        "application/json",
    );
    assert_eq!(status, 400);
    assert_eq!(
        body,
        r#"{"code":"400","message":"Bad Request","description":"SQL-Injection Threat detected in Payload"}"#
    );
    let fine = r#"{"a":"b"}"#;
    assert_eq!(with(&[sql], fine, "application/json").0, 299);
    let headers = with(&[("regex", "=application/j")], fine, "application/json");
    assert!(headers.1.contains("HTTP Headers"), "{headers:?}");
    let path = [("regex", "^/o/[0-9]$"), ("enabledCheckHeaders", "false")];
    assert!(
        with(&path, fine, "application/json")
            .1
            .contains("Query Parameters")
    );
    let off = [
        ("regex", "."),
        ("enabledCheckBody", "false"),
        ("enabledCheckHeaders", "false"),
        ("enabledCheckPathParams", "false"),
    ];
    assert_eq!(with(&off, "drop table", "text/plain").0, 299);
    assert!(
        with(&[], fine, "application/json")
            .1
            .contains("key words are missing")
    );
    // What cannot be matched does not let anything through.
    assert_eq!(with(&[("regex", "(")], fine, "application/json").0, 500);
    let endless = [("regex", "(a+)+(?!a)b\\\\1c")];
    let long = "a".repeat(4000);
    assert_eq!(with(&endless, &long, "text/plain").0, 400);
}

#[test]
fn bodies_above_limits_are_refused() {
    let json = [
        ("maxPropertyCount", "2"),
        ("maxStringLength", "3"),
        ("maxArrayElementCount", "2"),
        ("maxKeyLength", "3"),
        ("maxJsonDepth", "1"),
    ];
    let inside = class(&json, "JsonSchemaValidator");
    assert_eq!(run(&inside, "application/json", r#"{"a":"abc"}"#).0, 299);
    let (status, _, body) = run(
        &inside,
        "application/json; charset=UTF-8",
        r#"{"a":"abcd"}"#,
    );
    assert_eq!(status, 400);
    assert!(
        body.contains("JSON schema validation failure: Max String Length Reached"),
        "{body}"
    );
    assert!(
        run(&inside, "application/json", r#"{"a":{}}"#)
            .2
            .contains("/a/1 - Depth Limit")
    );
    assert_eq!(run(&inside, "text/plain", r#"{"a":"abcd"}"#).0, 299);
    let without = class(&json[1..], "JsonSchemaValidator");
    assert!(
        run(&without, "application/json", "{}")
            .2
            .contains("maxPropertyCount")
    );

    let xml = [
        ("xmlValidation", "true"),
        ("maxXMLDepth", "2"),
        ("maxElementCount", "9"),
        ("maxAttributeCount", "1"),
        ("maxAttributeLength", "9"),
        ("maxChildrenPerElement", "9"),
    ];
    let inside = class(&xml, "XMLSchemaValidator");
    assert_eq!(run(&inside, "application/xml", "<a><b/></a>").0, 299);
    let (status, _, body) = run(&inside, "application/xml", "<a><b><c/></b></a>");
    assert_eq!(status, 400);
    assert!(
        body.contains("Maximum Element Depth limit (2) exceeded"),
        "{body}"
    );
    let entities = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>";
    assert_eq!(run(&inside, "application/xml", entities).0, 400);
    let schema = class(
        &[("schemaValidation", "true"), ("xsdURL", "http://x/y.xsd")],
        "XMLSchemaValidator",
    );
    assert_eq!(run(&schema, "application/xml", "<a/>").0, 501);
}

#[test]
fn the_policies_of_api_manager_are_executed() {
    let Some(corpus) = corpus("policies with threat protection") else {
        return;
    };
    let folder = corpus.join("rendered/4.7/sequences");
    for (policy, content_type, body) in [
        (
            "regexPolicy",
            "application/json",
            r#"{"a":"select x from y"}"#,
        ),
        (
            "jsonValidator",
            "application/json",
            &format!("[{}1]", "1,".repeat(100)),
        ),
        ("xmlValidator", "application/xml", &"<a>".repeat(101)),
    ] {
        let file = folder.join(format!("policy-op__{policy}_v1.xml"));
        let text = std::fs::read_to_string(file).unwrap();
        let of_resource = "<property name='REST_METHOD' value='GET'/>\
            <property name='API_ELECTED_RESOURCE' value='/menu'/>\
            <sequence key='prod--PolicyAPI:v1.0.0--In'/><respond/>";
        let sequences = [("prod--PolicyAPI:v1.0.0--In", text.as_str())];
        let step = super::mediators::run_with(of_resource, content_type, body, &sequences).1;
        let (status, _, body) = answer(step);
        assert_eq!(status, 400, "{policy}: {body}");
    }
}
