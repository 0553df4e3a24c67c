//! One mediator at a time: what each does to the message context.

use bytes::Bytes;

use super::answers::not_executed;
use super::exchange::{Body, Exchange, Fault, LogRecord};
use super::run::Flowing;
use crate::expression::Scope;
use crate::plan::{Condition, Log, Mediator, Operand, PayloadFactory, Property};

/// Bytes of a property's value.
const MAX_VALUE: usize = 1024 * 1024;

impl Exchange {
    pub(super) fn mediate(&mut self, mediator: &Mediator) -> Flowing {
        match mediator {
            Mediator::Property(property) => self.run_property(property),
            Mediator::Filter(filter) => {
                let holds = {
                    let lookup = |scope: Scope, name: &str| self.property(scope, name);
                    match &filter.condition {
                        Condition::Holds(expression) => expression.evaluate(&lookup).truth(),
                        Condition::Matches(source, regex) => source
                            .evaluate(&lookup)
                            .into_text()
                            .is_some_and(|text| regex.is_match(&text)),
                    }
                };
                let block = if holds {
                    &filter.then
                } else {
                    &filter.otherwise
                };
                self.enter_block(block);
                Flowing::On
            }
            Mediator::Switch(switch) => {
                let value = switch
                    .source
                    .evaluate(&|scope, name| self.property(scope, name))
                    .into_text();
                let case = value.as_deref().and_then(|value| {
                    let mut cases = switch.cases.iter();
                    cases.find(|(regex, _)| regex.is_match(value))
                });
                self.enter_block(case.map_or(&switch.default, |(_, block)| block));
                Flowing::On
            }
            Mediator::Log(log) => {
                self.log(log);
                Flowing::On
            }
            Mediator::Sequence(reference) => self.enter_reference(reference),
            Mediator::Inline(sequence) => {
                self.enter(sequence);
                Flowing::On
            }
            Mediator::Send(Some(endpoint)) => match self.call(endpoint) {
                Ok(step) => Flowing::Done(step),
                Err(fault) => Flowing::Failed(fault),
            },
            Mediator::Send(None) => {
                let marked = self.default.get("RESPONSE").map(String::as_str) == Some("true");
                if self.message.is_response || (marked && self.message.to.is_none()) {
                    Flowing::Done(self.answer())
                } else {
                    Flowing::Failed(Fault::new(
                        0,
                        "send without an endpoint, and the message is no response",
                    ))
                }
            }
            Mediator::Respond => Flowing::Done(self.answer()),
            Mediator::Loopback => {
                if self.message.is_response {
                    // In the response path already: going round again would never end.
                    return Flowing::Done(self.acknowledge());
                }
                self.message.is_response = true;
                self.axis2.remove("HTTP_SC");
                Flowing::Done(self.respond_path())
            }
            Mediator::Drop => Flowing::Done(self.acknowledge()),
            Mediator::RemoveTo => {
                self.message.to = None;
                Flowing::On
            }
            Mediator::SetTo(operand) => {
                self.message.to = self.operand(operand);
                Flowing::On
            }
            Mediator::PayloadFactory(factory) => self.make_payload(factory),
            Mediator::NotExecuted(element) => Flowing::Done(not_executed(element)),
        }
    }

    /// Sets or removes a property. A value that is not there leaves the property as it is, but
    /// empties a header (`PropertyMediator`).
    fn run_property(&mut self, property: &Property) -> Flowing {
        let value = match (&property.value, property.scope) {
            (None, _) => None,
            (Some(operand), scope) => match (self.operand(operand), scope) {
                (Some(value), _) => Some(value),
                (None, Scope::Transport) => Some(String::new()),
                (None, _) => return Flowing::On,
            },
        };
        // Properties that double themselves must not eat the gateway's memory.
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE) {
            let message = format!("the value of property {} is too large", property.name);
            return Flowing::Failed(Fault::new(0, message));
        }
        self.set_property(property.scope, &property.name, value);
        Flowing::On
    }

    pub(super) fn operand(&self, operand: &Operand) -> Option<String> {
        match operand {
            Operand::Literal(text) => Some(text.clone()),
            Operand::Expression(expression) => expression
                .evaluate(&|scope, name| self.property(scope, name))
                .into_text(),
        }
    }

    fn log(&mut self, log: &Log) {
        let mut fields = Vec::with_capacity(log.properties.len() + 2);
        if log.message {
            fields.push(("To".into(), self.message.to.clone().unwrap_or_default()));
            fields.push(("MessageID".into(), self.environment.message_id.clone()));
        }
        for (name, value) in &log.properties {
            let text = match value {
                Some(operand) => self.operand(operand).unwrap_or_else(|| "null".into()),
                None => "(expression not executed)".into(),
            };
            fields.push((name.clone(), text));
        }
        self.logs.push(LogRecord {
            category: log.category,
            fields,
        });
    }

    fn make_payload(&mut self, factory: &PayloadFactory) -> Flowing {
        let arguments: Vec<String> = factory
            .arguments
            .iter()
            .map(|operand| self.operand(operand).unwrap_or_default())
            .collect();
        let Some(text) = super::answers::fill(&factory.format, factory.media, &arguments) else {
            return Flowing::Failed(Fault::new(0, "the payload is too large"));
        };
        self.message.body = Body::Bytes(Bytes::from(text));
        // The original announces the made type in both properties (`PayloadFactoryMediator`).
        let content_type = factory.media.content_type();
        for name in ["messageType", "ContentType"] {
            self.axis2.insert(name.to_owned(), content_type.to_owned());
        }
        self.message.content_type = Some(content_type.to_owned());
        Flowing::On
    }
}
