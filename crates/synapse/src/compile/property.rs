//! `property` and `header`. Sources: PropertyMediatorFactory, HeaderMediatorFactory.

use artifact::Severity;

use super::Compiler;
use super::place::Place;
use crate::expression::Scope;
use crate::pattern::Pattern;
use crate::plan::{Addressing, Mediator, Operand, Property, ValueKind};
use crate::xml::Element;

/// Properties by which artifacts steer the original transport and which have no effect here.
const WITHOUT_EFFECT: [&str; 9] = [
    "POST_TO_URI",
    "FORCE_HTTP_1.0",
    "DISABLE_CHUNKING",
    "NO_KEEPALIVE",
    "FORCE_HTTP_CONTENT_LENGTH",
    "COPY_CONTENT_LENGTH_FROM_INCOMING",
    "FORCE_POST_PUT_NOBODY",
    "enableMTOM",
    "enableSwA",
];

impl Compiler<'_> {
    /// `text` is the document that the element stands in.
    pub(super) fn property(
        &mut self,
        element: &Element,
        place: &Place<'_>,
        text: &str,
    ) -> Option<Mediator> {
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
        let mut property = Property {
            name: name.to_owned(),
            scope,
            value: None,
            kind: ValueKind::Text,
            part: None,
        };
        if element.set_attribute("action") == Some("remove") {
            return Some(Mediator::Property(Box::new(property)));
        }
        let written = element.set_attribute("type").unwrap_or("STRING");
        match ValueKind::parse(written) {
            Some(kind) => property.kind = kind,
            None => {
                let message = format!("property type {written:?} is none");
                self.findings.refuse(place, message);
                return None;
            }
        }
        if let Some(pattern) = element.set_attribute("pattern") {
            let group = element.set_attribute("group").unwrap_or("0");
            match (
                self.pattern(place, pattern, Pattern::anywhere),
                group.parse(),
            ) {
                (Ok(pattern), Ok(group)) => property.part = Some((pattern, group)),
                (Err(not_executed), _) => return Some(not_executed),
                (_, Err(_)) => {
                    let message = format!("group must be a number, found {group:?}");
                    self.findings.refuse(place, message);
                    return None;
                }
            }
        }
        let inline = element.elements().next();
        let value = match (
            element.attribute("value"),
            element.attribute("expression"),
            inline,
        ) {
            // The original does not look further where there is a value.
            (Some(value), _, _) => {
                if !property.kind.takes(value) {
                    let message = format!("{value:?} is no value of type {written}");
                    self.findings.refuse(place, message);
                    return None;
                }
                Operand::Literal(value.to_owned())
            }
            (None, Some(written), _) => {
                match self.expression(place, format_args!("property {name}"), written) {
                    Ok(expression) => Operand::Expression(expression),
                    Err(not_executed) => return Some(not_executed),
                }
            }
            (None, None, Some(inline)) => {
                property.kind = ValueKind::Om;
                Operand::Literal(self.stand_alone(inline, text))
            }
            (None, None, None) => {
                self.findings
                    .refuse(place, "a property needs a value or an expression");
                return None;
            }
        };
        property.value = Some(value);
        Some(Mediator::Property(Box::new(property)))
    }

    pub(super) fn header(&mut self, element: &Element, place: &Place<'_>) -> Option<Mediator> {
        let Some(name) = element.set_attribute("name") else {
            return Some(self.not_executed(place, "header of inline XML"));
        };
        let remove = element.set_attribute("action") == Some("remove");
        let value = match (element.attribute("value"), element.attribute("expression")) {
            _ if remove => None,
            (Some(value), _) => Some(Operand::Literal(value.to_owned())),
            (None, Some(text)) => match self.expression(place, format_args!("header {name}"), text)
            {
                Ok(expression) => Some(Operand::Expression(expression)),
                Err(not_executed) => return Some(not_executed),
            },
            (None, None) => {
                self.findings
                    .refuse(place, "a header needs a value or an expression");
                return None;
            }
        };
        if element.set_attribute("scope") == Some("transport") {
            return Some(Mediator::Property(Box::new(Property {
                name: name.to_owned(),
                scope: Scope::Transport,
                value,
                kind: ValueKind::Text,
                part: None,
            })));
        }
        match name.rsplit(':').next().unwrap_or(name) {
            "To" => {
                self.sets_to |= value.is_some();
                Some(Mediator::Header(Addressing::To, value))
            }
            "Action" => Some(Mediator::Header(Addressing::Action, value)),
            "From" | "ReplyTo" | "FaultTo" | "RelatesTo" => {
                let message = format!("header {name} has no effect on HTTP messages");
                self.findings.add(Severity::Ignored, place, message);
                None
            }
            _ => Some(self.not_executed(place, &format!("SOAP header {name}"))),
        }
    }
}

impl ValueKind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "STRING" => Self::Text,
            "BOOLEAN" => Self::Boolean,
            "SHORT" => Self::Integer(16),
            "INTEGER" => Self::Integer(32),
            "LONG" => Self::Integer(64),
            "FLOAT" | "DOUBLE" => Self::Float,
            "OM" => Self::Om,
            "JSON" => Self::Json,
            _ => return None,
        })
    }

    /// Whether a text is a value of the type. Java takes any text for a truth value.
    pub(crate) fn takes(self, text: &str) -> bool {
        match self {
            Self::Text | Self::Boolean | Self::Om => true,
            Self::Integer(bits) => text.parse::<i64>().is_ok_and(|number| {
                let unused = 64 - bits;
                (number << unused) >> unused == number
            }),
            Self::Float => text.trim().parse::<f64>().is_ok(),
            Self::Json => serde_json::from_str::<serde_json::Value>(text).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_take_what_java_takes() {
        for (kind, text, takes) in [
            ("SHORT", "32767", true),
            ("SHORT", "32768", false),
            ("INTEGER", "-2147483648", true),
            ("INTEGER", "2147483648", false),
            ("LONG", "9223372036854775807", true),
            ("INTEGER", "1.0", false),
            ("DOUBLE", "1e3", true),
            ("FLOAT", "x", false),
            ("BOOLEAN", "yes", true),
            ("JSON", "{\"a\":1}", true),
            ("JSON", "{a}", false),
        ] {
            assert_eq!(
                ValueKind::parse(kind).unwrap().takes(text),
                takes,
                "{kind} {text}"
            );
        }
        assert_eq!(ValueKind::parse("STRINGS"), None);
    }
}
