//! The data plane with real HTTP back ends: what clients get when back ends fail.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use artifact::{Artifact, Content, Digest, Instruction, LabelLogEntry};
use bytes::Bytes;
use http::HeaderName;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::config::Config;
use synapse::endpoint::State;
use synapse::mediate::{self, Security};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    AccessLog, Addresses, BackEndPolicy, BackEnds, Correlation, Gateway, Limits, Listeners,
    RequestLimits, Tunnels, endpoint_states, serve,
};
use crate::driver::Routes;
use crate::kept::Kept;
use crate::patience::Patience;
use crate::sync_core::{DeployedSet, Deployment, Progress};

mod bodies;
mod connections;
mod endings;
mod hops;
mod limits;
mod raw;
mod smuggling;
mod tokens;
mod websocket;

/// A gateway that serves on ports of its own.
struct Serving {
    set: DeployedSet,
    routes: Routes,
    addresses: Addresses,
    url: String,
    /// That have come so far.
    messages: Arc<AtomicU64>,
    shutdown: CancellationToken,
    ended: Option<JoinHandle<std::io::Result<()>>>,
    /// The development certificate.
    _data: TempDir,
}

/// What tests make different.
struct Settings {
    requests: RequestLimits,
    limits: Limits,
    trusted_proxies: &'static str,
    access_log: Option<AccessLog>,
    tunnel_idle: Duration,
    back_end_timeout: Duration,
    security: Security,
}

impl Default for Settings {
    fn default() -> Self {
        let long = Duration::from_secs(60);
        Self {
            requests: RequestLimits {
                headers: 100,
                body: u64::MAX,
                silence: long,
                back_end_silence: Some(long),
            },
            limits: Limits {
                header_size: 65536,
                headers: 100,
                header_timeout: long,
                idle: long,
                slow_client: long,
                drain: long,
            },
            trusted_proxies: "[]",
            access_log: None,
            tunnel_idle: long,
            back_end_timeout: Duration::from_secs(5),
            security: Security::Off,
        }
    }
}

impl Serving {
    async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let data = tempfile::tempdir().unwrap();
        let text = format!(
            "[lockstep]\ndata_dir = '{}'\n[gateway]\ntrusted_proxies = {}",
            data.path().display(),
            settings.trusted_proxies
        );
        let config = Config::from_text(&text, Path::new("deployment.toml")).unwrap();
        let identity = kit::server::management_identity(&config).unwrap();
        let tls = kit::tls::server_config(&identity, None).unwrap();
        let set = DeployedSet::default();
        let routes: Routes = Arc::new(ArcSwap::from_pointee(set.route_table()));
        let back_ends = BackEnds::new(
            Duration::from_secs(2),
            settings.back_end_timeout,
            BackEndPolicy::Real,
            Vec::new(),
        )
        .unwrap();
        let messages = Arc::<AtomicU64>::default();
        let gateway = Gateway {
            tenants: None,
            routes: Arc::clone(&routes),
            back_ends,
            progress: watch::channel(Progress::default()).1,
            patience: Patience::new(false, 1),
            trace_header: false,
            settings: Arc::new(mediate::Settings {
                security: settings.security,
                ..mediate::Settings::default()
            }),
            admission: Arc::new(super::NoCredentials),
            started: 0,
            messages: Arc::clone(&messages),
            limits: settings.requests,
            trusted_proxies: Arc::new(config.trusted_proxies()),
            correlation: Correlation::new(HeaderName::from_static("activityid")),
            access_log: settings.access_log,
            tunnels: Tunnels::new(settings.tunnel_idle),
        };
        let bind = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let listeners = Listeners {
            http: bind(),
            https: bind(),
        };
        let addresses = listeners.addresses().unwrap();
        let shutdown = CancellationToken::new();
        let serving = serve(listeners, gateway, tls, settings.limits, shutdown.clone());
        Self {
            set,
            routes,
            addresses,
            url: format!("http://{}", addresses.http),
            messages,
            shutdown,
            ended: Some(tokio::spawn(serving)),
            _data: data,
        }
    }

    /// Shuts down, and waits until everything has ended.
    async fn end(&mut self) {
        self.shutdown.cancel();
        if let Some(ended) = self.ended.take() {
            ended.await.unwrap().unwrap();
        }
    }

    fn deploy(&mut self, artifact: &Artifact, revision: u64) {
        let compilation = synapse::compile(artifact, &synapse::xml::Limits::default());
        let plan = compilation
            .plan
            .unwrap_or_else(|| panic!("{:?}", compilation.findings));
        let digest = Digest::of(format!("{revision}").as_bytes());
        let entry = LabelLogEntry {
            seq: revision,
            api_id: "a".into(),
            name: "A".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            instruction: Instruction::Publish,
            revision,
            digest,
            time: 0,
            artifact: None,
            published_to: Vec::new(),
        };
        let deployment = Deployment {
            api_id: "a".into(),
            name: "A".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            revision,
            digest,
            plan,
            kept: Arc::new(Kept::of(&entry)),
            overridden: None,
        };
        let installed = self.set.install(&[], vec![Arc::new(deployment)]);
        assert!(installed.refused.is_empty());
        self.routes.store(Arc::new(self.set.route_table()));
    }

    /// Status and body of the answer to a POST.
    async fn post(&self, body: impl Into<Bytes>) -> (u16, String) {
        self.send(Full::new(body.into()).boxed()).await
    }

    async fn send(
        &self,
        body: http_body_util::combinators::BoxBody<Bytes, Infallible>,
    ) -> (u16, String) {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = hyper::Request::post(format!("{}/a", self.url))
            .body(body)
            .unwrap();
        let answer = client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn states(&self) -> Vec<(String, State)> {
        let apis = endpoint_states(&self.routes, kit::clock::now_ms());
        let endpoints = apis.into_iter().flat_map(|api| api.endpoints);
        endpoints
            .map(|endpoint| (endpoint.name, endpoint.state))
            .collect()
    }
}

fn artifact(endpoint: &str) -> Artifact {
    Artifact {
        name: "A".into(),
        version: "1".into(),
        api_id: "a".into(),
        api_definition: Some(
            "<api name='A' context='/a'><resource methods='GET POST'><inSequence><send><endpoint key='G'/></send>\
             </inSequence></resource></api>"
                .into(),
        ),
        endpoint_entries_to_be_add: vec![Content {
            name: "G".into(),
            content: format!("<endpoint name='G'>{endpoint}</endpoint>"),
        }],
        ..Artifact::default()
    }
}

fn child(name: &str, address: SocketAddr, rest: &str) -> String {
    format!(
        "<endpoint name='{name}'><http uri-template='http://{address}'>{rest}</http></endpoint>"
    )
}

/// Answers 200 with what it got, and counts.
async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    let got = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(hyper::Response::new(Full::new(got)))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, count)
}

/// Takes what a request brings until `until` bytes are there, and closes the connection.
async fn closes_after(until: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    use tokio::io::AsyncReadExt as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut got = 0;
            let mut buffer = vec![0; 64 * 1024];
            while got < until {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(more) => got += more,
                }
            }
        }
    });
    (address, count)
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Accepts and says nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn the_next_child_gets_the_same_body_when_one_cannot_be_reached() {
    let mut gateway = Serving::start().await;
    let (good, count) = echo().await;
    let group = format!(
        "<failover>{}{}</failover>",
        child("dead", nobody().await, ""),
        child("good", good, "")
    );
    gateway.deploy(&artifact(&group), 1);
    for _ in 0..2 {
        assert_eq!(gateway.post("hello").await, (200, "hello".into()));
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
    let states = gateway.states();
    assert!(
        states.contains(&("dead".into(), State::Suspended)),
        "{states:?}"
    );
    assert!(
        states.contains(&("good".into(), State::Active)),
        "{states:?}"
    );
    assert!(states.contains(&("G".into(), State::Active)), "{states:?}");
}

#[tokio::test]
async fn a_body_that_was_partly_sent_is_sent_again_from_its_beginning() {
    let mut gateway = Serving::start().await;
    let (closing, tries) = closes_after(100_000).await;
    let (good, _) = echo().await;
    let group = format!(
        "<failover>{}{}</failover>",
        child("closing", closing, ""),
        child("good", good, "")
    );
    gateway.deploy(&artifact(&group), 1);
    let body: String = (0..50_000).map(|number| format!("{number:06}")).collect();
    assert_eq!(gateway.post(body.clone()).await, (200, body));
    assert_eq!(tries.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_above_the_bound_is_not_sent_again() {
    let mut gateway = Serving::start().await;
    let (closing, _) = closes_after(2 * 1024 * 1024).await;
    let (good, count) = echo().await;
    let group = format!(
        "<failover>{}{}</failover>",
        child("closing", closing, ""),
        child("good", good, "")
    );
    gateway.deploy(&artifact(&group), 1);
    let chunks = (0..64).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024]))));
    let body = Mutex::new(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
    let body = StreamBody::new(body.into_inner().unwrap()).boxed();
    let (status, answer) = gateway.send(body).await;
    assert_eq!(status, 500, "{answer}");
    assert!(
        answer.contains("101505") || answer.contains("101500"),
        "{answer}"
    );
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_suspended_endpoint_is_not_called_and_a_redeploy_does_not_wake_it() {
    let mut gateway = Serving::start().await;
    let (closing, tries) = closes_after(1).await;
    let of = |initial: u32| {
        artifact(&format!(
            "<http uri-template='http://{closing}'><suspendOnFailure><initialDuration>{initial}</initialDuration>\
             </suspendOnFailure><markForSuspension><errorCodes>-1</errorCodes></markForSuspension></http>"
        ))
    };
    gateway.deploy(&of(60_000), 1);
    let (status, first) = gateway.post("x").await;
    assert_eq!(status, 500);
    assert!(first.contains("101505"), "{first}");
    let (status, second) = gateway.post("x").await;
    assert_eq!(status, 500);
    assert!(
        second.contains("303001") && second.contains("SUSPENDED"),
        "{second}"
    );
    // The same endpoint in a new revision; then a changed one.
    gateway.deploy(&of(60_000), 2);
    assert!(gateway.post("x").await.1.contains("303001"));
    assert_eq!(tries.load(Ordering::Relaxed), 1);
    gateway.deploy(&of(60_001), 3);
    assert!(gateway.post("x").await.1.contains("101505"));
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_timeout_is_a_fault_or_discarded_as_the_endpoint_says() {
    let mut gateway = Serving::start().await;
    let silent = silent().await;
    let of = |action: &str| {
        artifact(&format!(
            "<http uri-template='http://{silent}'><timeout><duration>100</duration>\
             <responseAction>{action}</responseAction></timeout></http>"
        ))
    };
    gateway.deploy(&of("fault"), 1);
    let (status, answer) = gateway.post("x").await;
    assert_eq!(status, 500);
    assert!(
        answer.contains("101504") && answer.contains("Send timeout"),
        "{answer}"
    );
    gateway.deploy(&of("discard"), 2);
    assert_eq!(gateway.post("x").await, (504, String::new()));
    assert_eq!(gateway.states(), [("G".into(), State::Active)]);
}

#[tokio::test]
async fn requests_take_turns() {
    let mut gateway = Serving::start().await;
    let (one, first) = echo().await;
    let (two, second) = echo().await;
    let group = format!(
        "<loadbalance>{}{}</loadbalance>",
        child("one", one, ""),
        child("two", two, "")
    );
    gateway.deploy(&artifact(&group), 1);
    for revision in 2..6 {
        assert_eq!(gateway.post("x").await.0, 200);
        // A redeploy does not begin anew.
        gateway.deploy(&artifact(&group), revision);
    }
    assert_eq!(first.load(Ordering::Relaxed), 2);
    assert_eq!(second.load(Ordering::Relaxed), 2);
}

/// An API whose in-sequence is `inside`, with the endpoint G at the address.
fn mediating(inside: &str, out: &str, address: SocketAddr) -> Artifact {
    Artifact {
        api_definition: Some(format!(
            "<api name='A' context='/a'><resource methods='GET POST'><inSequence>{inside}</inSequence>{out}</resource></api>"
        )),
        ..artifact(&format!("<http uri-template='http://{address}'/>"))
    }
}

#[tokio::test]
async fn a_mediator_reads_the_body_and_the_back_end_gets_it_whole() {
    let mut gateway = Serving::start().await;
    let (good, _) = echo().await;
    let inside = "<filter xpath='boolean(//a)'><then><send><endpoint key='G'/></send></then><else><respond/></else></filter>";
    gateway.deploy(&mediating(inside, "", good), 1);
    let client = Client::builder(TokioExecutor::new()).build_http();
    for (media, body, status) in [
        ("application/json", "{\"a\": [1, 2]}", 200),
        ("application/xml", "<r><a/></r>", 200),
        ("application/json", "{broken", 500),
    ] {
        let request = hyper::Request::post(format!("{}/a", gateway.url))
            .header("content-type", media)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.status(), status);
        if status == 200 {
            let got = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(got, body);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_to_be_looked_into_is_a_fault() {
    let mut gateway = Serving::start().await;
    let (good, count) = echo().await;
    let inside = "<property name='a' expression='json-eval($.a)'/><send><endpoint key='G'/></send>";
    gateway.deploy(&mediating(inside, "", good), 1);
    let (status, answer) = gateway.post(vec![b'x'; 17 * 1024 * 1024]).await;
    assert_eq!(status, 500);
    assert!(answer.contains("16777216 bytes"), "{answer}");
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_one_call_brings_goes_into_the_next() {
    let mut gateway = Serving::start().await;
    let (good, count) = echo().await;
    let inside = "<payloadFactory media-type='json'><format>{\"token\":\"t1\"}</format></payloadFactory>\
        <call><endpoint key='G'/></call>\
        <property name='messageType' scope='axis2' value='application/json'/>\
        <property name='token' expression='get-property(\"transport\", \"content-length\")'/>\
        <payloadFactory media-type='text'><format>second $1</format><args><arg expression='$ctx:token'/></args></payloadFactory>\
        <send><endpoint key='G'/></send>";
    gateway.deploy(&mediating(inside, "", good), 1);
    assert_eq!(gateway.post("x").await, (200, "second 14".into()));
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_kept_response_spares_the_back_end() {
    let mut gateway = Serving::start().await;
    let (good, count) = echo().await;
    let inside = "<cache collector='false' timeout='100'><implementation type='memory' maxSize='10'/></cache>\
        <send><endpoint key='G'/></send>";
    let out = "<outSequence><cache collector='true'/><send/></outSequence>";
    gateway.deploy(&mediating(inside, out, good), 1);
    for _ in 0..3 {
        assert_eq!(gateway.post("same").await, (200, "same".into()));
    }
    assert_eq!(gateway.post("other").await, (200, "other".into()));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    // More than is kept passes by.
    let large = "x".repeat(1024 * 1024 + 1);
    for _ in 0..2 {
        assert_eq!(gateway.post(large.clone()).await.1.len(), large.len());
    }
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn an_artifact_answers_where_it_has_no_resource() {
    let mut gateway = Serving::start().await;
    let (good, _) = echo().await;
    let mut artifact = mediating("<respond/>", "", good);
    artifact.api_definition = Some(
        "<api name='A' context='/a'><resource methods='GET' url-mapping='/x'><inSequence><respond/></inSequence></resource></api>".into(),
    );
    gateway.deploy(&artifact, 1);
    assert_eq!(gateway.post("").await.0, 404);
    artifact.sequence_to_be_add = vec![Content {
        name: "_resource_mismatch_handler_".into(),
        content: "<sequence name='_resource_mismatch_handler_'><property name='HTTP_SC' scope='axis2' value='410'/><respond/></sequence>"
            .into(),
    }];
    gateway.deploy(&artifact, 2);
    assert_eq!(gateway.post("").await.0, 410);
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_where_security_is_enforced() {
    let (address, called) = echo().await;
    let mut secured = artifact(&format!("<http uri-template='http://{address}'/>"));
    let definition = secured.api_definition.take().unwrap();
    let handlers = "<handlers><handler class='org.wso2.carbon.apimgt.gateway.handlers.security.APIAuthenticationHandler'>\
                    <property name='APISecurity' value='oauth2,api_key'/></handler></handlers></api>";
    secured.api_definition = Some(definition.replace("</api>", handlers));
    let mut enforcing = Serving::with(Settings {
        security: Security::Enforce,
        ..Settings::default()
    })
    .await;
    enforcing.deploy(&secured, 1);
    let (status, body) = enforcing.post("x").await;
    assert_eq!(status, 500);
    assert!(
        body.contains("900900") && body.contains("oauth2, api_key"),
        "{body}"
    );
    assert_eq!(called.load(Ordering::Relaxed), 0);
    let mut open = Serving::start().await;
    open.deploy(&secured, 1);
    assert_eq!(open.post("x").await.0, 200);
}
