//! The sample back end: answers any request with what it got, as JSON. It stands in for token
//! endpoints, too, and gives everybody the same token (RFC 6749, section 5.1).

use std::net::TcpListener;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio_util::sync::CancellationToken;

/// The port under which the samples know it.
pub const PORT: u16 = 9580;

/// Of a larger body only the size is told.
const MAX_ECHO: usize = 64 * 1024;

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "the sample back end cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::select! {
                () = shutdown.cancelled() => {}
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "sample back end: connection ended early");
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, mut incoming) = request.into_parts();
    let mut size = 0;
    let mut body = Vec::new();
    while let Some(Ok(frame)) = incoming.frame().await {
        if let Some(data) = frame.data_ref() {
            size += data.len();
            let kept = data.len().min(MAX_ECHO.saturating_sub(body.len()));
            body.extend_from_slice(&data[..kept]);
        }
    }
    let headers: serde_json::Map<String, serde_json::Value> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value.into())
        })
        .collect();
    let text = (size <= MAX_ECHO).then(|| String::from_utf8_lossy(&body).into_owned());
    let asks_for_token = text
        .as_deref()
        .is_some_and(|text| text.split('&').any(|part| part.starts_with("grant_type=")));
    let mut echo = serde_json::json!({
        "backEnd": "sample",
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query(),
        "headers": headers,
        "bodyBytes": size,
        "body": text,
    });
    if asks_for_token {
        echo["access_token"] = "sample".into();
        echo["token_type"] = "Bearer".into();
        echo["expires_in"] = 3600.into();
    }
    let mut answer = Response::new(Full::new(Bytes::from(format!("{echo:#}\n"))));
    answer.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(answer)
}
