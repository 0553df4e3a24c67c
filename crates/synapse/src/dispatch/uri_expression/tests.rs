//! The rows of RFC 6570's table that addresses use, and the endpoint rules on top of it.

use super::*;
use proptest::prelude::*;

fn value(name: &str) -> Option<String> {
    let value = match name {
        "uri.var.url" => "http://h:1/p?q=1",
        "uri.var.id" => "a b/ü",
        "uri.var.pct" => "50%",
        "uri.var.esc" => "x%2Fy",
        "uri.var.empty" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

fn check(template: &str, expected: &str) {
    let expression = UriExpression::parse(template).unwrap();
    assert_eq!(expression.expand(&value), expected, "{template}");
}

fn check_endpoint(template: &str, expected: &str) {
    let endpoint = EndpointTemplate::parse(template).unwrap();
    assert_eq!(endpoint.expand(true, &value), expected, "{template}");
}

#[test]
fn values_are_encoded_by_operator() {
    check("/{uri.var.id}", "/a%20b%2F%C3%BC");
    check("/{+uri.var.id}", "/a%20b/%C3%BC");
    check("/{uri.var.esc}{+uri.var.esc}", "/x%252Fyx%2Fy");
    check("/{+uri.var.pct}", "/50%25");
    check("/x{/uri.var.pct,uri.var.empty}", "/x/50%25/");
}

#[test]
fn query_operators_name_their_values() {
    check(
        "/{?uri.var.pct,no,uri.var.empty}",
        "/?uri.var.pct=50%25&uri.var.empty=",
    );
    check("/?a=1{&uri.var.pct}", "/?a=1&uri.var.pct=50%25");
    check(
        "/{;uri.var.empty,uri.var.pct}",
        "/;uri.var.empty;uri.var.pct=50%25",
    );
    check("/{?no}", "/");
}

#[test]
fn an_endpoint_may_be_one_variable_with_a_whole_url() {
    check_endpoint("{uri.var.url}", "http://h:1/p?q=1");
    check_endpoint("http://h/{uri.var.id}", "http://h/a%20b%2F%C3%BC");
}

#[test]
fn without_properties_or_a_uri_the_text_is_used() {
    let endpoint = EndpointTemplate::parse("http://h/{uri.var.id}").unwrap();
    assert_eq!(endpoint.expand(false, &value), "http://h/{uri.var.id}");
    check_endpoint("http://h h/{uri.var.pct}", "http://h h/{uri.var.pct}");
    check_endpoint("://h/{uri.var.pct}", "://h/{uri.var.pct}");
}

#[test]
fn legacy_encoding_decodes() {
    check_endpoint("legacy-encoding:http://h/{uri.var.esc}", "http://h/x/y");
    check_endpoint("legacy-encoding:http://h/{uri.var.id}", "http://h/a%20b/ü");
    let endpoint = EndpointTemplate::parse("legacy-encoding:http://h/").unwrap();
    assert_eq!(endpoint.expand(false, &value), "http://h/");
}

#[test]
fn templates_that_do_not_parse() {
    for text in ["{", "}", "{}", "{a{b}}", "{a,}", "{a b}", "{a:0}", "x{a"] {
        assert!(UriExpression::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_input_panics(template in ".{0,30}", value in ".{0,20}") {
        if let Ok(endpoint) = EndpointTemplate::parse(&template) {
            let _ = endpoint.expand(true, &|_| Some(value.clone()));
        }
    }

    #[test]
    fn an_expanded_endpoint_is_a_uri_or_the_text(
        value in "\\PC{0,20}",
        template in "(legacy-encoding:)?http://h/\\{[+#./;?&]?a(:[13])?\\}",
    ) {
        let endpoint = EndpointTemplate::parse(&template).unwrap();
        let address = endpoint.expand(true, &|_| Some(value.clone()));
        prop_assert!(address == endpoint.as_str() || is_uri_reference(&address) || value.contains('#'));
    }
}
