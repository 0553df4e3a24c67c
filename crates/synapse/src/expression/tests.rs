//! Expressions over properties and messages.

use std::cell::RefCell;

use super::*;
use crate::message::{Document, xml_of};

#[derive(Default)]
struct Message {
    xml: Option<&'static str>,
    json: Option<&'static str>,
    failed: RefCell<Option<String>>,
}

impl Context for Message {
    fn property(&self, scope: Scope, name: &str) -> Option<String> {
        match (scope, name) {
            (Scope::Default, "AM_KEY_TYPE") => Some("PRODUCTION".into()),
            (Scope::Default, "n") => Some("10".into()),
            (Scope::Transport, "X-A") => Some(String::new()),
            (Scope::Axis2, "HTTP_METHOD") => Some("GET".into()),
            (Scope::Function, "p") => Some("parameter".into()),
            _ => None,
        }
    }

    fn envelope(&self) -> Option<Arc<Envelope>> {
        if let Some(json) = self.json {
            return Some(Arc::new(xml_of(&serde_json::from_str(json).unwrap())));
        }
        let document = Document::parse(self.xml?).unwrap();
        Some(Arc::new(Envelope::around(document)))
    }

    fn json(&self) -> Option<Arc<serde_json::Value>> {
        serde_json::from_str(self.json?).ok().map(Arc::new)
    }

    fn secret(&self, alias: &str) -> Option<String> {
        (alias == "known").then(|| "secret".into())
    }

    fn now(&self) -> i64 {
        0
    }

    fn fail(&self, reason: &str) {
        *self.failed.borrow_mut() = Some(reason.to_owned());
    }
}

fn evaluate(expression: &str, message: &Message) -> Option<String> {
    let namespaces = [("xmlns:m".to_owned(), "urn:m".to_owned())];
    Expression::parse(expression, &namespaces)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
        .evaluate(message)
        .into_text()
}

fn text(expression: &str) -> Option<String> {
    evaluate(expression, &Message::default())
}

#[test]
fn reads_properties_of_each_scope() {
    for (expression, expected) in [
        ("$ctx:AM_KEY_TYPE", Some("PRODUCTION")),
        ("get-property('AM_KEY_TYPE')", Some("PRODUCTION")),
        ("syn:get-property(\"axis2\", 'HTTP_METHOD')", Some("GET")),
        (
            "get-property(concat('AM_', 'KEY_TYPE'))",
            Some("PRODUCTION"),
        ),
        ("$func:p", Some("parameter")),
        ("$ctx:not-there", None),
        (
            "fn:concat($axis2:HTTP_METHOD, '_', $ctx:missing, 1.5)",
            Some("GET_1.5"),
        ),
        (
            "get-property('SYSTEM_DATE')",
            Some("Thu Jan 01 00:00:00 UTC 1970"),
        ),
        ("get-property('SYSTEM_DATE', 'yyyy')", Some("1970")),
    ] {
        assert_eq!(text(expression).as_deref(), expected, "{expression}");
    }
}

#[test]
fn computes_and_compares_as_xpath_does() {
    for (expression, expected) in [
        ("$ctx:n = 10", "true"),
        ("$ctx:n > 9 and $ctx:n < 11", "true"),
        ("$ctx:n = '10.0'", "false"),
        ("boolean($trp:X-A) = false()", "true"),
        ("boolean($ctx:missing)", "false"),
        ("not($ctx:missing = 'x') or true()", "true"),
        ("$ctx:missing != 'x'", "false"),
        ("('a' = 'a')", "true"),
        ("1 + 2 * 3 - -4 div 2", "9.0"),
        ("$ctx:n mod 3", "1.0"),
        ("substring('12345', 1.5, 2.6)", "234"),
        ("substring('12345', 2)", "2345"),
        ("substring-before('a=b', '=')", "a"),
        ("fn:substring-after('a=b=c', '=')", "b=c"),
        ("normalize-space('  a  b ')", "a b"),
        ("translate('bar', 'abc', 'AB')", "BAr"),
        (
            "contains('abc', 'b') and starts-with('abc', 'a') and ends-with('abc', 'c')",
            "true",
        ),
        ("string-length('äö')", "2.0"),
        ("fn:lower-case('A')", "a"),
        ("round(2.5) + floor(-1.5) + ceiling(1.2)", "3.0"),
        ("number('x') = number('x')", "false"),
        ("base64Encode(concat('u', ':', 'p'))", "dTpw"),
        ("base64Decode('dTpw')", "u:p"),
        ("url-encode('a b&ä')", "a+b%26%C3%A4"),
        ("wso2:vault-lookup('known')", "secret"),
    ] {
        assert_eq!(text(expression).as_deref(), Some(expected), "{expression}");
    }
}

fn order() -> Message {
    Message {
        xml: Some(
            "<m:order xmlns:m='urn:m' id='7'><m:item n='1'>tea</m:item><m:item n='2'>cake<m:x/></m:item>\
         <plain><deep>x</deep></plain></m:order>",
        ),
        json: None,
        failed: RefCell::new(None),
    }
}

#[test]
fn looks_into_xml() {
    let order = order();
    for (expression, expected) in [
        ("//m:order/m:item[1]", "tea"),
        ("//m:item[@n='2']/text()", "cake"),
        ("//m:item[last()]/@n", "2"),
        ("$body/m:order/@id", "7"),
        ("/soapenv:Envelope/soapenv:Body/m:order/plain/deep", "x"),
        ("count(//m:*)", "4.0"),
        ("local-name($body/*)", "order"),
        ("name($body/*)", "m:order"),
        ("//*[local-name()='deep']", "x"),
        ("//plain", "<plain><deep>x</deep></plain>"),
        ("//m:item", "teacake"),
        ("string(//m:item[2])", "cake"),
        ("boolean(//m:nothing)", "false"),
        ("//m:nothing", ""),
        ("//deep/ancestor::m:order/@id", "7"),
        ("//m:item[2]/preceding-sibling::*", "tea"),
        ("//m:item[1]/following::deep", "x"),
        ("//deep/preceding::m:item[1]/@n", "2"),
        ("//m:x/.. = 'cake'", "true"),
        ("//m:item[position() = 2 and . = 'cake']/@n", "2"),
        ("sum(//m:item/@n)", "3.0"),
        ("count(//m:item | //deep | //m:item)", "3.0"),
        ("(//m:item)[2]/@n", "2"),
        ("//m:item/@n = 2", "true"),
        ("2 = //m:item/@n", "true"),
        ("//m:item/@n > 2", "false"),
        ("$header/*", ""),
        ("child::node()/descendant-or-self::deep/self::*", "x"),
    ] {
        assert_eq!(
            evaluate(expression, &order).as_deref(),
            Some(expected),
            "{expression}"
        );
        assert!(order.failed.borrow().is_none());
    }
}

#[test]
fn looks_into_json_both_ways() {
    let message = Message {
        json: Some(r#"{"a": {"b": [1, 2], "c": "x", "t": true, "n": null}}"#),
        ..Message::default()
    };
    for (expression, expected) in [
        ("json-eval($.a.b)", "[1,2]"),
        ("json-eval($.a.c)", "x"),
        ("json-eval($.a.t)", "true"),
        ("json-eval($.a.n)", "null"),
        ("json-eval($.a.missing)", ""),
        ("//jsonObject/a/b[2]", "2"),
        ("//a/c", "x"),
    ] {
        assert_eq!(
            evaluate(expression, &message).as_deref(),
            Some(expected),
            "{expression}"
        );
    }
}

#[test]
fn what_cannot_be_evaluated_is_told() {
    let message = Message::default();
    for expression in [
        "//a",
        "json-eval($.a)",
        "vault-lookup('unknown')",
        "base64Decode('!')",
    ] {
        message.failed.take();
        evaluate(expression, &message);
        assert!(message.failed.borrow().is_some(), "{expression}");
    }
}

#[test]
fn knows_which_look_into_the_body() {
    for (expression, reads) in [
        ("$ctx:a = concat('x', $trp:b)", false),
        ("concat($ctx:a, //b)", true),
        ("$body", true),
        ("json-eval($.a)", true),
        ("get-property(local-name())", true),
    ] {
        let expression = Expression::parse(expression, &[]).unwrap();
        assert_eq!(expression.reads_body(), reads);
    }
}

#[test]
fn refuses_with_a_reason_what_it_does_not_execute() {
    for (expression, reason) in [
        ("//m0:getQuote", "prefix m0 is not declared"),
        ("json-eval($.a[(@.length-1)])", "in a JSONPath"),
        ("$ctx:", "names no property"),
        ("$ctx:x/a", "no part of the message"),
        ("$var", "$var"),
        ("'open", "closing quote"),
        ("", "ends too early"),
        ("get-property('registry', 'x')", "scope \"registry\""),
        ("hmac-generate('a', 'b')", "hmac-generate()"),
        ("${vars.a}", "${vars}"),
        ("namespace::a", "axis namespace"),
        ("a b", "unexpected b"),
    ] {
        let error = Expression::parse(expression, &[]).unwrap_err().to_string();
        assert!(error.contains(reason), "{expression}: {error}");
    }
    assert!(Expression::parse(&"(".repeat(100_000), &[]).is_err());
    assert!(Expression::parse(&"-".repeat(100_000), &[]).is_err());
    assert!(Expression::parse(&"a[".repeat(100_000), &[]).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[$a-c:'\"()=<>!, /.0-9@*|\\[\\]-]{0,40}") {
        if let Ok(expression) = Expression::parse(&text, &[]) {
            let _ = expression.evaluate(&order()).into_text();
        }
    }
}

fn fails(expression: &str, xml: String) -> Option<String> {
    let message = Message {
        xml: Some(xml.leak()),
        ..Message::default()
    };
    evaluate(expression, &message);
    message.failed.into_inner()
}

#[test]
fn texts_count_as_nodes_do() {
    let flat = format!("<a>{}{}</a>", "x".repeat(60_000), "<b/>".repeat(3000));
    for expression in [
        "//*[contains(string(/), 'y')]",
        "//b[/ = 'y']",
        "//b[/ > 1]",
        "sum(//b[sum(//*) > 1])",
    ] {
        let failed = fails(expression, flat.clone());
        assert!(
            failed.is_some_and(|why| why.contains("5000000 steps")),
            "{expression}"
        );
    }
    let grows = format!("{}//a{}", "base64Encode(".repeat(25), ")".repeat(25));
    let failed = fails(&grows, format!("<a>{}</a>", "x".repeat(1_000_000)));
    assert!(failed.is_some_and(|why| why.contains("5000000 steps")));
}

#[test]
fn translates_each_character_by_its_first_place() {
    assert_eq!(
        text("translate('abcb', 'bcb', 'xyz')").as_deref(),
        Some("axyx")
    );
    assert_eq!(text("translate('abc', 'cb', 'd')").as_deref(), Some("ad"));
}

#[test]
fn long_expressions_are_refused() {
    let long = format!("concat('a'{})", ", 'a'".repeat(20_000));
    for error in [
        Expression::parse(&long, &[]).unwrap_err(),
        Expression::parse_json(&format!("$.{}", "a".repeat(70_000))).unwrap_err(),
    ] {
        assert!(error.reason.contains("65536 bytes"), "{error}");
    }
}
