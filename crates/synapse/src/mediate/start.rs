//! Beginning an exchange: the message context that handlers and dispatch of the original engine
//! leave. Sources: API.process, RESTConstants, APIManagerExtensionHandler.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use hashbrown::HashMap;

use super::answers::engine_answer;
use super::exchange::{Body, Environment, Exchange, Message, Request, Step, Target};
use super::handlers::Stage;
use super::properties::Properties;
use super::run::Flowing;
use crate::dispatch::{MethodSet, ResourceOutcome, query_parameters};
use crate::plan::{KeyType, Plan};

impl Exchange {
    /// Starts an exchange with an API that takes the request, and runs up to the first step.
    #[must_use]
    pub fn start(
        plan: Arc<Plan>,
        target: Target<'_>,
        request: Request<'_>,
        environment: Environment,
    ) -> (Self, Step) {
        let mut exchange = Self::new(plan, target, request, environment);
        let Some(api) = exchange.plan.apis.get(exchange.api) else {
            let step = engine_answer(500, "Internal Server Error", "no such API in the plan");
            return (exchange, step);
        };
        exchange.key_type = api.key_type;
        exchange.begin_stage(Stage::Request(0));
        let step = exchange.go_on(Flowing::On);
        (exchange, step)
    }

    fn new(
        plan: Arc<Plan>,
        target: Target<'_>,
        request: Request<'_>,
        environment: Environment,
    ) -> Self {
        let target_text: Arc<str> = request.target.into();
        let variables = match &target.resource {
            ResourceOutcome::Found { variables, .. } => variables.clone(),
            _ => Vec::new(),
        };
        Self {
            plan,
            api: target.api,
            resource: usize::MAX,
            outcome: Some(target.resource),
            elected: None,
            variables,
            postfix_at: request
                .target
                .len()
                .saturating_sub(target.rest_url_postfix.len()),
            target: Arc::clone(&target_text),
            https: request.https,
            remote: request.remote,
            host: request.headers.get(http::header::HOST).cloned(),
            key_type: KeyType::Production,
            cors_noted: None,
            response_status: None,
            stage: Stage::Mediation,
            environment,
            method: method_text(request.method),
            has_body: request.has_body,
            content_type: request
                .headers
                .get(http::header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            message: Message {
                body: if request.has_body {
                    Body::Request
                } else {
                    Body::Empty
                },
                headers: request.headers,
                to: Some(target_text),
                ..Message::default()
            },
            query: query_parameters(request.target).unwrap_or_default(),
            default: Properties::default(),
            axis2: Properties::default(),
            operation: HashMap::new(),
            markup: HashMap::new(),
            keeping: None,
            in_response_path: false,
            frames: Vec::new(),
            handlers: Vec::new(),
            reading: None,
            sending: None,
            arriving: false,
            awaiting: None,
            token: None,
            executed: 0,
            unevaluated: Cell::default(),
            calls: 0,
            logs: Vec::new(),
        }
    }
}

/// Without asking the allocator, where it is one that artifacts can name.
fn method_text(method: &str) -> Cow<'static, str> {
    let known = MethodSet::KNOWN.into_iter().find(|known| *known == method);
    known.map_or_else(|| method.to_owned().into(), Cow::Borrowed)
}
