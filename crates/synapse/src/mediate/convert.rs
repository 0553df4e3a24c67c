//! One kind of body as another: what `messageType` asks for when a message leaves.

use bytes::Bytes;

use super::exchange::{Body, Exchange, Fault};
use crate::message::{SOAP_11, SOAP_12, fields_of, is_foreign, json, json_of, unnamable};
use crate::xml::is_char;

/// What a message formatter writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// XML without an envelope.
    Plain,
    Soap11,
    Soap12,
    /// `application/x-www-form-urlencoded`.
    Fields,
    Text,
}

impl Form {
    fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default();
        let media = media.trim().to_ascii_lowercase();
        match media.as_str() {
            "application/soap+xml" => Some(Self::Soap12),
            "text/xml" => Some(Self::Soap11),
            "application/x-www-form-urlencoded" => Some(Self::Fields),
            // It need not end.
            "text/event-stream" => None,
            _ if media.contains("json") => Some(Self::Json),
            _ if media.contains("xml") => Some(Self::Plain),
            _ => media.starts_with("text/").then_some(Self::Text),
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Plain => "application/xml",
            Self::Soap11 => "text/xml",
            Self::Soap12 => "application/soap+xml",
            Self::Fields => "application/x-www-form-urlencoded",
            Self::Text => "text/plain",
        }
    }
}

/// What the type that has been set makes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    /// Nothing: the type is all that changes, if it does.
    Nothing,
    /// Another form.
    Into(Form),
    /// The body is none that could be brought into the form: its type stays what it is.
    Impossible,
}

/// Whether a content type is one of SOAP's.
pub(super) fn is_soap(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let soap = ["text/xml", "application/soap+xml"];
    soap.iter().any(|soap| media.eq_ignore_ascii_case(soap))
}

/// Why a form is not written as XML.
pub(super) fn no_element(field: &str) -> String {
    format!("the form has a field {field:?}, which cannot be an element of XML")
}

impl Exchange {
    /// What is to become of the body when the message leaves.
    fn conversion(&self) -> Conversion {
        let set = self.axis2_set("messageType");
        let wanted = set.or_else(|| self.axis2_set("ContentType"));
        let (Some(set_type), false) = (wanted, self.message.body == Body::Empty) else {
            return Conversion::Nothing;
        };
        let (Some(form), Some(have)) = (Form::of(set_type), self.message.type_text()) else {
            return Conversion::Nothing;
        };
        match (Form::of(have), form) {
            // What has another charset than the type that is set would be mistaken.
            (Some(of), wanted) if of == wanted => match is_foreign(have) && !is_foreign(set_type) {
                true => Conversion::Impossible,
                false => Conversion::Nothing,
            },
            (_, Form::Text) => Conversion::Nothing,
            // ContentType alone builds no message (`PropertyMediator.isContentAware`).
            _ if set.is_none() && !matches!(self.message.body, Body::Bytes(_)) => {
                Conversion::Nothing
            }
            (_, Form::Fields) | (Some(Form::Text), _) if set.is_none() => Conversion::Nothing,
            (Some(_), wanted) => Conversion::Into(wanted),
            (None, _) => Conversion::Impossible,
        }
    }

    /// What the body is by its type.
    pub(super) fn form(&self) -> Option<Form> {
        Form::of(self.message.type_text()?)
    }

    /// Whether the content type is one of SOAP's.
    pub(super) fn may_be_soap(&self) -> bool {
        self.message.type_text().is_some_and(is_soap)
    }

    /// Whether the body has to be read before the message leaves.
    pub(super) fn must_convert(&self) -> bool {
        matches!(self.conversion(), Conversion::Into(_))
    }

    /// Brings the body into the form in which it is to leave; whether it leaves with the type that
    /// has been set.
    pub(super) fn convert(&mut self) -> Result<bool, Fault> {
        match self.conversion() {
            Conversion::Nothing => Ok(true),
            Conversion::Impossible => Ok(false),
            Conversion::Into(wanted) => self.bring_into(wanted).map(|()| true),
        }
    }

    /// Brings the body into a form.
    pub(super) fn bring_into(&mut self, wanted: Form) -> Result<(), Fault> {
        let have = self.form();
        let failed = || {
            let have = have.map_or("is of a type".to_owned(), |have| format!("is no {have:?}"));
            Fault::new(0, format!("the body {have} that can be converted"))
        };
        let envelope = self.message.envelope().ok_or_else(failed)?;
        let document = &envelope.document;
        let payload = envelope.payload();
        let text = match wanted {
            Form::Json => match payload {
                Some(payload) => json::write(&json_of(document, payload)),
                None => "{}".to_owned(),
            },
            Form::Plain => match payload {
                Some(payload) => document.to_xml(payload),
                // An envelope with nothing in it.
                None if envelope.is_soap => String::new(),
                None => return Err(failed()),
            },
            Form::Fields => payload.map_or_else(String::new, |it| fields_of(document, it)),
            Form::Text => return Err(failed()),
            Form::Soap11 | Form::Soap12 => {
                let own = document.name(envelope.envelope);
                let own = own.map(|name| name.namespace.clone()).unwrap_or_default();
                let namespace = if wanted == Form::Soap11 {
                    SOAP_11
                } else {
                    SOAP_12
                };
                let text = document.to_xml(envelope.envelope);
                text.replacen(&own, namespace, 1)
            }
        };
        let is_xml = matches!(wanted, Form::Plain | Form::Soap11 | Form::Soap12);
        if is_xml && !text.chars().all(is_char) {
            let message = "the body has a character that XML cannot hold";
            return Err(Fault::new(0, message));
        }
        if is_xml
            && have == Some(Form::Fields)
            && let Some(name) = unnamable(document)
        {
            return Err(Fault::new(0, no_element(name)));
        }
        let body = match text.is_empty() {
            true => Body::Empty,
            false => Body::Bytes(Bytes::from(text)),
        };
        let content_type = wanted.content_type().to_owned();
        self.message.set_body(body, Some(content_type));
        Ok(())
    }
}
