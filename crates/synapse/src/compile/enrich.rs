//! `enrich`. Source: EnrichMediatorFactory, Target.

use super::Compiler;
use super::place::Place;
use crate::expression::{Expression, JsonPath, Scope};
use crate::plan::{Action, Enrich, EnrichSource, EnrichTarget, Media, Mediator};
use crate::xml::Element;

impl Compiler<'_> {
    pub(super) fn enrich(&mut self, element: &Element, place: &Place<'_>, text: &str) -> Mediator {
        let made = self
            .enrich_target(element, place)
            .and_then(|target| Ok((target, self.source_of(element, place, text)?)));
        match made {
            Ok((EnrichTarget::RemoveBody, _)) => match self.removed_parts(element, place) {
                Ok(target) => Mediator::Enrich(Box::new(Enrich {
                    source: EnrichSource::Body,
                    target,
                })),
                Err(mediator) => mediator,
            },
            Ok((target, source)) => Mediator::Enrich(Box::new(Enrich { source, target })),
            Err(mediator) => mediator,
        }
    }

    fn enrich_target(
        &mut self,
        element: &Element,
        place: &Place<'_>,
    ) -> Result<EnrichTarget, Mediator> {
        let Some(target) = element.child("target") else {
            self.findings.refuse(place, "an enrich needs a <target>");
            return Err(Mediator::Drop);
        };
        let name = target.set_attribute("property").unwrap_or_default();
        let action = target.set_attribute("action").unwrap_or("replace");
        let kind = target.set_attribute("type").unwrap_or("custom");
        let part = match action {
            "replace" => Some(Action::Replace),
            "child" => Some(Action::Child),
            "sibling" => Some(Action::Sibling),
            _ => None,
        };
        Ok(match (kind, action, part) {
            ("property", ..) if name.is_empty() => {
                self.findings
                    .refuse(place, "a target of type property needs a property");
                return Err(Mediator::Drop);
            }
            ("body", "replace", _) => EnrichTarget::Body,
            ("body", "remove", _) => EnrichTarget::RemoveBody,
            ("body", _, Some(action)) => match self.parse_expression("$body/*[1]") {
                Ok(payload) => EnrichTarget::Node(payload, action),
                Err(error) => return Err(self.not_executed(place, &error.to_string())),
            },
            ("envelope", "replace", _) => EnrichTarget::Envelope,
            ("property", "replace", _) => EnrichTarget::Property(name.to_owned()),
            ("property", "child", _) => EnrichTarget::PropertyChild(name.to_owned()),
            ("property", "remove", _) => EnrichTarget::RemoveProperty(name.to_owned()),
            ("custom", _, Some(action)) => {
                let Some(xpath) = target.set_attribute("xpath") else {
                    self.findings
                        .refuse(place, "a custom target needs an xpath");
                    return Err(Mediator::Drop);
                };
                let expression = self.inside(target, |compiler| {
                    compiler.expression(place, "enrich target", xpath)
                })?;
                match expression {
                    Expression::Property(Scope::Default, name) if action == Action::Child => {
                        EnrichTarget::PropertyChild(name)
                    }
                    Expression::Property(Scope::Default, name) => EnrichTarget::Property(name),
                    // The original adds to the list that such a path gives, and puts the list to
                    // each place.
                    Expression::Json(path) if action == Action::Child && !path.is_definite() => {
                        let what = "enrich of the children of a JSONPath to several places";
                        return Err(self.not_executed(place, what));
                    }
                    Expression::Json(_) if action == Action::Sibling => {
                        let what = "enrich of a sibling in JSON";
                        return Err(self.not_executed(place, what));
                    }
                    Expression::Json(path) => EnrichTarget::Json(path, action),
                    expression => EnrichTarget::Node(expression, action),
                }
            }
            ("custom" | "body" | "property" | "envelope" | "key", ..) => {
                let what = format!("enrich with a target of type {kind} and action {action}");
                return Err(self.not_executed(place, &what));
            }
            _ => {
                let message = format!("target type {kind:?} is none");
                self.findings.refuse(place, message);
                return Err(Mediator::Drop);
            }
        })
    }

    fn source_of(
        &mut self,
        element: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Result<EnrichSource, Mediator> {
        let removes = element
            .child("target")
            .is_some_and(|target| target.set_attribute("action") == Some("remove"));
        match element.child("source") {
            _ if removes => Ok(EnrichSource::Body),
            None => {
                self.findings.refuse(place, "an enrich needs a <source>");
                Err(Mediator::Drop)
            }
            Some(source) => self.enrich_source(source, place, text),
        }
    }

    /// What is removed from the body: where JSONPaths of the source lead, else all of it.
    fn removed_parts(
        &mut self,
        element: &Element,
        place: &Place<'_>,
    ) -> Result<EnrichTarget, Mediator> {
        let paths = element
            .child("source")
            .and_then(|source| source.set_attribute("xpath"))
            .and_then(|xpath| xpath.trim().strip_prefix("json-eval("))
            .and_then(|paths| paths.strip_suffix(')'));
        let Some(paths) = paths else {
            return Ok(EnrichTarget::RemoveBody);
        };
        let paths: Result<Vec<JsonPath>, _> = paths
            .split(',')
            .map(|path| JsonPath::parse(path.trim()))
            .collect();
        paths
            .map(EnrichTarget::RemoveJson)
            .map_err(|error| self.not_executed(place, &format!("enrich that removes: {error}")))
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
                        Ok(EnrichSource::Inline(text.into_owned(), media))
                    }
                }
            }
            other => Err(refuse(self, &format!("source type {other:?} is none"))),
        }
    }
}
