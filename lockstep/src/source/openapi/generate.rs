//! The XML of a generated API, in the form API Manager gives it.

use super::Resource;
use super::backend::{Addresses, Backend};

const NAMESPACE: &str = "http://ws.apache.org/ns/synapse";

/// A single back end is never suspended: without it there is nothing to fall back on.
const NEVER_SUSPEND: &str = "<suspendOnFailure>\
    <errorCodes>-1</errorCodes><initialDuration>0</initialDuration>\
    <progressionFactor>1.0</progressionFactor><maximumDuration>0</maximumDuration>\
    </suspendOnFailure>\
    <markForSuspension><errorCodes>-1</errorCodes></markForSuspension>";

/// A child of a group rests for a second after a failure, so that the group goes to the next one.
const SUSPEND_A_SECOND: &str = "<suspendOnFailure>\
    <initialDuration>1000</initialDuration><progressionFactor>1.0</progressionFactor>\
    </suspendOnFailure>\
    <markForSuspension><retriesBeforeSuspension>0</retriesBeforeSuspension>\
    <retryDelay>0</retryDelay></markForSuspension>";

pub(super) fn api(
    name: &str,
    version: &str,
    context: &str,
    resources: &[Resource],
    backend: &Backend,
) -> String {
    let mut xml = format!(
        "<api xmlns=\"{NAMESPACE}\" name=\"{}\" context=\"{}\" version=\"{}\" transports=\"\" \
         version-type=\"context\">\n",
        escaped(name),
        escaped(context),
        escaped(version)
    );
    let route = route(name, version, backend);
    for resource in resources {
        let path = escaped(&resource.path);
        let attribute = path_attribute(&resource.path);
        let methods = resource.methods.join(" ");
        xml.push_str(&format!(
            "  <resource {attribute}=\"{path}\" methods=\"{methods}\" faultSequence=\"fault\">\n\
             {route}    <outSequence><send/></outSequence>\n  </resource>\n"
        ));
    }
    xml.push_str("</api>\n");
    xml
}

pub(super) fn endpoints(name: &str, version: &str, backend: &Backend) -> Vec<(String, String)> {
    let production = backend
        .production()
        .map(|it| (production_name(name, version), it));
    let sandbox = backend
        .sandbox()
        .map(|it| (sandbox_name(name, version), it));
    let named = production.into_iter().chain(sandbox);
    named
        .map(|(name, addresses)| {
            let xml = endpoint(&name, addresses);
            (name, xml)
        })
        .collect()
}

/// The entry has no namespace, as API Manager writes it.
pub(super) fn local_entry(api_id: &str, document: &str) -> String {
    format!(
        "<localEntry key=\"{}\">{}</localEntry>",
        escaped(api_id),
        escaped(document)
    )
}

/// A plain path, or one that ends in `/*`, is a URL mapping; anything else is a template.
fn path_attribute(path: &str) -> &'static str {
    let exact = path.strip_suffix("/*").unwrap_or(path);
    if exact.contains(['{', '*']) {
        "uri-template"
    } else {
        "url-mapping"
    }
}

/// The in-sequence: the request goes where its key says.
fn route(name: &str, version: &str, backend: &Backend) -> String {
    let send =
        |endpoint: String| format!("<send><endpoint key=\"{}\"/></send>", escaped(&endpoint));
    let (key_type, then, otherwise) = match backend {
        Backend::Both { .. } => (
            "PRODUCTION",
            send(production_name(name, version)),
            send(sandbox_name(name, version)),
        ),
        Backend::Production(_) => (
            "PRODUCTION",
            send(production_name(name, version)),
            "<sequence key=\"_sandbox_key_error_\"/>".to_owned(),
        ),
        Backend::Sandbox(_) => (
            "SANDBOX",
            send(sandbox_name(name, version)),
            "<sequence key=\"_production_key_error_\"/>".to_owned(),
        ),
    };
    format!(
        "    <inSequence>\n      \
         <filter source=\"$ctx:AM_KEY_TYPE\" regex=\"{key_type}\">\n        \
         <then>{then}</then>\n        <else>{otherwise}</else>\n      \
         </filter>\n    </inSequence>\n"
    )
}

fn endpoint(name: &str, addresses: &Addresses) -> String {
    let open = format!(
        "<endpoint xmlns=\"{NAMESPACE}\" name=\"{}\">",
        escaped(name)
    );
    match addresses {
        Addresses::Http(url) => {
            format!("{open}\n  {}\n</endpoint>\n", http(url, NEVER_SUSPEND))
        }
        Addresses::LoadBalance(urls) => format!(
            "{open}\n  \
             <loadbalance algorithm=\"org.apache.synapse.endpoints.algorithms.RoundRobin\">\n\
             {}  </loadbalance>\n</endpoint>\n",
            children(name, urls)
        ),
        Addresses::Failover(urls) => format!(
            "{open}\n  <failover>\n{}  </failover>\n</endpoint>\n",
            children(name, urls)
        ),
    }
}

fn children(name: &str, urls: &[String]) -> String {
    let name = escaped(name);
    let child = |(index, url): (usize, &String)| {
        let http = http(url, SUSPEND_A_SECOND);
        format!("    <endpoint name=\"{name}_{index}\">{http}</endpoint>\n")
    };
    urls.iter().enumerate().map(child).collect()
}

fn http(url: &str, suspension: &str) -> String {
    format!(
        "<http uri-template=\"{}\"><timeout><responseAction>fault</responseAction></timeout>\
         {suspension}</http>",
        escaped(url)
    )
}

fn production_name(name: &str, version: &str) -> String {
    format!("{name}--v{version}_APIproductionEndpoint")
}

fn sandbox_name(name: &str, version: &str) -> String {
    format!("{name}--v{version}_APIsandboxEndpoint")
}

/// `text` for an attribute or for character data. Characters that XML cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_a_mapping_only_at_the_end() {
        for (path, attribute) in [
            ("/", "url-mapping"),
            ("/*", "url-mapping"),
            ("/orders/*", "url-mapping"),
            ("/orders", "url-mapping"),
            ("/orders*", "uri-template"),
            ("/*/items", "uri-template"),
            ("/orders/{id}", "uri-template"),
            ("/orders/{id}/*", "uri-template"),
        ] {
            assert_eq!(path_attribute(path), attribute, "{path}");
        }
    }

    #[test]
    fn text_is_escaped_for_attributes_and_content() {
        assert_eq!(
            escaped("<a b=\"c\" d='e'>&\n\u{1}\u{ffff}"),
            "&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt;&amp;&#10;\u{fffd}\u{fffd}"
        );
        let entry = local_entry("an-id", "{\"a\":\"<&>\"}");
        assert_eq!(
            entry,
            "<localEntry key=\"an-id\">{&quot;a&quot;:&quot;&lt;&amp;&gt;&quot;}</localEntry>"
        );
    }

    #[test]
    fn children_of_a_group_can_be_suspended_and_a_single_back_end_cannot() {
        let single = endpoint("A", &Addresses::Http("http://a/?".into()));
        assert!(single.contains("<errorCodes>-1</errorCodes>"), "{single}");
        let urls = vec!["http://a".to_owned(), "http://b".to_owned()];
        let group = endpoint("A", &Addresses::Failover(urls));
        assert!(
            group.contains("<failover>") && group.contains("name=\"A_1\""),
            "{group}"
        );
        assert!(!group.contains("-1<"), "{group}");
    }
}
