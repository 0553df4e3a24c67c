//! The choice between APIs, one rule per test.

use super::*;
use crate::dispatch::Transports;
use proptest::prelude::*;

fn route(name: &str, context: &str, version: VersionStrategy) -> (ApiRoute, usize) {
    (ApiRoute::new(name, context, version).unwrap(), 0)
}

fn plain(name: &str, context: &str) -> (ApiRoute, usize) {
    route(name, context, VersionStrategy::None)
}

fn by_context(name: &str, context: &str, version: &str) -> (ApiRoute, usize) {
    route(name, context, VersionStrategy::Context(version.to_owned()))
}

fn by_url(name: &str, context: &str, version: &str) -> (ApiRoute, usize) {
    route(name, context, VersionStrategy::Url(version.to_owned()))
}

fn get(target: &str) -> RequestHead<'_> {
    RequestHead {
        method: "GET",
        target,
        ..RequestHead::default()
    }
}

/// Name and REST_URL_POSTFIX of the API that takes the target.
fn selected<'r>(table: &RouteTable<usize>, target: &'r str) -> Option<(String, &'r str)> {
    match table.select(&get(target)) {
        Selection::Api(found) => Some((found.route.runtime_key(), found.rest_url_postfix)),
        _ => None,
    }
}

fn check(table: &RouteTable<usize>, target: &str, name: &str, postfix: &str) {
    assert_eq!(
        selected(table, target),
        Some((name.to_owned(), postfix)),
        "{target}"
    );
}

#[test]
fn contexts_end_at_a_slash_a_question_mark_or_the_end() {
    let table = RouteTable::new([plain("A", "/a/"), plain("AB", "/a/b")]);
    check(&table, "/a", "A", "");
    check(&table, "/a?x=1", "A", "?x=1");
    check(&table, "/a/b/c", "AB", "/c");
    check(&table, "/a/bc", "A", "/bc");
    assert_eq!(selected(&table, "/ab"), None);
    assert_eq!(selected(&table, "/A"), None);
}

#[test]
fn the_root_context_takes_everything() {
    let table = RouteTable::new([plain("R", "/"), plain("A", "/a")]);
    check(&table, "/a", "A", "");
    check(&table, "/x/y?z", "R", "/x/y?z");
}

#[test]
fn versioned_apis_go_first_even_with_a_shorter_context() {
    let table = RouteTable::new([
        plain("U", "/a/b/c"),
        by_context("C", "/a/{version}", "b"),
        by_url("X", "/a", "b"),
    ]);
    check(&table, "/a/b/c/d", "C:vb", "/c/d");
}

#[test]
fn the_url_version_is_the_segment_after_the_context() {
    let table = RouteTable::new([by_url("V1", "/a", "1.0"), by_url("V2", "/a", "2.0")]);
    check(&table, "/a/2.0", "V2:v2.0", "");
    check(&table, "/a/1.0/x", "V1:v1.0", "/x");
    check(&table, "/a/1.0?x=/2.0", "V1:v1.0", "?x=/2.0");
    for target in ["/a", "/a/", "/a/1.0.0", "/a?1.0", "/a/3.0"] {
        assert_eq!(selected(&table, target), None, "{target}");
    }
}

#[test]
fn equals_go_in_document_order() {
    let mut second = plain("B", "/a");
    second.0.hostname = Some("b".to_owned());
    let mut first = plain("A", "/a");
    first.0.port = Some(8280);
    let table = RouteTable::new([first, second, plain("C", "/a")]);
    let with_host = |host| match table.select(&RequestHead { host, ..get("/a") }) {
        Selection::Api(found) => found.route.name().to_owned(),
        _ => String::new(),
    };
    assert_eq!(with_host(Some("b:8280")), "A");
    assert_eq!(with_host(Some("b")), "B");
    assert_eq!(with_host(Some("B:x")), "C");
    assert_eq!(with_host(None), "C");
}

#[test]
fn a_denied_transport_is_told_unless_another_api_takes_the_request() {
    let mut secure = plain("S", "/a/b");
    secure.0.transports = Transports::Https;
    let table = RouteTable::new([secure.clone()]);
    assert!(matches!(
        table.select(&get("/a/b")),
        Selection::TransportDenied
    ));
    assert!(matches!(table.select(&get("/x")), Selection::NotFound));
    let table = RouteTable::new([secure, plain("A", "/a")]);
    check(&table, "/a/b", "A", "/b");
}

#[test]
fn contexts_must_begin_with_a_slash() {
    assert!(ApiRoute::new("A", "a", VersionStrategy::None).is_err());
    assert!(ApiRoute::new("A", "", VersionStrategy::None).is_err());
    let route = ApiRoute::new("A", "/{version}/a/", VersionStrategy::Context("1".into())).unwrap();
    assert_eq!(route.context(), "/1/a");
}

proptest! {
    #[test]
    fn no_target_panics(target in ".{0,20}", context in "/.{0,5}", version in ".{0,3}") {
        let table = RouteTable::new([
            by_url("U", &context, &version),
            by_context("C", &context, &version),
            plain("R", "/"),
        ]);
        let _ = table.select(&get(&target));
        let joined = format!("{context}/{version}{target}");
        let _ = table.select(&get(&joined));
    }

    #[test]
    fn the_table_agrees_with_a_scan(
        contexts in prop::collection::vec("(/[ab]{1,2}){0,3}", 1..8),
        target in "(/[ab]{1,2}){0,4}(\\?a)?",
    ) {
        let apis: Vec<_> = contexts
            .iter()
            .enumerate()
            .map(|(n, context)| plain(&n.to_string(), &format!("{context}/")))
            .collect();
        let expected = contexts
            .iter()
            .enumerate()
            .filter(|(_, context)| {
                target.strip_prefix(context.as_str()).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with(['/', '?'])
                })
            })
            .max_by(|(i, a), (j, b)| a.len().cmp(&b.len()).then(j.cmp(i)))
            .map(|(n, _)| n.to_string());
        let found = selected(&RouteTable::new(apis), &target).map(|(name, _)| name);
        prop_assert_eq!(found, expected);
    }

    /// Whatever comes and goes: the table answers as one made anew of those that are there, and a
    /// copy of it goes on answering as it did.
    #[test]
    fn a_changed_table_is_as_one_made_anew(
        changes in prop::collection::vec((0..6_usize, "(/[ab]){0,2}", 0..3_usize, any::<bool>()), 1..20),
        targets in prop::collection::vec("(/[ab1]){0,4}", 8),
    ) {
        let mut table = RouteTable::default();
        let mut there: Vec<(ApiRoute, usize)> = Vec::new();
        let answers = |table: &RouteTable<usize>| -> Vec<Option<(String, usize)>> {
            let answer = |target: &String| match table.select(&get(target)) {
                Selection::Api(found) => Some((found.route.runtime_key(), *found.attached)),
                _ => None,
            };
            targets.iter().map(answer).collect()
        };
        for (id, context, strategy, comes) in changes {
            let copy = table.clone();
            let before = answers(&copy);
            if let Some(at) = there.iter().position(|(_, other)| *other == id) {
                let (route, id) = there.remove(at);
                table.remove(&route, &id);
            }
            if comes {
                let strategy = match strategy {
                    0 => VersionStrategy::None,
                    1 => VersionStrategy::Context("1".to_owned()),
                    _ => VersionStrategy::Url("1".to_owned()),
                };
                let route = ApiRoute::new(format!("A{id}"), &format!("{context}/"), strategy).unwrap();
                there.push((route.clone(), id));
                table.insert(route, id);
            }
            let anew = RouteTable::new(there.clone());
            prop_assert_eq!(answers(&table), answers(&anew));
            prop_assert_eq!(table.len(), there.len());
            prop_assert_eq!(table.iter().count(), there.len());
            prop_assert_eq!(&table.lengths, &anew.lengths);
            prop_assert_eq!(answers(&copy), before);
            for (route, id) in &there {
                prop_assert!(table.like(route).any(|other| other == id));
            }
        }
    }
}
