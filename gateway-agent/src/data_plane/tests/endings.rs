//! Ends that come early: back ends that close, clients that are not listened to, streams that stop.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use synapse::endpoint::State;
use tokio::net::{TcpListener, TcpStream};

use super::raw::{Raw, in_time, noting, text_of};
use super::{Serving, Settings, artifact};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const SHORT: Duration = Duration::from_millis(100);

/// A gateway with one back end that is played by hand.
async fn gateway(settings: Settings) -> (Serving, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut gateway = Serving::with(settings).await;
    let endpoint = format!("<http uri-template='http://{address}'/>");
    gateway.deploy(&artifact(&endpoint), 1);
    (gateway, listener)
}

async fn accepted(listener: &TcpListener) -> Raw {
    let accepted = in_time("the gateway connects", listener.accept()).await;
    Raw::of(accepted.unwrap().0)
}

fn assert_active(gateway: &Serving) {
    let states = gateway.states();
    assert!(
        states.iter().all(|(_, state)| *state == State::Active),
        "{states:?}"
    );
}

/// The connection on which one request has been served.
async fn kept(client: &mut Raw, listener: &TcpListener) -> Raw {
    client.send(GET).await;
    let mut back_end = accepted(listener).await;
    back_end.head().await;
    back_end.send(ANSWER).await;
    client.until("ok").await;
    back_end
}

#[tokio::test]
async fn a_request_is_made_once_more_when_a_kept_connection_ends_instead_of_an_answer() {
    let (gateway, listener) = gateway(Settings::default()).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    let mut back_end = kept(&mut client, &listener).await;
    client.send(GET).await;
    back_end.head().await;
    drop(back_end);
    let mut back_end = accepted(&listener).await;
    back_end.head().await;
    // Not over and over: this connection is a new one.
    drop(back_end);
    assert!(client.head().await.starts_with("HTTP/1.1 500 "));
    client.until("101505").await;
}

#[tokio::test]
async fn what_a_kept_connection_does_suspends_nobody() {
    let (gateway, listener) = gateway(Settings::default()).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    let mut back_end = kept(&mut client, &listener).await;
    // It may have been done: it is not made once more.
    client
        .send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    back_end.until("hi").await;
    drop(back_end);
    assert!(client.head().await.starts_with("HTTP/1.1 500 "));
    assert_active(&gateway);
    client.until("}").await;
    kept(&mut client, &listener).await;
}

#[tokio::test]
async fn an_answer_passes_that_comes_before_the_request_has_been_taken() {
    let (gateway, listener) = gateway(Settings::default()).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client
        .send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n")
        .await;
    let mut back_end = accepted(&listener).await;
    back_end.head().await;
    client.send(vec![b'x'; 1_000_000]).await;
    back_end.until("x").await;
    back_end
        .send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
        .await;
    // With something unread: the gateway finds that out when it sends on.
    drop(back_end);
    client.send(vec![b'x'; 7_000_000]).await;
    assert!(client.head().await.starts_with("HTTP/1.1 413 "));
    client.until("big").await;
    assert_active(&gateway);
}

#[tokio::test]
async fn a_client_whose_body_nobody_wants_gets_its_answer_and_may_go_on() {
    let mut settings = Settings::default();
    settings.requests.body = 9_000_000;
    let (gateway, listener) = gateway(settings).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    for (path, length, status) in [("/none", 8_000_000, "404"), ("/a", 10_000_000, "413")] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).await;
        client.send(vec![b'x'; length]).await;
        let answer = client.head().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        if status == "404" {
            client.until("}").await;
            kept(&mut client, &listener).await;
        }
    }
    // Refused ones are the last of their connection.
    client.rest().await;
}

#[tokio::test]
async fn a_stream_that_is_reset_is_no_whole_request() {
    let (address, noted) = noting(ANSWER.as_bytes()).await;
    let mut gateway = Serving::start().await;
    let endpoint = format!("<http uri-template='http://{address}'/>");
    gateway.deploy(&artifact(&endpoint), 1);
    let stream = TcpStream::connect(gateway.addresses.http).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("{}/a", gateway.url))
        .body(())
        .unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"transfer 1"), false)
        .unwrap();
    in_time("the back end has it", async {
        while !text_of(&noted).contains("transfer 1") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    body.send_reset(h2::Reason::NO_ERROR);
    drop(answer);
    // The connection to the back end ends, and with it what it has noted.
    let other = Request::get(format!("{}/a", gateway.url)).body(()).unwrap();
    let (answer, _) = client.send_request(other, true).unwrap();
    in_time("the next answer", answer).await.unwrap();
    let noted = text_of(&noted);
    assert!(!noted.contains("0\r\n\r\n"), "{noted}");
}

#[tokio::test]
async fn a_response_that_stops_is_cut() {
    let mut settings = Settings::default();
    settings.requests.back_end_silence = Some(SHORT);
    let (gateway, listener) = gateway(settings).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(GET).await;
    let mut back_end = accepted(&listener).await;
    back_end.head().await;
    back_end
        .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    let answer = client.rest().await;
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
    assert_eq!(back_end.rest().await, "");
}

#[tokio::test]
async fn idle_connections_end() {
    let mut settings = Settings::default();
    settings.limits.idle = SHORT;
    let (gateway, listener) = gateway(settings).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    kept(&mut client, &listener).await;
    assert_eq!(client.rest().await, "");
    let stream = TcpStream::connect(gateway.addresses.http).await.unwrap();
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = made.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("{}/none", gateway.url));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    answer.into_body().collect().await.unwrap();
    in_time("the idle connection ends", connection)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_client_of_http_1_0_is_told_that_the_connection_is_the_end() {
    let (gateway, listener) = gateway(Settings::default()).await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client
        .send("GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let mut back_end = accepted(&listener).await;
    back_end.head().await;
    back_end
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        .await;
    let answer = client.rest().await.to_ascii_lowercase();
    assert!(!answer.contains("keep-alive"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}
