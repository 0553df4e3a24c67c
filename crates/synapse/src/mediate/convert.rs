//! One kind of body as another: what `messageType` asks for when a message leaves.

use bytes::Bytes;

use super::exchange::{Body, Exchange, Fault};
use crate::message::{SOAP_11, SOAP_12, json_of};
use crate::xml::is_char;

/// What a message formatter writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// XML without an envelope.
    Plain,
    Soap11,
    Soap12,
}

impl Form {
    fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default();
        let media = media.trim().to_ascii_lowercase();
        match media.as_str() {
            "application/soap+xml" => Some(Self::Soap12),
            "text/xml" => Some(Self::Soap11),
            _ if media.contains("json") => Some(Self::Json),
            _ if media.contains("xml") => Some(Self::Plain),
            _ => None,
        }
    }
}

/// Whether a content type is one of SOAP's.
pub(super) fn is_soap(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let soap = ["text/xml", "application/soap+xml"];
    soap.iter().any(|soap| media.eq_ignore_ascii_case(soap))
}

impl Exchange {
    /// The form that the body has and the one that it is to leave in, where they differ.
    fn conversion(&self) -> Option<(Form, Form)> {
        let wanted = self.axis2_set("messageType");
        let wanted = Form::of(wanted.or_else(|| self.axis2_set("ContentType"))?)?;
        let have = Form::of(self.message.type_text()?)?;
        (self.message.body != Body::Empty && have != wanted).then_some((have, wanted))
    }

    /// Whether the content type is one of SOAP's.
    pub(super) fn may_be_soap(&self) -> bool {
        self.message.type_text().is_some_and(is_soap)
    }

    /// Whether the body has to be read before the message leaves.
    pub(super) fn must_convert(&self) -> bool {
        self.conversion().is_some()
    }

    /// Brings the body into the form in which it is to leave.
    pub(super) fn convert(&mut self) -> Result<(), Fault> {
        let Some((have, wanted)) = self.conversion() else {
            return Ok(());
        };
        let failed = || Fault::new(0, format!("the body is no {have:?} that can be converted"));
        let envelope = self.message.envelope().ok_or_else(failed)?;
        let document = &envelope.document;
        let (text, content_type) = match wanted {
            Form::Json => {
                let text = match envelope.payload() {
                    Some(payload) => json_of(document, payload).to_string(),
                    None => "{}".to_owned(),
                };
                (text, "application/json")
            }
            Form::Plain => match envelope.payload() {
                Some(payload) => (document.to_xml(payload), "application/xml"),
                // An envelope with nothing in it.
                None if envelope.is_soap => (String::new(), "application/xml"),
                None => return Err(failed()),
            },
            Form::Soap11 | Form::Soap12 => {
                let own = document.name(envelope.envelope);
                let own = own.map(|name| name.namespace.clone()).unwrap_or_default();
                let text = document.to_xml(envelope.envelope);
                let (namespace, content_type) = match wanted {
                    Form::Soap11 => (SOAP_11, "text/xml"),
                    _ => (SOAP_12, "application/soap+xml"),
                };
                (text.replacen(&own, namespace, 1), content_type)
            }
        };
        if wanted != Form::Json && !text.chars().all(is_char) {
            let message = "the body has a character that XML cannot hold";
            return Err(Fault::new(0, message));
        }
        let body = match text.is_empty() {
            true => Body::Empty,
            false => Body::Bytes(Bytes::from(text)),
        };
        self.message.set_body(body, Some(content_type.to_owned()));
        Ok(())
    }
}
