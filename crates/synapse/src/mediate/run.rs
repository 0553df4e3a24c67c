//! Running mediators: an explicit stack of blocks, so that an exchange can wait for a back end
//! anywhere and no artifact can overflow the thread's stack.

use std::collections::HashMap;
use std::sync::Arc;

use super::answers::{engine_answer, not_executed};
use super::exchange::{
    BackendResponse, Body, Environment, Exchange, Fault, Frame, Handler, Message, Request, Step,
    Target,
};
use crate::dispatch::{ApiRoute, VersionStrategy};
use crate::plan::{Flow, KeyType, Mediator, Plan, Sequence, SequenceRef};

/// Blocks inside each other at run time; a sequence that calls itself ends here.
const MAX_FRAMES: usize = 128;
/// Mediators of one exchange; loops through send and fault end here.
const MAX_EXECUTED: usize = 20_000;

/// Back-end calls of one exchange.
pub(super) const MAX_CALLS: usize = 16;
/// What a mediator leaves to do.
pub(super) enum Flowing {
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
    pub(super) fn respond_path(&mut self) -> Step {
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
    pub(super) fn enter_reference(&mut self, reference: &SequenceRef) -> Flowing {
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

    pub(super) fn enter(&mut self, sequence: &Sequence) {
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
        // What was set for the back end is not for the client.
        self.message.own_headers.clear();
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

    pub(super) fn enter_block(&mut self, block: &crate::plan::Block) {
        if !block.is_empty() {
            self.frames.push(Frame {
                block: Arc::clone(block),
                next: 0,
                handles_faults: false,
            });
        }
    }
}
