//! One mediator at a time: what each does to the message context.

use hashbrown::HashMap;
use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answers::not_executed;
use super::endpoint::After;
use super::exchange::{Exchange, Fault, Frame, LogRecord};
use super::run::Flowing;
use super::token::{GoesOn, secret_value};
use crate::expression::{Expression, Scope, Value};
use crate::plan::{
    Addressing, ApiKey, CallTemplate, Condition, Log, Media, Mediator, Operand, Property, ValueKind,
};

/// What a query parameter holds as it is: unreserved characters (RFC 3986).
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Bytes of a property's value.
const MAX_VALUE: usize = 1024 * 1024;

impl Exchange {
    pub(super) fn mediate(&mut self, mediator: &Mediator) -> Flowing {
        match mediator {
            Mediator::Property(property) => return self.run_property(property),
            Mediator::Filter(filter) => {
                let holds = match &filter.condition {
                    Condition::Holds(expression) => expression.evaluate(self).truth(),
                    Condition::Matches(source, regex) => self
                        .text_of(source)
                        .is_some_and(|text| regex.is_match(&text)),
                };
                self.enter_block(match holds {
                    true => &filter.then,
                    false => &filter.otherwise,
                });
            }
            Mediator::Switch(switch) => {
                let value = self.text_of(&switch.source);
                let case = value.as_deref().and_then(|value| {
                    let mut cases = switch.cases.iter();
                    cases.find(|(regex, _)| regex.is_match(value))
                });
                self.enter_block(case.map_or(&switch.default, |(_, block)| block));
            }
            Mediator::Log(log) => self.log(log),
            Mediator::Sequence(reference) => return self.enter_reference(reference),
            Mediator::Inline(sequence) => self.enter(sequence),
            Mediator::Direction { response, block } => {
                if self.message.is_response == *response {
                    self.enter_block(block);
                }
            }
            Mediator::CallTemplate(call) => return self.call_template(call),
            Mediator::Send(endpoint, receive) => {
                let after = match receive {
                    Some(sequence) => After::Sequence(sequence.clone()),
                    None => After::RespondPath,
                };
                let marked = self.default_text("RESPONSE").as_deref() == Some("true");
                let to_client = self.message.is_response || (marked && self.message.to.is_none());
                return match endpoint {
                    Some(endpoint) => self.send(endpoint, after),
                    None if to_client => self.answer(),
                    None => self.send_to_to(after),
                };
            }
            Mediator::Call(Some(endpoint)) => return self.send(endpoint, After::Continue),
            Mediator::Call(None) => return self.send_to_to(After::Continue),
            Mediator::Respond => return self.answer(),
            Mediator::Loopback => {
                if self.in_response_path {
                    // Going round again would never end.
                    return Flowing::Done(self.acknowledge());
                }
                self.message.is_response = true;
                return Flowing::Done(self.respond_path());
            }
            Mediator::Drop => return Flowing::Done(self.acknowledge()),
            Mediator::Header(which, value) => {
                let value = value.as_ref().and_then(|value| self.operand(value));
                match which {
                    Addressing::To => self.message.to = value.map(Into::into),
                    Addressing::Action => self.message.action = value,
                }
            }
            Mediator::PayloadFactory(factory) => return self.make_payload(factory),
            Mediator::MakeFault(fault) => self.make_fault(fault),
            Mediator::Enrich(enrich) => return self.enrich(enrich),
            Mediator::Rewrite(rewrite) => return self.rewrite(rewrite),
            Mediator::Cache(cache) => return self.find_kept(cache),
            Mediator::Collect => self.keep_response(),
            Mediator::Token(oauth) => return self.want_token(oauth, GoesOn::Header),
            Mediator::TokenResponse => return self.token_response(),
            Mediator::ApiKey(key) => return self.put_api_key(key),
            Mediator::Protect(protection) => return self.protect(protection),
            Mediator::NotExecuted(element) => return Flowing::Done(not_executed(element)),
        }
        Flowing::On
    }

    /// Sets or removes a property. A value that is not there leaves one of the default scope as it
    /// is, empties a header, and is what the other scopes then hold (`PropertyMediator`).
    pub(super) fn run_property(&mut self, property: &Property) -> Flowing {
        let Some(operand) = &property.value else {
            self.set_property(property.scope, &property.name, None);
            return Flowing::On;
        };
        let (value, mut markup) = match operand {
            Operand::Literal(text) => (Some(text.clone()), None),
            Operand::Expression(expression) => self.text_and_markup(expression),
        };
        let takes_null = matches!(
            property.scope,
            Scope::Axis2 | Scope::Axis2Client | Scope::Operation
        );
        if value.is_none() && takes_null {
            self.set_property(property.scope, &property.name, None);
            if property.name == "messageType" {
                self.set_property(property.scope, "ContentType", None);
            }
            return Flowing::On;
        }
        let value = match (value, &property.part) {
            (Some(text), Some((pattern, group))) => pattern.group(&text, *group),
            (value, _) => value,
        };
        let value = match (value, property.scope) {
            (Some(value), _) => value,
            (None, Scope::Transport) => String::new(),
            (None, _) => return Flowing::On,
        };
        let failed = |why: &str| {
            let message = format!("the value of property {} {why}", property.name);
            Flowing::Failed(Fault::new(0, message))
        };
        // Properties that double themselves must not eat the gateway's memory.
        if value.len() > MAX_VALUE {
            return failed("is too large");
        }
        if !property.kind.takes(&value) {
            return failed("is none of its type");
        }
        match property.kind {
            ValueKind::Om if crate::message::Document::parse(&value).is_err() => {
                return failed("is no XML");
            }
            ValueKind::Om => markup = Some(Media::Xml),
            ValueKind::Json => markup = Some(Media::Json),
            _ => {}
        }
        self.set_property(property.scope, &property.name, Some(value));
        if let (Scope::Default, Some(media)) = (property.scope, markup) {
            self.markup.insert(property.name.clone(), media);
        }
        Flowing::On
    }

    pub(super) fn operand(&self, operand: &Operand) -> Option<String> {
        match operand {
            Operand::Literal(text) => Some(text.clone()),
            Operand::Expression(expression) => self.text_of(expression),
        }
    }

    /// The string value of an expression, and what it is where it is more than text.
    pub(super) fn text_and_markup(
        &self,
        expression: &Expression,
    ) -> (Option<String>, Option<Media>) {
        let value = expression.evaluate(self);
        let markup = match (&value, expression) {
            (Value::Json(json), _) if json.is_object() || json.is_array() => Some(Media::Json),
            (Value::Nodes(envelope, nodes), _) => nodes
                .iter()
                .any(|node| {
                    node.attribute.is_none()
                        && envelope.document.name(node.node).is_some()
                        && envelope.document.own_text(node.node).trim().is_empty()
                })
                .then_some(Media::Xml),
            (_, Expression::Property(Scope::Default, name)) => self.markup.get(name).copied(),
            _ => None,
        };
        (self.complete(value.into_text()), markup)
    }

    /// The key as a header, or behind the URL postfix, percent-encoded (`URIBuilder.addParameter`).
    fn put_api_key(&mut self, key: &ApiKey) -> Flowing {
        let value = match self.reveal(&key.value.0) {
            Ok(value) => value,
            Err(fault) => return Flowing::Failed(fault),
        };
        if key.in_query {
            let postfix = self.axis2_text("REST_URL_POSTFIX").unwrap_or_default();
            let mut postfix = postfix.into_owned();
            let joint = if postfix.contains('?') { '&' } else { '?' };
            let encoded = |text: &str| utf8_percent_encode(text, PARAMETER).to_string();
            let parameter = format!("{joint}{}={}", encoded(&key.name), encoded(&value));
            // What comes behind a fragment is no query.
            let end = postfix.find('#').unwrap_or(postfix.len());
            postfix.insert_str(end, &parameter);
            self.axis2.set("REST_URL_POSTFIX", postfix);
        } else if let (Ok(name), Some(value)) =
            (HeaderName::try_from(&key.name), secret_value(&value))
        {
            // It is for the back end, whoever has set one of the name before.
            self.message.own_headers.remove(&name);
            self.message.headers.insert(name, value);
        }
        Flowing::On
    }

    fn call_template(&mut self, call: &CallTemplate) -> Flowing {
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(template) = call.template.and_then(|at| plan.templates.get(at)) else {
            let message = format!("Sequence template named {} cannot be found", call.name);
            return Flowing::Failed(Fault::new(0, message));
        };
        let mut parameters: HashMap<String, String> = template.parameters.iter().cloned().collect();
        for (name, value) in &call.arguments {
            let value = self.operand(value).unwrap_or_default();
            if value.len() > MAX_VALUE {
                let message = format!("the value of parameter {name} is too large");
                return Flowing::Failed(Fault::new(0, message));
            }
            parameters.insert(name.clone(), value);
        }
        let mut handlers = 0;
        for on_error in [&call.on_error, &template.sequence.on_error] {
            handlers += self.push_on_error(on_error.as_ref());
        }
        self.frames.push(Frame {
            block: std::sync::Arc::clone(&template.sequence.block),
            next: 0,
            handlers,
            parameters: Some(parameters),
        });
        Flowing::On
    }

    fn log(&mut self, log: &Log) {
        let mut fields = Vec::with_capacity(log.properties.len() + 2);
        if log.message {
            let to = self.message.to.as_deref().unwrap_or_default();
            fields.push(("To".into(), to.to_owned()));
            fields.push(("MessageID".into(), self.environment.message_id.to_string()));
        }
        for (name, value) in &log.properties {
            let text = match value {
                Some(operand) => self.operand(operand).unwrap_or_else(|| "null".into()),
                None => "(expression not executed)".into(),
            };
            fields.push((name.clone(), text));
        }
        // What cannot be logged is no reason to fail.
        self.unevaluated.take();
        self.logs.push(LogRecord {
            category: log.category,
            fields,
        });
    }
}
