//! From an endpoint to a back-end call. Sources: HTTPEndpoint, AbstractEndpoint,
//! Axis2FlexibleMEPClient.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;

use super::answers::not_executed;
use super::choose::Stop;
use super::convert::is_soap;
use super::exchange::{BackendCall, Body, Exchange, Fault, Step};
use super::handlers::Stage;
use super::run::{Flowing, MAX_CALLS};
use super::token::{GoesOn, InUse, secret_value};
use crate::expression::Scope;
use crate::plan::{
    Address, Authentication, EndpointKind, EndpointRef, Format, Leaf, SequenceRef, SessionKind,
    Timeout,
};

/// The methods of requests that do no more when they come twice (RFC 9110, 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];

pub(super) const SOAP_ACTION: &str = "soapaction";

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Sending {
    /// The groups from the root to the leaf, each with the position of the child chosen.
    pub(super) path: Vec<(usize, usize)>,
    pub(super) leaf: usize,
    /// Children that have had this request.
    pub(super) tried: Vec<(usize, usize)>,
    /// What is sent again to the next child.
    body: Body,
    content_type: Option<String>,
    after: After,
    /// The client's own session id.
    pub(super) client: Vec<String>,
    /// For an endpoint that wants one.
    pub(super) token: Option<InUse>,
    /// The back end has refused one token already.
    pub(super) renewed: bool,
    /// It would do no more if it came twice, and has not been made twice.
    pub(super) may_be_made_again: bool,
    /// Over a connection that has not been used before.
    pub(super) fresh: bool,
}

/// What follows the response.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// `send`: the response path.
    RespondPath,
    /// `send` with `receive`: that sequence instead.
    Sequence(SequenceRef),
    /// `call`: the next mediator.
    Continue,
}

impl Exchange {
    /// Sends the message to an endpoint.
    pub(super) fn send(&mut self, reference: &EndpointRef, after: After) -> Flowing {
        let mut sending = Sending {
            path: Vec::new(),
            leaf: 0,
            tried: Vec::new(),
            body: Body::Empty,
            content_type: None,
            after,
            client: self.client_id(),
            token: None,
            renewed: false,
            may_be_made_again: false,
            fresh: false,
        };
        if let Err(stop) = self.choose(reference, &mut sending) {
            return stop.into();
        }
        sending.body.clone_from(&self.message.body);
        if self.plan.formats || self.must_convert() {
            // The header will say what it has become.
            self.message.remember_type();
        }
        sending.content_type.clone_from(&self.message.content_type);
        if !matches!(sending.after, After::Continue) {
            self.frames.clear();
            self.stage = Stage::Mediation;
        }
        self.call_chosen(sending)
    }

    fn client_id(&self) -> Vec<String> {
        match self.plan.soap_sessions {
            true => self.request_keys(SessionKind::Client),
            false => Vec::new(),
        }
    }

    /// Sends the message where its To says.
    pub(super) fn send_to_to(&mut self, after: After) -> Flowing {
        if self.message.to.is_none() {
            let message = "send without an endpoint, and the message has no To";
            return Flowing::Failed(Fault::new(0, message));
        }
        let last = self.plan.endpoints.len().saturating_sub(1);
        self.send(&EndpointRef::Own(last), after)
    }

    /// Takes note of a response, and goes on behind `send` or `call`.
    pub(super) fn arrived(&mut self) -> After {
        let Some(sending) = self.sending.take() else {
            return After::RespondPath;
        };
        let plan = Arc::clone(&self.plan);
        if let Some(leaf) = plan.endpoints.get(sending.leaf) {
            leaf.shared.get().machine().success();
        }
        self.bind_sessions(&sending);
        sending.after
    }

    /// Takes note of a failure: the next child of a group, or a fault. `of_endpoint`: it counts
    /// against the endpoint.
    pub(super) fn call_failed(
        &mut self,
        fault: Fault,
        body_left: bool,
        of_endpoint: bool,
    ) -> Flowing {
        let Some(mut sending) = self.sending.take() else {
            return Flowing::Failed(fault);
        };
        let plan = Arc::clone(&self.plan);
        let leaf = plan.endpoints.get(sending.leaf);
        let mut again = false;
        if let Some(endpoint) = leaf
            && let EndpointKind::Leaf(leaf) = &endpoint.kind
        {
            if leaf.discard && fault.code == Fault::TIMEOUT {
                // Nothing is sent and nothing is told (`TimeoutHandler`).
                return Flowing::Done(super::answers::nothing(504));
            }
            // A client that goes away says nothing about the back end.
            if of_endpoint && !fault.is_of_client() {
                let mut machine = endpoint.shared.get().machine();
                again = machine.fault(&leaf.suspension, fault.code, self.environment.now);
            }
        }
        if sending.path.is_empty() || fault.is_of_client() || !body_left {
            return Flowing::Failed(fault);
        }
        match self.choose_after(&mut sending, fault, again) {
            Err(stop) => stop.into(),
            Ok(()) => {
                sending.token = None;
                sending.renewed = false;
                sending.fresh = false;
                self.call_again(sending)
            }
        }
    }

    /// Makes a call with the body that an earlier one had.
    pub(super) fn call_again(&mut self, sending: Sending) -> Flowing {
        self.message.body.clone_from(&sending.body);
        self.message.content_type.clone_from(&sending.content_type);
        self.call_chosen(sending)
    }

    pub(super) fn call_chosen(&mut self, mut sending: Sending) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let Some(endpoint) = plan.endpoints.get(sending.leaf) else {
            return Flowing::Failed(missing("?"));
        };
        let leaf = match &endpoint.kind {
            EndpointKind::Leaf(leaf) => leaf,
            EndpointKind::NotExecuted(element) => return Flowing::Done(not_executed(element)),
            EndpointKind::Group(_) | EndpointKind::Indirect(_) => {
                return Flowing::Failed(missing(&endpoint.name));
            }
        };
        if let Some(Authentication::Oauth(oauth)) = &leaf.authentication
            && sending.token.is_none()
        {
            return self.want_token(oauth, GoesOn::Send(Box::new(sending)));
        }
        self.calls += 1;
        if self.calls > MAX_CALLS {
            let message = format!("more than {MAX_CALLS} back-end calls for one request");
            return Flowing::Failed(Fault::new(0, message));
        }
        for property in &endpoint.properties {
            if let Flowing::Failed(fault) = self.run_property(property) {
                return Flowing::Failed(fault);
            }
        }
        let (url, method) = self.address(leaf, sending.leaf);
        let outgoing = match leaf.format {
            None => self.outgoing(),
            Some(format) => self.outgoing_as(format),
        };
        let (mut headers, body) = match outgoing {
            Ok(outgoing) => outgoing,
            Err(fault) => return Flowing::Failed(fault),
        };
        // A fault sequence may still look at the headers; the body is gone once it is sent.
        self.message.headers.clone_from(&headers);
        let authorization = match (&leaf.authentication, &sending.token) {
            (Some(Authentication::Basic { username, password }), _) => {
                match self.basic(username, password) {
                    Ok(value) => Some(value),
                    Err(fault) => return Flowing::Failed(fault),
                }
            }
            (Some(Authentication::Oauth(_)), Some(used)) => {
                secret_value(&format!("Bearer {}", used.token))
            }
            _ => None,
        };
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        let may_repeat = !sending.path.is_empty() || sending.token.is_some();
        let fresh = sending.fresh;
        sending.may_be_made_again = !fresh && IDEMPOTENT.contains(&method.as_str());
        self.sending = Some(sending);
        Flowing::Done(Step::Call(Box::new(BackendCall {
            method,
            url,
            headers,
            body,
            timeout: self.timeout(leaf),
            endpoint: endpoint.name.clone(),
            host: self.property(Scope::Axis2, "REQUEST_HOST_HEADER"),
            may_repeat,
            fresh,
        })))
    }

    /// URL and method of a call to the endpoint at a position.
    fn address(&self, leaf: &Leaf, at: usize) -> (String, String) {
        let soap = matches!(leaf.format, Some(Format::Soap11 | Format::Soap12));
        let postfix = match !soap && self.is_rest() {
            true => self.axis2_text("REST_URL_POSTFIX").unwrap_or_default(),
            false => "".into(),
        };
        // `TargetRequestFactory`: what is no request any more is posted.
        let method = || match leaf.format {
            Some(Format::Soap11 | Format::Soap12) => "POST".to_owned(),
            Some(Format::Get) => "GET".to_owned(),
            Some(Format::Pox) | None => {
                let method = self.axis2_text("HTTP_METHOD");
                method.map_or_else(|| "POST".to_owned(), Cow::into_owned)
            }
        };
        match &leaf.address {
            Address::Fixed(uri) => (join(uri, &postfix), method()),
            Address::To => {
                let to = self.message.to.as_ref();
                let set = to.is_some_and(|to| !Arc::ptr_eq(to, &self.target));
                let to = to.map(|to| &**to).unwrap_or_default();
                // Without an endpoint, and where nobody has said where, it is To alone.
                let alone = !set || at + 1 == self.plan.endpoints.len();
                let url = if alone {
                    to.to_owned()
                } else {
                    behind(to, &postfix)
                };
                (url, method())
            }
            Address::Http {
                template,
                method: own,
            } => {
                let has_properties = self.has_variables();
                let address =
                    template.expand(has_properties, &|name| self.property(Scope::Default, name));
                match own {
                    Some(method) => (address.into_owned(), method.clone()),
                    None => (join(&address, &postfix), method()),
                }
            }
        }
    }

    /// Whether the URL postfix belongs to the address: not that of a SOAP request
    /// (`Axis2FlexibleMEPClient.isRequestRest`).
    fn is_rest(&self) -> bool {
        let may_be_soap = self.message.from_back_end || is_soap(&self.content_type);
        if !may_be_soap
            || self
                .axis2_text("HTTP_METHOD")
                .is_some_and(|it| it != "POST")
        {
            return true;
        }
        let message_type = self.axis2_text("messageType").unwrap_or_default();
        match &*message_type {
            "application/soap+xml" => false,
            "text/xml" => !self.message.headers.contains_key(SOAP_ACTION),
            _ => true,
        }
    }

    /// A computed timeout that is no number leaves the global one.
    fn timeout(&self, leaf: &Leaf) -> Option<Duration> {
        match leaf.timeout.as_ref()? {
            Timeout::Fixed(duration) => Some(*duration),
            Timeout::Dynamic(expression) => {
                let text = self.text_of(expression)?;
                let milliseconds = text.trim().parse().ok().filter(|number| *number > 0)?;
                Some(Duration::from_millis(milliseconds))
            }
        }
    }
}

impl From<Stop> for Flowing {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(fault) => Self::Failed(fault),
            Stop::NotExecuted(element) => Self::Done(not_executed(&element)),
        }
    }
}

pub(super) fn missing(key: &str) -> Fault {
    Fault::new(
        Fault::ENDPOINT_MISSING,
        format!("Couldn't find the endpoint with the key : {key}"),
    )
}

/// To + REST_URL_POSTFIX; a slash is put between them where neither has one.
fn behind(to: &str, postfix: &str) -> String {
    match postfix.chars().next() {
        None => to.to_owned(),
        Some('/' | '?') => format!("{to}{postfix}"),
        Some(_) if to.ends_with('/') => format!("{to}{postfix}"),
        Some(_) => format!("{to}/{postfix}"),
    }
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
