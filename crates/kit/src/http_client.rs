//! The HTTP client for our own interfaces.

use std::path::Path;
use std::time::Duration;

use crate::problem::Problem;
use crate::tls::{self, TlsError};

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("HTTP client: {0}")]
    Build(#[from] reqwest::Error),
}

/// A client that trusts the authority in `ca` (a PEM file), or the platform's roots without one.
/// Connecting is bounded; whole requests are bounded by the caller, because a watch stream stays
/// open. No proxy, no redirects: our own interfaces know neither.
pub fn client(ca: Option<&Path>) -> Result<reqwest::Client, ClientError> {
    tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = ca {
        let certificates = tls::certificates(file)?
            .iter()
            .map(|der| reqwest::Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()?;
        builder = builder.tls_certs_only(certificates);
    }
    Ok(builder.build()?)
}

/// What a failed answer says: the problem's detail, else status and the start of the body.
pub async fn failure(answer: reqwest::Response) -> String {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => format!("{} ({})", problem.detail, problem.code),
        Err(_) => {
            let start: String = text.chars().take(200).collect();
            format!("status {status}: {start}")
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
