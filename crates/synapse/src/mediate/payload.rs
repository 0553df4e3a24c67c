//! What becomes the body of a message, and the types that announce it. Sources:
//! MediatorPropertyUtils, PayloadFactoryMediator, EnrichMediator.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::convert::is_soap;
use super::exchange::{Body, Exchange};
use crate::message::{Document, Envelope, Name, SOAP_12};
use crate::plan::Media;

/// Message types that stay when a mediator makes XML: the message then leaves in that form.
pub(super) const ENVELOPES: [&str; 3] = ["application/xml", "text/xml", "application/soap+xml"];

/// Those that stay with XML that comes from elsewhere.
const ENRICHED: [&str; 4] = [
    "application/xml",
    "text/xml",
    "application/soap+xml",
    "application/x-www-form-urlencoded",
];

impl Exchange {
    /// `messageType`: what the body is to leave as. It is ContentType and the header, too; what the
    /// body is by now is remembered.
    pub(super) fn set_message_type(&mut self, value: String) {
        if self.message.body != Body::Empty
            && let Ok(header) = HeaderValue::try_from(&value)
        {
            self.message.remember_type();
            self.message.headers.insert(CONTENT_TYPE, header);
        }
        self.axis2.set("ContentType", value.clone());
        self.axis2.set("messageType", value);
    }

    /// Gives the message a body that is announced as what it is.
    pub(super) fn put_body(&mut self, text: String, content_type: &'static str) {
        self.announce(content_type);
        let body = Body::Bytes(Bytes::from(text));
        self.message.set_body(body, Some(content_type.to_owned()));
    }

    pub(super) fn announce(&mut self, content_type: &'static str) {
        for name in ["messageType", "ContentType"] {
            self.axis2.set(name, content_type);
        }
        let header = HeaderValue::from_static(content_type);
        self.message.headers.insert(CONTENT_TYPE, header);
    }

    /// Makes a text the message's payload. XML stays in the envelope that a SOAP message is, or is
    /// an envelope itself. `kept` are message types that XML leaves as they are; else the made type
    /// is announced.
    pub(super) fn put_payload(&mut self, text: String, media: Media, kept: &[&str]) {
        self.axis2.remove("NO_ENTITY_BODY");
        if media != Media::Xml {
            return self.put_body(text, media.content_type());
        }
        let text = match self.put_envelope(text) {
            Some(text) => text,
            None => return,
        };
        if let Some(envelope) = self.soap_envelope()
            && let Some(whole) = envelope.with_payload(&text)
        {
            let content_type = self.message.content_type.clone();
            let body = Body::Bytes(Bytes::from(whole));
            self.message.set_body(body, content_type);
            return;
        }
        let made = media.content_type();
        if self.keeps_type(kept) {
            let body = Body::Bytes(Bytes::from(text));
            self.message.set_body(body, Some(made.to_owned()));
        } else {
            self.put_body(text, made);
        }
    }

    /// Whether the message type that has been set is one of these. The header then says it, too.
    fn keeps_type(&mut self, kept: &[&str]) -> bool {
        let Some(set) = self.axis2_set("messageType") else {
            return false;
        };
        if !kept.contains(&set) {
            return false;
        }
        if let Ok(header) = HeaderValue::try_from(set) {
            self.message.headers.entry(CONTENT_TYPE).or_insert(header);
        }
        true
    }

    /// Makes a text the message's envelope, if it is one of SOAP; else gives it back. In a message
    /// of another type the payload alone leaves (`checkAndReplaceEnvelope`).
    fn put_envelope(&mut self, text: String) -> Option<String> {
        if !text.contains("Envelope") {
            return Some(text);
        }
        let envelope = Document::parse(&text).ok().map(Envelope::around);
        let Some(envelope) = envelope.filter(|envelope| envelope.is_soap) else {
            return Some(text);
        };
        let name = envelope.document.name(envelope.envelope);
        let own = match name.is_some_and(|name| name.namespace == SOAP_12) {
            true => "application/soap+xml",
            false => "text/xml",
        };
        let unset = self.axis2_set("messageType").is_none();
        if unset && self.may_be_soap() {
            let header = HeaderValue::from_static(own);
            self.message.headers.insert(CONTENT_TYPE, header);
        } else if !self.keeps_type(&ENVELOPES) {
            self.announce(Media::Xml.content_type());
        }
        let body = Body::Bytes(Bytes::from(text));
        self.message.set_body(body, Some(own.to_owned()));
        None
    }

    /// The message's envelope, if it came as one and is not to leave as something else.
    fn soap_envelope(&self) -> Option<Arc<Envelope>> {
        let wanted = self.axis2_set("messageType");
        if !matches!(self.message.body, Body::Bytes(_)) || !wanted.is_none_or(is_soap) {
            return None;
        }
        self.message.envelope().filter(|envelope| envelope.is_soap)
    }

    /// `enrich` to the body: a body of the same kind leaves the content type as it is; another kind
    /// brings its own.
    pub(super) fn replace_body(&mut self, text: String, media: Media) {
        self.axis2.remove("NO_ENTITY_BODY");
        if text.is_empty() {
            self.message.set_body(Body::Empty, None);
            return;
        }
        if self.message.media() != Some(media) {
            if (media, self.message.media()) == (Media::Xml, Some(Media::Fields))
                && self.axis2_set("messageType").is_none()
            {
                // The fields of a form, which goes on to be one.
                let form = Media::Fields.content_type();
                self.axis2.set("messageType", form);
            }
            return self.put_payload(text, media, &ENRICHED);
        }
        let text = match media {
            Media::Xml => match self.put_envelope(text) {
                Some(text) => text,
                None => return,
            },
            Media::Json | Media::Text | Media::Fields => text,
        };
        let whole = match self.soap_envelope() {
            Some(envelope) if media == Media::Xml => envelope.with_payload(&text),
            _ => None,
        };
        let content_type = self.message.content_type.clone();
        let body = Body::Bytes(Bytes::from(whole.unwrap_or(text)));
        self.message.set_body(body, content_type);
    }
}

impl Envelope {
    /// The envelope with another payload; `None` when that is no XML.
    fn with_payload(&self, payload: &str) -> Option<String> {
        let payload = Document::parse(payload).ok()?;
        let own = self.document.name(self.envelope)?.clone();
        let mut made = Document::new();
        let envelope = made.element(0, own.clone());
        if let Some(header) = self.header {
            made.copy(envelope, &self.document, header);
        }
        let body = made.element(
            envelope,
            Name {
                local: "Body".to_owned(),
                ..own
            },
        );
        made.copy(body, &payload, payload.elements(0).next()?);
        Some(made.to_xml(0))
    }
}
