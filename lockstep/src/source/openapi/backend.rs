//! The back ends that a document names: WSO2's extensions, otherwise its servers.

use super::OpenApiError;
use super::document::Node;

pub(super) const PRODUCTION: &str = "x-wso2-production-endpoints";
pub(super) const SANDBOX: &str = "x-wso2-sandbox-endpoints";

/// The addresses of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addresses {
    Http(String),
    LoadBalance(Vec<String>),
    Failover(Vec<String>),
}

/// Where requests go, by the type of their key. There is always at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Production(Addresses),
    Sandbox(Addresses),
    Both {
        production: Addresses,
        sandbox: Addresses,
    },
}

impl Backend {
    pub(super) fn read(root: &Node<'_>, findings: &mut Vec<String>) -> Result<Self, OpenApiError> {
        let read = |key| root.get(key).map(|it| addresses(&it)).transpose();
        match (read(PRODUCTION)?, read(SANDBOX)?) {
            (Some(production), Some(sandbox)) => Ok(Self::Both {
                production,
                sandbox,
            }),
            (Some(production), None) => Ok(Self::Production(production)),
            (None, Some(sandbox)) => Ok(Self::Sandbox(sandbox)),
            (None, None) => Ok(Self::Production(Addresses::Http(server(root, findings)?))),
        }
    }

    pub(super) fn production(&self) -> Option<&Addresses> {
        match self {
            Self::Production(production) | Self::Both { production, .. } => Some(production),
            Self::Sandbox(_) => None,
        }
    }

    pub(super) fn sandbox(&self) -> Option<&Addresses> {
        match self {
            Self::Sandbox(sandbox) | Self::Both { sandbox, .. } => Some(sandbox),
            Self::Production(_) => None,
        }
    }
}

fn addresses(endpoints: &Node<'_>) -> Result<Addresses, OpenApiError> {
    let list = endpoints.required("urls", "the endpoints need a list of URLs")?;
    let mut urls = Vec::new();
    for item in list.items()? {
        let url = item.string()?;
        check_url(url).map_err(|rule| item.breaks(rule))?;
        urls.push(url.to_owned());
    }
    let kind = endpoints.get("type");
    let kind_text = kind.as_ref().map(Node::string).transpose()?;
    if !matches!(kind_text, None | Some("http" | "load_balance" | "failover")) {
        let node = kind.as_ref().unwrap_or(endpoints);
        return Err(node.breaks("the type is http, load_balance or failover"));
    }
    match (kind_text, urls.as_slice()) {
        (_, []) => Err(list.breaks("the list needs at least one URL")),
        (_, [url]) => Ok(Addresses::Http(url.clone())),
        (Some("load_balance"), _) => Ok(Addresses::LoadBalance(urls)),
        (Some("failover"), _) => Ok(Addresses::Failover(urls)),
        _ => Err(list.breaks("several URLs need the type load_balance or failover")),
    }
}

/// The first server: the list offers alternatives, such as staging, that are not equals.
fn server(root: &Node<'_>, findings: &mut Vec<String>) -> Result<String, OpenApiError> {
    const RULE: &str = "no back end: add a server with an absolute URL, \
                        or x-wso2-production-endpoints";

    let servers = root.required("servers", RULE)?;
    let mut servers = servers.items()?.into_iter();
    let Some(first) = servers.next() else {
        return Err(root.child_breaks("servers", RULE));
    };
    for other in servers {
        findings.push(format!(
            "{}: not used, the first server is the back end; \
             list the URLs in {PRODUCTION} to use several",
            other.pointer()
        ));
    }
    let url = first.required("url", "a server needs a url")?;
    let text = with_defaults(&first, &url)?;
    if !text.contains("://") {
        return Err(url.breaks(format!(
            "{text:?} is relative: write an absolute http or https URL, \
             or add x-wso2-production-endpoints"
        )));
    }
    check_url(&text).map_err(|rule| url.breaks(rule))?;
    Ok(text)
}

/// A server's URL with every variable replaced by its default.
fn with_defaults(server: &Node<'_>, url: &Node<'_>) -> Result<String, OpenApiError> {
    let mut text = String::new();
    let mut rest = url.string()?;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((variable, tail)) = after.split_once('}') else {
            return Err(url.breaks("a { of the URL is not closed"));
        };
        let default = server
            .get("variables")
            .and_then(|it| it.members().ok())
            .and_then(|it| it.into_iter().find(|it| it.key() == variable))
            .ok_or_else(|| url.breaks(format!("the variable {variable:?} is not declared")))?
            .required("default", "a server variable needs a default")?;
        text.push_str(literal);
        text.push_str(default.string()?);
        rest = tail;
    }
    text.push_str(rest);
    Ok(text)
}

/// The rule that `url` breaks. It is not quoted, as it may hold a password.
fn check_url(url: &str) -> Result<(), &'static str> {
    const ABSOLUTE: &str =
        "not an absolute http or https URL, such as http://orders.internal:8080/v1";

    let parsed: http::Uri = url.parse().map_err(|_| ABSOLUTE)?;
    let host = parsed.host().unwrap_or_default();
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || host.is_empty() {
        return Err(ABSOLUTE);
    }
    if parsed
        .authority()
        .is_some_and(|it| it.as_str().contains('@'))
    {
        return Err("a URL holds no user name or password");
    }
    if parsed.query().is_some() || url.contains('#') {
        return Err("a back end's URL has no query or fragment: resource paths are appended to it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::source::openapi::tests::{INFO, document, generated, refused};

    #[test]
    fn back_end_comes_from_the_first_server() {
        let text = document(&format!(
            "{INFO}servers:
    - url: 'https://{{host}}:{{port}}/v1'
      variables: {{host: {{default: example.com}}, port: {{default: '8443'}}}}
    - url: https://staging.example.com"
        ));
        let api = generated(&text);
        assert!(
            api.endpoints[0]
                .1
                .contains("uri-template=\"https://example.com:8443/v1\"")
        );
        assert_eq!(api.endpoints.len(), 1);
        assert!(
            api.api_definition
                .contains("<else><sequence key=\"_sandbox_key_error_\"/></else>")
        );
        assert!(
            api.findings[0].starts_with("/servers/1: not used"),
            "{:?}",
            api.findings
        );

        let server = |server: &str| document(&format!("{INFO}servers: {server}"));
        refused(&document(INFO), "/servers", "x-wso2-production-endpoints");
        refused(&server("[]"), "/servers", "x-wso2-production-endpoints");
        refused(&server("{}"), "/servers", "must be a list");
        refused(&server("[{}]"), "/servers/0/url", "needs a url");
        refused(&server("[{url: /v1}]"), "/servers/0/url", "relative");
        refused(
            &server("[{url: 'http://{h}'}]"),
            "/servers/0/url",
            "\"h\" is not declared",
        );
        refused(
            &server("[{url: 'http://{h'}]"),
            "/servers/0/url",
            "not closed",
        );
        refused(
            &server("[{url: 'http://{h}', variables: {h: {}}}]"),
            "/servers/0/variables/h/default",
            "needs a default",
        );
        refused(
            &server("[{url: 'ftp://a/b'}]"),
            "/servers/0/url",
            "absolute http or https",
        );
    }

    #[test]
    fn back_end_comes_from_the_extensions() {
        let ends = |text: &str| document(&format!("{INFO}{text}"));
        let sandbox = generated(&ends("x-wso2-sandbox-endpoints: {urls: ['http://s/a&b']}"));
        assert_eq!(sandbox.endpoints.len(), 1);
        assert!(
            sandbox.endpoints[0]
                .1
                .contains("uri-template=\"http://s/a&amp;b\"")
        );
        let xml = sandbox.api_definition;
        assert!(xml.contains("regex=\"SANDBOX\""), "{xml}");
        assert!(
            xml.contains("<else><sequence key=\"_production_key_error_\"/></else>"),
            "{xml}"
        );

        for (kind, element) in [("load_balance", "loadbalance"), ("failover", "failover")] {
            let text = ends(&format!(
                "x-wso2-production-endpoints: {{type: {kind}, urls: ['http://a', 'http://b']}}"
            ));
            let xml = &generated(&text).endpoints[0].1;
            assert!(xml.contains(&format!("</{element}>")), "{xml}");
            assert!(xml.contains(
                "name=\"A--v1_APIproductionEndpoint_1\"><http uri-template=\"http://b\""
            ));
        }

        let at = "/x-wso2-production-endpoints";
        let production = |text: &str| ends(&format!("x-wso2-production-endpoints: {text}"));
        refused(&production("{}"), &format!("{at}/urls"), "list of URLs");
        refused(
            &production("{urls: []}"),
            &format!("{at}/urls"),
            "at least one",
        );
        refused(
            &production("{urls: http://a}"),
            &format!("{at}/urls"),
            "must be a list",
        );
        refused(
            &production("{urls: [http://a, http://b]}"),
            &format!("{at}/urls"),
            "need the type",
        );
        refused(
            &production("{urls: [http://a], type: soap}"),
            &format!("{at}/type"),
            "http, load_balance",
        );
        for url in ["a/b", "http://", "ftp://a", "'http://a b'", "//a"] {
            refused(
                &production(&format!("{{urls: [{url}]}}")),
                &format!("{at}/urls/0"),
                "URL",
            );
        }
        refused(
            &production("{urls: ['http://u:p@a']}"),
            &format!("{at}/urls/0"),
            "password",
        );
        refused(
            &production("{urls: ['http://a?b']}"),
            &format!("{at}/urls/0"),
            "query",
        );
        refused(
            &production("{urls: ['http://a#b']}"),
            &format!("{at}/urls/0"),
            "fragment",
        );
    }
}
