//! Questions that are not the engine's to answer: who may use an API, and how much of it.
//! Sources: APIAuthenticationHandler, ThrottleHandler of API Manager.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};

use super::answers::error_body;
use super::exchange::{Body, Exchange, Step};
use super::run::Flowing;
use super::settings::Security;
use super::token::secret_value;
use crate::expression::Scope;
use crate::plan::{Authenticator, Handler, KeyType};

/// What [`Step::Ask`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this client use the resource?
    Credentials,
    /// May it do so once more?
    Quota,
}

/// The request that a question is about.
#[derive(Debug)]
pub struct Asked<'e> {
    /// The name of the API in Synapse.
    pub api: &'e str,
    /// Empty without a version strategy.
    pub version: &'e str,
    pub context: &'e str,
    /// The pattern of the resource that security and quotas go by; empty where none fits.
    pub resource: &'e str,
    pub method: &'e str,
    /// APISecurity: `oauth2`, `api_key`, `basic_auth`, `mutualssl` and which of them must be.
    pub schemes: &'e [String],
    /// Where the token stands.
    pub authorization_header: &'e str,
    pub api_key_header: &'e str,
    pub headers: &'e HeaderMap,
}

/// Who is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub key_type: KeyType,
    /// Set in the default scope: APPLICATION_NAME and the like.
    pub properties: Vec<(String, String)>,
}

/// Who is not, and what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// API Manager's error code, 9009xx for credentials and 9008xx for quotas.
    pub code: u32,
    pub message: String,
    pub description: String,
    /// WWW-Authenticate.
    pub challenge: Option<String>,
}

impl Exchange {
    /// What is asked while [`Step::Ask`] stands.
    #[must_use]
    pub fn asked(&self) -> Option<Asked<'_>> {
        let api = self.plan.apis.get(self.api)?;
        let authentication = authenticator(&api.handlers);
        let header = |name: fn(&Authenticator) -> &Option<String>, otherwise| {
            authentication
                .and_then(|it| name(it).as_deref())
                .unwrap_or(otherwise)
        };
        Some(Asked {
            api: api.route.name(),
            version: api.route.version().version().unwrap_or_default(),
            context: api.route.context(),
            resource: self
                .elected()
                .and_then(|resource| api.resources.get(resource))
                .map_or("", |resource| &resource.pattern),
            method: &self.method,
            schemes: authentication.map_or(&[], |it| &it.schemes),
            authorization_header: header(|it| &it.authorization_header, "Authorization"),
            api_key_header: header(|it| &it.api_key_header, "ApiKey"),
            headers: &self.message.headers,
        })
    }

    /// Goes on with the answer to what [`Step::Ask`] asked.
    #[must_use]
    pub fn answered(&mut self, question: Question, answer: Result<Admitted, Refused>) -> Step {
        let flowing = match answer {
            Ok(admitted) => {
                self.admit(question, admitted);
                Flowing::On
            }
            Err(refused) => self.refuse(question, refused),
        };
        self.go_on(flowing)
    }

    /// APIAuthenticationHandler: nobody is asked while security is off, and nobody for an open
    /// operation.
    pub(super) fn authenticate(&mut self, authenticator: &Authenticator) -> Flowing {
        let is_open = |resource: usize| {
            let plan = self.plan.apis.get(self.api);
            plan.and_then(|api| api.resources.get(resource))
                .is_some_and(|resource| resource.open.contains(&self.method))
        };
        // The resource that is elected and the one that mediates can be two.
        let open = self.elected().is_some_and(is_open) && self.found().is_none_or(is_open);
        match self.environment.settings.security {
            Security::Enforce if !open => Flowing::Done(Step::Ask(Question::Credentials)),
            Security::Enforce | Security::Off => {
                authenticator.remove_credentials(&mut self.message.headers);
                Flowing::On
            }
        }
    }

    /// ThrottleHandler: there are no quotas where nobody is known.
    pub(super) fn throttle(&mut self) -> Flowing {
        match self.environment.settings.security {
            Security::Enforce => Flowing::Done(Step::Ask(Question::Quota)),
            Security::Off => Flowing::On,
        }
    }

    /// A quota says nothing about who it is.
    fn admit(&mut self, question: Question, admitted: Admitted) {
        if question == Question::Credentials {
            self.key_type = admitted.key_type;
            let api = self.plan.apis.get(self.api);
            if let Some(authenticator) = api.and_then(|api| authenticator(&api.handlers)) {
                authenticator.remove_credentials(&mut self.message.headers);
            }
        }
        for (name, value) in admitted.properties {
            self.default.set(name, value);
        }
    }

    /// `_auth_failure_handler_` or `_throttle_out_handler_`, then the client is told.
    fn refuse(&mut self, question: Question, refused: Refused) -> Flowing {
        let status = refused.status.to_string();
        for (name, value) in [
            ("ERROR_CODE", refused.code.to_string()),
            ("ERROR_MESSAGE", refused.message.clone()),
            ("ERROR_DETAIL", refused.description.clone()),
            ("HTTP_RESPONSE_STATUS_CODE", status.clone()),
        ] {
            self.default.set(name, value);
        }
        self.axis2.set("HTTP_SC", status);
        let body = error_body(refused.code, &refused.message, &refused.description);
        self.announce("application/json");
        self.message
            .set_body(Body::Bytes(body), Some("application/json".into()));
        if let Some(challenge) = &refused.challenge {
            self.set_property(
                Scope::Transport,
                WWW_AUTHENTICATE.as_str(),
                Some(challenge.clone()),
            );
        }
        self.answer_after(match question {
            Question::Credentials => "_auth_failure_handler_",
            Question::Quota => "_throttle_out_handler_",
        })
    }
}

/// The handler that asks for credentials.
fn authenticator(handlers: &[Handler]) -> Option<&Authenticator> {
    handlers.iter().find_map(|handler| match handler {
        Handler::Authentication(authenticator) => Some(authenticator),
        _ => None,
    })
}

impl Authenticator {
    /// Takes the credentials that were meant for the gateway out of a request that is let through
    /// (OAuthAuthenticator, BasicAuthAuthenticator). Others in the same header stay.
    fn remove_credentials(&self, headers: &mut HeaderMap) {
        if !self.removes_credentials {
            return;
        }
        let own;
        let name = match &self.authorization_header {
            None => &AUTHORIZATION,
            Some(name) => match HeaderName::try_from(name) {
                Ok(name) => {
                    own = name;
                    &own
                }
                Err(_) => return,
            },
        };
        if !headers.contains_key(name) {
            return;
        }
        let lists = |scheme: &str| self.schemes.iter().any(|own| own == scheme);
        let (oauth, basic) = (
            self.schemes.is_empty() || lists("oauth2"),
            lists("basic_auth"),
        );
        let is_own = |part: &str| {
            let scheme = part.split_ascii_whitespace().next().unwrap_or_default();
            oauth && scheme.eq_ignore_ascii_case("Bearer")
                || basic && scheme.eq_ignore_ascii_case("Basic")
        };
        let mut others = Vec::new();
        for value in headers.get_all(name) {
            // What is no text holds nothing that the gateway has looked at.
            let Ok(text) = value.to_str() else {
                others.push(value.clone());
                continue;
            };
            let parts = text.split(',');
            if !parts.clone().any(is_own) {
                others.push(value.clone());
                continue;
            }
            let left: Vec<&str> = parts.filter(|part| !is_own(part)).collect();
            let left = left.join(",");
            if let Some(left) = secret_value(left.trim()).filter(|left| !left.is_empty()) {
                others.push(left);
            }
        }
        headers.remove(name);
        for value in others {
            headers.append(name, value);
        }
    }
}
