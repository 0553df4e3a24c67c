//! Mediators. Each element becomes an executable mediator, nothing (no effect), or a
//! `NotExecuted` that answers 501 where the answer would depend on it.

use std::fmt;
use std::sync::Arc;

use super::Compiler;
use super::place::Place;
use super::shipped::shipped_sequence;
use crate::expression::Expression;
use crate::pattern::Whole;
use crate::plan::{
    Block, Condition, EndpointRef, Filter, Log, LogCategory, Mediator, NotExecuted, Operand,
    Sequence, SequenceRef, Switch,
};
use crate::xml::Element;
use artifact::Severity;

/// Regular expressions of one artifact: their programs take memory.
const MAX_REGEXES: usize = 4000;

impl Compiler<'_> {
    /// The mediators inside an element.
    pub(super) fn block(&mut self, parent: &Element, place: &Place<'_>, text: &str) -> Block {
        self.inside(parent, |compiler| {
            place
                .children(parent)
                .filter_map(|(place, element)| {
                    compiler.inside(element, |compiler| compiler.mediator(element, &place, text))
                })
                .collect()
        })
    }

    pub(super) fn on_error(
        &mut self,
        sequence: &Element,
        place: &Place<'_>,
    ) -> Option<SequenceRef> {
        let key = sequence.set_attribute("onError")?;
        Some(self.sequence_ref(key, place))
    }

    fn mediator(&mut self, element: &Element, place: &Place<'_>, text: &str) -> Option<Mediator> {
        match element.name.as_str() {
            "property" => self.property(element, place, text),
            "filter" => Some(self.filter(element, place, text)),
            "switch" => Some(self.switch(element, place, text)),
            "log" => Some(self.log(element, place)),
            "sequence" => Some(self.sequence(element, place, text)),
            "send" => Some(self.send(element, place)),
            "call" => Some(Mediator::Call(self.endpoint_inside(element, place))),
            "respond" => Some(Mediator::Respond),
            "loopback" => Some(Mediator::Loopback),
            "drop" => Some(Mediator::Drop),
            "header" => self.header(element, place),
            "payloadFactory" => Some(self.payload_factory(element, place, text)),
            "makefault" => Some(self.make_fault(element, place, text)),
            "enrich" => Some(self.enrich(element, place, text)),
            "rewrite" => Some(self.rewrite(element, place)),
            "call-template" => Some(self.call_template(element, place)),
            "in" | "out" => Some(Mediator::Direction {
                response: element.name == "out",
                block: self.block(element, place, text),
            }),
            "cache" => self.cache(element, place, text),
            "propertyGroup" => Some(Mediator::Inline(Sequence {
                on_error: None,
                block: self.block(element, place, text),
            })),
            "description" | "parameter" => None,
            "builder" => {
                let message = "builder: bodies are looked into by their content type";
                self.findings.add(Severity::Ignored, place, message);
                None
            }
            "class" => self.class(element, place),
            other => Some(self.not_executed(place, &format!("<{other}>"))),
        }
    }

    /// Reports an element and stands a 501 in its place.
    pub(super) fn not_executed(&mut self, place: &Place<'_>, what: &str) -> Mediator {
        Mediator::NotExecuted(self.note_not_executed(place, what))
    }

    pub(super) fn note_not_executed(&mut self, place: &Place<'_>, what: &str) -> NotExecuted {
        let message = format!("{what} is not executed; requests that reach it get 501");
        self.findings.add(Severity::NotExecuted, place, message);
        NotExecuted {
            what: what.to_owned(),
            place: place.to_string(),
        }
    }

    pub(super) fn parse_expression(
        &self,
        text: &str,
    ) -> Result<Expression, crate::expression::ExpressionError> {
        Expression::parse(text, &self.namespaces)
    }

    /// The expression of an attribute; what is not executed is told by `Err`.
    pub(super) fn expression(
        &mut self,
        place: &Place<'_>,
        what: impl fmt::Display,
        text: &str,
    ) -> Result<Expression, Mediator> {
        let parsed = self.parse_expression(text).map_err(|error| {
            if error.malformed {
                self.findings.refuse(place, format!("{what}: {error}"));
                return Mediator::Drop;
            }
            self.not_executed(place, &format!("{what}: {error}"))
        })?;
        self.note_aliases(&parsed, place);
        Ok(parsed)
    }

    /// A regular expression that has to match the whole text.
    pub(super) fn whole(&mut self, place: &Place<'_>, pattern: &str) -> Result<Whole, Mediator> {
        self.pattern(place, pattern, Whole::parse)
    }

    pub(super) fn pattern<P>(
        &mut self,
        place: &Place<'_>,
        pattern: &str,
        make: fn(&str) -> Option<P>,
    ) -> Result<P, Mediator> {
        self.regexes += 1;
        if self.regexes > MAX_REGEXES {
            let what = format!("regular expression number {}", self.regexes);
            return Err(self.not_executed(place, &what));
        }
        make(pattern)
            .ok_or_else(|| self.not_executed(place, &format!("regular expression {pattern:?}")))
    }

    fn filter(&mut self, element: &Element, place: &Place<'_>, text: &str) -> Mediator {
        let condition = match (
            element.set_attribute("source"),
            element.attribute("regex"),
            element.set_attribute("xpath"),
        ) {
            (Some(source), Some(regex), None) => self
                .expression(place, "filter source", source)
                .and_then(|source| Ok(Condition::Matches(source, self.whole(place, regex)?))),
            (None, None, Some(xpath)) => self
                .expression(place, "filter xpath", xpath)
                .map(Condition::Holds),
            _ => {
                let message = "a filter needs source and regex, or xpath";
                self.findings.refuse(place, message);
                return Mediator::Drop;
            }
        };
        let has_then = element.child("then").is_some() || element.child("else").is_some();
        let mut branch = |name: &str| match element.child(name) {
            None => (Arc::from([]), None),
            Some(child) => {
                let place = place.child(name);
                match child.set_attribute("sequence") {
                    Some(key) => (Arc::from([]), Some(self.sequence_ref(key, &place))),
                    None => (self.block(child, &place, text), None),
                }
            }
        };
        let reference = |(block, reference): (Block, Option<SequenceRef>)| match reference {
            Some(reference) => Arc::from([Mediator::Sequence(reference)]),
            None => block,
        };
        let (then, otherwise) = if has_then {
            (reference(branch("then")), reference(branch("else")))
        } else {
            (self.block(element, place, text), Arc::from([]))
        };
        match condition {
            Ok(condition) => Mediator::Filter(Box::new(Filter {
                condition,
                then,
                otherwise,
            })),
            Err(not_executed) => not_executed,
        }
    }

    fn switch(&mut self, element: &Element, place: &Place<'_>, text: &str) -> Mediator {
        let Some(source) = element.set_attribute("source") else {
            self.findings.refuse(place, "a switch needs a source");
            return Mediator::Drop;
        };
        let source = match self.expression(place, "switch source", source) {
            Ok(source) => source,
            Err(not_executed) => return not_executed,
        };
        let mut cases = Vec::new();
        let mut default: Block = Arc::from([]);
        for (place, child) in place.children(element) {
            let block = self.block(child, &place, text);
            match (child.name.as_str(), child.attribute("regex")) {
                ("case", Some(regex)) => match self.whole(&place, regex) {
                    Ok(regex) => cases.push((regex, block)),
                    Err(not_executed) => return not_executed,
                },
                ("default", _) => default = block,
                _ => self.findings.refuse(&place, "a case needs a regex"),
            }
        }
        Mediator::Switch(Box::new(Switch {
            source,
            cases,
            default,
        }))
    }

    fn log(&mut self, element: &Element, place: &Place<'_>) -> Mediator {
        let mut properties = Vec::new();
        for (place, child) in place.children(element) {
            let name = child.attribute("name").unwrap_or_default().to_owned();
            let value = match (child.attribute("value"), child.attribute("expression")) {
                (Some(value), _) => Some(Operand::Literal(value.to_owned())),
                (None, Some(text)) => {
                    match self.inside(child, |compiler| compiler.parse_expression(text)) {
                        Ok(expression) => Some(Operand::Expression(expression)),
                        Err(error) => {
                            let message =
                                format!("log property {name}: {error}; its value is not logged");
                            self.findings.add(Severity::NotExecuted, &place, message);
                            None
                        }
                    }
                }
                (None, None) => continue,
            };
            properties.push((name, value));
        }
        Mediator::Log(Box::new(Log {
            message: element.set_attribute("level") != Some("custom"),
            category: match element.set_attribute("category") {
                Some("DEBUG" | "TRACE") => LogCategory::Debug,
                Some("WARN") => LogCategory::Warn,
                Some("ERROR" | "FATAL") => LogCategory::Error,
                _ => LogCategory::Info,
            },
            properties,
        }))
    }

    fn sequence(&mut self, element: &Element, place: &Place<'_>, text: &str) -> Mediator {
        match element.set_attribute("key") {
            Some(key) => Mediator::Sequence(self.sequence_ref(key, place)),
            None => Mediator::Inline(Sequence {
                on_error: self.on_error(element, place),
                block: self.block(element, place, text),
            }),
        }
    }

    /// What a key refers to: the artifact's own, one that the gateway ships, or nothing.
    pub(super) fn sequence_ref(&mut self, key: &str, place: &Place<'_>) -> SequenceRef {
        let dynamic = key.strip_prefix('{').and_then(|key| key.strip_suffix('}'));
        if let Some(expression) = dynamic {
            return match self.parse_expression(expression) {
                Ok(expression) => SequenceRef::Dynamic(expression),
                Err(error) => SequenceRef::NotExecuted(
                    self.note_not_executed(place, &format!("sequence key: {error}")),
                ),
            };
        }
        if let Some(index) = self.sequence_names.get(key) {
            return SequenceRef::Own(*index);
        }
        match shipped_sequence(key) {
            Some((name, sequence)) => SequenceRef::Shipped(name, sequence),
            None => {
                let message =
                    format!("sequence {key} is not in the artifact; reaching it is a fault");
                self.findings.add(Severity::NotExecuted, place, message);
                SequenceRef::Missing(key.to_owned())
            }
        }
    }

    fn send(&mut self, element: &Element, place: &Place<'_>) -> Mediator {
        let receive = element.set_attribute("receive");
        let receive = receive.map(|key| self.sequence_ref(key, place));
        Mediator::Send(self.endpoint_inside(element, place), receive)
    }

    fn endpoint_inside(&mut self, element: &Element, place: &Place<'_>) -> Option<EndpointRef> {
        let endpoint = element.child("endpoint")?;
        Some(self.endpoint_ref(endpoint, &place.child("endpoint")))
    }
}
