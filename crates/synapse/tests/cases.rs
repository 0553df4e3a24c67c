//! Dispatch and endpoints against recorded outcomes of the original engine.
//!
//! The cases are read from `synapse/dispatch-cases.json` in the folder named by `LOCKSTEP_SHARED`,
//! by default `../shared` beside the workspace; without it every test says what it left out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use artifact::{Artifact, Content};
use serde_json::Value;
use synapse::Plan;
use synapse::dispatch::{
    ApiRoute, EndpointTemplate, MethodSet, RequestHead, ResourceOutcome, ResourcePattern,
    ResourceRoute, RouteTable, Selection, UriExpression, UriTemplate, UrlMapping, VersionStrategy,
    query_parameters,
};
use synapse::endpoint::{StateMachine, Suspension};
use synapse::mediate::{
    BackendResponse, Body, Environment, Exchange, Fault, MessageId, Request, Step, Target,
};
use synapse::xml::Limits;

type Variables = BTreeMap<String, String>;

/// Runs every case of a section through `check`, which says what is wrong with it, if anything.
fn run(section: &str, check: impl Fn(&Value, &Value) -> Result<(), String>) {
    let shared = std::env::var_os("LOCKSTEP_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(shared.join("synapse/dispatch-cases.json")) else {
        tell(&format!(
            "LEFT OUT: {section}: no dispatch-cases.json in the shared folder"
        ));
        return;
    };
    let document: Value = serde_json::from_str(&text).unwrap();
    let whole = &document[section];
    let cases = whole
        .as_array()
        .or_else(|| whole["cases"].as_array())
        .unwrap_or_else(|| panic!("no section {section}"));
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            check(whole, case)
                .err()
                .map(|why| format!("{why}\n  {case}"))
        })
        .collect();
    tell(&format!(
        "{section}: {} / {}",
        cases.len() - wrong.len(),
        cases.len()
    ));
    let first: Vec<_> = wrong.iter().take(5).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{section}: {} wrong\n{}",
        wrong.len(),
        first.join("\n")
    );
}

/// Not by a print macro: the test runner keeps what those say in tests that pass.
fn tell(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("found {found:?}, expected {expected:?}"))
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn map(value: &Value) -> Variables {
    let members = value.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// A match against a template, starting with some variables: all variables after a match.
fn match_template(template: &str, path: &str, preset: Variables) -> Option<Variables> {
    let mut variables: Vec<_> = preset.into_iter().collect();
    UriTemplate::parse(template)
        .unwrap()
        .matches(path, &mut variables)
        .then(|| variables.into_iter().collect())
}

fn resource_of(value: &Value) -> ResourceRoute {
    let pattern = text(value, "pattern");
    let methods: Vec<&str> = value["methods"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ResourceRoute {
        methods: MethodSet::parse(&methods.join(" ")).unwrap(),
        pattern: match text(value, "kind") {
            "url-mapping" => ResourcePattern::UrlMapping(UrlMapping::parse(pattern)),
            "uri-template" => ResourcePattern::UriTemplate(UriTemplate::parse(pattern).unwrap()),
            _ => ResourcePattern::Default,
        },
        ..ResourceRoute::default()
    }
}

fn api_of(value: &Value) -> ApiRoute {
    let version = text(value, "version").to_owned();
    let strategy = match text(value, "version_type") {
        "context" => VersionStrategy::Context(version),
        "url" => VersionStrategy::Url(version),
        _ => VersionStrategy::None,
    };
    let mut route = ApiRoute::new(text(value, "name"), text(value, "context"), strategy).unwrap();
    route.hostname = value["host"].as_str().map(str::to_owned);
    route.port = value["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    let resources = value["resources"].as_array().into_iter().flatten();
    route.resources = resources.map(resource_of).collect();
    route
}

fn table_of(apis: &Value) -> RouteTable<()> {
    RouteTable::new(apis.as_array().unwrap().iter().map(|api| (api_of(api), ())))
}

fn get(target: &str) -> RequestHead<'_> {
    RequestHead {
        method: "GET",
        target,
        ..RequestHead::default()
    }
}

fn head_of(request: &Value) -> RequestHead<'_> {
    RequestHead {
        method: text(request, "method"),
        target: text(request, "path"),
        host: request["headers"]["Host"].as_str(),
        https: request["https"].as_bool().unwrap_or_default(),
        ..RequestHead::default()
    }
}

/// One test for each section; `cargo test -p synapse -- cases` runs them.
mod cases {
    use super::*;

    #[test]
    fn uri_template() {
        run("uri_template", |_, case| {
            let (template, path) = (text(case, "template"), text(case, "path"));
            let preset = map(&case["preset_variables"]);
            let found = match_template(template, path, preset);
            same(found.is_some(), case["expected_match"].as_bool().unwrap())?;
            // The expected variables are those the upstream test looked at, not all of them.
            for (name, value) in map(&case["expected_variables"]) {
                let variables = found.as_ref();
                same(variables.and_then(|all| all.get(&name)), Some(&value))?;
            }
            let fresh = match_template(template, path, Variables::new());
            let matches = case["fresh_match"].as_bool().unwrap();
            same(fresh, matches.then(|| map(&case["fresh_variables"])))
        });
    }

    #[test]
    fn uri_template_oracle() {
        run("uri_template_oracle", |_, case| {
            let found =
                match_template(text(case, "template"), text(case, "path"), Variables::new());
            let matches = case["match"].as_bool().unwrap();
            same(found, matches.then(|| map(&case["variables"])))
        });
    }

    #[test]
    fn uri_expression_expand() {
        run("uri_expression_expand", |_, case| {
            let variables = map(&case["variables"]);
            let expression = UriExpression::parse(text(case, "expression")).unwrap();
            let found = expression.expand(&|name| variables.get(name).cloned());
            same(found.as_str(), text(case, "expected"))
        });
    }

    #[test]
    fn url_mapping_oracle() {
        run("url_mapping_oracle", |_, case| {
            let mut route =
                ApiRoute::new("A", text(case, "api_context"), VersionStrategy::None).unwrap();
            let mapping = UrlMapping::parse(text(case, "url_mapping"));
            route.resources = vec![ResourceRoute {
                pattern: ResourcePattern::UrlMapping(mapping),
                ..ResourceRoute::default()
            }];
            let table = RouteTable::new([(route, ())]);
            let Selection::Api(found) = table.select(&get(text(case, "path"))) else {
                return same("no_api", text(case, "outcome"));
            };
            let outcome = match found.resource {
                ResourceOutcome::Found { .. } => "match",
                _ => "404",
            };
            same(outcome, text(case, "outcome"))?;
            same(
                found.sub_path,
                case["sub_path"].as_str().unwrap_or(found.sub_path),
            )
        });
    }

    fn check_selection(case: &Value) -> Result<(), String> {
        let table = table_of(&case["apis"]);
        let found = match table.select(&head_of(&case["request"])) {
            Selection::Api(found) => Some(found.route),
            _ => None,
        };
        let key = found.map(ApiRoute::runtime_key);
        same(key.as_deref(), case["expected_api"].as_str())?;
        match case["expected_version"].as_str() {
            Some(expected) => {
                let version = found.and_then(|route| route.version().version());
                same(version.unwrap_or_default(), expected)
            }
            None => Ok(()),
        }
    }

    #[test]
    fn api_dispatch() {
        run("api_dispatch", |_, case| check_selection(case));
    }

    #[test]
    fn host_port_dispatch() {
        run("host_port_dispatch", |_, case| check_selection(case));
    }

    #[test]
    fn resource_dispatch() {
        run("resource_dispatch", |_, case| {
            let table = table_of(&case["apis"]);
            let selection = table.select(&head_of(&case["request"]));
            let found = match selection {
                Selection::Api(selected) => match selected.resource {
                    ResourceOutcome::Found { index, variables } => {
                        let api = case["apis"].as_array().unwrap().iter();
                        let mut named =
                            api.filter(|api| text(api, "name") == selected.route.name());
                        let id = text(&named.next().unwrap()["resources"][index], "id");
                        Some((id, variables.into_iter().collect::<Variables>()))
                    }
                    _ => None,
                },
                _ => None,
            };
            let expected = case["expected_resource"].as_str();
            same(
                found,
                expected.map(|id| (id, map(&case["expected_variables"]))),
            )
        });
    }

    #[test]
    fn api_resource_dispatch_oracle() {
        run("api_resource_dispatch_oracle", |section, case| {
            let api = &section["apis"][usize::try_from(case["api"].as_u64().unwrap()).unwrap()];
            let table = RouteTable::new([(api_of(api), ())]);
            let head = RequestHead {
                method: text(case, "method"),
                ..get(text(case, "path"))
            };
            let Selection::Api(found) = table.select(&head) else {
                return same("no_api", text(case, "outcome"));
            };
            let status = match found.resource {
                ResourceOutcome::Found { index, variables } => {
                    same("resource", text(case, "outcome"))?;
                    same(Some(index as u64), case["resource"].as_u64())?;
                    same(variables.into_iter().collect(), map(&case["variables"]))?;
                    return same(Some(found.sub_path), case["sub_path"].as_str());
                }
                ResourceOutcome::Options { index, .. } => {
                    same("resource", text(case, "outcome"))?;
                    same(head.method, "OPTIONS")?;
                    return same(Some(index as u64), case["resource"].as_u64());
                }
                ResourceOutcome::NotFound => 404,
                ResourceOutcome::MethodNotAllowed => 405,
                ResourceOutcome::BadRequest => 400,
            };
            same("status", text(case, "outcome"))?;
            same(Some(status), case["status"].as_u64())
        });
    }

    #[test]
    fn api_selection_oracle() {
        run("api_selection_oracle", |_, case| {
            let table = table_of(&case["apis"]);
            let found = match table.select(&get(text(case, "path"))) {
                Selection::Api(found) => Some(found.route.runtime_key()),
                _ => None,
            };
            same(found.as_deref(), case["expected_api"].as_str())
        });
    }

    #[test]
    fn url_postfix() {
        run("url_postfix", |_, case| {
            let table = RouteTable::new([(api_of(&case["api"]), ())]);
            let found = match table.select(&get(text(case, "path"))) {
                Selection::Api(found) => Some(found.rest_url_postfix),
                _ => None,
            };
            same(found, case["expected_rest_url_postfix"].as_str())
        });
    }

    #[test]
    fn query_params() {
        run("query_params", |_, case| {
            let found = query_parameters(text(case, "path")).map_err(|error| error.to_string())?;
            same(found.into_iter().collect(), map(&case["expected"]))
        });
    }

    #[test]
    fn http_endpoint_expansion() {
        run("http_endpoint_expansion", |_, case| {
            let prefix = match case["legacy_encoding"].as_bool() {
                Some(true) => EndpointTemplate::LEGACY_PREFIX,
                _ => "",
            };
            let template = format!("{prefix}{}", text(case, "uri_template"));
            let endpoint = EndpointTemplate::parse(&template).unwrap();
            let properties = map(&case["properties"]);
            let found = endpoint.expand(!properties.is_empty(), &|name| {
                properties.get(name).cloned()
            });
            same(&*found, text(case, "expected"))
        });
    }

    /// The state machine alone, with the rules as the compiler would read them.
    #[test]
    fn endpoint_state_oracle() {
        run("endpoint_state_oracle", |_, case| {
            let config = &case["config"];
            let codes = |key: &str| {
                let codes = text(config, key).split(',').filter(|code| !code.is_empty());
                let codes: Vec<i64> = codes.map(|code| code.parse().unwrap()).collect();
                (!codes.is_empty()).then_some(codes)
            };
            let default = Suspension::default();
            let number = |key: &str, absent| text(config, key).parse::<i64>().unwrap_or(absent);
            let rules = Suspension {
                mark_codes: codes("markForSuspensionErrorCodes"),
                retries_before_suspension: number("retriesBeforeSuspension", 0),
                retry_delay: number("retryDelay", 0),
                suspend_codes: codes("suspendErrorCodes"),
                initial_duration: number("initialDuration", default.initial_duration),
                progression_factor: text(config, "progressionFactor").parse().unwrap_or(1.0),
                maximum_duration: number("maximumDuration", default.maximum_duration),
            };
            let mut endpoint = StateMachine::default();
            let mut now = 1_000_000;
            for step in case["steps"].as_array().unwrap() {
                match text(step, "event") {
                    "fault_code" => {
                        let code = step["arg"].as_u64().unwrap();
                        endpoint.fault(&rules, u32::try_from(code).unwrap(), now);
                    }
                    "advance_ms" => now += step["arg"].as_i64().unwrap(),
                    "success" => endpoint.success(),
                    "switch_off" => endpoint.switch_off(),
                    "switch_on" => endpoint.switch_on(),
                    other => panic!("{other}"),
                }
                same(endpoint.state().as_str(), text(step, "state"))?;
                same(Some(endpoint.is_ready(now)), step["ready"].as_bool())?;
                let wait = endpoint.next_retry().map(|at| at - now);
                same(wait, step["ms_to_next_retry"].as_i64())?;
            }
            Ok(())
        });
    }

    /// Groups as artifacts, from their XML to the calls that the engine asks for.
    #[test]
    fn endpoint_group_oracle() {
        run("endpoint_group_oracle", |_, case| {
            let children = usize::try_from(case["children"].as_u64().unwrap()).unwrap();
            let plan = group_plan(text(case, "kind"), children, &case["child_config"]);
            let mut failing = vec![0; children];
            let mut now = 1_000_000;
            let mut expected = case["requests"].as_array().unwrap().iter();
            for event in text(case, "script").split(' ') {
                if let Some(milliseconds) = event.strip_prefix('t') {
                    now += milliseconds.parse::<i64>().unwrap();
                } else if let Some(back_end) = event.strip_prefix('u') {
                    let (child, code) = back_end.split_once('=').unwrap();
                    failing[child.parse::<usize>().unwrap()] = code.parse().unwrap();
                } else {
                    let expected = expected.next().unwrap();
                    let found = group_request(&plan, &failing, now);
                    if expected["result"] == "LOOP" {
                        // Where the original tries one child for ever, each has one try here.
                        let first_ready = failing.iter().position(|code| *code == 0);
                        let attempts: Vec<usize> =
                            (0..=first_ready.unwrap_or(children - 1)).collect();
                        same(found.0.iter().map(|(child, _)| *child).collect(), attempts)?;
                        let result = first_ready.map(|child| format!("ok:{child}"));
                        same(found.1, result.unwrap_or("fault:303000".to_owned()))?;
                    } else {
                        let attempts = expected["attempts"].as_array().unwrap().iter();
                        let attempts: Vec<(usize, String)> = attempts
                            .map(|attempt| {
                                let child = attempt["child"].as_u64().unwrap();
                                (
                                    usize::try_from(child).unwrap(),
                                    text(attempt, "outcome").to_owned(),
                                )
                            })
                            .collect();
                        same(found.0, attempts)?;
                        same(found.1.as_str(), text(expected, "result"))?;
                    }
                }
            }
            Ok(())
        });
    }

    fn group_plan(kind: &str, children: usize, config: &Value) -> Arc<Plan> {
        let element = |name: &str, key: &str| match text(config, key) {
            "" => String::new(),
            value => format!("<{name}>{value}</{name}>"),
        };
        let definition = format!(
            "<suspendOnFailure>{}{}{}{}</suspendOnFailure>\
         <markForSuspension>{}{}{}</markForSuspension>\
         <retryConfig>{}</retryConfig>",
            element("errorCodes", "suspendErrorCodes"),
            element("initialDuration", "initialDuration"),
            element("progressionFactor", "progressionFactor"),
            element("maximumDuration", "maximumDuration"),
            element("errorCodes", "markForSuspensionErrorCodes"),
            element("retriesBeforeSuspension", "retriesBeforeSuspension"),
            element("retryDelay", "retryDelay"),
            element("disabledErrorCodes", "retryConfigDisabledErrorCodes"),
        );
        let inside: String = (0..children)
        .map(|child| {
            format!(
                "<endpoint name='{child}'><http uri-template='http://h/{child}'>{definition}</http></endpoint>"
            )
        })
        .collect();
        let group = match kind {
            "failover (dynamic)" => format!("<failover>{inside}</failover>"),
            "loadbalance RoundRobin failover=true" => format!(
                "<loadbalance algorithm='org.apache.synapse.endpoints.algorithms.RoundRobin'>{inside}</loadbalance>"
            ),
            "loadbalance RoundRobin failover=false" => {
                format!("<loadbalance failover='false'>{inside}</loadbalance>")
            }
            other => panic!("{other}"),
        };
        let artifact = Artifact {
        name: "A".into(),
        api_definition: Some(
            "<api name='A' context='/a'><resource><inSequence><send><endpoint key='G'/></send></inSequence>\
             <faultSequence><payloadFactory media-type='text'><format>$1</format>\
             <args><arg expression='$ctx:ERROR_CODE'/></args></payloadFactory><respond/></faultSequence>\
             </resource></api>"
                .into(),
        ),
        endpoint_entries_to_be_add: vec![Content {
            name: "G".into(),
            content: format!("<endpoint name='G'>{group}</endpoint>"),
        }],
        ..Artifact::default()
    };
        let compilation = synapse::compile(&artifact, &Limits::default());
        compilation
            .plan
            .unwrap_or_else(|| panic!("{:?}", compilation.findings))
    }

    /// One request: the children that were called with their outcome, and the result.
    fn group_request(
        plan: &Arc<Plan>,
        failing: &[u32],
        now: i64,
    ) -> (Vec<(usize, String)>, String) {
        let target = Target {
            api: 0,
            resource: ResourceOutcome::Found {
                index: 0,
                variables: Vec::new(),
            },
            rest_url_postfix: "",
        };
        let request = Request {
            method: "GET",
            target: "/a",
            https: false,
            headers: http::HeaderMap::new(),
            has_body: false,
            remote: None,
        };
        let environment = Environment {
            now,
            message_id: MessageId::default(),
            settings: Arc::default(),
        };
        let (mut exchange, mut step) =
            Exchange::start(Arc::clone(plan), target, request, environment);
        let mut attempts = Vec::new();
        loop {
            let call = match step {
                Step::Call(call) => call,
                Step::Read(..) | Step::Ask(_) | Step::Token(_) => {
                    panic!("no mediator looks into a body: {step:?}")
                }
                Step::Answer(answer) => {
                    let Body::Bytes(code) = answer.body else {
                        panic!("{answer:?}");
                    };
                    let code = String::from_utf8(code.to_vec()).unwrap();
                    return (attempts, format!("fault:{code}"));
                }
            };
            let child: usize = call.url.strip_prefix("http://h/").unwrap().parse().unwrap();
            let code = failing[child];
            if code == 0 {
                attempts.push((child, "ok".to_owned()));
                let head = BackendResponse {
                    status: 500,
                    headers: http::HeaderMap::new(),
                    request_left: true,
                };
                let answered = exchange.response(head, now);
                assert!(matches!(answered, Step::Answer(_)));
                return (attempts, format!("ok:{child}"));
            }
            attempts.push((child, code.to_string()));
            step = exchange.failed(Fault::new(code, "failed"), now, true);
        }
    }
}
