//! The properties of an exchange: what something has set, and behind it what the engine knows
//! without storing it. A plain request sets two or three of its twenty.

use std::borrow::Cow;

use hashbrown::HashMap;
use http::header::CONTENT_TYPE;

use super::exchange::Exchange;
use crate::dispatch::VersionStrategy;

/// What has been set or removed in one scope.
#[derive(Debug, Default)]
pub(super) struct Properties(HashMap<Cow<'static, str>, Option<String>>);

impl Properties {
    pub(super) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.insert(name.into(), Some(value.into()));
    }

    /// What the engine knows under the name is gone, too.
    pub(super) fn remove(&mut self, name: impl Into<Cow<'static, str>>) {
        self.0.insert(name.into(), None);
    }

    /// The engine knows it again, if it does.
    pub(super) fn forget(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.remove(name);
        }
    }

    /// `Some(None)`: it has been removed.
    fn get(&self, name: &str) -> Option<Option<&str>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(name).map(Option::as_deref)
    }

    /// As of a new message.
    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }

    fn has(&self, wanted: impl Fn(&str) -> bool) -> bool {
        let mut set = self.0.iter().filter(|(_, value)| value.is_some());
        set.any(|(name, _)| wanted(name))
    }
}

impl Exchange {
    /// A property of the default scope, without the built-in names of `get-property`.
    pub(super) fn default_text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.default.get(name) {
            Some(set) => set.map(Cow::Borrowed),
            None => self.known(name),
        }
    }

    /// What something has set in the axis2 scope, without what the engine knows of the message.
    pub(super) fn axis2_set(&self, name: &str) -> Option<&str> {
        self.axis2.get(name).flatten()
    }

    /// A property of the axis2 scope.
    pub(super) fn axis2_text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.axis2.get(name) {
            Some(set) => set.map(Cow::Borrowed),
            None => self.axis2_known(name),
        }
    }

    /// What the transport leaves in the axis2 scope: of a request, or of a response, whose scope is
    /// a new one (`ServerWorker`, `ClientWorker`).
    fn axis2_known(&self, name: &str) -> Option<Cow<'_, str>> {
        let of_request = !self.message.from_back_end;
        match name {
            "HTTP_METHOD" => of_request.then(|| Cow::Borrowed(&*self.method)),
            "REST_URL_POSTFIX" => of_request.then(|| Cow::Borrowed(self.rest_url_postfix())),
            "HTTP_SC" => self.response_status.map(|status| status.to_string().into()),
            "messageType" => {
                let media = self.came_as()?.split(';').next().unwrap_or_default();
                Some(media.trim().into())
            }
            "ContentType" => self.came_as().map(Cow::Borrowed),
            "TransportInURL" => of_request.then(|| Cow::Borrowed(&*self.target)),
            "REMOTE_ADDR" | "REMOTE_HOST" => {
                let remote = self.remote.filter(|_| of_request)?;
                Some(remote.to_string().into())
            }
            "NO_ENTITY_BODY" => (of_request && !self.has_body).then_some("true".into()),
            _ => None,
        }
    }

    /// The content type that the message came with.
    fn came_as(&self) -> Option<&str> {
        let header = match self.message.from_back_end {
            true => {
                let header = self.message.headers.get(CONTENT_TYPE)?;
                header.to_str().ok()?
            }
            false => &self.content_type,
        };
        (!header.is_empty()).then_some(header)
    }

    /// HTTP_SC as a status that HTTP has.
    pub(super) fn status(&self) -> Option<u16> {
        let status = match self.axis2.get("HTTP_SC") {
            Some(set) => set?.trim().parse().ok(),
            None => self.response_status,
        };
        status.filter(|status| (200..=999).contains(status))
    }

    /// Whether there are variables of a URI template or query parameters.
    pub(super) fn has_variables(&self) -> bool {
        let is_variable =
            |name: &str| name.starts_with("uri.var.") || name.starts_with("query.param.");
        self.default.has(is_variable)
            || self
                .known_names()
                .any(|name| self.default.get(&name).is_none())
    }

    fn known_names(&self) -> impl Iterator<Item = String> {
        let variables = self
            .variables
            .iter()
            .map(|(name, _)| format!("uri.var.{name}"));
        let query = self
            .query
            .iter()
            .map(|(name, _)| format!("query.param.{name}"));
        variables.chain(query)
    }

    /// Path and query after the context.
    pub(super) fn rest_url_postfix(&self) -> &str {
        self.target.get(self.postfix_at..).unwrap_or_default()
    }

    /// What handlers and dispatch of the original engine leave in the default scope (`API.process`,
    /// RESTConstants, the handlers of API Manager).
    fn known(&self, name: &str) -> Option<Cow<'_, str>> {
        let of = |pairs: &'_ [(String, String)], name: &str| {
            let found = pairs.iter().find(|(known, _)| known == name)?;
            Some(found.1.clone().into())
        };
        if let Some(name) = name.strip_prefix("uri.var.") {
            return of(&self.variables, name);
        }
        if let Some(name) = name.strip_prefix("query.param.") {
            return of(&self.query, name);
        }
        let route = &self.plan.apis.get(self.api)?.route;
        Some(match name {
            "SYNAPSE_REST_API" => route.runtime_key().into(),
            "SYNAPSE_REST_API_VERSION" => match route.version() {
                VersionStrategy::None => "".into(),
                VersionStrategy::Context(version) | VersionStrategy::Url(version) => {
                    version.as_str().into()
                }
            },
            "REST_API_CONTEXT" => match route.context() {
                "" => "/".into(),
                context => context.into(),
            },
            "REST_METHOD" => Cow::Borrowed(&self.method),
            "REST_URL_PREFIX" => {
                let host = self.host.as_ref().and_then(|host| host.to_str().ok());
                let scheme = if self.https { "https" } else { "http" };
                format!("{scheme}://{}", host.unwrap_or_default()).into()
            }
            "REST_FULL_REQUEST_PATH" => Cow::Borrowed(&*self.target),
            "REST_SUB_REQUEST_PATH" => self.sub_path().into(),
            "AM_KEY_TYPE" => self.key_type.as_str().into(),
            "API_ELECTED_RESOURCE" => {
                let index = self.elected.unwrap_or(self.resource);
                let resource = self.plan.apis.get(self.api)?.resources.get(index)?;
                resource.pattern.as_str().into()
            }
            _ => return self.cors_property(name),
        })
    }

    /// REST_SUB_REQUEST_PATH.
    pub(super) fn sub_path(&self) -> &str {
        match self.rest_url_postfix() {
            "" => "/",
            postfix => postfix,
        }
    }
}
