//! Evaluating: operators, conversions between values, and what a result is as text.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use super::{Constant, Context, Expression, NodeRef, Operator, Value, number};
use crate::message::{Envelope, json};

/// What one evaluation may take: nodes that it looks at, operands, and texts by their length.
const MAX_STEPS: u64 = 5_000_000;
/// Bytes of text that take as long as a node.
const BYTES_OF_STEP: usize = 64;
/// Bytes of a result; a longer one is not complete.
pub(crate) const MAX_TEXT: usize = 32 * 1024 * 1024;

pub(super) struct Evaluation<'c> {
    pub(super) context: &'c dyn Context,
    envelope: OnceCell<Option<Arc<Envelope>>>,
    steps: Cell<u64>,
}

/// The node that a predicate is about.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) envelope: Arc<Envelope>,
    pub(super) node: NodeRef,
    pub(super) position: usize,
    pub(super) size: usize,
}

impl<'c> Evaluation<'c> {
    pub(super) fn new(context: &'c dyn Context) -> Self {
        Self {
            context,
            envelope: OnceCell::new(),
            steps: Cell::new(0),
        }
    }

    pub(super) fn run(&self, expression: &Expression) -> Value {
        let value = self.value(expression, None);
        if self.is_spent() {
            self.context
                .fail("an expression takes more than 5000000 steps");
        }
        value
    }

    pub(super) fn spend(&self) {
        self.steps.set(self.steps.get() + 1);
    }

    /// A text that an operator or function works on; empty when too much has been spent.
    pub(super) fn text(&self, value: &Value) -> String {
        match value {
            Value::Nodes(envelope, nodes) => {
                let first = nodes.first();
                first.map_or_else(String::new, |node| self.text_of(envelope, *node))
            }
            other => self.paid(other.text()),
        }
    }

    /// XPath's string value of a node; empty when too much has been spent.
    pub(super) fn text_of(&self, envelope: &Envelope, node: NodeRef) -> String {
        if node.attribute.is_none() {
            for _ in envelope.document.descendants(node.node) {
                self.spend();
                if self.is_spent() {
                    return String::new();
                }
            }
        }
        self.paid(envelope.string_of(node))
    }

    pub(super) fn number(&self, value: &Value) -> f64 {
        match value {
            Value::Number(number) => *number,
            Value::Boolean(flag) => f64::from(u8::from(*flag)),
            other => number::parse(&self.text(other)),
        }
    }

    fn paid(&self, text: String) -> String {
        let steps = u64::try_from(text.len() / BYTES_OF_STEP).unwrap_or(u64::MAX);
        self.steps.set(self.steps.get().saturating_add(steps));
        match self.is_spent() {
            true => String::new(),
            false => text,
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.steps.get() > MAX_STEPS
    }

    pub(super) fn envelope(&self) -> Option<Arc<Envelope>> {
        self.envelope
            .get_or_init(|| {
                let found = self.context.envelope();
                if found.is_none() {
                    self.context.fail("the message's body is not XML");
                }
                found
            })
            .clone()
    }

    pub(super) fn value(&self, expression: &Expression, at: Option<&At>) -> Value {
        let property = |scope, name: &str| {
            let found = self.context.property(scope, name);
            found.map_or(Value::Null, Value::Text)
        };
        self.spend();
        if self.is_spent() {
            return Value::Null;
        }
        match expression {
            Expression::Literal(text) => Value::Text(text.clone()),
            Expression::Number(Constant(number)) => Value::Number(*number),
            Expression::Property(scope, name) => property(*scope, name),
            Expression::PropertyOf(scope, name) => {
                property(*scope, &self.text(&self.value(name, at)))
            }
            Expression::Body | Expression::Header => match self.envelope() {
                None => Value::Null,
                Some(envelope) => {
                    let node = match expression {
                        Expression::Body => envelope.body,
                        _ => envelope.header,
                    };
                    let nodes = node.map(NodeRef::of).into_iter().collect();
                    Value::Nodes(envelope, nodes)
                }
            },
            Expression::Call(function, arguments) => self.call(*function, arguments, at),
            Expression::Negated(inner) => Value::Number(-self.number(&self.value(inner, at))),
            Expression::Binary(operator, left, right) => self.binary(*operator, left, right, at),
            Expression::Path(path) => self.path(path, at),
            Expression::Json(path) => match self.context.json() {
                None => {
                    self.context.fail("the message's body is not JSON");
                    Value::Null
                }
                Some(json) => match path.read(&json) {
                    Ok(found) => found.map_or(Value::Text(String::new()), Value::Json),
                    Err(_) => {
                        self.context.fail("a JSONPath looks at too many values");
                        Value::Null
                    }
                },
            },
        }
    }

    fn binary(
        &self,
        operator: Operator,
        left: &Expression,
        right: &Expression,
        at: Option<&At>,
    ) -> Value {
        let left = self.value(left, at);
        match operator {
            Operator::Or if left.truth() => return Value::Boolean(true),
            Operator::And if !left.truth() => return Value::Boolean(false),
            _ => {}
        }
        let right = self.value(right, at);
        match operator {
            Operator::Or | Operator::And => Value::Boolean(right.truth()),
            Operator::Plus => Value::Number(self.number(&left) + self.number(&right)),
            Operator::Minus => Value::Number(self.number(&left) - self.number(&right)),
            Operator::Times => Value::Number(self.number(&left) * self.number(&right)),
            Operator::Divide => Value::Number(self.number(&left) / self.number(&right)),
            Operator::Modulo => Value::Number(self.number(&left) % self.number(&right)),
            Operator::Union => match (left, right) {
                (Value::Nodes(envelope, mut nodes), Value::Nodes(_, more)) => {
                    nodes.extend(more);
                    nodes.sort_unstable();
                    nodes.dedup();
                    Value::Nodes(envelope, nodes)
                }
                (Value::Nodes(envelope, nodes), _) | (_, Value::Nodes(envelope, nodes)) => {
                    Value::Nodes(envelope, nodes)
                }
                _ => Value::Null,
            },
            comparison => Value::Boolean(self.compare(comparison, &left, &right)),
        }
    }

    /// XPath 1.0, section 3.4. An absent property is an empty set, which equals nothing and
    /// differs from nothing.
    fn compare(&self, comparison: Operator, left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Boolean(_), other) | (other, Value::Boolean(_))
                if matches!(other, Value::Nodes(..) | Value::Null) =>
            {
                self.compare_simple(
                    comparison,
                    &Value::Boolean(left.truth()),
                    &Value::Boolean(right.truth()),
                )
            }
            (Value::Null, _) | (_, Value::Null) => false,
            (Value::Nodes(envelope, nodes), other) => nodes.iter().any(|node| {
                self.spend();
                let text = Value::Text(self.text_of(envelope, *node));
                !self.is_spent() && self.compare(comparison, &text, other)
            }),
            (one, Value::Nodes(envelope, nodes)) => nodes.iter().any(|node| {
                self.spend();
                let text = Value::Text(self.text_of(envelope, *node));
                !self.is_spent() && self.compare_simple(comparison, one, &text)
            }),
            (left, right) => self.compare_simple(comparison, left, right),
        }
    }

    /// A comparison of values that are no sets.
    fn compare_simple(&self, comparison: Operator, left: &Value, right: &Value) -> bool {
        let equal = || match (left, right) {
            (Value::Boolean(_), _) | (_, Value::Boolean(_)) => left.truth() == right.truth(),
            (Value::Number(_), _) | (_, Value::Number(_)) => {
                self.number(left) == self.number(right)
            }
            _ => self.text(left) == self.text(right),
        };
        match comparison {
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::Less => self.number(left) < self.number(right),
            Operator::LessOrEqual => self.number(left) <= self.number(right),
            Operator::Greater => self.number(left) > self.number(right),
            _ => self.number(left) >= self.number(right),
        }
    }
}

impl Envelope {
    /// XPath's string value of a node.
    fn string_of(&self, node: NodeRef) -> String {
        match node.attribute {
            None => self.document.string_value(node.node),
            Some(index) => {
                let attribute = self.document.attributes(node.node).get(index);
                attribute
                    .map(|(_, value)| value.clone())
                    .unwrap_or_default()
            }
        }
    }
}

impl Value {
    /// XPath's string value.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number::of_xpath(*number),
            Self::Boolean(flag) => flag.to_string(),
            Self::Nodes(envelope, nodes) => {
                let first = nodes.first();
                first
                    .map(|node| envelope.string_of(*node))
                    .unwrap_or_default()
            }
            Self::Json(serde_json::Value::String(text)) => {
                json::digits(text).unwrap_or(text).to_owned()
            }
            Self::Json(value) => json::write(value),
        }
    }

    /// XPath's boolean value.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Boolean(flag) => *flag,
            Self::Nodes(_, nodes) => !nodes.is_empty(),
            // `Boolean.parseBoolean` of the text (`SynapseJsonPath.booleanValueOf`).
            Self::Json(json) => json.as_bool().unwrap_or(!json.is_null()),
        }
    }

    /// What a mediator gets (`SynapseXPath.stringValueOf`): of nodes, the text of each, or its XML
    /// where it has no text of its own; null where a property is not there.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number::of_java(number)),
            Self::Nodes(envelope, nodes) => {
                let document = &envelope.document;
                let mut text = String::new();
                for node in nodes {
                    if node.attribute.is_some() || document.name(node.node).is_none() {
                        text.push_str(&envelope.string_of(node));
                    } else {
                        let own = document.own_text(node.node);
                        match own.trim().is_empty() {
                            true => text.push_str(&document.to_xml(node.node)),
                            false => text.push_str(&own),
                        }
                    }
                    // Nodes inside each other repeat what they hold; who asked is told.
                    if text.len() > MAX_TEXT {
                        break;
                    }
                }
                Some(text)
            }
            other => Some(other.text()),
        }
    }
}
