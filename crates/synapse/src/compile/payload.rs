//! `payloadFactory`: the format as text, with the namespaces that its XML needs to stand alone.

use super::Compiler;
use super::place::Place;
use crate::expression::Expression;
use crate::mediate::INSIDE;
use crate::plan::{Argument, Media, Mediator, Operand, PayloadFactory};
use crate::xml::{Element, read};

/// The default namespace of artifacts, which an unqualified payload element inherits.
const SYNAPSE: &str = "http://ws.apache.org/ns/synapse";

impl Compiler<'_> {
    pub(super) fn payload_factory(
        &mut self,
        element: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Mediator {
        let media = match element.set_attribute("media-type").unwrap_or("xml") {
            "xml" => Media::Xml,
            "json" => Media::Json,
            "text" => Media::Text,
            other => {
                let message = format!("media-type must be xml, json or text, found {other:?}");
                self.findings.refuse(place, message);
                return Mediator::Drop;
            }
        };
        if element
            .set_attribute("template-type")
            .is_some_and(|kind| kind != "default")
        {
            return self.not_executed(place, "a payloadFactory with a template engine");
        }
        let Some(format) = element.child("format") else {
            self.findings
                .refuse(place, "a payloadFactory needs a <format>");
            return Mediator::Drop;
        };
        if format.set_attribute("key").is_some() {
            return self.not_executed(place, "a payloadFactory format from the registry");
        }
        let format = match media {
            Media::Xml => match format.elements().next() {
                None => String::new(),
                Some(payload) => self.stand_alone(payload, text),
            },
            Media::Json | Media::Text | Media::Fields => format.text().into_owned(),
        };
        let mut arguments = Vec::new();
        for argument in element
            .child("args")
            .into_iter()
            .flat_map(Element::elements)
        {
            let value = match (
                argument.attribute("value"),
                argument.attribute("expression"),
            ) {
                (Some(value), _) => Operand::Literal(value.to_owned()),
                (None, Some(text)) => {
                    let json = argument.set_attribute("evaluator") == Some("json");
                    let what = "payloadFactory argument";
                    let parsed = self.inside(argument, |compiler| match json {
                        true if !text.trim_start().starts_with("json-eval(") => {
                            Expression::parse_json(text).map_err(|error| {
                                compiler.not_executed(place, &format!("{what}: {error}"))
                            })
                        }
                        _ => compiler.expression(place, what, text),
                    });
                    match parsed {
                        Ok(expression) => Operand::Expression(expression),
                        Err(mediator) => return mediator,
                    }
                }
                (None, None) => {
                    self.findings
                        .refuse(place, "an argument needs a value or an expression");
                    return Mediator::Drop;
                }
            };
            arguments.push(Argument {
                value,
                literal: argument.set_attribute("literal") == Some("true"),
            });
        }
        let format = self.inside(element, |compiler| {
            compiler.expressions_of(format, media, place, &mut arguments)
        });
        Mediator::PayloadFactory(Box::new(PayloadFactory {
            media,
            format,
            arguments,
        }))
    }

    /// The format with what `${…}` names as further arguments. A text that names nothing that can be
    /// evaluated is a text.
    fn expressions_of(
        &mut self,
        format: String,
        media: Media,
        place: &Place<'_>,
        arguments: &mut Vec<Argument>,
    ) -> String {
        if !format.contains("${") {
            return format;
        }
        let mut made = String::with_capacity(format.len());
        let mut rest = format.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            made.push_str(before);
            let inside = closed(after);
            let read = inside.and_then(|inside| self.named_value(inside, media, place));
            match (inside, read) {
                (Some(inside), Some(expression)) => {
                    arguments.push(Argument {
                        value: Operand::Expression(expression),
                        literal: false,
                    });
                    made.push_str(&format!("{INSIDE}{}{INSIDE}", arguments.len()));
                    rest = after.get(inside.len() + 1..).unwrap_or_default();
                }
                _ => {
                    made.push_str("${");
                    rest = after;
                }
            }
        }
        made.push_str(rest);
        made
    }

    fn named_value(&mut self, inside: &str, media: Media, place: &Place<'_>) -> Option<Expression> {
        // XML is taken as it is written.
        let inside = match media {
            Media::Xml => quick_xml::escape::unescape(inside).ok()?,
            _ => inside.into(),
        };
        let expression = self.parse_expression(&format!("${{{inside}}}")).ok()?;
        self.note_aliases(&expression, place);
        Some(expression)
    }

    /// The element's text as a document of its own: namespaces that were declared around it are
    /// declared on it.
    pub(super) fn stand_alone(&self, payload: &Element, text: &str) -> String {
        let Some(written) = text.get(payload.start..payload.end) else {
            return String::new();
        };
        let name_end = written
            .find(|c: char| c.is_whitespace() || c == '>' || c == '/')
            .unwrap_or(written.len());
        let (name, rest) = written.split_at(name_end);
        let mut declarations = String::new();
        if payload.attribute("xmlns").is_none() && !name.contains(':') {
            declarations = format!(" xmlns=\"{SYNAPSE}\"");
        }
        if read(written, self.limits).is_err() {
            // A prefix from further out. The innermost declaration of each prefix counts.
            let mut declared: Vec<&str> = Vec::new();
            for (name, uri) in self.namespaces.iter().rev() {
                if payload.attribute(name).is_none() && !declared.contains(&name.as_str()) {
                    let uri = quick_xml::escape::escape(uri.as_str());
                    declarations.push_str(&format!(" {name}=\"{uri}\""));
                    declared.push(name);
                }
            }
        }
        format!("{name}{declarations}{rest}")
    }
}

/// What stands before the brace that closes.
fn closed(text: &str) -> Option<&str> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '}') => return text.get(..at),
            (None, '{' | '\n') => return None,
            _ => {}
        }
    }
    None
}
