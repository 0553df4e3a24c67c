//! The HTTP client for our own interfaces.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::credentials::{Authorization, Credentials};
use crate::problem::Problem;
use crate::tls::{self, TlsError};

/// A connection is asked so often whether it still lives …
const ASKED: Duration = Duration::from_secs(10);
/// … and given up when it has not answered by then.
const ANSWERS: Duration = Duration::from_secs(10);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{file}: cannot be read: {reason}")]
    File { file: PathBuf, reason: String },
    #[error("the password or token cannot be sent: it has characters that no header can hold")]
    Credentials,
    #[error("HTTP client: {0}")]
    Build(#[from] reqwest::Error),
}

/// Whom a client trusts to vouch for a server.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The authorities in this PEM file, and nobody else.
    Only(PathBuf),
    /// The platform's roots and, if it is there, the authority in this PEM file.
    PlatformAnd(PathBuf),
}

impl Trust {
    /// The platform's roots and the development authority under `data_dir`.
    #[must_use]
    pub fn platform_and_development(data_dir: &Path) -> Self {
        Self::PlatformAnd(tls::development_ca(data_dir))
    }
}

/// A client for our own interfaces, which shows `credentials` with each request. Connecting is bounded; whole requests are bounded by the
/// caller, because a watch stream stays open. A connection that something in between has forgotten is
/// given up, or all further requests would be sent on it. No proxy, no redirects: our interfaces know
/// neither.
pub fn client(trust: &Trust, credentials: &Credentials) -> Result<reqwest::Client, ClientError> {
    tls::install_provider();
    let builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(ASKED)
        .http2_keep_alive_timeout(ANSWERS)
        .http2_keep_alive_while_idle(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")));
    let builder = match trust {
        Trust::Only(file) => builder.tls_certs_only(certificates(file)?),
        Trust::PlatformAnd(file) if file.exists() => builder.tls_certs_merge(certificates(file)?),
        Trust::PlatformAnd(_) => builder,
    };
    let builder = match &credentials.authorization {
        None => builder,
        Some(authorization) => builder.default_headers(headers(authorization)?),
    };
    let builder = match &credentials.certificate {
        None => builder,
        Some((certificate, key)) => {
            let mut pem = read(certificate)?;
            pem.extend(b"\n");
            pem.extend(read(key)?);
            builder.identity(reqwest::Identity::from_pem(&pem)?)
        }
    };
    Ok(builder.build()?)
}

fn headers(authorization: &Authorization) -> Result<HeaderMap, ClientError> {
    let text = match authorization {
        Authorization::Basic { name, password } => {
            let pair = format!("{name}:{}", password.expose());
            format!("Basic {}", STANDARD.encode(pair))
        }
        Authorization::Bearer(token) => format!("Bearer {}", token.expose()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Credentials)?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(file).map_err(|error| ClientError::File {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}

fn certificates(file: &Path) -> Result<Vec<reqwest::Certificate>, ClientError> {
    let mut certificates = Vec::new();
    for der in tls::certificates(file)? {
        certificates.push(reqwest::Certificate::from_der(&der)?);
    }
    Ok(certificates)
}

/// What a failed answer says: the problem's detail, else status and the start of the body.
pub async fn failure(answer: reqwest::Response) -> String {
    refused(answer).await.1
}

/// The code of a failed answer's problem, if it is one, and what [`failure`] says of it.
pub async fn refused(answer: reqwest::Response) -> (Option<String>, String) {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => {
            let said = format!("{} ({})", problem.detail, problem.code);
            (Some(problem.code), said)
        }
        Err(_) => {
            let start: String = text.chars().take(200).collect();
            (None, format!("status {status}: {start}"))
        }
    }
}

/// The innermost cause of a transport error, which is what people can act on.
#[must_use]
pub fn cause(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    source.to_string()
}
