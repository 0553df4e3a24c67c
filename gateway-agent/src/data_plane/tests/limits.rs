//! What is too much or too slow, and the end of connections at shutdown.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use synapse::endpoint::State;

use super::raw::{Raw, eventually, in_time, noting, text_of};
use super::{Serving, Settings, artifact, echo};
use crate::data_plane::AccessLog;
use crate::data_plane::access_log::{Destination, Format};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn larger_heads_are_refused() {
    let mut settings = Settings::default();
    settings.limits.header_size = 8192;
    settings.limits.headers = 5;
    settings.requests.headers = 5;
    let gateway = Serving::with(settings).await;
    for headers in [
        "X: 1\r\n".repeat(5),
        "X: 1\r\n".repeat(200),
        format!("X: {}\r\n", "x".repeat(9000)),
    ] {
        let mut client = Raw::connect(gateway.addresses.http).await;
        client
            .send(format!("GET /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n"))
            .await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let mut client = Raw::connect(gateway.addresses.http).await;
    let allowed = "X: 1\r\n".repeat(3);
    client
        .send(format!(
            "GET /a HTTP/1.1\r\nHost: h\r\n{allowed}Connection: close\r\n\r\n"
        ))
        .await;
    assert!(client.rest().await.starts_with("HTTP/1.1 404 "));
    let mut client = http2(&gateway).await;
    for (number, status) in [(4, 404), (6, 431)] {
        let mut request = Request::get(format!("{}/a", gateway.url));
        for _ in 0..number {
            request = request.header("x", "1");
        }
        let answer = client
            .send_request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
}

async fn http2(gateway: &Serving) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(gateway.addresses.http).await.unwrap();
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = made.await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn larger_bodies_are_refused() {
    let mut settings = Settings::default();
    settings.requests.body = 5;
    let (good, count) = echo().await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{good}'/>")),
        1,
    );
    let post = |rest: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{rest}");
    for (rest, status) in [
        ("Content-Length: 5\r\n\r\nhello", "200"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "200",
        ),
        ("Content-Length: 6\r\n\r\nhello!", "413"),
        ("Expect: 100-continue\r\nContent-Length: 6\r\n\r\n", "413"),
        (
            "Transfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n",
            "413",
        ),
    ] {
        let mut client = Raw::connect(gateway.addresses.http).await;
        client.send(post(rest)).await;
        let answer = client.rest().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{rest:?}: {answer}"
        );
        assert!(
            status == "200" || answer.contains("max_request_body_size"),
            "{answer}"
        );
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_client_that_stops_sending_its_body_is_told_so() {
    let mut settings = Settings::default();
    settings.requests.silence = SHORT;
    let (address, noted) = noting(b"").await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client
        .send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
        .await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(text_of(&noted).ends_with("hel"));
}

#[tokio::test]
async fn only_a_back_end_that_has_the_whole_request_is_late() {
    let settings = Settings {
        back_end_timeout: SHORT,
        ..Settings::default()
    };
    let (silent, noted) = noting(b"").await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{silent}'/>")),
        1,
    );
    for (body, is_ready) in [("hel", true), ("hello", false)] {
        let mut client = Raw::connect(gateway.addresses.http).await;
        let head = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        client.send(format!("{head}{body}")).await;
        client.head().await;
        assert!(text_of(&noted).ends_with(body));
        let states = gateway.states();
        assert_eq!(states[0].1 == State::Active, is_ready, "{body}: {states:?}");
    }
}

/// A back end that never stops, and ends when nobody listens any more.
async fn endless() -> (std::net::SocketAddr, Arc<tokio::sync::Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = Arc::new(tokio::sync::Notify::new());
    let end = Arc::clone(&ended);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = Raw::of(stream);
        connection.head().await;
        connection
            .send("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
            .await;
        while connection.stream.write_all(&[b'x'; 65536]).await.is_ok() {}
        end.notify_one();
    });
    (address, ended)
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let mut settings = Settings::default();
    settings.limits.slow_client = SHORT;
    let (address, ended) = endless().await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.head().await;
    in_time("the back end is left", ended.notified()).await;
}

#[tokio::test]
async fn connections_without_a_request_end_at_shutdown() {
    let (address, _) = noting(ANSWER).await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut new = Raw::connect(gateway.addresses.http).await;
    let mut handshake = Raw::connect(gateway.addresses.https).await;
    let mut idle = Raw::connect(gateway.addresses.http).await;
    idle.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    idle.until("ok").await;
    let mut multiplexed = http2(&gateway).await;
    let request = Request::get(format!("{}/a", gateway.url))
        .body(Empty::new())
        .unwrap();
    let answer = multiplexed.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    // The drain is a minute.
    in_time("the shutdown", gateway.end()).await;
    for connection in [&mut new, &mut handshake, &mut idle] {
        assert_eq!(connection.rest().await, "");
    }
    assert!(multiplexed.ready().await.is_err());
}

#[tokio::test]
async fn a_request_in_flight_is_cut_after_the_drain() {
    let mut settings = Settings::default();
    settings.limits.drain = SHORT;
    settings.back_end_timeout = Duration::from_secs(60);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let destination = Destination::File(file.clone());
    let log = AccessLog::start(destination, Format::Json, false).unwrap();
    settings.access_log = Some(log);
    let (silent, noted) = noting(b"").await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{silent}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("the call", || !text_of(&noted).is_empty()).await;
    in_time("the shutdown", gateway.end()).await;
    assert_eq!(client.rest().await, "");
    let text = std::fs::read_to_string(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["complete"], false, "{text}");
    assert!(line["status"].is_null(), "{text}");
}
