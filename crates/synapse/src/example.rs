//! A request that an API answers, made from its routes: for self-checks and ready-to-paste
//! examples.

use crate::dispatch::{
    ApiRoute, DEFAULT_BINDING, MethodSet, RequestHead, ResourceOutcome, ResourcePattern,
    Transports, VersionStrategy,
};

/// A request by method and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub method: &'static str,
    /// Path with context and version.
    pub target: String,
    /// The API is not served over plain HTTP.
    pub https_only: bool,
    /// The resource that answers, in document order.
    pub resource: usize,
}

/// The first request that dispatch takes to a resource; reading methods go first. `None` for an
/// API that no ordinary request reaches (bound to WebSocket listeners, say).
#[must_use]
pub fn example(route: &ApiRoute) -> Option<Example> {
    let prefix = match route.version() {
        VersionStrategy::Url(version) => format!("{}/{version}", route.context()),
        _ => route.context().to_owned(),
    };
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        for (resource, candidate) in route.resources.iter().enumerate() {
            if !listed(candidate.methods, method) {
                continue;
            }
            let sub_path = path_for(&candidate.pattern);
            let head = RequestHead {
                method,
                target: &sub_path,
                https: route.transports == Transports::Https,
                content_type: candidate.content_type.as_deref(),
                ..RequestHead::default()
            };
            let outcome = route.choose_resource(&head, &sub_path, DEFAULT_BINDING);
            if matches!(outcome, ResourceOutcome::Found { index, .. } if index == resource) {
                return Some(Example {
                    method,
                    target: format!("{prefix}{sub_path}"),
                    https_only: route.transports == Transports::Https,
                    resource,
                });
            }
        }
    }
    None
}

fn listed(methods: MethodSet, method: &str) -> bool {
    methods.is_empty() || methods.contains(method)
}

/// A path that fits the pattern, or nearly; dispatch has the last word.
fn path_for(pattern: &ResourcePattern) -> String {
    let text = match pattern {
        ResourcePattern::Default => return "/".to_owned(),
        ResourcePattern::UrlMapping(mapping) => mapping.to_pattern(),
        ResourcePattern::UriTemplate(template) => template.as_str().to_owned(),
    };
    let mut path = String::new();
    let mut rest = text.as_str();
    while let Some((before, variable)) = rest.split_once('{') {
        path.push_str(before);
        let (name, after) = variable.split_once('}').unwrap_or((variable, ""));
        match name.chars().next() {
            Some(operator @ ('.' | '/' | '#')) => path.extend([operator, '1']),
            // `{v:3}` takes exactly three characters.
            _ => match name
                .rsplit_once(':')
                .and_then(|(_, n)| n.parse::<usize>().ok())
            {
                Some(length) => path.push_str(&"1".repeat(length.min(255))),
                None => path.push('1'),
            },
        }
        rest = after;
    }
    path.push_str(rest);
    let path = match path.strip_suffix("/*") {
        Some(before) => format!("{before}/"),
        None => path.replace('*', "1"),
    };
    if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{ResourceRoute, UriTemplate, UrlMapping};

    fn api(resources: Vec<(&str, ResourcePattern)>) -> ApiRoute {
        let version = VersionStrategy::Context("1".into());
        let mut route = ApiRoute::new("A", "/a/{version}", version).unwrap();
        route.resources = resources
            .into_iter()
            .map(|(methods, pattern)| ResourceRoute {
                methods: MethodSet::parse(methods).unwrap(),
                pattern,
                ..ResourceRoute::default()
            })
            .collect();
        route
    }

    fn template(text: &str) -> ResourcePattern {
        ResourcePattern::UriTemplate(UriTemplate::parse(text).unwrap())
    }

    #[test]
    fn prefers_a_reading_method_and_fills_variables() {
        let route = api(vec![
            ("POST", ResourcePattern::UrlMapping(UrlMapping::parse("/*"))),
            ("GET", template("/order/{id}/{code:2}")),
        ]);
        let example = example(&route).unwrap();
        assert_eq!(
            (example.method, example.target.as_str()),
            ("GET", "/a/1/order/1/11")
        );
        assert_eq!(example.resource, 1);
    }

    #[test]
    fn every_pattern_has_an_example() {
        for pattern in [
            ResourcePattern::Default,
            ResourcePattern::UrlMapping(UrlMapping::parse("/*")),
            ResourcePattern::UrlMapping(UrlMapping::parse("/a/b/*")),
            ResourcePattern::UrlMapping(UrlMapping::parse("*.jsp")),
            template("/x/{a}/*"),
            template("/x?q={q}"),
            template("/x{/seg}"),
        ] {
            assert!(
                example(&api(vec![("", pattern.clone())])).is_some(),
                "{pattern:?}"
            );
        }
        assert!(example(&api(vec![("OPTIONS", ResourcePattern::Default)])).is_none());
    }
}
