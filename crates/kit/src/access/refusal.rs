//! Requests that are not let in: 401, 403 and 429.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError as _};

use super::role::{Role, either};
use crate::problem::Problem;

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody has said who is calling.
    NoCredentials,
    /// Who is calling has not been proved; what is wrong, the same for unknown names and wrong
    /// passwords.
    BadCredentials(&'static str),
    /// The caller has none of the roles.
    Forbidden { needs: Vec<Role> },
    /// Too many failures; wait so long.
    TooMany(Duration),
}

impl Refusal {
    /// For the audit log.
    pub fn reason(&self) -> String {
        self.problem().code
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials | Self::BadCredentials(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn problem(&self) -> Problem {
        let (code, detail) = match self {
            Self::NoCredentials => (
                "no-credentials",
                "say who you are: a user's name and password, a bearer token, or a client \
                 certificate"
                    .to_owned(),
            ),
            Self::BadCredentials(what) => ("bad-credentials", (*what).to_owned()),
            Self::Forbidden { needs } => (
                "role-missing",
                format!("this needs the role {}", either(needs)),
            ),
            Self::TooMany(wait) => (
                "too-many-failures",
                format!("too many failed logins; try again in {} s", seconds(*wait)),
            ),
        };
        Problem::new(self.status(), code, detail)
    }

    pub fn response(&self) -> HttpResponse {
        let mut answer = self.problem().error_response();
        let headers = answer.headers_mut();
        match self {
            Self::NoCredentials | Self::BadCredentials(_) => {
                for challenge in [
                    "Basic realm=\"lockstep\", charset=\"UTF-8\"",
                    "Bearer realm=\"lockstep\"",
                ] {
                    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                }
            }
            Self::TooMany(wait) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds(*wait)));
            }
            Self::Forbidden { .. } => {}
        }
        answer
    }
}

/// Whole seconds, rounded up, at least 1.
fn seconds(wait: Duration) -> u64 {
    let more = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + more).max(1)
}
