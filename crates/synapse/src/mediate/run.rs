//! Running mediators: an explicit stack of blocks, so that an exchange can wait for a back end
//! anywhere and no artifact can overflow the thread's stack.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::answers::{engine_answer, not_executed};
use super::exchange::{
    Answer, BackendResponse, Body, Environment, Exchange, Fault, Frame, Handler, LogRecord,
    Message, Request, Step, Target,
};
use crate::dispatch::{ApiRoute, VersionStrategy};
use crate::expression::Scope;
use crate::plan::{
    Condition, Flow, KeyType, Log, Mediator, Operand, PayloadFactory, Plan, Property, Sequence,
    SequenceRef,
};

/// Blocks inside each other at run time; a sequence that calls itself ends here.
const MAX_FRAMES: usize = 128;
/// Mediators of one exchange; loops through send and fault end here.
const MAX_EXECUTED: usize = 20_000;

/// Back-end calls of one exchange.
pub(super) const MAX_CALLS: usize = 16;
/// Bytes of a property's value.
const MAX_VALUE: usize = 1024 * 1024;

/// What a mediator leaves to do.
enum Flowing {
    On,
    Done(Step),
    Failed(Fault),
}

impl Exchange {
    /// Starts an exchange at a resource that dispatch has found, and runs up to the first step.
    #[must_use]
    pub fn start(
        plan: Arc<Plan>,
        target: Target<'_>,
        request: Request<'_>,
        environment: Environment,
    ) -> (Self, Step) {
        let host = request.headers.get(http::header::HOST);
        let url_prefix = format!(
            "{}://{}",
            if request.https { "https" } else { "http" },
            host.and_then(|host| host.to_str().ok()).unwrap_or_default()
        );
        let mut exchange = Self {
            plan,
            api: target.api,
            resource: target.resource,
            environment,
            method: request.method.to_owned(),
            has_body: request.has_body,
            message: Message {
                body: if request.has_body {
                    Body::Request
                } else {
                    Body::Empty
                },
                headers: request.headers,
                to: Some(request.target.to_owned()),
                ..Message::default()
            },
            query: target.query,
            default: HashMap::new(),
            axis2: HashMap::new(),
            operation: HashMap::new(),
            frames: Vec::new(),
            handlers: Vec::new(),
            executed: 0,
            calls: 0,
            logs: Vec::new(),
        };
        let plan = Arc::clone(&exchange.plan);
        let Some((api, resource)) = plan
            .apis
            .get(target.api)
            .and_then(|api| Some((api, api.resources.get(target.resource)?)))
        else {
            let step = engine_answer(500, "Internal Server Error", "no such resource in the plan");
            return (exchange, step);
        };
        exchange.set_rest_properties(
            &api.route,
            &resource.pattern,
            target.rest_url_postfix,
            request.method,
            &url_prefix,
        );
        for (name, value) in target.variables {
            exchange.default.insert(format!("uri.var.{name}"), value);
        }
        for (name, value) in exchange.query.clone() {
            exchange
                .default
                .insert(format!("query.param.{name}"), value);
        }
        let key_type = match api.key_type {
            KeyType::Production => "PRODUCTION",
            KeyType::Sandbox => "SANDBOX",
        };
        exchange
            .default
            .insert("AM_KEY_TYPE".into(), key_type.into());
        if api.port_properties {
            let (http, https) = (
                exchange.environment.http_port,
                exchange.environment.https_port,
            );
            exchange
                .default
                .insert("http.nio.port".into(), http.to_string());
            exchange
                .default
                .insert("https.nio.port".into(), https.to_string());
        }
        exchange.push_flow_handler(&resource.fault_sequence);
        // The stack runs what is pushed last first.
        let entered = exchange.enter_flow(&resource.in_sequence);
        for index in api.extension_in.iter().rev() {
            exchange.enter_reference(&SequenceRef::Own(*index));
        }
        let step = exchange.go_on(entered);
        (exchange, step)
    }

    /// Goes on with the back end's response.
    #[must_use]
    pub fn response(&mut self, response: BackendResponse) -> Step {
        self.message = Message {
            headers: response.headers,
            body: Body::Response,
            is_response: true,
            from_back_end: true,
            ..Message::default()
        };
        for gone in ["messageType", "ContentType", "NO_ENTITY_BODY"] {
            self.axis2.remove(gone);
        }
        self.axis2
            .insert("HTTP_SC".into(), response.status.to_string());
        self.respond_path()
    }

    /// Goes on after a failed call: the innermost fault handler runs.
    #[must_use]
    pub fn failed(&mut self, fault: Fault) -> Step {
        // What was set for the back end is not for the client.
        self.message.own_headers.clear();
        self.go_on(Flowing::Failed(fault))
    }

    /// Runs from where the last thing left it.
    fn go_on(&mut self, flowing: Flowing) -> Step {
        match flowing {
            Flowing::On => self.run(),
            Flowing::Done(step) => step,
            Flowing::Failed(fault) => match self.handle(fault) {
                Some(step) => step,
                None => self.run(),
            },
        }
    }

    /// The resource's outSequence; without one the response goes back as it is.
    fn respond_path(&mut self) -> Step {
        let plan = Arc::clone(&self.plan);
        self.frames.clear();
        let found = plan
            .apis
            .get(self.api)
            .and_then(|api| Some((api, api.resources.get(self.resource)?)));
        let Some((api, resource)) = found else {
            return self.answer();
        };
        // The resource handles faults of the response as it handles those of the request.
        self.handlers.clear();
        self.push_flow_handler(&resource.fault_sequence);
        let out = resource.out_sequence.as_ref();
        let entered = match out {
            None => {
                self.enter_block(&Arc::from([Mediator::Respond]));
                Flowing::On
            }
            Some(flow) => self.enter_flow(flow),
        };
        for index in api.extension_out.iter().rev() {
            self.enter_reference(&SequenceRef::Own(*index));
        }
        self.go_on(entered)
    }

    fn set_rest_properties(
        &mut self,
        route: &ApiRoute,
        pattern: &str,
        rest_url_postfix: &str,
        method: &str,
        url_prefix: &str,
    ) {
        let version = match route.version() {
            VersionStrategy::None => "",
            VersionStrategy::Context(version) | VersionStrategy::Url(version) => version,
        };
        let context = match route.context() {
            "" => "/",
            context => context,
        };
        for (name, value) in [
            ("SYNAPSE_REST_API", route.runtime_key().as_str()),
            ("SYNAPSE_REST_API_VERSION", version),
            ("REST_API_CONTEXT", context),
            ("REST_METHOD", method),
            ("REST_URL_PREFIX", url_prefix),
            ("API_ELECTED_RESOURCE", pattern),
            (
                "REST_FULL_REQUEST_PATH",
                self.message.to.clone().unwrap_or_default().as_str(),
            ),
            (
                "REST_SUB_REQUEST_PATH",
                if rest_url_postfix.is_empty() {
                    "/"
                } else {
                    rest_url_postfix
                },
            ),
        ] {
            self.default.insert(name.to_owned(), value.to_owned());
        }
        self.axis2
            .insert("REST_URL_POSTFIX".into(), rest_url_postfix.to_owned());
    }

    fn enter_flow(&mut self, flow: &Flow) -> Flowing {
        match flow {
            Flow::Reference(reference) => self.enter_reference(reference),
            Flow::Inline(block) => {
                self.enter_block(block);
                Flowing::On
            }
        }
    }

    fn push_flow_handler(&mut self, flow: &Flow) {
        self.handlers.push(match flow {
            Flow::Inline(block) => Handler::Block(Arc::clone(block)),
            Flow::Reference(reference) => Handler::Sequence(reference.clone()),
        });
    }

    /// Enters the sequence that a reference names; a fault when it is not there.
    fn enter_reference(&mut self, reference: &SequenceRef) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let missing = |key: &str| {
            let message = format!("Sequence named {key} cannot be found");
            Flowing::Failed(Fault::new(0, message))
        };
        let sequence: &Sequence = match reference {
            SequenceRef::Own(index) => match plan.sequences.get(*index) {
                Some(sequence) => sequence,
                None => return missing("?"),
            },
            SequenceRef::Shipped(sequence) => sequence,
            SequenceRef::Missing(key) => return missing(key),
            SequenceRef::NotExecuted(element) => return Flowing::Done(not_executed(element)),
            SequenceRef::Dynamic(expression) => {
                let key = expression
                    .evaluate(&|scope, name| self.property(scope, name))
                    .into_text()
                    .unwrap_or_default();
                let index = plan.sequence_names.get(&key);
                match index.and_then(|at| plan.sequences.get(*at)) {
                    Some(sequence) => sequence,
                    None => return missing(&key),
                }
            }
        };
        self.enter(sequence);
        Flowing::On
    }

    fn enter(&mut self, sequence: &Sequence) {
        if let Some(on_error) = &sequence.on_error {
            self.handlers.push(Handler::Sequence(on_error.clone()));
        }
        self.frames.push(Frame {
            block: Arc::clone(&sequence.block),
            next: 0,
            handles_faults: sequence.on_error.is_some(),
        });
    }

    /// Runs until there is something to do outside.
    fn run(&mut self) -> Step {
        loop {
            let Some(frame) = self.frames.last_mut() else {
                return self.acknowledge();
            };
            if frame.next >= frame.block.len() {
                if frame.handles_faults {
                    self.handlers.pop();
                }
                self.frames.pop();
                continue;
            }
            let block = Arc::clone(&frame.block);
            let at = frame.next;
            frame.next += 1;
            self.executed += 1;
            if self.executed > MAX_EXECUTED || self.frames.len() > MAX_FRAMES {
                return engine_answer(
                    500,
                    "Internal Server Error",
                    "the sequences of this API call each other without end",
                );
            }
            let flowing = match block.get(at) {
                Some(mediator) => self.mediate(mediator),
                None => Flowing::On,
            };
            match flowing {
                Flowing::On => {}
                Flowing::Done(step) => return step,
                Flowing::Failed(fault) => match self.handle(fault) {
                    Some(step) => return step,
                    None => continue,
                },
            }
        }
    }

    /// Makes the innermost fault handler that can be entered the next thing to run.
    fn handle(&mut self, mut fault: Fault) -> Option<Step> {
        loop {
            for (name, value) in [
                ("ERROR_CODE", fault.code.to_string()),
                ("ERROR_MESSAGE", fault.message.clone()),
                ("ERROR_DETAIL", fault.detail.clone()),
            ] {
                self.default.insert(name.to_owned(), value);
            }
            self.frames.clear();
            let entered = match self.handlers.pop() {
                None => return Some(engine_answer(500, "Runtime Error", &fault.message)),
                Some(Handler::Block(block)) => {
                    self.enter_block(&block);
                    Flowing::On
                }
                Some(Handler::Sequence(reference)) => self.enter_reference(&reference),
            };
            match entered {
                Flowing::On => return None,
                Flowing::Done(step) => return Some(step),
                Flowing::Failed(next) => fault = next,
            }
        }
    }

    fn mediate(&mut self, mediator: &Mediator) -> Flowing {
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

    fn enter_block(&mut self, block: &crate::plan::Block) {
        if !block.is_empty() {
            self.frames.push(Frame {
                block: Arc::clone(block),
                next: 0,
                handles_faults: false,
            });
        }
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

    /// Nothing was sent: 202, or the status that was set (`ServerWorker.sendAck`).
    fn acknowledge(&mut self) -> Step {
        self.message.body = Body::Empty;
        self.message.headers.clear();
        let status = match self.message.is_response {
            true => None,
            false => self.status(),
        };
        Step::Answer(Box::new(Answer {
            status: status.unwrap_or(202),
            headers: http::HeaderMap::new(),
            body: Body::Empty,
        }))
    }

    fn status(&self) -> Option<u16> {
        self.axis2
            .get("HTTP_SC")
            .and_then(|text| text.trim().parse().ok())
            .filter(|status| (200..=999).contains(status))
    }

    /// Sends the current message to the client.
    fn answer(&mut self) -> Step {
        let (mut headers, body) = match self.outgoing() {
            Ok(outgoing) => outgoing,
            Err(step) => return step,
        };
        if !self.message.from_back_end {
            headers = super::answers::own_headers(headers, &self.message.own_headers, &body);
        }
        Step::Answer(Box::new(Answer {
            status: self.status().unwrap_or(200),
            headers,
            body,
        }))
    }

    /// Headers and body as they leave the gateway, in either direction.
    pub(super) fn outgoing(&mut self) -> Result<(http::HeaderMap, Body), Step> {
        let mut headers = std::mem::take(&mut self.message.headers);
        let mut body = std::mem::take(&mut self.message.body);
        let no_entity = self.axis2.get("NO_ENTITY_BODY");
        if no_entity.is_some_and(|flag| flag.eq_ignore_ascii_case("true")) {
            body = Body::Empty;
            headers.remove(CONTENT_TYPE);
            headers.remove(http::header::CONTENT_LENGTH);
            headers.remove(http::header::TRANSFER_ENCODING);
        }
        let wanted = self
            .axis2
            .get("ContentType")
            .or_else(|| self.axis2.get("messageType"));
        let made = self.message.content_type.take();
        if let Body::Bytes(_) = body {
            headers.remove(http::header::CONTENT_LENGTH);
            headers.remove(http::header::TRANSFER_ENCODING);
            headers.remove(http::header::CONTENT_ENCODING);
        }
        if body == Body::Empty {
            return Ok((headers, body));
        }
        let have = made.as_deref().or_else(|| {
            let value = headers.get(CONTENT_TYPE)?;
            value.to_str().ok()
        });
        if let (Some(wanted), Some(have)) = (wanted, have)
            && super::answers::needs_conversion(have, wanted)
        {
            return Err(not_executed(&crate::plan::NotExecuted {
                what: format!("conversion of {have} to {wanted}"),
                place: "messageType".into(),
            }));
        }
        if let Some(content_type) = wanted.map(String::as_str).or(made.as_deref())
            && let Ok(value) = http::HeaderValue::try_from(content_type)
        {
            headers.insert(CONTENT_TYPE, value);
        }
        Ok((headers, body))
    }
}
