//! Mediators. Each element becomes an executable mediator, nothing (no effect), or a
//! `NotExecuted` that answers 501 where the answer would depend on it.

use std::sync::Arc;

use artifact::Severity;
use regex::{Regex, RegexBuilder};

use super::Compiler;
use super::place::Place;
use super::shipped::{Shipped, shipped_sequence};
use crate::expression::{Expression, Scope};
use crate::plan::{
    Block, Condition, Filter, Log, LogCategory, Mediator, NotExecuted, Operand, Property, Sequence,
    SequenceRef, Switch,
};
use crate::xml::Element;

/// Regular expressions of one artifact, and the memory that the program of one may take.
const MAX_REGEXES: usize = 4000;
const REGEX_BYTES: usize = 128 * 1024;

/// Properties by which artifacts steer the original transport and which have no effect here.
const WITHOUT_EFFECT: [&str; 4] = [
    "POST_TO_URI",
    "FORCE_HTTP_1.0",
    "DISABLE_CHUNKING",
    "NO_KEEPALIVE",
];

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
            "property" => self.property(element, place),
            "filter" => Some(self.filter(element, place, text)),
            "switch" => Some(self.switch(element, place, text)),
            "log" => Some(self.log(element, place)),
            "sequence" => Some(self.sequence(element, place, text)),
            "send" => Some(self.send(element, place)),
            "respond" => Some(Mediator::Respond),
            "loopback" => Some(Mediator::Loopback),
            "drop" => Some(Mediator::Drop),
            "header" => self.header(element, place),
            "payloadFactory" => Some(self.payload_factory(element, place, text)),
            "description" => None,
            "class" => self.class(element, place),
            "cache" => {
                let message = "responses are not cached; each request goes to the back end";
                self.findings.add(Severity::NotExecuted, place, message);
                None
            }
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

    fn property(&mut self, element: &Element, place: &Place<'_>) -> Option<Mediator> {
        let Some(name) = element.set_attribute("name") else {
            self.findings.refuse(place, "a property needs a name");
            return None;
        };
        let written = element.set_attribute("scope").unwrap_or("default");
        let Some(scope) = Scope::parse(written) else {
            return Some(self.not_executed(place, &format!("property scope {written:?}")));
        };
        if scope == Scope::Axis2 && WITHOUT_EFFECT.contains(&name) {
            let message = format!("property {name} has no effect on this gateway's transport");
            self.findings.add(Severity::Ignored, place, message);
        }
        if element.set_attribute("pattern").is_some() {
            return Some(self.not_executed(place, &format!("property {name} with a pattern")));
        }
        if matches!(element.set_attribute("type"), Some("OM" | "JSON")) {
            let what = format!("property {name} of type OM or JSON");
            return Some(self.not_executed(place, &what));
        }
        if element.set_attribute("action") == Some("remove") {
            return Some(Mediator::Property(Property {
                name: name.to_owned(),
                scope,
                value: None,
            }));
        }
        let value = match (element.attribute("value"), element.attribute("expression")) {
            (Some(value), None) => Operand::Literal(value.to_owned()),
            (None, Some(expression)) => match Expression::parse(expression) {
                Ok(expression) => Operand::Expression(expression),
                Err(error) => {
                    return Some(self.not_executed(place, &format!("property {name}: {error}")));
                }
            },
            (None, None) if element.elements().next().is_some() => {
                return Some(self.not_executed(place, &format!("property {name} of inline XML")));
            }
            (None, None) => {
                self.findings
                    .refuse(place, "a property needs a value or an expression");
                return None;
            }
            (Some(_), Some(_)) => {
                self.findings
                    .refuse(place, "a property has a value or an expression, not both");
                return None;
            }
        };
        Some(Mediator::Property(Property {
            name: name.to_owned(),
            scope,
            value: Some(value),
        }))
    }

    /// The expression of an attribute; what is not executed is told by `Err`.
    fn expression(
        &mut self,
        place: &Place<'_>,
        what: &str,
        text: &str,
    ) -> Result<Expression, Mediator> {
        Expression::parse(text)
            .map_err(|error| self.not_executed(place, &format!("{what}: {error}")))
    }

    /// A regular expression that has to match the whole text, as `Matcher.matches` does.
    fn whole(&mut self, place: &Place<'_>, pattern: &str) -> Result<Regex, Mediator> {
        self.regexes += 1;
        if self.regexes > MAX_REGEXES {
            let what = format!("regular expression number {}", self.regexes);
            return Err(self.not_executed(place, &what));
        }
        RegexBuilder::new(&format!(r"\A(?:{})\z", ascii_classes(pattern)))
            .size_limit(REGEX_BYTES)
            .build()
            .map_err(|_| self.not_executed(place, &format!("regular expression {pattern:?}")))
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
                (None, Some(text)) => match Expression::parse(text) {
                    Ok(expression) => Some(Operand::Expression(expression)),
                    Err(error) => {
                        let message =
                            format!("log property {name}: {error}; its value is not logged");
                        self.findings.add(Severity::NotExecuted, &place, message);
                        None
                    }
                },
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
            return match Expression::parse(expression) {
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
            Some(Shipped::Executed(sequence)) => SequenceRef::Shipped(sequence),
            Some(Shipped::NotExecuted) => SequenceRef::NotExecuted(
                self.note_not_executed(place, &format!("the gateway's sequence {key}")),
            ),
            None => {
                let message =
                    format!("sequence {key} is not in the artifact; reaching it is a fault");
                self.findings.add(Severity::NotExecuted, place, message);
                SequenceRef::Missing(key.to_owned())
            }
        }
    }

    fn send(&mut self, element: &Element, place: &Place<'_>) -> Mediator {
        if element.set_attribute("receive").is_some() {
            return self.not_executed(place, "send with a receive sequence");
        }
        let endpoint = element
            .child("endpoint")
            .map(|endpoint| self.endpoint_ref(endpoint, &place.child("endpoint")));
        Mediator::Send(endpoint)
    }

    fn header(&mut self, element: &Element, place: &Place<'_>) -> Option<Mediator> {
        let Some(name) = element.set_attribute("name") else {
            return Some(self.not_executed(place, "header of inline XML"));
        };
        let remove = element.set_attribute("action") == Some("remove");
        let value = match (element.attribute("value"), element.attribute("expression")) {
            _ if remove => None,
            (Some(value), _) => Some(Operand::Literal(value.to_owned())),
            (None, Some(text)) => match self.expression(place, &format!("header {name}"), text) {
                Ok(expression) => Some(Operand::Expression(expression)),
                Err(not_executed) => return Some(not_executed),
            },
            (None, None) => {
                self.findings
                    .refuse(place, "a header needs a value or an expression");
                return None;
            }
        };
        let local = name.rsplit(':').next().unwrap_or(name);
        match (element.set_attribute("scope"), local, value) {
            (Some("transport"), _, value) => Some(Mediator::Property(Property {
                name: name.to_owned(),
                scope: Scope::Transport,
                value,
            })),
            (_, "To", None) => Some(Mediator::RemoveTo),
            (_, "To", Some(value)) => {
                self.sets_to = true;
                Some(Mediator::SetTo(value))
            }
            (_, _, _) => Some(self.not_executed(place, &format!("SOAP header {name}"))),
        }
    }

    fn class(&mut self, element: &Element, place: &Place<'_>) -> Option<Mediator> {
        let class = element.attribute("name").unwrap_or_default();
        match class.rsplit('.').next().unwrap_or_default() {
            "APIMgtResponseHandler" | "APIMgtFaultHandler" | "APIMgtThrottleUsageHandler" => {
                let message = format!("class {class}: analytics are not collected");
                self.findings.add(Severity::Ignored, place, message);
                None
            }
            _ => Some(self.not_executed(place, &format!("class {class}"))),
        }
    }
}

/// The pattern with Java's meaning of `\w`, `\d`, `\s` and `\b`: ASCII, which also keeps its program
/// small.
fn ascii_classes(pattern: &str) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        if character != '\\' {
            ascii.push(character);
            continue;
        }
        match (characters.next(), in_class) {
            (Some('w'), true) => ascii.push_str("A-Za-z0-9_"),
            (Some('d'), true) => ascii.push_str("0-9"),
            (Some(class @ ('w' | 'd' | 's' | 'b' | 'B')), false) => {
                ascii.push_str(&format!("(?-u:\\{class})"));
            }
            (Some('W'), false) => ascii.push_str("[^A-Za-z0-9_]"),
            (Some('D'), false) => ascii.push_str("[^0-9]"),
            (Some('S'), false) => ascii.push_str("[^ \\t\\n\\x0B\\f\\r]"),
            (Some(other), _) => ascii.extend(['\\', other]),
            (None, _) => ascii.push('\\'),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_mean_what_they_mean_in_java() {
        let matches = |pattern: &str, text: &str| {
            let pattern = format!(r"\A(?:{})\z", ascii_classes(pattern));
            let regex = RegexBuilder::new(&pattern).size_limit(REGEX_BYTES).build();
            regex.unwrap().is_match(text)
        };
        assert!(matches(r"\w+@\w+\.\w+", "a@b.c"));
        assert!(!matches(r"\w", "ä"));
        assert!(matches(r"[\w-]+\/\d{3}", "a-b/123"));
        assert!(matches(r"\W\D\S\s", "äxy "));
        assert!(matches(r"GET_\/menu", "GET_/menu"));
        assert!(matches(r".*\bend\b.*", "the end."));
        assert!(matches(r"\\w", r"\w"));
    }
}
