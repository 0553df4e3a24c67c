//! Parts of a message changed in place: what `enrich` with a custom target does. Source: Target of
//! Synapse.

use bytes::Bytes;
use serde_json::Value as Json;

use super::exchange::{Body, Exchange, Fault};
use super::run::Flowing;
use crate::expression::{Expression, JsonPath, Value};
use crate::message::{Document, Edit, Place, fields_of, json, json_of};
use crate::plan::{Action, Media};

impl Exchange {
    /// Puts a source to where a JSONPath leads in the JSON body.
    pub(super) fn enrich_json(
        &mut self,
        path: &JsonPath,
        action: Action,
        source: (String, Media),
    ) -> Flowing {
        let source = json_source(&source.0);
        let mut problem = None;
        let changed = self.change_json(|body| {
            let found = path.edit(body, &mut |value| match (action, value) {
                (Action::Child, Json::Array(items)) => items.push(source.clone()),
                (Action::Child, Json::Object(members)) if source.is_object() => {
                    members.extend(source.as_object().cloned().into_iter().flatten());
                }
                (Action::Child, _) => problem = Some("is neither an array nor an object"),
                (_, value) => *value = source.clone(),
            });
            // What is replaced may be missing, as in the original.
            if !found && action == Action::Child {
                problem = Some("is not there");
            }
        });
        match (changed, problem) {
            (Flowing::On, Some(problem)) => {
                let message = format!("the target of an enrich {problem}");
                Flowing::Failed(Fault::new(0, message))
            }
            (flowing, _) => flowing,
        }
    }

    /// Takes what JSONPaths lead to out of the JSON body.
    pub(super) fn remove_json(&mut self, paths: &[JsonPath]) -> Flowing {
        if paths.iter().any(JsonPath::is_root) {
            self.message.set_body(Body::Empty, None);
            return Flowing::On;
        }
        self.change_json(|body| paths.iter().for_each(|path| path.remove(body)))
    }

    fn change_json(&mut self, change: impl FnOnce(&mut Json)) -> Flowing {
        let body = match self.message.media() {
            Some(Media::Json) => self.message.json(),
            _ => None,
        };
        let Some(body) = body else {
            return Flowing::Failed(Fault::new(0, "the message's body is not JSON"));
        };
        let mut body = Json::clone(&body);
        change(&mut body);
        let content_type = self.message.content_type.clone();
        let bytes = Bytes::from(json::write(&body));
        self.message.set_body(Body::Bytes(bytes), content_type);
        Flowing::On
    }

    /// Puts a source to the first node that an XPath leads to.
    pub(super) fn enrich_node(
        &mut self,
        target: &Expression,
        action: Action,
        source: (String, Media),
    ) -> Flowing {
        let failed = |why: &str| Flowing::Failed(Fault::new(0, format!("enrich: {why}")));
        let Value::Nodes(envelope, nodes) = target.evaluate(self) else {
            return failed("the target is no node of the message");
        };
        let Some(node) = nodes.first().copied() else {
            return failed("the target is not there");
        };
        let (text, media) = source;
        let place = Place {
            node: node.node,
            attribute: node.attribute,
        };
        let edit = match media {
            Media::Xml => match Document::parse(&format!("<source>{text}</source>")) {
                Ok(document) => Edit::Elements(action, document),
                Err(_) => return failed("the source is no XML"),
            },
            Media::Json | Media::Text | Media::Fields => Edit::Text(text),
        };
        let Some(made) = envelope.document.edited(place, &edit) else {
            return failed("the source cannot be put there");
        };
        let Some(made) = envelope.made_of(made) else {
            return failed("the message's body is empty then");
        };
        let (text, content_type) = (made, self.message.content_type.clone());
        let text = match self.message.media() {
            Some(media @ (Media::Json | Media::Text | Media::Fields)) => {
                let Ok(document) = Document::parse(&text) else {
                    return failed("the changed message is no XML");
                };
                let Some(root) = document.elements(0).next() else {
                    return failed("the message's body is empty then");
                };
                match media {
                    Media::Json => json::write(&json_of(&document, root)),
                    Media::Fields => fields_of(&document, root),
                    _ => document.string_value(root),
                }
            }
            _ => text,
        };
        let body = Body::Bytes(Bytes::from(text));
        self.message.set_body(body, content_type);
        Flowing::On
    }

    /// Replaces the whole envelope; one that is no SOAP message keeps its form.
    pub(super) fn replace_envelope(&mut self, text: &str) -> Flowing {
        let envelope = Document::parse(text)
            .ok()
            .map(crate::message::Envelope::around);
        let Some(envelope) = envelope.filter(|envelope| envelope.is_soap) else {
            return Flowing::Failed(Fault::new(0, "enrich: a SOAP envelope is expected"));
        };
        self.axis2.remove("NO_ENTITY_BODY");
        if self.message.envelope().is_some_and(|own| own.is_soap) {
            let content_type = self.message.content_type.clone();
            let body = Body::Bytes(Bytes::from(text.to_owned()));
            self.message.set_body(body, content_type);
            return Flowing::On;
        }
        match envelope.payload() {
            Some(payload) => {
                let text = envelope.document.to_xml(payload);
                self.replace_body(text, Media::Xml);
            }
            None => self.message.set_body(Body::Empty, None),
        }
        Flowing::On
    }
}

/// What a source is in a JSON message: JSON, else a string.
fn json_source(text: &str) -> Json {
    json::read(text).unwrap_or_else(|| Json::from(text))
}
