//! CORSRequestHandler of API Manager: the elected resource, preflights, and the headers that let
//! scripts of other origins read an answer.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::exchange::{Body, Exchange};
use super::run::Flowing;
use crate::dispatch::{Election, MethodSet, elect_resource};
use crate::plan::{Cors, SequenceRef};

/// What the client is told when no resource is elected.
const NO_RESOURCE: &str = "No matching resource found for given API Request";
const NO_METHOD: &str = "Method not allowed for given API resource";

impl Exchange {
    /// Elects the resource that the handlers behind go by; answers where there is none, and
    /// preflights that the back end does not want to answer itself.
    pub(super) fn elect(&mut self, cors: &Cors) -> Flowing {
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(api) = plan.apis.get(self.api) else {
            return Flowing::On;
        };
        let asked = self.message.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let asked = asked.and_then(|method| method.to_str().ok());
        let resources = &api.route.resources;
        let election = elect_resource(resources, &self.method, asked, &self.sub_path);
        let index = match election {
            Election::Resource(index) => index,
            Election::NotFound => return self.none_elected(404, NO_RESOURCE),
            Election::MethodNotAllowed => return self.none_elected(405, NO_METHOD),
            Election::BadRequest => return Flowing::On,
        };
        self.elected = Some(index);
        let methods = resources.get(index).map(|resource| resource.methods);
        let methods = methods.unwrap_or_default();
        if let Some(resource) = api.resources.get(index) {
            let pattern = resource.pattern.clone();
            self.default.insert("API_ELECTED_RESOURCE".into(), pattern);
        }
        let preflight = self.method == "OPTIONS";
        if preflight && methods.contains("OPTIONS") {
            // The back end has its own idea of it.
            return Flowing::On;
        }
        self.note_cors(cors, methods);
        if preflight {
            self.axis2.insert("HTTP_SC".into(), "200".into());
            self.message.set_body(Body::Empty, None);
            return self.answer_after_cors(cors);
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
            self.default.insert(name.to_owned(), value);
        }
        self.axis2.insert("HTTP_SC".into(), status.to_string());
        self.message.set_body(Body::Empty, None);
        self.answer_after("_resource_mismatch_handler_")
    }

    fn answer_after_cors(&mut self, cors: &Cors) -> Flowing {
        self.enter_answer();
        self.add_cors_headers(cors)
    }

    /// The properties that `_cors_request_handler_` turns into headers (`setCORSHeaders`).
    fn note_cors(&mut self, cors: &Cors, methods: MethodSet) {
        let settings = std::sync::Arc::clone(&self.environment.settings);
        let settings = &settings.cors;
        let origin = text(&self.message.headers, &ORIGIN);
        let origins = cors.allowed_origins.as_ref();
        let origins = origins.unwrap_or(&settings.allow_origins);
        let allowed_origin = match origin {
            _ if origins.iter().any(|allowed| allowed == "*") => Some("*"),
            Some(origin) if origins.iter().any(|allowed| allowed == origin) => Some(origin),
            _ => None,
        };
        let allowed_methods = cors.allowed_methods.as_ref();
        let allowed_methods = allowed_methods.unwrap_or(&settings.allow_methods);
        let allowed_methods: Vec<&str> = MethodSet::KNOWN
            .into_iter()
            .filter(|method| methods.contains(method))
            .filter(|method| allowed_methods.iter().any(|allowed| allowed == method))
            .collect();
        let mut allowed_headers = match &cors.allow_headers {
            Some(headers) => headers.clone(),
            None => settings.allow_headers.join(","),
        };
        if allowed_headers == "*" {
            let asked = text(&self.message.headers, &ACCESS_CONTROL_REQUEST_HEADERS);
            allowed_headers = asked.unwrap_or_default().to_owned();
        }
        let authorization = cors.authorization_header.as_deref();
        let authorization = authorization.unwrap_or("Authorization");
        if !allowed_headers.is_empty() {
            allowed_headers.push(',');
        }
        allowed_headers.push_str(authorization);
        let credentials = cors.allow_credentials.unwrap_or(settings.allow_credentials)
            && allowed_origin.is_some_and(|origin| origin != "*");
        let noted = [
            (
                "CORSConfiguration.Enabled",
                Some(settings.enable.to_string()),
            ),
            (
                "Access-Control-Allow-Origin",
                allowed_origin.map(str::to_owned),
            ),
            (
                "Access-Control-Allow-Methods",
                Some(allowed_methods.join(",")),
            ),
            ("Access-Control-Allow-Headers", Some(allowed_headers)),
            (
                "Access-Control-Expose-Headers",
                Some(settings.expose_headers.join(",")).filter(|list| !list.is_empty()),
            ),
            (
                "Access-Control-Allow-Credentials",
                credentials.then(|| "true".to_owned()),
            ),
        ];
        for (name, value) in noted {
            if let Some(value) = value {
                self.default.insert(name.to_owned(), value);
            }
        }
    }

    /// `_cors_request_handler_`: the artifact's, or what the gateway's does.
    pub(super) fn add_cors_headers(&mut self, cors: &Cors) -> Flowing {
        if let Some(index) = cors.sequence {
            return self.enter_reference(&SequenceRef::Own(index));
        }
        if self
            .default
            .get("CORSConfiguration.Enabled")
            .map(String::as_str)
            != Some("true")
        {
            return Flowing::On;
        }
        let preflight = self.method == "OPTIONS";
        for (name, of_preflights) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, false),
            (ACCESS_CONTROL_ALLOW_METHODS, true),
            (ACCESS_CONTROL_ALLOW_HEADERS, true),
            (ACCESS_CONTROL_EXPOSE_HEADERS, true),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, false),
        ] {
            if of_preflights && !preflight || self.message.headers.contains_key(&name) {
                continue;
            }
            let noted = self.default.get(property_of(&name));
            let Some(value) = noted.and_then(|value| HeaderValue::try_from(value).ok()) else {
                continue;
            };
            // Caches must not give one origin the answer to another.
            if name == ACCESS_CONTROL_ALLOW_ORIGIN && value != "*" {
                self.message
                    .headers
                    .append(VARY, HeaderValue::from_static("Origin"));
                self.message.own_headers.insert(VARY);
            }
            self.message.headers.insert(name.clone(), value);
            self.message.own_headers.insert(name);
        }
        Flowing::On
    }
}

/// The property that a header's value is noted under.
fn property_of(name: &HeaderName) -> &'static str {
    match *name {
        ACCESS_CONTROL_ALLOW_ORIGIN => "Access-Control-Allow-Origin",
        ACCESS_CONTROL_ALLOW_METHODS => "Access-Control-Allow-Methods",
        ACCESS_CONTROL_ALLOW_HEADERS => "Access-Control-Allow-Headers",
        ACCESS_CONTROL_EXPOSE_HEADERS => "Access-Control-Expose-Headers",
        _ => "Access-Control-Allow-Credentials",
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
