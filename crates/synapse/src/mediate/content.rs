//! The body of a message for mediators that look into it: when it has to be read, and what it is
//! as XML or JSON.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

use super::exchange::{Body, Exchange, Message, Need};
use crate::expression::{Context, Expression, Scope};
use crate::message::{
    Document, Envelope, form_of, json, json_of, text_of, without_foreign, xml_of,
};
use crate::plan::{
    Condition, EndpointRef, EnrichSource, EnrichTarget, Media, Mediator, Operand, SequenceRef,
};

/// A body as XML and as JSON, each made when it is first asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What is not UTF-8, decoded.
    text: OnceCell<Option<String>>,
    envelope: OnceCell<Option<Arc<Envelope>>>,
    json: OnceCell<Option<Arc<Value>>>,
}

impl Message {
    /// The media type of the body, as far as it is one that can be looked into.
    pub(super) fn media(&self) -> Option<Media> {
        Media::of(self.type_text()?)
    }

    /// The content type that the body has, which need not be the one that it is to leave with.
    pub(super) fn type_text(&self) -> Option<&str> {
        match &self.content_type {
            Some(made) => Some(made),
            None => self.headers.get(CONTENT_TYPE)?.to_str().ok(),
        }
    }

    /// Notes what the body is before the header says something else.
    pub(super) fn remember_type(&mut self) {
        if self.content_type.is_none() {
            self.content_type = self.type_text().map(str::to_owned);
        }
    }

    /// The body that has been read, as text; only what is not UTF-8 is copied, once.
    pub(super) fn text(&self) -> Option<&str> {
        let Body::Bytes(bytes) = &self.body else {
            return None;
        };
        if let Some(decoded) = self.seen.text.get() {
            return decoded.as_deref();
        }
        match text_of(bytes, self.type_text().unwrap_or_default()) {
            Some(Cow::Borrowed(text)) => Some(text),
            decoded => {
                let decoded = decoded.map(Cow::into_owned);
                self.seen.text.get_or_init(|| decoded).as_deref()
            }
        }
    }

    /// Whether the body that has been read is no UTF-8.
    pub(super) fn is_foreign(&self) -> bool {
        match (&self.body, self.text()) {
            (Body::Bytes(bytes), Some(text)) => bytes.as_ptr() != text.as_ptr(),
            _ => false,
        }
    }

    /// The same where it is looked through for what must not be in it: whatever it is.
    pub(super) fn any_text(&self) -> Cow<'_, str> {
        match (self.text(), &self.body) {
            (Some(text), _) => text.into(),
            (None, Body::Bytes(bytes)) => String::from_utf8_lossy(bytes),
            (None, _) => "".into(),
        }
    }

    fn make_envelope(&self) -> Option<Envelope> {
        if self.body == Body::Empty {
            return Some(Envelope::new());
        }
        match self.media()? {
            Media::Xml => Document::parse(self.text()?).ok().map(Envelope::around),
            Media::Json => self.json().map(|json| xml_of(&json)),
            // What is no text in its charset is one with replacement characters.
            Media::Text => Some(Envelope::of_text(&self.any_text())),
            Media::Fields => form_of(self.text()?),
        }
    }

    fn make_json(&self) -> Option<Value> {
        if self.body == Body::Empty {
            return Some(Value::Null);
        }
        match self.media()? {
            Media::Json => json::read(self.text()?),
            Media::Xml | Media::Text | Media::Fields => {
                let envelope = self.envelope()?;
                let payload = envelope.payload()?;
                Some(json_of(&envelope.document, payload))
            }
        }
    }

    pub(super) fn envelope(&self) -> Option<Arc<Envelope>> {
        self.seen
            .envelope
            .get_or_init(|| self.make_envelope().map(Arc::new))
            .clone()
    }

    pub(super) fn json(&self) -> Option<Arc<Value>> {
        self.seen
            .json
            .get_or_init(|| self.make_json().map(Arc::new))
            .clone()
    }

    /// What is made here is UTF-8, whatever the type of the former body has said.
    fn drop_charset(&mut self) {
        let Some(kept) = self.type_text().and_then(without_foreign) else {
            return;
        };
        if self.content_type.is_some() {
            self.content_type = Some(kept);
        } else if let Ok(kept) = HeaderValue::try_from(kept) {
            self.headers.insert(CONTENT_TYPE, kept);
        }
    }

    /// Gives the message another body. `content_type` is that of the new one.
    pub(super) fn set_body(&mut self, body: Body, content_type: Option<String>) {
        self.body = body;
        self.content_type = content_type;
        self.drop_charset();
        self.headers.remove(CONTENT_ENCODING);
        self.coded = false;
        self.soap_fault = false;
        self.seen = Seen::default();
    }
}

impl Context for Exchange {
    fn property(&self, scope: Scope, name: &str) -> Option<String> {
        Self::property(self, scope, name)
    }

    fn envelope(&self) -> Option<Arc<Envelope>> {
        self.message.envelope()
    }

    fn json(&self) -> Option<Arc<Value>> {
        self.message.json()
    }

    fn secret(&self, alias: &str) -> Option<String> {
        self.plan.credentials.0.get(alias).cloned()
    }

    fn now(&self) -> i64 {
        self.environment.now
    }

    fn fail(&self, reason: &str) {
        self.unevaluated.set(Some(reason.to_owned()));
    }
}

impl Exchange {
    /// The stream that has to be read before the mediator can run, and how much of it.
    pub(super) fn to_be_read(&self, mediator: &Mediator) -> Option<(Body, Need)> {
        let read_before = match self.message.body {
            Body::Request | Body::Response => false,
            Body::Bytes(_) if self.message.coded => true,
            Body::Bytes(_) | Body::Empty => return None,
        };
        let need = match mediator {
            Mediator::Collect if self.collects().is_some() && self.must_convert() => Need::Whole,
            Mediator::Collect if read_before => return None,
            Mediator::Collect => Need::UpTo(self.collects()?),
            Mediator::Protect(protection) if self.protects_body(protection) => Need::Whole,
            Mediator::Cache(_) if self.cache_reads_body() => Need::Whole,
            Mediator::Send(..) | Mediator::Call(_) | Mediator::Respond if self.must_convert() => {
                Need::Whole
            }
            Mediator::Send(Some(endpoint), _) | Mediator::Call(Some(endpoint))
                if self.plan.formats && self.plan.brings_into_format(endpoint, 0) =>
            {
                Need::Whole
            }
            // A session is told by a header of the envelope.
            Mediator::Send(..) | Mediator::Call(_)
                if self.plan.soap_sessions && self.may_be_soap() =>
            {
                Need::Whole
            }
            // XML stays in the envelope that the message is.
            mediator if mediator.puts_xml() && self.may_be_soap() => Need::Whole,
            mediator if mediator.reads_body() => Need::Whole,
            _ => return None,
        };
        Some((self.message.body.clone(), need))
    }
}

impl Mediator {
    /// Whether it makes the body XML.
    fn puts_xml(&self) -> bool {
        match self {
            Self::PayloadFactory(factory) => factory.media == Media::Xml,
            Self::Enrich(enrich) => matches!(enrich.target, EnrichTarget::Body),
            _ => false,
        }
    }

    /// Whether it looks into the message's body.
    fn reads_body(&self) -> bool {
        let operand = |operand: &Operand| match operand {
            Operand::Literal(_) => false,
            Operand::Expression(expression) => expression.reads_body(),
        };
        let key = |expression: &Expression| expression.reads_body();
        match self {
            Self::Property(property) => property.value.as_ref().is_some_and(operand),
            Self::Filter(filter) => match &filter.condition {
                Condition::Matches(expression, _) | Condition::Holds(expression) => {
                    expression.reads_body()
                }
            },
            Self::Switch(switch) => switch.source.reads_body(),
            Self::Log(log) => log
                .properties
                .iter()
                .filter_map(|(_, value)| value.as_ref())
                .any(operand),
            Self::Sequence(SequenceRef::Dynamic(expression)) => key(expression),
            Self::Send(Some(EndpointRef::Dynamic(expression)), _)
            | Self::Call(Some(EndpointRef::Dynamic(expression))) => key(expression),
            Self::Header(_, value) => value.as_ref().is_some_and(operand),
            Self::PayloadFactory(factory) => factory
                .arguments
                .iter()
                .any(|argument| operand(&argument.value)),
            Self::MakeFault(fault) => [&fault.code, &fault.reason]
                .into_iter()
                .chain(fault.role.as_ref())
                .chain(fault.node.as_ref())
                .chain(fault.detail.as_ref())
                .any(operand),
            Self::Enrich(enrich) => match (&enrich.source, &enrich.target) {
                (_, EnrichTarget::RemoveBody | EnrichTarget::RemoveProperty(_)) => false,
                (
                    _,
                    EnrichTarget::RemoveJson(_)
                    | EnrichTarget::Json(..)
                    | EnrichTarget::Node(..)
                    | EnrichTarget::Envelope,
                ) => true,
                (EnrichSource::Body | EnrichSource::Envelope, _) => true,
                (EnrichSource::Expression(expression), _) => expression.reads_body(),
                (EnrichSource::Property(_) | EnrichSource::Inline(..), _) => false,
            },
            Self::Rewrite(rewrite) => rewrite
                .rules
                .iter()
                .flat_map(|rule| &rule.actions)
                .filter_map(|action| action.value.as_ref())
                .any(operand),
            Self::CallTemplate(call) => call.arguments.iter().any(|(_, value)| operand(value)),
            _ => false,
        }
    }
}
