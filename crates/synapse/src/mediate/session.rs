//! What tells a session, in requests and responses. Sources: HttpSessionDispatcher,
//! SoapSessionDispatcher, SimpleClientSessionDispatcher.

use http::header::{COOKIE, HeaderName, SET_COOKIE};

use super::endpoint::Sending;
use super::exchange::Exchange;
use crate::message::Envelope;
use crate::plan::{EndpointKind, SessionKind};

/// Names of SOAP headers.
const SERVICE_GROUP: (&str, &str) = ("http://ws.apache.org/namespaces/axis2", "ServiceGroupId");
const CLIENT: (&str, &str) = ("http://ws.apache.org/ns/synapse", "ClientID");
const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";

impl Exchange {
    /// The keys of the sessions that a request may belong to.
    pub(super) fn request_keys(&self, kind: SessionKind) -> Vec<String> {
        match kind {
            SessionKind::Cookie => self
                .values_of(COOKIE)
                .iter()
                .flat_map(|cookies| cookies.split(';'))
                .map(str::to_owned)
                .collect(),
            SessionKind::ServiceGroup => self.in_header(&[SERVICE_GROUP]),
            SessionKind::Client => self.in_header(&[CLIENT]),
        }
    }

    /// Remembers whose session a response is of, in the groups that keep such ones.
    pub(super) fn bind_sessions(&self, sending: &Sending) {
        for (at, child) in &sending.path {
            let Some(endpoint) = self.plan.endpoints.get(*at) else {
                continue;
            };
            let EndpointKind::Group(group) = &endpoint.kind else {
                continue;
            };
            let Some(session) = group.session else {
                continue;
            };
            let keys = match session.kind {
                SessionKind::Cookie => self
                    .values_of(SET_COOKIE)
                    .iter()
                    .filter_map(|cookie| cookie.split(';').next().map(str::to_owned))
                    .collect(),
                SessionKind::ServiceGroup => self.in_header(&[
                    (ADDRESSING, "ReplyTo"),
                    (ADDRESSING, "ReferenceParameters"),
                    SERVICE_GROUP,
                ]),
                SessionKind::Client => sending.client.clone(),
            };
            let (keys, now) = (keys.iter().map(String::as_str), self.environment.now);
            let shared = endpoint.shared.get();
            shared.sessions().bind(keys, *child, now, session.timeout);
        }
    }

    /// Whether a response's body has to be read before its session is known.
    pub(super) fn session_in_body(&self) -> bool {
        let sending = self.sending.as_ref();
        let mut path = sending.into_iter().flat_map(|sending| &sending.path);
        path.any(|(at, _)| match self.plan.endpoints.get(*at) {
            Some(endpoint) => match &endpoint.kind {
                EndpointKind::Group(group) => group
                    .session
                    .is_some_and(|session| session.kind == SessionKind::ServiceGroup),
                _ => false,
            },
            None => false,
        }) && self.may_be_soap()
    }

    /// The text of the SOAP header element that these names lead to.
    fn in_header(&self, names: &[(&str, &str)]) -> Vec<String> {
        let envelope = match self.may_be_soap() {
            true => self.message.envelope(),
            false => None,
        };
        let text = envelope.and_then(|envelope| envelope.header_text(names));
        text.into_iter().collect()
    }

    fn values_of(&self, name: HeaderName) -> Vec<String> {
        let values = self.message.headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect()
    }
}

impl Envelope {
    fn header_text(&self, names: &[(&str, &str)]) -> Option<String> {
        let document = &self.document;
        let mut at = self.header?;
        for (namespace, local) in names {
            at = document.elements(at).find(|child| {
                document
                    .name(*child)
                    .is_some_and(|name| name.namespace == *namespace && name.local == *local)
            })?;
        }
        Some(document.string_value(at)).filter(|text| !text.trim().is_empty())
    }
}
