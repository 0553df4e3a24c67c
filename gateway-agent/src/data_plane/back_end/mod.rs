//! Calls to back ends: pooled connections, time limits, error codes.

mod answering;
mod connection;
mod pool;

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;
use synapse::mediate::{BackendCall, Body, Fault};

use self::pool::{CallError, Origin, Pool};
use super::body::StreamBody;
use super::hop::strip_hop_by_hop;
use super::refuse::framing_rule;
use super::tokens::Turns;
use super::upgrade;

const NOT_CONNECTED: &str = "Error connecting to the back end";

/// Where calls really go.
#[derive(Clone, Copy, Debug, Default)]
pub enum BackEndPolicy {
    /// To the address that the artifact names.
    #[default]
    Real,
    /// Only loopback addresses are called; the sample back end stands in for all others, and at
    /// its known ports. For trying artifacts out without calling anybody's servers.
    Sandbox {
        sample: SocketAddr,
        /// The loopback ports under which artifacts know it.
        known_ports: [u16; 3],
    },
}

/// Why a call has no response.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    /// A connection that had been kept was closed instead of an answer: the back end may well be
    /// there.
    pub(crate) closed_meanwhile: bool,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            closed_meanwhile: false,
        }
    }
}

/// The gateway's client. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct BackEnds {
    pool: Pool,
    policy: BackEndPolicy,
    global_timeout: Duration,
    pub(super) turns: Turns,
}

impl BackEnds {
    /// Back ends' certificates are checked against the platform's roots and `authorities`.
    ///
    /// # Errors
    /// When the platform's root certificates cannot be set up.
    pub fn new(
        connect_timeout: Duration,
        global_timeout: Duration,
        policy: BackEndPolicy,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(connect_timeout));
        http.set_nodelay(true);
        // A host that is gone says nothing, and a response may be under way.
        http.set_keepalive(Some(Duration::from_secs(60)));
        http.set_keepalive_interval(Some(Duration::from_secs(15)));
        http.set_keepalive_retries(Some(4));
        // One that takes nothing is cut by the kernel when its call would have been given up.
        http.set_tcp_user_timeout(Some(global_timeout));
        http.enforce_http(false);
        let provider = kit::tls::provider();
        let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            pool: Pool::new(https),
            policy,
            global_timeout,
            turns: Turns::default(),
        })
    }

    /// Makes the call and waits for the response's head. `websocket`: the back end may switch to
    /// one.
    pub(crate) async fn call(
        &self,
        call: BackendCall,
        body: StreamBody,
        websocket: bool,
    ) -> Result<Response<Incoming>, Failed> {
        let fresh = call.fresh;
        let timeout = call.timeout.unwrap_or(self.global_timeout);
        let (origin, request) = self.request(call, body, websocket)?;
        match tokio::time::timeout(timeout, self.pool.request(&origin, request, fresh)).await {
            Err(_) => Err(Fault::new(Fault::TIMEOUT, "Send timeout").into()),
            Ok(Err(error)) => {
                let fault = fault(&error);
                let kept = matches!(error, CallError::Http { kept: true, .. });
                let closed_meanwhile = kept && fault.code == Fault::CONNECTION_CLOSED;
                Err(Failed {
                    fault,
                    closed_meanwhile,
                })
            }
            Ok(Ok(mut response)) => {
                let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                if switches && !(websocket && upgrade::is_websocket(response.headers())) {
                    let message = "the back end switches to a protocol that nobody has asked for";
                    return Err(Fault::new(Fault::PROTOCOL, message).into());
                }
                // Else the length would travel on, and be another one than that of the body.
                if let Some(rule) = framing_rule(response.headers()) {
                    let message = format!("the back end's response has {rule}");
                    return Err(Fault::new(Fault::PROTOCOL, message).into());
                }
                strip_hop_by_hop(response.headers_mut());
                Ok(response)
            }
        }
    }

    /// Waits for a message's body, as long as a back end may take at all.
    pub(crate) async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.global_timeout, read).await {
            Ok(read) => read,
            Err(_) => Err(Fault::new(Fault::TIMEOUT, "the body took too long")),
        }
    }

    /// Whom to ask, and what, by its path there.
    fn request(
        &self,
        call: BackendCall,
        body: StreamBody,
        websocket: bool,
    ) -> Result<(Origin, Request<StreamBody>), Fault> {
        let bad = |what: &str| {
            Fault::new(
                Fault::SENDING_FAILED,
                format!("cannot call the back end: {what}"),
            )
        };
        let url = Bytes::from(encoded(call.url));
        let uri = Uri::from_maybe_shared(url).map_err(|_| bad("its address is not a URL"))?;
        let uri = uri.into_parts();
        let authority = uri
            .authority
            .ok_or_else(|| bad("its address names no host"))?;
        let mut headers = call.headers;
        strip_hop_by_hop(&mut headers);
        // Never the user name and password that the address may hold.
        let named = authority.as_str();
        let named = named.rsplit_once('@').map_or(named, |(_, host)| host);
        let host = call.host.as_deref().unwrap_or(named);
        let host = HeaderValue::try_from(host).map_err(|_| bad("bad host"))?;
        headers.insert(HOST, host);
        // The client has its 100 by now, and the back end gets the body without asking.
        headers.remove(EXPECT);
        // The length is that of the body, whatever a mediator has set.
        headers.remove(CONTENT_LENGTH);
        if call.body == Body::Empty {
            if ["POST", "PUT", "PATCH"].contains(&call.method.as_str()) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        } else if let Some(length) = body.size_hint().exact() {
            headers.insert(CONTENT_LENGTH, length.into());
        } else {
            // Without it the client library sends no body of unknown length with a GET.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if matches!(call.body, Body::Bytes(_) | Body::Empty) {
            headers.remove(TRAILER);
        }
        if websocket {
            upgrade::ask(&mut headers);
        } else if headers.contains_key(TE) {
            headers.insert(CONNECTION, HeaderValue::from_static("TE"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = call.method.parse().map_err(|_| bad("bad method"))?;
        // One of an address with nothing but a fragment behind the host is empty.
        let path = uri.path_and_query.filter(|path| path.as_str() != "/");
        *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();
        *request.headers_mut() = headers;
        Ok((self.routed(uri.scheme, authority)?, request))
    }

    /// Where to connect to under the policy.
    fn routed(&self, scheme: Option<Scheme>, authority: Authority) -> Result<Origin, Fault> {
        let real = |authority| match of_http(scheme) {
            Some(scheme) => Ok((scheme, authority)),
            None => Err(Fault {
                detail: "its address is not one of HTTP".to_owned(),
                ..Fault::new(Fault::CONNECTION_FAILED, NOT_CONNECTED)
            }),
        };
        let BackEndPolicy::Sandbox {
            sample,
            known_ports,
        } = self.policy
        else {
            return real(authority);
        };
        let host = authority.host().trim_matches(['[', ']']);
        let loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let known = authority
            .port_u16()
            .is_some_and(|port| known_ports.contains(&port));
        if loopback && !known {
            return real(authority);
        }
        match sample.to_string().parse() {
            Ok(sample) => Ok((Scheme::HTTP, sample)),
            Err(_) => Err(Fault::new(Fault::SENDING_FAILED, "bad back-end address")),
        }
    }
}

/// WebSockets begin as HTTP: `ws` is `http`, and `wss` is `https` (RFC 6455, section 3).
fn of_http(scheme: Option<Scheme>) -> Option<Scheme> {
    match scheme.as_ref()?.as_str() {
        "http" | "ws" => Some(Scheme::HTTP),
        "https" | "wss" => Some(Scheme::HTTPS),
        _ => None,
    }
}

/// The address with the characters percent-encoded that no URL may hold: artifacts have them in
/// templates that could not be expanded, and clients in their paths.
fn encoded(url: String) -> String {
    const FORBIDDEN: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    match utf8_percent_encode(&url, FORBIDDEN).into() {
        Cow::Owned(encoded) => encoded,
        Cow::Borrowed(_) => url,
    }
}

/// Synapse's error code for a failed call, by what caused it.
fn fault(error: &CallError) -> Fault {
    let (first, connects): (&dyn Error, _) = match error {
        CallError::Connect(error) => (error.as_ref(), true),
        CallError::Http { error, .. } => (error, false),
    };
    let mut code = match connects {
        true => Fault::CONNECTION_FAILED,
        false => Fault::SENDING_FAILED,
    };
    let mut cause = first;
    loop {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::TimedOut => {
                    return Fault::new(Fault::CONNECTION_TIMEOUT, "Connection timeout");
                }
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
                    if !connects =>
                {
                    code = Fault::CONNECTION_CLOSED;
                }
                _ => {}
            }
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>()
            && !connects
        {
            if http.is_parse() {
                code = Fault::PROTOCOL;
            } else if http.is_incomplete_message() || http.is_closed() || http.is_canceled() {
                code = Fault::CONNECTION_CLOSED;
            }
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    let message = match code {
        Fault::CONNECTION_FAILED => NOT_CONNECTED,
        _ => "Error in Sender",
    };
    Fault {
        detail: cause.to_string(),
        ..Fault::new(code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_characters_are_encoded_and_nothing_else_is() {
        assert_eq!(
            encoded("http://h/a%20{b}?c=<d>".to_owned()),
            "http://h/a%20%7Bb%7D?c=%3Cd%3E"
        );
    }

    #[test]
    fn the_sandbox_calls_loopback_addresses_only() {
        let back_ends = BackEnds::new(
            Duration::from_secs(1),
            Duration::from_secs(1),
            BackEndPolicy::Sandbox {
                sample: "127.0.0.1:7000".parse().unwrap(),
                known_ports: [9580, 9443, 9443],
            },
            Vec::new(),
        )
        .unwrap();
        let routed = |url: &str| {
            let uri = url.parse::<Uri>().unwrap().into_parts();
            let routed = back_ends.routed(uri.scheme, uri.authority.unwrap());
            let (scheme, authority) = routed.unwrap();
            format!("{scheme}://{authority}")
        };
        assert_eq!(routed("http://localhost:1234"), "http://localhost:1234");
        assert_eq!(routed("http://[::1]:1234"), "http://[::1]:1234");
        assert_eq!(routed("http://localhost:9580"), "http://127.0.0.1:7000");
        assert_eq!(routed("https://10.0.0.1:8443"), "http://127.0.0.1:7000");
        assert_eq!(routed("https://api.example.com"), "http://127.0.0.1:7000");
    }
}
