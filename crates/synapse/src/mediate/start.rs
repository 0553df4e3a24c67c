//! Beginning an exchange: the message context that handlers and dispatch of the original engine
//! leave. Sources: API.process, RESTConstants, APIManagerExtensionHandler.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::answers::engine_answer;
use super::exchange::{Body, Environment, Exchange, Message, Request, Step, Target};
use crate::dispatch::{ApiRoute, VersionStrategy};
use crate::plan::{KeyType, Plan, SequenceRef};

impl Exchange {
    /// Starts an exchange of an API that has no resource for the request, if the artifact says
    /// what happens then: `_resource_mismatch_handler_`, or `_method_not_allowed_handler_` where
    /// another method would have fitted (`API.process`).
    #[must_use]
    pub fn start_unmatched(
        plan: Arc<Plan>,
        api: usize,
        method_not_allowed: bool,
        request: Request<'_>,
        environment: Environment,
    ) -> Option<(Self, Step)> {
        let name = match method_not_allowed {
            true => "_method_not_allowed_handler_",
            false => "_resource_mismatch_handler_",
        };
        let sequence = plan.sequence_names.get(name).copied()?;
        let target = Target {
            api,
            resource: usize::MAX,
            variables: Vec::new(),
            query: Vec::new(),
            rest_url_postfix: "",
        };
        let status = if method_not_allowed { "405" } else { "404" };
        let mut exchange = Self::new(plan, target, request, environment);
        exchange.axis2.insert("HTTP_SC".into(), status.into());
        let entered = exchange.enter_reference(&SequenceRef::Own(sequence));
        let step = exchange.go_on(entered);
        Some((exchange, step))
    }

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
        let method = request.method;
        let (variables, rest_url_postfix) = (target.variables.clone(), target.rest_url_postfix);
        let (api, resource) = (target.api, target.resource);
        let mut exchange = Self::new(plan, target, request, environment);
        let plan = Arc::clone(&exchange.plan);
        let Some((api, resource)) = plan
            .apis
            .get(api)
            .and_then(|api| Some((api, api.resources.get(resource)?)))
        else {
            let step = engine_answer(500, "Internal Server Error", "no such resource in the plan");
            return (exchange, step);
        };
        exchange.set_rest_properties(
            &api.route,
            &resource.pattern,
            rest_url_postfix,
            method,
            &url_prefix,
        );
        for (name, value) in variables {
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

    fn new(
        plan: Arc<Plan>,
        target: Target<'_>,
        request: Request<'_>,
        environment: Environment,
    ) -> Self {
        Self {
            plan,
            api: target.api,
            resource: target.resource,
            environment,
            method: request.method.to_owned(),
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
                to: Some(request.target.to_owned()),
                ..Message::default()
            },
            query: target.query,
            default: HashMap::new(),
            axis2: HashMap::new(),
            operation: HashMap::new(),
            markup: HashMap::new(),
            keeping: None,
            in_response_path: false,
            frames: Vec::new(),
            handlers: Vec::new(),
            sending: None,
            executed: 0,
            unevaluated: Cell::default(),
            calls: 0,
            logs: Vec::new(),
        }
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
}
