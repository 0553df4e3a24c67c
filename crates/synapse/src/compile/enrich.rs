//! `enrich`. Source: EnrichMediatorFactory. Parts of a body as targets are not executed.

use super::Compiler;
use super::place::Place;
use crate::plan::{Enrich, EnrichSource, EnrichTarget, Media, Mediator};
use crate::xml::Element;

impl Compiler<'_> {
    pub(super) fn enrich(&mut self, element: &Element, place: &Place<'_>, text: &str) -> Mediator {
        let Some(target) = element.child("target") else {
            self.findings.refuse(place, "an enrich needs a <target>");
            return Mediator::Drop;
        };
        let name = target.set_attribute("property").unwrap_or_default();
        let action = target.set_attribute("action").unwrap_or("replace");
        let kind = target.set_attribute("type").unwrap_or("custom");
        let target = match (kind, action) {
            ("property", _) if name.is_empty() => {
                self.findings
                    .refuse(place, "a target of type property needs a property");
                return Mediator::Drop;
            }
            ("body", "replace") => EnrichTarget::Body,
            ("property", "replace") => EnrichTarget::Property(name.to_owned()),
            ("body", "remove") => EnrichTarget::RemoveBody,
            ("property", "remove") => EnrichTarget::RemoveProperty(name.to_owned()),
            ("custom" | "body" | "property" | "envelope" | "key", _) => {
                let what = format!("enrich with a target of type {kind} and action {action}");
                return self.not_executed(place, &what);
            }
            _ => {
                let message = format!("target type {kind:?} is none");
                self.findings.refuse(place, message);
                return Mediator::Drop;
            }
        };
        let removes = matches!(
            target,
            EnrichTarget::RemoveBody | EnrichTarget::RemoveProperty(_)
        );
        let source = match element.child("source") {
            _ if removes => EnrichSource::Body,
            None => {
                self.findings.refuse(place, "an enrich needs a <source>");
                return Mediator::Drop;
            }
            Some(source) => match self.enrich_source(source, place, text) {
                Ok(source) => source,
                Err(mediator) => return mediator,
            },
        };
        Mediator::Enrich(Box::new(Enrich { source, target }))
    }

    fn enrich_source(
        &mut self,
        source: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Result<EnrichSource, Mediator> {
        let refuse = |compiler: &mut Self, message: &str| {
            compiler.findings.refuse(place, message);
            Mediator::Drop
        };
        match source.set_attribute("type").unwrap_or("custom") {
            "body" => Ok(EnrichSource::Body),
            "envelope" => Ok(EnrichSource::Envelope),
            "property" => match source.set_attribute("property") {
                Some(name) => Ok(EnrichSource::Property(name.to_owned())),
                None => Err(refuse(self, "a source of type property needs a property")),
            },
            "custom" => match source.set_attribute("xpath") {
                Some(xpath) => self
                    .inside(source, |compiler| {
                        compiler.expression(place, "enrich source", xpath)
                    })
                    .map(EnrichSource::Expression),
                None => Err(refuse(self, "a custom source needs an xpath")),
            },
            "inline" => {
                if source.set_attribute("key").is_some() {
                    return Err(self.not_executed(place, "enrich from a registry key"));
                }
                match source.elements().next() {
                    Some(xml) => {
                        let xml = self.stand_alone(xml, text);
                        Ok(EnrichSource::Inline(xml, Media::Xml))
                    }
                    None => {
                        let text = source.text();
                        let json = text.starts_with(['{', '[']);
                        let media = if json { Media::Json } else { Media::Text };
                        Ok(EnrichSource::Inline(text, media))
                    }
                }
            }
            other => Err(refuse(self, &format!("source type {other:?} is none"))),
        }
    }
}
