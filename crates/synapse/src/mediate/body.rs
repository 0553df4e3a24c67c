//! Mediators that make bodies: `payloadFactory`, `enrich`, `makefault`. Sources:
//! PayloadFactoryMediator, EnrichMediator, FaultMediator.

use serde_json::Value as Json;

use super::answers::{escaped, fill};
use super::convert::no_element;
use super::exchange::{Body, Exchange, Fault};
use super::payload::ENVELOPES;
use super::run::Flowing;
use crate::expression::{Expression, Scope, Value};
use crate::message::{Document, Edit, Place, SOAP_11, SOAP_12, json, json_of, unnamable, xml_of};
use crate::plan::{
    Action, Argument, Enrich, EnrichSource, EnrichTarget, MakeFault, Media, Operand, PayloadFactory,
};

impl Exchange {
    pub(super) fn make_payload(&mut self, factory: &PayloadFactory) -> Flowing {
        let mut arguments = Vec::with_capacity(factory.arguments.len());
        for argument in &factory.arguments {
            arguments.push(self.argument(argument, factory.media));
        }
        let Some(text) = fill(&factory.format, &arguments) else {
            return Flowing::Failed(Fault::new(0, "the payload is too large"));
        };
        // What arguments bring need not be XML: control characters, `--` inside a comment.
        if factory.media == Media::Xml
            && !arguments.is_empty()
            && !text.is_empty()
            && let Err(error) = Document::parse(&text)
        {
            let message = format!("Unable to create a valid XML payload: {}", error.rule);
            return Flowing::Failed(Fault::new(0, message));
        }
        self.put_payload(text, factory.media, &ENVELOPES);
        Flowing::On
    }

    /// An argument as it stands in the payload.
    fn argument(&self, argument: &Argument, media: Media) -> String {
        let (text, markup) = match &argument.value {
            Operand::Literal(text) => (text.clone(), None),
            Operand::Expression(expression) => {
                let (text, markup) = self.text_and_markup(expression);
                (text.unwrap_or_default(), markup)
            }
        };
        let is_json = matches!(&argument.value, Operand::Expression(Expression::Json(_)));
        let (text, markup) = match markup {
            None if !argument.literal && !is_json => as_xml(text),
            markup => (text, markup),
        };
        let is_json_value = matches!(&argument.value, Operand::Expression(expression)
            if matches!(expression.evaluate(self), Value::Json(ref it) if json::as_text(it).is_none()));
        match (markup.filter(|_| !argument.literal), media) {
            (Some(Media::Json), Media::Json) | (Some(Media::Xml), Media::Xml) => text,
            (Some(Media::Xml), Media::Json) => match Document::parse(&text) {
                Ok(document) => match document.elements(0).next() {
                    Some(root) => json::write(&json_of(&document, root)),
                    None => escaped(&text, media),
                },
                Err(_) => escaped(&text, media),
            },
            (Some(Media::Json), Media::Xml) => match json::read(&text) {
                Some(value) => {
                    let envelope = xml_of(&value);
                    let payload = envelope.payload();
                    payload.map_or_else(String::new, |payload| envelope.document.to_xml(payload))
                }
                None => escaped(&text, media),
            },
            (None, Media::Json) if is_json_value => text,
            _ => escaped(&text, media),
        }
    }

    pub(super) fn enrich(&mut self, enrich: &Enrich) -> Flowing {
        match &enrich.target {
            EnrichTarget::RemoveBody => {
                self.message.set_body(Body::Empty, None);
                return Flowing::On;
            }
            EnrichTarget::RemoveJson(paths) => return self.remove_json(paths),
            EnrichTarget::RemoveProperty(name) => {
                self.set_property(Scope::Default, name, None);
                return Flowing::On;
            }
            _ => {}
        }
        let Some((text, media)) = self.enriched(&enrich.source) else {
            return match self.unevaluated.take() {
                Some(reason) => Flowing::Failed(Fault::new(0, reason)),
                None => Flowing::Failed(Fault::new(0, "the source of an enrich is not there")),
            };
        };
        match &enrich.target {
            EnrichTarget::Property(name) => self.set_made(name, text, media),
            EnrichTarget::PropertyChild(name) => return self.add_to_property(name, text, media),
            EnrichTarget::Json(path, action) => {
                return self.enrich_json(path, *action, (text, media));
            }
            EnrichTarget::Node(target, action) => {
                return self.enrich_node(target, *action, (text, media));
            }
            EnrichTarget::Envelope => return self.replace_envelope(&text),
            EnrichTarget::Body
            | EnrichTarget::RemoveBody
            | EnrichTarget::RemoveJson(_)
            | EnrichTarget::RemoveProperty(_) => self.replace_body(text, media),
        }
        Flowing::On
    }

    fn set_made(&mut self, name: &str, text: String, media: Media) {
        self.set_property(Scope::Default, name, Some(text));
        if media != Media::Text {
            self.markup.insert(name.to_owned(), media);
        }
    }

    /// An item more in the JSON array, or an element more in the XML, that a property holds.
    fn add_to_property(&mut self, name: &str, text: String, media: Media) -> Flowing {
        let held = self.default_text(name).unwrap_or_default().into_owned();
        if let Some(Json::Array(mut items)) = json::read(&held) {
            items.push(json::read(&text).unwrap_or(Json::from(text)));
            self.set_made(name, json::write(&Json::Array(items)), Media::Json);
            return Flowing::On;
        }
        let source = format!("<source>{text}</source>");
        if media == Media::Xml
            && let (Ok(document), Ok(source)) = (Document::parse(&held), Document::parse(&source))
            && let Some(root) = document.elements(0).next()
        {
            let place = Place {
                node: root,
                attribute: None,
            };
            let edit = Edit::Elements(Action::Child, source);
            if let Some(made) = document.edited(place, &edit) {
                self.set_made(name, made.to_xml(0), Media::Xml);
                return Flowing::On;
            }
        }
        let message = format!("enrich: nothing can be added to property {name}");
        Flowing::Failed(Fault::new(0, message))
    }

    /// The source as text, and what it is.
    fn enriched(&self, source: &EnrichSource) -> Option<(String, Media)> {
        match source {
            EnrichSource::Inline(text, media) => Some((text.clone(), *media)),
            EnrichSource::Property(name) => {
                let text = self.default_text(name)?.into_owned();
                let media = self.markup.get(name).copied();
                // As the original looks at strings: JSON and XML by how they begin.
                let media = media.unwrap_or(match text.trim_start().chars().next() {
                    Some('{' | '[') => Media::Json,
                    Some('<') => Media::Xml,
                    _ => Media::Text,
                });
                Some((text, media))
            }
            EnrichSource::Expression(expression) => {
                let (text, markup) = self.text_and_markup(expression);
                let is_json = matches!(expression, Expression::Json(_));
                let plain = if is_json { Media::Json } else { Media::Text };
                Some((text?, markup.unwrap_or(plain)))
            }
            EnrichSource::Body => match (&self.message.body, self.message.media()) {
                (Body::Empty, _) => Some((String::new(), Media::Text)),
                (Body::Bytes(_), Some(media @ (Media::Json | Media::Text))) => {
                    Some((self.message.text()?.to_owned(), media))
                }
                (_, media) => {
                    let envelope = self.message.envelope()?;
                    let payload = envelope.payload()?;
                    if media == Some(Media::Fields)
                        && let Some(name) = unnamable(&envelope.document)
                    {
                        self.unevaluated.set(Some(no_element(name)));
                        return None;
                    }
                    Some((envelope.document.to_xml(payload), Media::Xml))
                }
            },
            EnrichSource::Envelope => {
                let envelope = self.message.envelope()?;
                Some((envelope.document.to_xml(envelope.envelope), Media::Xml))
            }
        }
    }

    pub(super) fn make_fault(&mut self, fault: &MakeFault) {
        let text = |operand: &Operand| self.operand(operand).unwrap_or_default();
        let code = text(&fault.code);
        let reason = text(&fault.reason);
        let (role, node) = (fault.role.as_ref().map(text), fault.node.as_ref().map(text));
        let detail = fault
            .detail
            .as_ref()
            .map(text)
            .filter(|text| !text.is_empty());
        let format = self.message_format();
        let version = match (format, fault.version) {
            ("soap11" | "soap12", Some(version)) => Some(version),
            ("soap11", None) => Some(11),
            ("soap12", None) => Some(12),
            _ => None,
        };
        let xml = |text: &str| quick_xml::escape::escape(text).into_owned();
        let element = |name: &str, text: &Option<String>| match text {
            Some(text) => format!("<{name}>{}</{name}>", xml(text)),
            None => String::new(),
        };
        let inside = detail.as_ref().map(|detail| match fault.detail_is_xml {
            true => detail.clone(),
            false => xml(detail),
        });
        let code = code.rsplit(':').next().unwrap_or_default().to_owned();
        let (body, content_type) = match version {
            Some(11) => {
                let detail = inside.map(|text| format!("<detail>{text}</detail>"));
                let text = format!(
                    "<soapenv:Envelope xmlns:soapenv=\"{SOAP_11}\"><soapenv:Body><soapenv:Fault>\
                     <faultcode>soapenv:{}</faultcode><faultstring>{}</faultstring>{}{}\
                     </soapenv:Fault></soapenv:Body></soapenv:Envelope>",
                    xml(&code),
                    xml(&reason),
                    element("faultactor", &role),
                    detail.unwrap_or_default()
                );
                (text, "text/xml")
            }
            Some(_) => {
                let detail = inside.map(|text| format!("<soapenv:Detail>{text}</soapenv:Detail>"));
                let text = format!(
                    "<soapenv:Envelope xmlns:soapenv=\"{SOAP_12}\"><soapenv:Body><soapenv:Fault>\
                     <soapenv:Code><soapenv:Value>soapenv:{}</soapenv:Value></soapenv:Code>\
                     <soapenv:Reason><soapenv:Text xml:lang=\"en\">{}</soapenv:Text></soapenv:Reason>\
                     {}{}{}</soapenv:Fault></soapenv:Body></soapenv:Envelope>",
                    xml(&code),
                    xml(&reason),
                    element("soapenv:Node", &node),
                    element("soapenv:Role", &role),
                    detail.unwrap_or_default()
                );
                (text, "application/soap+xml")
            }
            None => {
                let fault = serde_json::json!({
                    "faultcode": code, "faultstring": reason, "faultactor": role, "detail": detail,
                });
                let body = serde_json::json!({ "Fault": fault });
                (body.to_string(), "application/json")
            }
        };
        self.put_body(body, content_type);
        self.message.is_fault = true;
        self.message.soap_fault = version.is_some();
        self.message.is_response |= fault.response;
    }
}

/// A text, and whether it is XML (`PayloadFactoryMediator.isXML`). A declaration has no place in
/// what it is put into.
fn as_xml(text: String) -> (String, Option<Media>) {
    let begins = text.trim_ascii_start();
    if !begins.starts_with('<') {
        return (text, None);
    }
    match Document::parse(begins) {
        Err(_) => (text, None),
        Ok(document) if begins.starts_with("<?") => (document.to_xml(0), Some(Media::Xml)),
        Ok(_) => (text, Some(Media::Xml)),
    }
}
