//! Back ends that want credentials: Basic ones, and tokens, which the data plane gets.
//!
//!     Step::Token ──▶ (the owner's turn) ──▶ token_call ──▶ (the call) ──▶ token_came ──▶ token_call …
//!        └─ when there is nothing more to call ──▶ with_token ──▶ Step…
//!
//! Sources: OAuthConfiguredHTTPEndpoint, OAuthHandler, OAuthClient of Synapse; OAuthMediator and
//! OAuthResponseMediator of API Manager.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::endpoint::Sending;
use super::exchange::{BackendCall, Body, Exchange, Fault, Step};
use super::run::Flowing;
use crate::endpoint::{Ask, TokenOwner, lock};
use crate::plan::{Grant, Oauth, Operand, Secret};

/// What no form body holds. Anything else goes as it is written, for the original encodes nothing,
/// and artifacts hold values that are encoded already.
const FORM: &AsciiSet = &CONTROLS.add(b' ');

/// A token that is being waited for.
pub(super) struct Awaiting {
    wanted: Wanted,
    /// Answers there were when the waiting began.
    since: u64,
    refreshing: bool,
    result: Option<Result<String, String>>,
    goes_on: GoesOn,
}

/// The request for a token.
struct Wanted {
    owner: TokenOwner,
    url: String,
    headers: HeaderMap,
    grant: String,
    /// Behind the grant: the client's credentials, and other parameters.
    rest: String,
    oauth_user: String,
    timeout: Option<std::time::Duration>,
}

/// What the token is for.
pub(super) enum GoesOn {
    Send(Box<Sending>),
    /// The header of the message, and the next mediator.
    Header,
}

/// A token that is in use.
#[derive(Clone)]
pub(super) struct InUse {
    pub(super) owner: TokenOwner,
    pub(super) token: String,
}

impl std::fmt::Debug for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InUse")
    }
}

impl Exchange {
    /// Goes on with a token at once, or asks for one.
    pub(super) fn want_token(&mut self, oauth: &Oauth, goes_on: GoesOn) -> Flowing {
        let wanted = match self.wanted(oauth) {
            Ok(wanted) => wanted,
            Err(fault) => return Flowing::Failed(fault),
        };
        let plan = Arc::clone(&self.plan);
        let tokens = lock(plan.tokens.get());
        if let Some(token) = tokens.valid(&wanted.owner, self.environment.now) {
            drop(tokens);
            let owner = wanted.owner;
            return self.use_token(InUse { owner, token }, goes_on);
        }
        let owner = wanted.owner.clone();
        self.awaiting = Some(Awaiting {
            since: tokens.answers(&owner),
            wanted,
            refreshing: false,
            result: None,
            goes_on,
        });
        Flowing::Done(Step::Token(owner))
    }

    /// What to call now that it is this exchange's turn. `None`: nothing (more); then
    /// [`Exchange::with_token`] goes on.
    pub fn token_call(&mut self, now: i64) -> Option<BackendCall> {
        let plan = Arc::clone(&self.plan);
        let awaiting = self.awaiting.as_mut()?;
        if awaiting.result.is_some() {
            return None;
        }
        let asked = lock(plan.tokens.get()).ask(&awaiting.wanted.owner, awaiting.since, now);
        let mut body = match asked {
            Ask::Have(token) => {
                awaiting.result = Some(Ok(token));
                return None;
            }
            Ask::Failed(why) => {
                awaiting.result = Some(Err(why));
                return None;
            }
            Ask::Refresh(token) => {
                awaiting.refreshing = true;
                format!("grant_type=refresh_token&refresh_token={}", form(&token))
            }
            Ask::Grant => {
                awaiting.refreshing = false;
                awaiting.wanted.grant.clone()
            }
        };
        self.calls += 1;
        body.push_str(&awaiting.wanted.rest);
        Some(BackendCall {
            method: "POST".to_owned(),
            url: awaiting.wanted.url.clone(),
            headers: awaiting.wanted.headers.clone(),
            body: Body::Bytes(Bytes::from(body)),
            timeout: awaiting.wanted.timeout,
            endpoint: awaiting.wanted.oauth_user.clone(),
            host: None,
            may_repeat: false,
            // It is rare, and may not be made twice when a kept connection turns out to be closed.
            fresh: true,
        })
    }

    /// Takes note of what the token endpoint answered: status and body.
    pub fn token_came(&mut self, answer: Result<(u16, Bytes), Fault>, now: i64) {
        let plan = Arc::clone(&self.plan);
        let Some(awaiting) = self.awaiting.as_mut() else {
            return;
        };
        let owner = &awaiting.wanted.owner;
        let mut tokens = lock(plan.tokens.get());
        match &answer {
            Ok((status, body)) => tokens.answered(owner, Ok((*status, body)), now),
            Err(fault) => tokens.answered(owner, Err(&fault.message), now),
        }
        awaiting.since = tokens.answers(owner);
        awaiting.result = match tokens.last(owner) {
            Ok(token) => Some(Ok(token)),
            // The grant itself may still do.
            Err(_) if awaiting.refreshing => None,
            Err(why) => Some(Err(why)),
        };
    }

    /// Goes on with the token, or with the fault that there is none.
    #[must_use]
    pub fn with_token(&mut self, now: i64) -> Step {
        self.environment.now = now;
        let Some(awaiting) = self.awaiting.take() else {
            return self.go_on(Flowing::On);
        };
        let flowing = match awaiting.result {
            Some(Ok(token)) => {
                let owner = awaiting.wanted.owner;
                self.use_token(InUse { owner, token }, awaiting.goes_on)
            }
            result => {
                let why = result.and_then(Result::err).unwrap_or_default();
                Flowing::Failed(no_token(&awaiting.wanted.oauth_user, &why))
            }
        };
        self.go_on(flowing)
    }

    fn use_token(&mut self, token: InUse, goes_on: GoesOn) -> Flowing {
        match goes_on {
            GoesOn::Send(mut sending) => {
                sending.token = Some(token);
                self.call_chosen(*sending)
            }
            GoesOn::Header => {
                let Some(value) = secret_value(&format!("Bearer {}", token.token)) else {
                    let message = "the access token is none that a header can hold";
                    return Flowing::Failed(Fault::new(0, message));
                };
                self.message.own_headers.remove(&AUTHORIZATION);
                self.message.headers.insert(AUTHORIZATION, value);
                self.token = Some(token);
                Flowing::On
            }
        }
    }

    /// The back end's status 401 for a call with a token: the token goes, and the call is made
    /// once more with another one, if the request is left.
    pub(super) fn renew(&mut self, request_left: bool) -> Option<Step> {
        let sending = self.sending.as_ref()?;
        let token = sending.token.as_ref().filter(|_| !sending.renewed)?;
        lock(self.plan.tokens.get()).rejected(&token.owner, &token.token);
        if !request_left {
            return None;
        }
        let mut sending = self.sending.take()?;
        sending.renewed = true;
        sending.token = None;
        let flowing = self.call_again(sending);
        Some(self.go_on(flowing))
    }

    /// OAuthResponseMediator: with status 401 of the back end, the token goes, and the client is
    /// to come again.
    pub(super) fn token_response(&mut self) -> Flowing {
        if self.axis2_text("HTTP_SC").as_deref() != Some("401") {
            return Flowing::On;
        }
        if let Some(token) = self.token.take() {
            lock(self.plan.tokens.get()).rejected(&token.owner, &token.token);
        }
        Flowing::Failed(Fault {
            code: GENERAL_ERROR,
            message: "The back end has not taken the OAuth 2.0 access token".to_owned(),
            detail: "Please try again".to_owned(),
        })
    }

    /// The value of the Authorization header for Basic credentials (RFC 7617).
    pub(super) fn basic(&self, username: &Secret, password: &Secret) -> Result<HeaderValue, Fault> {
        let pair = format!(
            "{}:{}",
            self.reveal(&username.0)?,
            self.reveal(&password.0)?
        );
        secret_value(&format!("Basic {}", STANDARD.encode(pair)))
            .ok_or_else(|| Fault::new(0, "the credentials of the endpoint are too long"))
    }

    fn wanted(&self, oauth: &Oauth) -> Result<Wanted, Fault> {
        let url = self.reveal(&oauth.token_url)?;
        let client_id = self.reveal(&oauth.client_id.0)?;
        let client_secret = self.reveal(&oauth.client_secret.0)?;
        let grant = match &oauth.grant {
            Grant::ClientCredentials => "grant_type=client_credentials".to_owned(),
            Grant::Password { username, password } => format!(
                "grant_type=password&username={}&password={}",
                form(&self.reveal(&username.0)?),
                form(&self.reveal(&password.0)?)
            ),
            Grant::RefreshToken(token) => format!(
                "grant_type=refresh_token&refresh_token={}",
                form(&self.reveal(&token.0)?)
            ),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &oauth.headers {
            let value = secret_value(&self.reveal(&value.0)?);
            if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
                headers.insert(name, value);
            }
        }
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.entry(CONTENT_TYPE).or_insert(form_type);
        let mode = match &oauth.mode {
            Some(mode) => self.reveal(mode)?,
            None => String::new(),
        };
        let mut rest = String::new();
        if mode.eq_ignore_ascii_case("payload") {
            let (id, secret) = (form(&client_id), form(&client_secret));
            rest.push_str(&format!("&client_id={id}&client_secret={secret}"));
        } else {
            let pair = STANDARD.encode(format!("{client_id}:{client_secret}"));
            if let Some(value) = secret_value(&format!("Basic {pair}")) {
                headers.insert(AUTHORIZATION, value);
            }
        }
        for (name, value) in &oauth.parameters {
            let value = self.reveal(&value.0)?;
            rest.push_str(&format!("&{}={}", form(name), form(&value)));
        }
        let mut told = format!("{url}\n{grant}{rest}\n");
        for (name, value) in &headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            told.push_str(&format!("{name}: {value}\n"));
        }
        Ok(Wanted {
            owner: TokenOwner(told),
            url,
            headers,
            grant,
            rest,
            oauth_user: oauth.user.clone(),
            timeout: oauth.timeout,
        })
    }

    pub(super) fn reveal(&self, operand: &Operand) -> Result<String, Fault> {
        let text = self.operand(operand);
        match (self.unevaluated.take(), text) {
            (None, Some(text)) => Ok(text),
            _ => Err(Fault::new(
                0,
                "a credential of the back end could not be computed",
            )),
        }
    }
}

/// `API_AUTH_GENERAL_ERROR` of API Manager.
const GENERAL_ERROR: u32 = 900_900;

fn no_token(user: &str, why: &str) -> Fault {
    Fault {
        code: 0,
        message: format!("Could not generate access token for {user}"),
        detail: why.to_owned(),
    }
}

fn form(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// A header value that is not shown.
pub(super) fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
