//! Beginning an exchange: the message context that handlers and dispatch of the original engine
//! leave. Sources: API.process, RESTConstants, APIManagerExtensionHandler.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::answers::engine_answer;
use super::exchange::{Body, Environment, Exchange, Message, Request, Step, Target};
use super::handlers::Stage;
use super::run::Flowing;
use crate::dispatch::{ApiRoute, VersionStrategy};
use crate::plan::Plan;

impl Exchange {
    /// Starts an exchange with an API that takes the request, and runs up to the first step.
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
        let (api, rest_url_postfix) = (target.api, target.rest_url_postfix);
        let mut exchange = Self::new(plan, target, request, environment);
        let plan = Arc::clone(&exchange.plan);
        let Some(api) = plan.apis.get(api) else {
            let step = engine_answer(500, "Internal Server Error", "no such API in the plan");
            return (exchange, step);
        };
        exchange.set_rest_properties(&api.route, rest_url_postfix, method, &url_prefix);
        let key_type = api.key_type.as_str();
        exchange
            .default
            .insert("AM_KEY_TYPE".into(), key_type.into());
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
        Self {
            plan,
            api: target.api,
            resource: usize::MAX,
            outcome: Some(target.resource),
            elected: None,
            sub_path: match target.rest_url_postfix {
                "" => "/",
                postfix => postfix,
            }
            .to_owned(),
            stage: Stage::Mediation,
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
            query: Vec::new(),
            default: HashMap::new(),
            axis2: HashMap::new(),
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

    fn set_rest_properties(
        &mut self,
        route: &ApiRoute,
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
            (
                "REST_FULL_REQUEST_PATH",
                self.message.to.clone().unwrap_or_default().as_str(),
            ),
            ("REST_SUB_REQUEST_PATH", self.sub_path.as_str()),
        ] {
            self.default.insert(name.to_owned(), value.to_owned());
        }
        self.axis2
            .insert("REST_URL_POSTFIX".into(), rest_url_postfix.to_owned());
    }
}
