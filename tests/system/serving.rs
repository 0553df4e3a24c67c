//! Serving: what reaches the back end, and what comes back.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::kit_of_tests::{Up, dto};

/// What a back end got.
#[derive(Debug)]
struct Got {
    line: String,
    headers: hyper::HeaderMap,
    body: Bytes,
}

/// A back end that answers 201 with a header and a body, and tells what it got.
async fn back_end() -> (SocketAddr, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let got = Got {
                        line: format!("{} {}", parts.method, parts.uri),
                        headers: parts.headers,
                        body: body.collect().await.unwrap().to_bytes(),
                    };
                    sender.send(got).unwrap();
                    let answer = Response::builder()
                        .status(201)
                        .header("x-back-end", "yes")
                        .header("connection", "x-hop")
                        .header("x-hop", "gone")
                        .body(Full::new(Bytes::from_static(b"from the back end")));
                    Ok::<_, std::convert::Infallible>(answer.unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, receiver)
}

async fn publish(up: &Up, name: &str, context: &str, back_end: &str) {
    let file = up.file(&format!("{name}.json"), dto(name, context, back_end));
    let finished = up.command(&["publish", &file, "--wait"]).await;
    assert_eq!(finished.code, 0, "{finished:?}");
}

#[tokio::test]
async fn method_path_query_headers_and_body_reach_the_back_end() {
    let up = Up::start(&["--gateways", "1"]).await;
    let (address, mut got) = back_end().await;
    publish(&up, "A", "/a", &format!("http://{address}/base/")).await;
    let client = up.client();
    let answer = client
        .post(format!("{}/a/1.0/x%20y/z?q=1&r=%26", up.gateways[0]))
        .header("x-mine", "kept")
        .header("connection", "x-hop")
        .header("x-hop", "dropped")
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["x-back-end"], "yes");
    assert!(answer.headers().get("x-hop").is_none());
    assert_eq!(answer.text().await.unwrap(), "from the back end");
    let got = got.recv().await.unwrap();
    assert_eq!(got.line, "POST /base/x%20y/z?q=1&r=%26");
    assert_eq!(got.headers["x-mine"], "kept");
    assert_eq!(got.headers["host"], address.to_string());
    assert_eq!(got.headers["content-length"], "5");
    assert!(got.headers.get("x-hop").is_none());
    assert_eq!(got.body, "hello");
}

#[tokio::test]
async fn each_method_arrives_as_it_is() {
    let up = Up::start(&["--gateways", "1"]).await;
    let (address, mut got) = back_end().await;
    publish(&up, "A", "/a", &format!("http://{address}")).await;
    let client = up.client();
    let url = format!("{}/a/1.0", up.gateways[0]);
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD"] {
        let method: reqwest::Method = method.parse().unwrap();
        let answer = client.request(method.clone(), &url).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(got.recv().await.unwrap().line, format!("{method} /"));
    }
    let options = client
        .request(reqwest::Method::OPTIONS, &url)
        .send()
        .await
        .unwrap();
    assert_eq!(options.status(), 200);
    assert_eq!(
        options.headers()["allow"],
        "GET, POST, PUT, DELETE, HEAD, PATCH"
    );
    let trace = client
        .request(reqwest::Method::TRACE, &url)
        .send()
        .await
        .unwrap();
    assert_eq!(trace.status(), 405);
}

#[tokio::test]
async fn both_listeners_speak_http_1_and_http_2() {
    let up = Up::start(&["--gateways", "1"]).await;
    let (address, _got) = back_end().await;
    publish(&up, "A", "/a", &format!("http://{address}")).await;
    let secure = format!("{}/a/1.0", up.gateways_https[0]);
    let answer = up.client().get(&secure).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (201, reqwest::Version::HTTP_2)
    );
    let plain = format!("{}/a/1.0", up.gateways[0]);
    let answer = up.client().get(&plain).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (201, reqwest::Version::HTTP_11)
    );
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let up = Up::start(&["--gateways", "1"]).await;
    // A back end by hand: each side waits for the other's piece before it sends its next one, so
    // that a gateway that collects a body first would never get to the end.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    publish(&up, "A", "/a", &format!("http://{address}")).await;
    let (pieces, to_send) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let body = futures_util::stream::unfold(to_send, |mut to_send| async {
        Some((to_send.recv().await?, to_send))
    });
    let request = up
        .client()
        .post(format!("{}/a/1.0/up", up.gateways[0]))
        .body(reqwest::Body::wrap_stream(body))
        .send();
    let request = tokio::spawn(request);
    pieces.send(Ok(Bytes::from_static(b"first piece"))).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "first piece").await;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await
        .unwrap();
    let answer = request.await.unwrap().unwrap();
    let mut answered = answer.bytes_stream();
    assert_eq!(answered.next().await.unwrap().unwrap(), "hello");
    pieces
        .send(Ok(Bytes::from_static(b"second piece")))
        .unwrap();
    read_until(&mut stream, "second piece").await;
    drop(pieces);
    read_until(&mut stream, "0\r\n\r\n").await;
    stream.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(answered.next().await.unwrap().unwrap(), "world");
    assert!(answered.next().await.is_none());
}

async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the stream ended before {text:?}");
        read.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_dead_back_end_is_a_fault_with_its_code() {
    let up = Up::start(&["--gateways", "1"]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    publish(&up, "A", "/a", &format!("http://{address}")).await;
    let answer = up
        .client()
        .get(format!("{}/a/1.0", up.gateways[0]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "101503");
    assert_eq!(body["message"], "Runtime Error");
}

#[tokio::test]
async fn unknown_paths_answer_as_the_main_sequence_does() {
    let up = Up::start(&["--gateways", "1"]).await;
    let answer = up
        .client()
        .get(format!("{}/nowhere?x=1", up.gateways[0]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "404");
    assert_eq!(
        body["description"],
        "The requested resource (/nowhere) is not available."
    );
}

#[tokio::test]
async fn bodies_arrive_whatever_the_method_and_however_they_are_framed() {
    let up = Up::start(&["--gateways", "1"]).await;
    let (address, mut got) = back_end().await;
    publish(&up, "A", "/a", &format!("http://{address}")).await;
    let url = format!("{}/a/1.0", up.gateways[0]);
    let client = up.client();
    let pieces = || {
        let pieces = ["one ", "two"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
    };
    for method in ["GET", "POST", "DELETE"] {
        let method: reqwest::Method = method.parse().unwrap();
        client
            .request(method.clone(), &url)
            // The test's client would leave the body of a GET out without it.
            .header("transfer-encoding", "chunked")
            .body(pieces())
            .send()
            .await
            .unwrap();
        assert_eq!(got.recv().await.unwrap().body, "one two", "{method}");
    }
    client
        .post(&url)
        .header("content-length", "0")
        .send()
        .await
        .unwrap();
    let got = got.recv().await.unwrap();
    assert_eq!(got.headers["content-length"], "0");
}

#[tokio::test]
async fn a_head_request_gets_no_body_in_any_protocol() {
    let up = Up::start(&["--gateways", "1"]).await;
    for base in [&up.gateways[0], &up.gateways_https[0]] {
        let answer = up
            .client()
            .head(format!("{base}/nowhere"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{base}");
        assert_ne!(answer.headers()["content-length"], "0");
        assert_eq!(answer.bytes().await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_client_that_stalls_or_talks_nonsense_does_not_stop_the_others() {
    let up = Up::start(&["--gateways", "1"]).await;
    let address = up.gateways[0].trim_start_matches("http://");
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /status HT").await.unwrap();
    let mut nonsense = TcpStream::connect(address).await.unwrap();
    nonsense
        .write_all(b"\x16\x03\x01 what\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    nonsense.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 400"));
    let answer = up
        .client()
        .get(format!("{}/status", up.gateways[0]))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}
