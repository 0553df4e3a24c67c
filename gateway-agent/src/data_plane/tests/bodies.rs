//! Bodies on their way: trailers, 100-continue, content codings.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::raw::{Raw, eventually, noting, text_of};
use super::{Serving, Settings, artifact, echo, mediating};
use crate::data_plane::body::BodyError;
use crate::data_plane::source::{Bounds, Source};

const WITH_TRAILERS: &[u8] =
    b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
    2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n";

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (address, noted) = noting(WITH_TRAILERS).await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client
        .send(
            "POST /a HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers, gzip\r\nTrailer: X-Check\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Check: 7\r\n\r\n",
        )
        .await;
    let answer = client
        .until("\r\n0\r\nx-sum: 42\r\n\r\n")
        .await
        .to_lowercase();
    assert!(answer.contains("\r\ntrailer: x-sum\r\n"), "{answer}");
    eventually("the trailer", || {
        text_of(&noted).ends_with("x-check: 7\r\n\r\n")
    })
    .await;
    let noted = text_of(&noted).to_lowercase();
    for line in ["te: trailers", "connection: te", "trailer: x-check"] {
        assert!(
            noted.contains(&format!("\r\n{line}\r\n")),
            "{line}: {noted}"
        );
    }
}

#[tokio::test]
async fn trailers_pass_with_http_2() {
    let (address, noted) = noting(WITH_TRAILERS).await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", "7".parse().unwrap());
    let frames = [Frame::data(Bytes::from("x")), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let request = Request::post(format!("{}/a", gateway.url))
        .header("te", "trailers")
        .header("trailer", "x-check")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let got = answer.into_body().collect().await.unwrap();
    assert_eq!(got.trailers().unwrap()["x-sum"], "42");
    assert_eq!(got.to_bytes(), "ok");
    eventually("the trailer", || {
        text_of(&noted).ends_with("x-check: 7\r\n\r\n")
    })
    .await;
}

const EXPECTS: &str = "HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[tokio::test]
async fn a_client_is_told_to_continue_when_its_body_is_wanted() {
    let (good, _) = echo().await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{good}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(format!("POST /a {EXPECTS}")).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await;
    let answer = client.until("hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_request_that_is_answered_without_its_body_is_not_continued() {
    let (address, noted) = noting(b"").await;
    let mut gateway = Serving::start().await;
    gateway.deploy(&mediating("<respond/>", "", address), 1);
    for (target, status) in [("/nothing", "404"), ("/a", "200")] {
        let mut client = Raw::connect(gateway.addresses.http).await;
        client.send(format!("POST {target} {EXPECTS}")).await;
        let answer = client.head().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    assert_eq!(text_of(&noted), "");
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

async fn post(gateway: &Serving, coding: &str, body: Vec<u8>) -> (u16, HeaderMap, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{}/a", gateway.url))
        .header("content-type", "application/json")
        .header("content-encoding", coding)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, body)
}

const LOOKS: &str = "<filter xpath='boolean(//a)'><then><send><endpoint key='G'/></send></then><else><drop/></else></filter>";

#[tokio::test]
async fn a_coded_body_is_decoded_where_a_mediator_looks_into_it() {
    let json = br#"{"a": 1}"#;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (address, noted) = noting(answer).await;
    let mut gateway = Serving::start().await;
    gateway.deploy(&mediating(LOOKS, "", address), 1);
    assert_eq!(post(&gateway, "gzip", gzip(json)).await.0, 200);
    let sent = text_of(&noted).to_lowercase();
    assert!(sent.ends_with("\r\n\r\n{\"a\": 1}"), "{sent}");
    assert!(sent.contains("\r\ncontent-length: 8\r\n"), "{sent}");
    assert!(!sent.contains("content-encoding"), "{sent}");

    let (address, noted) = noting(answer).await;
    gateway.deploy(
        &mediating("<send><endpoint key='G'/></send>", "", address),
        2,
    );
    assert_eq!(post(&gateway, "gzip", gzip(json)).await.0, 200);
    let sent = noted.lock().unwrap().clone();
    assert!(sent.ends_with(&gzip(json)));
    assert!(text_of(&noted).contains("\r\ncontent-encoding: gzip\r\n"));
}

#[tokio::test]
async fn a_body_that_takes_the_place_of_a_coded_one_is_not_coded() {
    let (address, noted) = noting(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut gateway = Serving::start().await;
    let enrich = "<enrich><source type='inline'>{\"b\": 2}</source><target type='body'/></enrich>\
        <send><endpoint key='G'/></send>";
    gateway.deploy(&mediating(enrich, "", address), 1);
    assert_eq!(post(&gateway, "gzip", gzip(b"{}")).await.0, 200);
    let sent = text_of(&noted).to_lowercase();
    assert!(sent.ends_with("\r\n\r\n{\"b\": 2}"), "{sent}");
    assert!(!sent.contains("content-encoding"), "{sent}");
}

#[tokio::test]
async fn a_length_that_a_mediator_sets_does_not_travel_on() {
    let (address, noted) = noting(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut gateway = Serving::start().await;
    let sets = "<property name='Content-Length' scope='transport' value='1'/>";
    let out = format!("<outSequence>{sets}<send/></outSequence>");
    let inside = format!("{sets}<send><endpoint key='G'/></send>");
    gateway.deploy(&mediating(&inside, &out, address), 1);
    let (_, headers, body) = post(&gateway, "identity", b"{}".to_vec()).await;
    assert_eq!(
        (&headers["content-length"], &body[..]),
        (&"2".parse().unwrap(), &b"ok"[..])
    );
    assert!(
        text_of(&noted).contains("content-length: 2\r\n"),
        "{}",
        text_of(&noted)
    );
}

/// A gateway that is given time for large bodies, however busy the machine is.
async fn patient() -> Serving {
    let settings = Settings {
        back_end_timeout: Duration::from_secs(60),
        ..Settings::default()
    };
    Serving::with(settings).await
}

#[tokio::test]
async fn a_small_body_that_becomes_a_large_one_is_refused() {
    let (address, noted) = noting(b"").await;
    let mut gateway = patient().await;
    gateway.deploy(&mediating(LOOKS, "", address), 1);
    let bomb = gzip(&vec![b' '; 17 * 1024 * 1024]);
    assert!(bomb.len() < 128 * 1024);
    let (status, _, answer) = post(&gateway, "gzip", bomb).await;
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(status, 500);
    assert!(answer.contains("16777216 bytes"), "{answer}");
    for (coding, body, said) in [
        ("gzip", b"{}".to_vec(), "not the gzip"),
        ("br", b"{}".to_vec(), "br"),
    ] {
        let (status, _, answer) = post(&gateway, coding, body).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(status == 500 && answer.contains(said), "{status} {answer}");
    }
    assert_eq!(text_of(&noted), "");
}

#[tokio::test]
async fn coded_bytes_that_decode_to_nothing_are_bounded() {
    let (address, noted) = noting(b"").await;
    let mut gateway = patient().await;
    gateway.deploy(&mediating(LOOKS, "", address), 1);
    let nothing = gzip(b"");
    let body = nothing.repeat(17 * 1024 * 1024 / nothing.len());
    let (status, _, answer) = post(&gateway, "gzip", body).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        status == 500 && answer.contains("16777216 bytes"),
        "{status} {answer}"
    );
    assert_eq!(text_of(&noted), "");
}

/// A back end that answers in gzip, and counts.
async fn compressing(
    json: &'static [u8],
) -> (
    std::net::SocketAddr,
    std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
) {
    let coded = gzip(json);
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        coded.len()
    )
    .into_bytes();
    answer.extend_from_slice(&coded);
    noting(answer.leak()).await
}

#[tokio::test]
async fn a_coded_response_is_decoded_where_a_mediator_looks_into_it() {
    let (address, _) = compressing(br#"{"b": "text"}"#).await;
    let mut gateway = Serving::start().await;
    let send = "<send><endpoint key='G'/></send>";
    let out = "<outSequence><property name='x' scope='transport' expression='json-eval($.b)'/><send/></outSequence>";
    gateway.deploy(&mediating(send, out, address), 1);
    let (_, headers, body) = post(&gateway, "identity", b"{}".to_vec()).await;
    assert_eq!(headers["x"], "text");
    assert_eq!(headers["content-length"], "13");
    assert!(!headers.contains_key("content-encoding"), "{headers:?}");
    assert_eq!(body, "{\"b\": \"text\"}");
}

#[tokio::test]
async fn a_kept_response_stays_coded_until_a_mediator_looks_into_it() {
    let (address, noted) = compressing(br#"{"b": "text"}"#).await;
    let mut gateway = Serving::start().await;
    let cache = |on_hit: &str| {
        format!(
            "<cache collector='false' timeout='100'>{on_hit}<implementation type='memory' maxSize='10'/></cache>\
             <send><endpoint key='G'/></send>"
        )
    };
    let out = "<outSequence><cache collector='true'/><send/></outSequence>";
    gateway.deploy(&mediating(&cache(""), out, address), 1);
    for _ in 0..2 {
        let (_, headers, body) = post(&gateway, "identity", b"{}".to_vec()).await;
        assert_eq!(headers["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"b\": \"text\"}");
    }
    let looks = "<property name='x' scope='transport' expression='json-eval($.b)'/><respond/>";
    let on_hit = cache(&format!("<onCacheHit>{looks}</onCacheHit>"));
    let out = format!(
        "<outSequence><cache collector='true'/>{}</outSequence>",
        looks.replace("<respond/>", "<send/>")
    );
    gateway.deploy(&mediating(&on_hit, &out, address), 2);
    for _ in 0..2 {
        let (_, headers, body) = post(&gateway, "identity", b"{}".to_vec()).await;
        assert_eq!(headers["x"], "text");
        assert!(!headers.contains_key("content-encoding"), "{headers:?}");
        assert_eq!(body, "{\"b\": \"text\"}");
    }
    assert_eq!(text_of(&noted).matches("POST ").count(), 2);
}

/// A body as it comes in from a peer.
async fn incoming(body: &'static [u8]) -> Incoming {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let answers = service_fn(move |_| async move {
        Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(body))))
    });
    let server = hyper::server::conn::http1::Builder::new();
    tokio::spawn(server.serve_connection(TokioIo::new(theirs), answers));
    let made = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await;
    let (mut client, connection) = made.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "h");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    client.send_request(request).await.unwrap().into_body()
}

#[tokio::test]
async fn a_stream_that_is_superseded_is_not_taken_for_the_whole() {
    let body = incoming(b"body").await;
    let source = Source::new(
        body,
        http::Version::HTTP_11,
        &HeaderMap::new(),
        Bounds::NONE,
    );
    let mut first = source.stream(true);
    let frame = first.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "body");
    let second = source.stream(true);
    let ended = first.frame().await;
    assert!(matches!(ended, Some(Err(BodyError::Superseded))));
    let whole = second.collect().await.unwrap().to_bytes();
    assert_eq!(whole, "body");
}
