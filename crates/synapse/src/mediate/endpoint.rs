//! From an endpoint to a back-end call. Sources: HTTPEndpoint, Axis2FlexibleMEPClient.

use super::answers::not_executed;
use super::exchange::{BackendCall, Exchange, Fault, Step};
use super::run::MAX_CALLS;
use crate::expression::Scope;
use crate::plan::{Address, Endpoint, EndpointRef};

impl Exchange {
    pub(super) fn call(&mut self, reference: &EndpointRef) -> Result<Step, Fault> {
        let plan = std::sync::Arc::clone(&self.plan);
        let endpoint: &Endpoint = match reference {
            EndpointRef::Inline(endpoint) => endpoint,
            EndpointRef::NotExecuted(element) => return Ok(not_executed(element)),
            EndpointRef::Own(index) => plan.endpoints.get(*index).ok_or_else(|| missing("?"))?,
            EndpointRef::Missing(key) => return Err(missing(key)),
        };
        self.calls += 1;
        if self.calls > MAX_CALLS {
            let message = format!("more than {MAX_CALLS} back-end calls for one request");
            return Err(Fault::new(0, message));
        }
        let postfix = self
            .property(Scope::Axis2, "REST_URL_POSTFIX")
            .unwrap_or_default();
        let method = self
            .property(Scope::Axis2, "HTTP_METHOD")
            .unwrap_or_default();
        let (url, method) = match &endpoint.address {
            Address::NotExecuted(element) => return Ok(not_executed(element)),
            Address::Fixed(uri) => (join(uri, &postfix), method),
            Address::To => (self.message.to.clone().unwrap_or_default(), method),
            Address::Http {
                template,
                method: own,
            } => {
                let is_variable =
                    |name: &str| name.starts_with("uri.var.") || name.starts_with("query.param.");
                let has_properties = self.default.keys().any(|name| is_variable(name))
                    || endpoint
                        .properties
                        .iter()
                        .any(|(name, _)| is_variable(name));
                let address = template.expand(has_properties, &|name| {
                    let own = endpoint.properties.iter().find(|(key, _)| key == name);
                    own.map(|(_, value)| value.clone())
                        .or_else(|| self.property(Scope::Default, name))
                });
                match own {
                    Some(method) => (address.into_owned(), method.clone()),
                    None => (join(&address, &postfix), method),
                }
            }
        };
        let (headers, body) = match self.outgoing() {
            Ok(outgoing) => outgoing,
            Err(step) => return Ok(step),
        };
        // A fault sequence may still look at the headers; the body is gone once it is sent.
        self.message.headers.clone_from(&headers);
        self.frames.clear();
        Ok(Step::Call(Box::new(BackendCall {
            method,
            url,
            headers,
            body,
            timeout: endpoint.timeout,
            discard: endpoint.discard,
            endpoint: endpoint.name.clone(),
            host: self.property(Scope::Axis2, "REQUEST_HOST_HEADER"),
        })))
    }
}

fn missing(key: &str) -> Fault {
    Fault::new(
        Fault::ENDPOINT_MISSING,
        format!("Couldn't find the endpoint with the key : {key}"),
    )
}

/// Address + REST_URL_POSTFIX with exactly one slash between them, none before a query.
fn join(address: &str, postfix: &str) -> String {
    match (address.ends_with('/'), postfix.chars().next()) {
        (_, None) => address.to_owned(),
        (true, Some('/')) => format!("{address}{}", &postfix[1..]),
        (true, Some('?')) => format!("{}{postfix}", address.trim_end_matches('/')),
        (false, Some('/' | '?')) | (true, Some(_)) => format!("{address}{postfix}"),
        (false, Some(_)) => format!("{address}/{postfix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_address_and_postfix_with_one_slash() {
        for (address, postfix, expected) in [
            ("http://h/a", "/b?x=1", "http://h/a/b?x=1"),
            ("http://h/a/", "/b", "http://h/a/b"),
            ("http://h/a", "b", "http://h/a/b"),
            ("http://h/a/", "?x=1", "http://h/a?x=1"),
            ("http://h/a", "?x=1", "http://h/a?x=1"),
            ("http://h/a", "", "http://h/a"),
        ] {
            assert_eq!(join(address, postfix), expected);
        }
    }
}
