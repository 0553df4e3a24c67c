//! Endpoints that say in which format messages leave, whatever they are. Source:
//! Axis2FlexibleMEPClient.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

use super::convert::Form;
use super::endpoint::SOAP_ACTION;
use super::exchange::{Body, Exchange, Fault};
use crate::message::{Envelope, SOAP_11, SOAP_12};
use crate::plan::{EndpointKind, EndpointRef, Format, Plan};

/// Endpoints inside each other.
const MAX_DEPTH: usize = 16;

impl Plan {
    /// Whether a message to this endpoint may have to be brought into a format; of an endpoint that
    /// is computed nobody knows.
    pub(super) fn brings_into_format(&self, reference: &EndpointRef, depth: usize) -> bool {
        let at = match reference {
            EndpointRef::Own(at) => *at,
            EndpointRef::Dynamic(_) => return true,
            EndpointRef::Missing(_) | EndpointRef::NotExecuted(_) => return false,
        };
        let kind = self.endpoints.get(at).map(|endpoint| &endpoint.kind);
        let inside =
            |reference| depth >= MAX_DEPTH || self.brings_into_format(reference, depth + 1);
        match kind {
            Some(EndpointKind::Leaf(leaf)) => {
                leaf.format.is_some_and(|format| format != Format::Get)
            }
            Some(EndpointKind::Group(group)) => group.children.iter().any(inside),
            Some(EndpointKind::Indirect(other)) => inside(other),
            Some(EndpointKind::NotExecuted(_)) | None => false,
        }
    }
}

impl Exchange {
    /// Headers and body as they leave to an endpoint with a format. Types that have been set do not
    /// count.
    pub(super) fn outgoing_as(&mut self, format: Format) -> Result<(HeaderMap, Body), Fault> {
        if self.has_no_entity() {
            return self.outgoing();
        }
        match format {
            Format::Get => self.message.set_body(Body::Empty, None),
            Format::Pox if self.message.body == Body::Empty => {}
            Format::Pox => match self.form() {
                Some(Form::Plain) | None => {}
                Some(_) => self.bring_into(Form::Plain)?,
            },
            Format::Soap11 => self.bring_into_soap(Form::Soap11)?,
            Format::Soap12 => self.bring_into_soap(Form::Soap12)?,
        }
        let made = self.message.content_type.take();
        let body = std::mem::take(&mut self.message.body);
        let mut headers = std::mem::take(&mut self.message.headers);
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        if body == Body::Empty {
            headers.remove(CONTENT_TYPE);
            return Ok((headers, body));
        }
        let action = headers
            .get(SOAP_ACTION)
            .and_then(|value| value.to_str().ok());
        let content_type = match (format, action) {
            (Format::Soap12, Some(action)) => {
                let action = action.trim().trim_matches('"');
                Some(format!("application/soap+xml;action=\"{action}\""))
            }
            _ => made,
        };
        let value = content_type.and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, value);
        }
        Ok((headers, body))
    }

    /// Makes the message an envelope of a version; one that is so already stays as it is.
    fn bring_into_soap(&mut self, wanted: Form) -> Result<(), Fault> {
        let namespace = if wanted == Form::Soap11 {
            SOAP_11
        } else {
            SOAP_12
        };
        let is_foreign = self.message.is_foreign();
        let own = self.message.envelope();
        let is_it = own.is_some_and(|own: std::sync::Arc<Envelope>| {
            let name = own.document.name(own.envelope);
            own.is_soap && !is_foreign && name.is_some_and(|name| name.namespace == namespace)
        });
        if !is_it {
            return self.bring_into(wanted);
        }
        self.message.content_type = Some(wanted.content_type().to_owned());
        Ok(())
    }
}
