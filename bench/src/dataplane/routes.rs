//! The same routes for each peer.

use serde_json::{Value, json};

use crate::ours::apis::Plain;

/// How Envoy finds a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// `routes`: the first one that fits, as most control planes write it.
    List,
    /// `matcher` with a tree of prefixes.
    Tree,
}

/// nginx: a location for each API, kept connections to the back end.
#[must_use]
pub fn nginx(apis: &[Plain], back_end: u16, port: u16) -> String {
    let mut http = format!(
        "upstream back_end {{\n  server 127.0.0.1:{back_end};\n  keepalive 128;\n\
           keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n}}\n\
         server {{\n  listen 127.0.0.1:{port} backlog=8192;\n  proxy_http_version 1.1;\n\
           proxy_set_header Connection \"\";\n"
    );
    for api in apis {
        let (prefix, target) = (api.prefix(), api.target());
        http += &format!("location {prefix}/ {{ proxy_pass http://back_end{target}/; }}\n");
    }
    http + "}\n"
}

/// The back end: 1 KiB for any path, from memory.
#[must_use]
pub fn back_end(port: u16) -> String {
    let body = "x".repeat(super::ANSWER);
    format!(
        "server {{\n  listen 127.0.0.1:{port} backlog=8192;\n  default_type text/plain;\n\
           location / {{ return 200 \"{body}\"; }}\n}}\n"
    )
}

/// Envoy: a route configuration with a route for each API.
#[must_use]
pub fn envoy(apis: &[Plain], search: Search) -> Value {
    let route = |api: &Plain| {
        json!({
            "match": {"prefix": format!("{}/", api.prefix())},
            "route": {"cluster": "back_end", "prefix_rewrite": format!("{}/", api.target())},
        })
    };
    let mut host = json!({"name": "apis", "domains": ["*"]});
    match search {
        Search::List => host["routes"] = apis.iter().map(route).collect(),
        Search::Tree => {
            let action = |api: &Plain| {
                let mut action = route(api);
                action["@type"] = "type.googleapis.com/envoy.config.route.v3.Route".into();
                let action = json!({"action": {"name": "route", "typed_config": action}});
                (format!("{}/", api.prefix()), action)
            };
            let map: serde_json::Map<String, Value> = apis.iter().map(action).collect();
            host["matcher"] = json!({"matcher_tree": {
                "input": {
                    "name": "path",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                        "header_name": ":path",
                    },
                },
                "prefix_match_map": {"map": map},
            }});
        }
    }
    json!({"name": "apis", "virtual_hosts": [host]})
}
