//! URI templates: of resources, and of endpoints.

use super::first_line;
use crate::dispatch::{
    EndpointTemplate, RequestHead, ResourceOutcome, ResourcePattern, ResourceRoute, TemplateMatch,
    UriExpression, UriTemplate, UrlMapping, choose_resource, query_parameters,
};

/// First line: a template; then a path. Templates are read as they are written; matching leaves
/// no trace where it fails and gives only variables of the template; where they alone decide the
/// path, the path made of them has the same ones.
pub fn uri_template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (template, path) = first_line(text);
    expands(template, path);
    if let Ok(parsed) = UriTemplate::parse(template) {
        assert_eq!(parsed.as_str(), template);
        matches(&parsed, template, path);
    }
    let mapping = UrlMapping::parse(template);
    if let UrlMapping::Exact(exact) = &mapping
        && exact.starts_with('/')
        && !exact.contains('?')
        && (exact == "/" || !exact.ends_with('/'))
    {
        assert!(mapping.is_exact_match(exact), "it does not match itself");
        assert!(
            mapping.is_exact_match(&format!("{exact}?{path}x")),
            "nor with a query"
        );
    }
    let resource = |pattern| ResourceRoute {
        pattern,
        ..ResourceRoute::default()
    };
    let mut resources = vec![
        resource(ResourcePattern::UrlMapping(mapping)),
        resource(ResourcePattern::Default),
    ];
    if let Ok(parsed) = UriTemplate::parse(template) {
        resources.push(resource(ResourcePattern::UriTemplate(parsed)));
    }
    let head = RequestHead {
        method: "GET",
        target: path,
        ..RequestHead::default()
    };
    let outcome = choose_resource(&resources, &head, path, crate::dispatch::DEFAULT_BINDING);
    if let ResourceOutcome::Found { index, .. } = outcome {
        assert!(index < resources.len());
    }
    if let Ok(parameters) = query_parameters(path) {
        let mut names: Vec<_> = parameters.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a parameter is there twice");
    }
}

fn matches(parsed: &UriTemplate, template: &str, path: &str) {
    let known = vec![("known".to_owned(), "value".to_owned())];
    let mut variables = known.clone();
    let outcome = parsed.try_match(path, &mut variables);
    let mut again = known.clone();
    assert_eq!(parsed.try_match(path, &mut again), outcome);
    assert_eq!(again, variables);
    if outcome != TemplateMatch::Yes {
        assert_eq!(variables, known, "a trace of what did not match");
        return;
    }
    for (name, _) in &variables[1..] {
        assert!(
            template.contains(name.as_str()),
            "{name} is not in the template"
        );
    }
    let has_empty = variables.iter().any(|(_, value)| value.is_empty());
    // Two slashes at the end are dropped, and one is forgiven.
    if has_empty || template.ends_with("//") || !is_decided_by_variables(template) {
        return;
    }
    let Ok(expression) = UriExpression::parse(template) else {
        return;
    };
    let lookup = |name: &str| {
        let mut known = variables.iter();
        known
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.clone())
    };
    let made = expression.expand(&lookup);
    let mut of_made = known;
    assert!(parsed.matches(&made, &mut of_made), "{made} does not match");
    assert_eq!(of_made, variables, "{made}");
}

/// Whether a template is literals and `{v}` by turns, each literal one that ends a variable.
fn is_decided_by_variables(template: &str) -> bool {
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return false;
        };
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain || name.is_empty() || literal.contains('*') || !literal.starts_with('/') {
            return false;
        }
        rest = after;
    }
    !rest.contains('*') && (rest.is_empty() || rest.starts_with('/'))
}

/// Expanding gives what a URI can hold, or the template.
fn expands(template: &str, value: &str) {
    let Ok(parsed) = EndpointTemplate::parse(template) else {
        return;
    };
    let lookup = |name: &str| (!name.contains('-')).then(|| value.to_owned());
    let made = parsed.expand(true, &lookup);
    let holds = |c: char| !c.is_whitespace() && !c.is_control() && !"<>\"{}|\\^`".contains(c);
    assert!(
        made.as_ref() == parsed.as_str() || made.chars().all(holds),
        "no URI: {made:?}"
    );
    assert_eq!(parsed.expand(false, &lookup), parsed.as_str());
}
