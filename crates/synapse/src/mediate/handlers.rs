//! The handlers of an API, one after the other: before the resource is entered and, in the same
//! order, before the response goes through its outSequence. Source: API.process.

use std::sync::Arc;

use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::answers::{engine_answer, method_not_allowed, not_executed, not_found, options};
use super::exchange::Exchange;
use super::run::Flowing;
use super::settings::Security;
use crate::compile::shipped_reference;
use crate::dispatch::{ResourceOutcome, query_parameters};
use crate::plan::{Flow, Handler, KeyType, Lifecycle, Media, Mediator, SequenceRef};

/// What comes when nothing is left to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handler of this position sees the request, then the resource.
    Request(usize),
    /// Nothing.
    Mediation,
    /// The handler of this position sees the response, then the outSequence.
    Response(usize),
}

impl Exchange {
    /// Goes on with the next handler or with the resource.
    pub(super) fn next_stage(&mut self) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let Some(api) = plan.apis.get(self.api) else {
            return Flowing::Done(self.acknowledge());
        };
        match self.stage {
            Stage::Mediation => Flowing::Done(self.acknowledge()),
            Stage::Request(at) => match api.handlers.get(at) {
                Some(handler) => {
                    self.stage = Stage::Request(at + 1);
                    self.handle_request(handler, at)
                }
                None => {
                    self.stage = Stage::Mediation;
                    self.enter_resource()
                }
            },
            Stage::Response(at) => match api.handlers.get(at) {
                Some(handler) => {
                    self.stage = Stage::Response(at + 1);
                    self.handle_response(handler)
                }
                None => {
                    self.stage = Stage::Mediation;
                    self.enter_out_sequence()
                }
            },
        }
    }

    fn handle_request(&mut self, handler: &Handler, at: usize) -> Flowing {
        match handler {
            Handler::Cors(cors) => self.elect(cors, at),
            Handler::Status => self.check_status(),
            Handler::Authentication(authenticator) => self.authenticate(authenticator),
            Handler::Quota => self.throttle(),
            Handler::Extension { incoming, .. } => self.enter_all(incoming),
            Handler::Ports => self.set_defaults(),
            Handler::Unknown(element) => match self.environment.settings.security {
                Security::Off => Flowing::On,
                Security::Enforce => Flowing::Done(not_executed(element)),
            },
        }
    }

    /// SynapsePropertiesHandler: the gateway's ports, and a type for what is posted without one.
    fn set_defaults(&mut self) -> Flowing {
        let settings = &self.environment.settings;
        let (http, https) = (settings.http_port, settings.https_port);
        self.default.set("http.nio.port", http.to_string());
        self.default.set("https.nio.port", https.to_string());
        let given = self.message.headers.get(CONTENT_TYPE);
        if self.has_body
            && matches!(&*self.method, "POST" | "PUT")
            && given.is_none_or(HeaderValue::is_empty)
        {
            let form = Media::Fields.content_type();
            self.axis2.set("ContentType", form);
            form.clone_into(&mut self.content_type);
            let value = HeaderValue::from_static(form);
            self.message.headers.insert(CONTENT_TYPE, value);
        }
        Flowing::On
    }

    fn handle_response(&mut self, handler: &Handler) -> Flowing {
        match handler {
            Handler::Cors(cors) => self.add_cors_headers(cors),
            Handler::Extension { outgoing, .. } => self.enter_all(outgoing),
            _ => Flowing::On,
        }
    }

    /// APIStatusHandler: a blocked API answers nothing else.
    fn check_status(&mut self) -> Flowing {
        let lifecycle = self.plan.lifecycle;
        self.default.set("API_STATUS", lifecycle.as_str());
        match lifecycle {
            Lifecycle::Published => Flowing::On,
            Lifecycle::Prototyped => {
                self.key_type = KeyType::Production;
                Flowing::On
            }
            Lifecycle::Blocked => self.answer_after("_api_blocked_sequence_"),
        }
    }

    /// The sequences, first one first.
    fn enter_all(&mut self, sequences: &[usize]) -> Flowing {
        for index in sequences.iter().rev() {
            self.enter_reference(&SequenceRef::Own(*index));
        }
        Flowing::On
    }

    /// The resource that dispatch has found, or what the engine answers without one.
    fn enter_resource(&mut self) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let Some(outcome) = self.outcome.take() else {
            return Flowing::Done(self.acknowledge());
        };
        let target = Arc::clone(&self.target);
        let (index, variables) = match outcome {
            ResourceOutcome::Found { index, variables } => (index, variables),
            ResourceOutcome::Options { allow, .. } => return Flowing::Done(options(&allow)),
            ResourceOutcome::NotFound => {
                return self
                    .mismatched("_resource_mismatch_handler_", 404)
                    .unwrap_or_else(|| Flowing::Done(not_found(&target)));
            }
            ResourceOutcome::MethodNotAllowed => {
                return self
                    .mismatched("_method_not_allowed_handler_", 405)
                    .unwrap_or_else(|| Flowing::Done(method_not_allowed()));
            }
            ResourceOutcome::BadRequest => {
                let reason = "the request fits no resource of the API";
                return Flowing::Done(engine_answer(400, "Bad Request", reason));
            }
        };
        if target.contains('?')
            && let Err(error) = query_parameters(&target)
        {
            let reason = error.to_string();
            return Flowing::Done(engine_answer(400, "Bad Request", &reason));
        }
        let resource = plan
            .apis
            .get(self.api)
            .and_then(|api| api.resources.get(index));
        let Some(resource) = resource else {
            return Flowing::Done(self.acknowledge());
        };
        self.resource = index;
        self.variables = variables;
        self.push_flow_handler(&resource.fault_sequence);
        self.enter_flow(&resource.in_sequence)
    }

    /// The artifact's own sequence for requests without a resource, if it has one (`API.process`).
    fn mismatched(&mut self, sequence: &str, status: u16) -> Option<Flowing> {
        let index = self.plan.sequence_names.get(sequence).copied()?;
        self.axis2.set("HTTP_SC", status.to_string());
        Some(self.enter_reference(&SequenceRef::Own(index)))
    }

    /// The outSequence of the resource; without one the response goes back as it is.
    fn enter_out_sequence(&mut self) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let resource = plan
            .apis
            .get(self.api)
            .and_then(|api| api.resources.get(self.resource));
        let Some(resource) = resource else {
            self.enter_answer();
            return Flowing::On;
        };
        // The resource handles faults of the response as it handles those of the request.
        self.push_flow_handler(&resource.fault_sequence);
        match &resource.out_sequence {
            None => {
                self.enter_answer();
                Flowing::On
            }
            Some(flow) => self.enter_flow(flow),
        }
    }

    /// The resource that security, quotas and policies go by.
    pub(super) fn elected(&self) -> Option<usize> {
        self.elected.or(self.found())
    }

    /// The resource that dispatch has found.
    pub(super) fn found(&self) -> Option<usize> {
        match &self.outcome {
            Some(ResourceOutcome::Found { index, .. }) => Some(*index),
            _ => None,
        }
    }

    /// Runs a sequence of the gateway, which the artifact may replace; the client then gets the message.
    pub(super) fn answer_after(&mut self, sequence: &str) -> Flowing {
        match shipped_reference(sequence) {
            Some(reference) => self.answer_after_reference(&reference),
            None => Flowing::Done(engine_answer(500, "Internal Server Error", sequence)),
        }
    }

    pub(super) fn answer_after_reference(&mut self, reference: &SequenceRef) -> Flowing {
        self.enter_answer();
        self.enter_reference(reference)
    }

    /// What is entered next runs first; then the client gets the message. No handler sees it.
    pub(super) fn enter_answer(&mut self) {
        self.stage = Stage::Mediation;
        self.enter_block(&Arc::from([Mediator::Respond]));
    }

    /// Begins with the handlers, with the gateway's `fault` under all fault handlers.
    pub(super) fn begin_stage(&mut self, stage: Stage) {
        let plan = Arc::clone(&self.plan);
        self.frames.clear();
        self.handlers.clear();
        if let Some(api) = plan.apis.get(self.api) {
            self.push_flow_handler(&Flow::Reference(api.fault.clone()));
        }
        self.stage = stage;
    }
}
