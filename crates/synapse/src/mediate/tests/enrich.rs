//! `enrich` into parts of messages.

use super::mediators::run;

/// What a request's body becomes by mediators.
fn enriched(mediators: &str, content_type: &str, body: &str) -> String {
    run(&format!("{mediators}<respond/>"), content_type, body).2
}

#[test]
fn enrich_changes_parts_of_json() {
    let enrich = |source: &str, target: &str| format!("<enrich>{source}{target}</enrich>");
    let inline = |text: &str| format!("<source type='inline'>{text}</source>");
    let body = r#"{"z":1,"a":{"b":[1],"c":"x"}}"#;
    for (mediators, expected) in [
        (
            enrich(&inline("{\"n\":[2]}"), "<target xpath='json-eval($.a.c)'/>"),
            r#"{"z":1,"a":{"b":[1],"c":{"n":[2]}}}"#,
        ),
        (
            enrich(
                &inline("{\"d\":2}"),
                "<target action='child' xpath='json-eval($.a)'/>",
            ),
            r#"{"z":1,"a":{"b":[1],"c":"x","d":2}}"#,
        ),
        (
            enrich(
                &inline("text"),
                "<target action='child' xpath='json-eval($.a.b)'/>",
            ),
            r#"{"z":1,"a":{"b":[1,"text"],"c":"x"}}"#,
        ),
        (
            enrich(&inline("5"), "<target xpath='json-eval($.nowhere)'/>"),
            body,
        ),
        (
            enrich(
                "<source xpath='json-eval($.a.b,$.z)'/>",
                "<target type='body' action='remove'/>",
            ),
            r#"{"a":{"c":"x"}}"#,
        ),
        (
            format!(
                "<property name='p' value='[1]' type='JSON'/>{}{}",
                enrich(
                    &inline("2"),
                    "<target type='property' property='p' action='child'/>"
                ),
                enrich(
                    "<source type='property' property='p'/>",
                    "<target xpath='json-eval($.z)'/>"
                )
            ),
            r#"{"z":[1,2],"a":{"b":[1],"c":"x"}}"#,
        ),
    ] {
        assert_eq!(enriched(&mediators, "application/json", body), expected);
    }
    let missing = enrich(
        &inline("5"),
        "<target action='child' xpath='json-eval($.nowhere)'/>",
    );
    let answer = enriched(&missing, "application/json", body);
    assert!(
        answer.contains("the target of an enrich is not there"),
        "{answer}"
    );
}

#[test]
fn enrich_changes_parts_of_xml() {
    let body = "<m:a xmlns:m=\"urn:m\"><b k=\"1\">x</b></m:a>";
    for (mediators, expected) in [
        (
            "<enrich><source type='inline'><n xmlns=''/></source><target xpath='//b'/></enrich>",
            "<m:a xmlns:m=\"urn:m\"><n xmlns=\"\"/></m:a>",
        ),
        (
            "<enrich><source type='inline'><n xmlns=''/></source><target action='sibling' xpath='//b'/></enrich>",
            "<m:a xmlns:m=\"urn:m\"><b k=\"1\">x</b><n xmlns=\"\"/></m:a>",
        ),
        (
            "<enrich><source type='inline'><n xmlns=''/></source><target action='child' type='body'/></enrich>",
            "<m:a xmlns:m=\"urn:m\"><b k=\"1\">x</b><n xmlns=\"\"/></m:a>",
        ),
        (
            "<enrich><source xpath='string(//b/@k)'/><target xpath='//b/text()'/></enrich>",
            "<m:a xmlns:m=\"urn:m\"><b k=\"1\">1</b></m:a>",
        ),
        (
            "<enrich><source type='inline'>9</source><target xpath='//b/@k'/></enrich>",
            "<m:a xmlns:m=\"urn:m\"><b k=\"9\">x</b></m:a>",
        ),
        (
            "<property name='p'><q xmlns='urn:q'/></property>\
             <enrich><source type='property' property='p'/><target xpath='//b'/></enrich>",
            "<m:a xmlns:m=\"urn:m\"><q xmlns=\"urn:q\"/></m:a>",
        ),
    ] {
        assert_eq!(enriched(mediators, "application/xml", body), expected);
    }
    let soap = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header/><s:Body><b/></s:Body></s:Envelope>";
    let header = "<enrich><source type='inline'><t xmlns='urn:t'>1</t></source>\
        <target action='child' xpath='$header'/></enrich>";
    let changed = enriched(header, "text/xml", soap);
    assert!(
        changed.contains("<s:Header><t xmlns=\"urn:t\">1</t></s:Header><s:Body><b/></s:Body>"),
        "{changed}"
    );
    let envelope = "<enrich><source type='envelope'/><target type='property' property='e'/></enrich>\
        <enrich><source type='inline'><gone xmlns=''/></source><target type='body'/></enrich>\
        <enrich><source type='property' property='e'/><target type='envelope'/></enrich>";
    assert_eq!(enriched(envelope, "text/xml", soap), soap);
}
