//! The subtle rules of URI templates, one test each.

use super::*;
use proptest::prelude::*;

fn matched(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut variables = Vec::new();
    let template = UriTemplate::parse(template).unwrap();
    template.matches(path, &mut variables).then_some(variables)
}

fn check(template: &str, path: &str, expected: &[(&str, &str)]) {
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(matched(template, path), Some(expected), "{template} {path}");
}

fn check_not(template: &str, path: &str) {
    assert_eq!(matched(template, path), None, "{template} {path}");
}

#[test]
fn a_trailing_slash_is_tolerated_without_a_query_only() {
    check("/a/{b}", "/a/x/", &[("b", "x")]);
    check("/a/{b}", "/a/x?q=1", &[("b", "x")]);
    check_not("/a/{b}", "/a/x/?q=1");
    check_not("/a/{b}", "/a/x/y");
    check_not("/a/{b}", "/a/");
}

#[test]
fn reserved_characters_end_a_variable_unless_encoded() {
    check_not("/a/{b}", "/a/(x)");
    check("/a/{b}", "/a/%28x%29", &[("b", "(x)")]);
    check("/a/{+b}", "/a/x/y+z", &[("b", "x/y+z")]);
}

#[test]
fn a_trailing_star_swallows_the_rest() {
    check("/x*", "/x", &[]);
    check("/x*", "/xyz/1?q", &[]);
    check("/x/{a}/*", "/x/1", &[("a", "1")]);
    check("/x/{a}/*", "/x/1/2/3", &[("a", "1")]);
    check_not("/x/*", "/x");
    check("/x/*", "/x/", &[]);
}

#[test]
fn lists_and_lengths_and_repeated_variables() {
    check("/{a,b}/c", "/1,2/c", &[("a", "1"), ("b", "2")]);
    check("/p/{a,b}", "/p/1", &[("a", "1"), ("b", "")]);
    check_not("/p/{a,b}", "/p/1,2,3");
    check("/d/{c:1}/{w}", "/d/c/cat", &[("c", "c"), ("w", "cat")]);
    check_not("/d/{c:1}/{w}", "/d/ca/cat");
    check("/d/{c}/{c}", "/d/1/1", &[("c", "1")]);
    check_not("/d/{c}/{c}", "/d/1/2");
}

#[test]
fn a_query_in_the_template_must_match_in_order() {
    check("/s?q={q}", "/s?q=1", &[("q", "1")]);
    check("/s?a={x}&b={y}", "/s?a=1&b=", &[("x", "1")]);
    check_not("/s?q={q}", "/s");
    check_not("/s?a={x}&b={y}", "/s?b=1&a=2");
}

#[test]
fn a_failed_match_leaves_the_variables_alone() {
    let mut variables = vec![("k".to_owned(), "v".to_owned())];
    let template = UriTemplate::parse("/a/{b}/c").unwrap();
    assert!(!template.matches("/a/x/d", &mut variables));
    assert_eq!(variables.len(), 1);
}

#[test]
fn a_malformed_escape_is_told_apart() {
    let template = UriTemplate::parse("/a/{b}").unwrap();
    assert_eq!(
        template.try_match("/a/%zz", &mut Vec::new()),
        TemplateMatch::Malformed
    );
}

#[test]
fn templates_that_do_not_parse() {
    for text in [
        "", "{a}", "/{", "/{}", "/a}", "/{a{b}}", "/{a,,b}", "/{?q}", "/{;q}", "/{&q}", "/{a:0}",
        "/{a:x}", "/{a b}",
    ] {
        assert!(UriTemplate::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_input_panics(template in ".{0,30}", path in ".{0,30}") {
        if let Ok(template) = UriTemplate::parse(&template) {
            let _ = template.matches(&path, &mut Vec::new());
        }
    }

    #[test]
    fn no_template_syntax_panics(
        template in "/([a/?=*]|\\{[+#./]?[ab](,[cd])?(:[12])?\\}){0,6}",
        path in "/[a/?=*,.#é%]{0,12}",
    ) {
        if let Ok(template) = UriTemplate::parse(&template) {
            let _ = template.matches(&path, &mut Vec::new());
        }
    }

    #[test]
    fn unreserved_values_come_back(value in "[a-zA-Z0-9._~-]{1,20}") {
        check("/a/{v}/b", &format!("/a/{value}/b"), &[("v", &value)]);
    }
}
