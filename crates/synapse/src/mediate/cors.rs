//! CORSRequestHandler of API Manager: the elected resource, preflights, and the headers that let
//! scripts of other origins read an answer.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::exchange::{Body, Exchange};
use super::run::Flowing;
use super::settings::CorsSettings;
use crate::dispatch::{Election, MethodSet, elect_resource};
use crate::plan::{Cors, Handler, SequenceRef};

/// The sequence that an artifact may have in its place.
pub(super) const CORS_SEQUENCE: &str = "_cors_request_handler_";

/// What the client is told when no resource is elected.
const NO_RESOURCE: &str = "No matching resource found for given API Request";
const NO_METHOD: &str = "Method not allowed for given API resource";

/// What of a request the headers of its answer depend on, once a CORS handler has let it through.
#[derive(Debug)]
pub(super) struct Noted {
    /// The handler's position.
    handler: usize,
    origin: Option<HeaderValue>,
    asked_headers: Option<HeaderValue>,
}

impl Exchange {
    /// Elects the resource that the handlers behind go by; answers where there is none, and
    /// preflights that the back end does not want to answer itself. `at` is the handler's position.
    pub(super) fn elect(&mut self, cors: &Cors, at: usize) -> Flowing {
        let plan = Arc::clone(&self.plan);
        let Some(api) = plan.apis.get(self.api) else {
            return Flowing::On;
        };
        let asked = text(&self.message.headers, &ACCESS_CONTROL_REQUEST_METHOD);
        let resources = &api.route.resources;
        let election = elect_resource(resources, &self.method, asked, self.sub_path());
        let index = match election {
            Election::Resource(index, variables) => {
                // Policies look at them before the resource is entered.
                self.variables = variables;
                index
            }
            Election::NotFound => return self.none_elected(404, NO_RESOURCE),
            Election::MethodNotAllowed => return self.none_elected(405, NO_METHOD),
            Election::BadRequest => return Flowing::On,
        };
        self.elected = Some(index);
        let methods = resources.get(index).map(|resource| resource.methods);
        let preflight = self.method == "OPTIONS";
        if preflight && methods.is_some_and(|methods| methods.contains("OPTIONS")) {
            // The back end has its own idea of it.
            return Flowing::On;
        }
        let headers = &self.message.headers;
        self.cors_noted = Some(Noted {
            handler: at,
            origin: headers.get(ORIGIN).cloned(),
            asked_headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
        });
        if preflight {
            self.axis2.set("HTTP_SC", "200");
            self.message.set_body(Body::Empty, None);
            self.enter_answer();
            return self.add_cors_headers(cors);
        }
        if cors.inline {
            return self.add_cors_headers(cors);
        }
        Flowing::On
    }

    /// `_resource_mismatch_handler_`, which is `fault` where the artifact has no other.
    fn none_elected(&mut self, status: u16, message: &str) -> Flowing {
        for (name, value) in [
            ("CUSTOM_HTTP_SC", status.to_string()),
            ("ERROR_CODE", status.to_string()),
            ("ERROR_MESSAGE", message.to_owned()),
        ] {
            self.default.set(name, value);
        }
        self.axis2.set("HTTP_SC", status.to_string());
        self.message.set_body(Body::Empty, None);
        self.answer_after("_resource_mismatch_handler_")
    }

    /// The properties that `_cors_request_handler_` turns into headers (`setCORSHeaders`).
    pub(super) fn cors_property(&self, name: &str) -> Option<Cow<'_, str>> {
        let noted = self.cors_noted.as_ref()?;
        let api = self.plan.apis.get(self.api)?;
        let Some(Handler::Cors(cors)) = api.handlers.get(noted.handler) else {
            return None;
        };
        let settings = &self.environment.settings.cors;
        Some(match name {
            "CORSConfiguration.Enabled" => if settings.enable { "true" } else { "false" }.into(),
            "Access-Control-Allow-Origin" => allowed_origin(cors, settings, noted)?.into(),
            "Access-Control-Allow-Methods" => {
                let allowed = cors.allowed_methods.as_ref();
                let allowed = allowed.unwrap_or(&settings.allow_methods);
                let elected = api.route.resources.get(self.elected?)?.methods;
                let methods: Vec<&str> = MethodSet::KNOWN
                    .into_iter()
                    .filter(|method| elected.contains(method))
                    .filter(|method| allowed.iter().any(|allowed| allowed == method))
                    .collect();
                methods.join(",").into()
            }
            "Access-Control-Allow-Headers" => allowed_headers(cors, settings, noted).into(),
            "Access-Control-Expose-Headers" => match settings.expose_headers.join(",") {
                none if none.is_empty() => return None,
                headers => headers.into(),
            },
            "Access-Control-Allow-Credentials" => {
                let allowed = cors.allow_credentials.unwrap_or(settings.allow_credentials);
                let one = allowed_origin(cors, settings, noted).is_some_and(|it| it != "*");
                (allowed && one).then_some("true")?.into()
            }
            _ => return None,
        })
    }

    /// `_cors_request_handler_`: the artifact's, or what the gateway's does.
    pub(super) fn add_cors_headers(&mut self, cors: &Cors) -> Flowing {
        match cors.sequence {
            Some(index) => self.enter_reference(&SequenceRef::Own(index)),
            None => {
                self.put_cors_headers();
                Flowing::On
            }
        }
    }

    /// What the gateway's `_cors_request_handler_` does.
    pub(super) fn put_cors_headers(&mut self) {
        if self.default_text("CORSConfiguration.Enabled").as_deref() != Some("true") {
            return;
        }
        // Caches must not give one origin the answer to another.
        if self.origin_matters() {
            let origin = HeaderValue::from_static("Origin");
            self.message.headers.append(VARY, origin);
            self.own(VARY);
        }
        let preflight = self.method == "OPTIONS";
        for (name, property, of_preflights) in HEADERS {
            if of_preflights && !preflight || self.message.headers.contains_key(&name) {
                continue;
            }
            let value = match self.default_text(property).as_deref() {
                None => continue,
                Some("*") => HeaderValue::from_static("*"),
                Some(text) => match HeaderValue::try_from(text) {
                    Ok(value) => value,
                    Err(_) => continue,
                },
            };
            let allowed = self.message.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            if name == ACCESS_CONTROL_ALLOW_CREDENTIALS && allowed.is_some_and(|it| it == "*") {
                continue;
            }
            self.message.headers.insert(name.clone(), value);
            self.own(name);
        }
    }

    /// Whether another origin may get another answer.
    fn origin_matters(&self) -> bool {
        let handler = self.cors_noted.as_ref().map(|noted| noted.handler);
        let api = self.plan.apis.get(self.api);
        let handler = handler.and_then(|at| api?.handlers.get(at));
        let Some(Handler::Cors(cors)) = handler else {
            return false;
        };
        let origins = cors.allowed_origins.as_ref();
        let origins = origins.unwrap_or(&self.environment.settings.cors.allow_origins);
        !origins.iter().any(|allowed| allowed == "*")
    }

    /// Of a request's headers, only these travel back; of a response's, all do.
    fn own(&mut self, name: HeaderName) {
        if !self.message.from_back_end {
            self.message.own_headers.insert(name);
        }
    }
}

/// Each with the property that it is noted under, and whether only preflights get it.
const HEADERS: [(HeaderName, &str, bool); 5] = [
    (
        ACCESS_CONTROL_ALLOW_ORIGIN,
        "Access-Control-Allow-Origin",
        false,
    ),
    (
        ACCESS_CONTROL_ALLOW_METHODS,
        "Access-Control-Allow-Methods",
        true,
    ),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        "Access-Control-Allow-Headers",
        true,
    ),
    (
        ACCESS_CONTROL_EXPOSE_HEADERS,
        "Access-Control-Expose-Headers",
        true,
    ),
    (
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        "Access-Control-Allow-Credentials",
        false,
    ),
];

/// Takes out what depends on who has asked.
pub(super) fn strip_cors_headers(headers: &mut HeaderMap) {
    for (name, ..) in HEADERS {
        headers.remove(name);
    }
}

fn allowed_origin<'a>(cors: &Cors, settings: &CorsSettings, noted: &'a Noted) -> Option<&'a str> {
    let origins = cors.allowed_origins.as_ref();
    let origins = origins.unwrap_or(&settings.allow_origins);
    if origins.iter().any(|allowed| allowed == "*") {
        return Some("*");
    }
    let origin = noted.origin.as_ref()?.to_str().ok()?;
    origins
        .iter()
        .any(|allowed| allowed == origin)
        .then_some(origin)
}

fn allowed_headers(cors: &Cors, settings: &CorsSettings, noted: &Noted) -> String {
    let mut headers = match &cors.allow_headers {
        Some(headers) => headers.clone(),
        None => settings.allow_headers.join(","),
    };
    if headers == "*" {
        let asked = noted.asked_headers.as_ref();
        let asked = asked.and_then(|asked| asked.to_str().ok());
        headers = asked.unwrap_or_default().to_owned();
    }
    if !headers.is_empty() {
        headers.push(',');
    }
    headers.push_str(
        cors.authorization_header
            .as_deref()
            .unwrap_or("Authorization"),
    );
    headers
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
