//! The choice between resources, one rule per test.

use super::*;
use proptest::prelude::*;

fn mapping(methods: &str, pattern: &str) -> ResourceRoute {
    ResourceRoute {
        methods: MethodSet::parse(methods).unwrap(),
        pattern: ResourcePattern::UrlMapping(UrlMapping::parse(pattern)),
        ..ResourceRoute::default()
    }
}

fn template(methods: &str, pattern: &str) -> ResourceRoute {
    ResourceRoute {
        methods: MethodSet::parse(methods).unwrap(),
        pattern: ResourcePattern::UriTemplate(UriTemplate::parse(pattern).unwrap()),
        ..ResourceRoute::default()
    }
}

fn head(method: &str) -> RequestHead<'_> {
    RequestHead {
        method,
        ..RequestHead::default()
    }
}

fn choose(resources: &[ResourceRoute], head: &RequestHead<'_>, path: &str) -> ResourceOutcome {
    choose_resource(resources, head, path, DEFAULT_BINDING)
}

fn found(index: usize) -> ResourceOutcome {
    ResourceOutcome::Found {
        index,
        variables: Vec::new(),
    }
}

#[test]
fn url_mapping_before_uri_template_before_default() {
    let resources = [
        ResourceRoute::default(),
        template("", "/order/{id}"),
        mapping("GET", "/*"),
    ];
    assert_eq!(choose(&resources, &head("GET"), "/order/1"), found(2));
    let variables = vec![("id".to_owned(), "1".to_owned())];
    assert_eq!(
        choose(&resources, &head("POST"), "/order/1"),
        ResourceOutcome::Found {
            index: 1,
            variables
        }
    );
    assert_eq!(choose(&resources, &head("POST"), "/x"), found(0));
}

#[test]
fn wrong_verb_is_405_unknown_path_is_404() {
    let resources = [mapping("GET", "/a"), mapping("POST", "/b")];
    assert_eq!(
        choose(&resources[..1], &head("POST"), "/a"),
        ResourceOutcome::MethodNotAllowed
    );
    assert_eq!(
        choose(&resources[..1], &head("TRACE"), "/c"),
        ResourceOutcome::NotFound
    );
    // Some resource accepts the verb, so the path decides: 404 although /a exists under GET.
    assert_eq!(
        choose(&resources, &head("POST"), "/a"),
        ResourceOutcome::NotFound
    );
}

#[test]
fn options_is_answered_unless_the_resource_lists_it() {
    let resources = [
        template("GET POST", "/{a}"),
        template("OPTIONS", "/{b}"),
        mapping("", "/any"),
    ];
    let outcome = choose(&resources, &head("OPTIONS"), "/x");
    assert!(matches!(outcome, ResourceOutcome::Found { index: 1, .. }));
    assert_eq!(
        choose(&resources[..1], &head("OPTIONS"), "/x"),
        ResourceOutcome::Options {
            index: 0,
            allow: "GET, POST".to_owned()
        }
    );
    assert!(matches!(
        choose(&resources, &head("OPTIONS"), "/any"),
        ResourceOutcome::Options { index: 2, .. }
    ));
}

#[test]
fn other_constraints_give_400() {
    let mut resource = mapping("POST", "/a");
    resource.content_type = Some("text/xml".to_owned());
    resource.user_agent = Some(UserAgentPattern::parse("curl.*").unwrap());
    let resources = [resource];
    let mut head = RequestHead {
        method: "POST",
        content_type: Some("text/xml"),
        user_agent: Some("curl/8"),
        has_body: true,
        ..RequestHead::default()
    };
    assert_eq!(choose(&resources, &head, "/a"), found(0));
    head.user_agent = Some("not curl/8");
    assert_eq!(choose(&resources, &head, "/a"), ResourceOutcome::BadRequest);
    head.user_agent = Some("curl");
    head.content_type = None;
    assert_eq!(choose(&resources, &head, "/a"), ResourceOutcome::BadRequest);
    head.has_body = false;
    assert_eq!(choose(&resources, &head, "/a"), found(0));
    assert_eq!(
        choose_resource(&resources, &head, "/a", "socket"),
        ResourceOutcome::BadRequest
    );
}

#[test]
fn attributes_that_do_not_parse() {
    assert!(MethodSet::parse("GET  POST\n").is_ok());
    assert_eq!(
        MethodSet::parse("GET TRACE"),
        Err(RouteError::UnknownMethod {
            method: "TRACE".to_owned()
        })
    );
    assert!(MethodSet::parse("get").is_err());
    assert_eq!(Transports::parse(""), Ok(Transports::Both));
    assert_eq!(Transports::parse("https"), Ok(Transports::Https));
    assert!(Transports::parse("jms").is_err());
    assert!(UserAgentPattern::parse("(").is_err());
}

proptest! {
    #[test]
    fn no_request_panics(method in ".{0,8}", path in ".{0,20}") {
        let resources = [mapping("GET", "/a/*"), template("PUT", "/{+a}"), mapping("", "*.x")];
        let _ = choose(&resources, &head(&method), &path);
    }

    #[test]
    fn no_attribute_panics(text in ".{0,20}") {
        let _ = MethodSet::parse(&text);
        let _ = Transports::parse(&text);
        let _ = UserAgentPattern::parse(&text);
    }
}

fn elect(resources: &[ResourceRoute], method: &str, asked: Option<&str>, path: &str) -> Election {
    match elect_resource(resources, method, asked, path) {
        Election::Resource(index, _) => elected(index),
        other => other,
    }
}

fn elected(index: usize) -> Election {
    Election::Resource(index, Vec::new())
}

#[test]
fn a_pattern_without_a_catch_all_is_elected_whatever_its_kind() {
    let resources = [mapping("GET", "/*"), template("GET POST", "/order/{id}")];
    // Synapse itself takes the url-mapping.
    assert_eq!(choose(&resources, &head("GET"), "/order/1"), found(0));
    assert_eq!(elect(&resources, "GET", None, "/order/1"), elected(1));
    assert_eq!(elect(&resources, "GET", None, "/x"), elected(0));
    let siblings = [
        mapping("POST", "/payee/personal"),
        template("GET", "/payee/{id}"),
    ];
    assert_eq!(
        elect(&siblings, "POST", None, "/payee/personal"),
        elected(0)
    );
    assert_eq!(elect(&siblings, "GET", None, "/payee/personal"), elected(1));
}

#[test]
fn a_preflight_elects_by_the_verb_that_it_asks_for() {
    let resources = [
        mapping("GET", "/a"),
        mapping("POST", "/a"),
        mapping("OPTIONS", "/own"),
    ];
    assert_eq!(elect(&resources, "OPTIONS", Some("POST"), "/a"), elected(1));
    assert_eq!(
        elect(&resources, "OPTIONS", Some("GET"), "/own"),
        elected(2)
    );
    assert_eq!(
        elect(&resources, "OPTIONS", Some("PUT"), "/a"),
        Election::MethodNotAllowed
    );
    assert_eq!(
        elect(&resources, "OPTIONS", None, "/a"),
        Election::MethodNotAllowed
    );
    // The asked verb counts for a preflight only.
    assert_eq!(
        elect(&resources, "PUT", Some("GET"), "/a"),
        Election::MethodNotAllowed
    );
    assert_eq!(elect(&resources, "GET", None, "/none"), Election::NotFound);
}

#[test]
fn who_lists_no_verb_is_not_elected() {
    let resources = [mapping("", "/*")];
    assert_eq!(
        elect(&resources, "GET", None, "/a"),
        Election::MethodNotAllowed
    );
    assert_eq!(
        elect(&[ResourceRoute::default()], "GET", None, "/a"),
        Election::MethodNotAllowed
    );
    let with_default = [
        ResourceRoute {
            methods: MethodSet::parse("GET").unwrap(),
            ..ResourceRoute::default()
        },
        mapping("GET", "/*"),
    ];
    assert_eq!(elect(&with_default, "GET", None, "/a"), elected(1));
}
