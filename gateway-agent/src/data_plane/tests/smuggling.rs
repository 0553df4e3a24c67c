//! Requests and responses that two servers could understand differently.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::raw::{Raw, noting, text_of};
use super::{Serving, artifact};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn gateway(answer: &'static [u8]) -> (Serving, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
    let (address, noted) = noting(answer).await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    (gateway, noted)
}

/// All of it is sent at once, so that a body that is none is seen before its request leaves.
async fn sent(gateway: &Serving, request: &str) -> String {
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(request).await;
    client.rest().await
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_reach_no_back_end() {
    let (gateway, noted) = gateway(ANSWER).await;
    let post =
        |headers: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let get = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    let cases = [
        (
            "lengths that differ",
            post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"),
        ),
        ("a list of lengths", post("Content-Length: 1, 2\r\n", "ab")),
        (
            "a length with a sign",
            post("Content-Length: +5\r\n", "hello"),
        ),
        ("a negative length", post("Content-Length: -1\r\n", "")),
        (
            "a hexadecimal length",
            post("Content-Length: 0x5\r\n", "hello"),
        ),
        ("an empty length", post("Content-Length: \r\n", "")),
        (
            "a length too large",
            post("Content-Length: 99999999999999999999\r\n", ""),
        ),
        (
            "chunked is not the last",
            post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ),
        (
            "an unknown coding",
            post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ),
        (
            "another coding before",
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ),
        (
            "chunked twice",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "identity, then chunked",
            post(
                "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "a control before chunked",
            post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"),
        ),
        (
            "chunked in HTTP/1.0",
            "POST /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        ("a negative chunk", chunked("-1\r\nx\r\n0\r\n\r\n")),
        ("a chunk with a prefix", chunked("0x1\r\nx\r\n0\r\n\r\n")),
        (
            "a chunk too large",
            chunked("fffffffffffffffff\r\nx\r\n0\r\n\r\n"),
        ),
        ("a chunk of junk", chunked("zz\r\nx\r\n0\r\n\r\n")),
        ("a chunk without a size", chunked("\r\nx\r\n0\r\n\r\n")),
        ("a bare LF after the size", chunked("1\nx\r\n0\r\n\r\n")),
        (
            "a bare LF in an extension",
            chunked("1;a\nb\r\nx\r\n0\r\n\r\n"),
        ),
        (
            "a folded header",
            get("GET /a HTTP/1.1", "Host: h\r\nX: 1\r\n 2\r\n"),
        ),
        (
            "a folded header, by a tab",
            get("GET /a HTTP/1.1", "Host: h\r\nX: 1\r\n\t2\r\n"),
        ),
        (
            "a blank before the colon",
            get("GET /a HTTP/1.1", "Host: h\r\nX : 1\r\n"),
        ),
        (
            "a blank before a length's colon",
            post("Content-Length : 1\r\n", "a"),
        ),
        (
            "a blank before the first header",
            get("GET /a HTTP/1.1", " Host: h\r\n"),
        ),
        (
            "a header without a colon",
            get("GET /a HTTP/1.1", "Host: h\r\nX\r\n"),
        ),
        (
            "a header without a name",
            get("GET /a HTTP/1.1", "Host: h\r\n: 1\r\n"),
        ),
        ("no host", get("GET /a HTTP/1.1", "X: 1\r\n")),
        (
            "two hosts",
            get("GET /a HTTP/1.1", "Host: h\r\nHost: h\r\n"),
        ),
        (
            "a host that is none",
            get("GET /a HTTP/1.1", "Host: a b\r\n"),
        ),
        (
            "a host with a path",
            get("GET /a HTTP/1.1", "Host: h/a\r\n"),
        ),
        (
            "another host than the target's",
            get("GET http://other/a HTTP/1.1", "Host: h\r\n"),
        ),
        (
            "a user name in the target",
            get("GET http://u@h/a HTTP/1.1", "Host: h\r\n"),
        ),
        (
            "another scheme",
            get("GET ftp://h/a HTTP/1.1", "Host: h\r\n"),
        ),
        (
            "a target that is no path",
            get("GET a HTTP/1.1", "Host: h\r\n"),
        ),
        ("a tunnel", get("CONNECT h:80 HTTP/1.1", "Host: h:80\r\n")),
        (
            "two blanks in the line",
            get("GET  /a HTTP/1.1", "Host: h\r\n"),
        ),
        (
            "a blank in the target",
            get("GET /a b HTTP/1.1", "Host: h\r\n"),
        ),
        ("another version", get("GET /a HTTP/1.2", "Host: h\r\n")),
        (
            "a control in a value",
            get("GET /a HTTP/1.1", "Host: h\r\nX: a\u{1}b\r\n"),
        ),
        (
            "a NUL in a value",
            get("GET /a HTTP/1.1", "Host: h\r\nX: a\0b\r\n"),
        ),
        (
            "a CR in a value",
            get("GET /a HTTP/1.1", "Host: h\r\nX: a\rb\r\n"),
        ),
        (
            "a NUL in a name",
            get("GET /a HTTP/1.1", "Host: h\r\nX\0: a\r\n"),
        ),
        (
            "a control in the target",
            get("GET /a\u{1} HTTP/1.1", "Host: h\r\n"),
        ),
    ];
    let behind = "GET /a HTTP/1.1\r\nHost: h\r\nX-Smuggled: yes\r\n\r\n";
    for (what, request) in cases {
        let answer = sent(&gateway, &format!("{request}{behind}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
        // The connection was closed behind it, and what followed was not answered.
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
        assert_eq!(text_of(&noted), "", "{what}");
    }
    // What is allowed in the same places passes.
    let good = "GET http://h/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert!(sent(&gateway, good).await.starts_with("HTTP/1.1 200 "));
    assert!(text_of(&noted).starts_with("GET "));
}

#[tokio::test]
async fn a_request_of_http_2_that_names_two_hosts_is_refused() {
    let (gateway, noted) = gateway(ANSWER).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    for (host, status) in [
        ("other".to_owned(), 400),
        (gateway.addresses.http.to_string(), 200),
    ] {
        assert_eq!(text_of(&noted), "");
        let request = Request::get(format!("{}/a", gateway.url))
            .header("host", host)
            .body(Empty::<Bytes>::new())
            .unwrap();
        assert_eq!(client.request(request).await.unwrap().status(), status);
    }
}

/// What is good of a body may have streamed on before the rest shows that it is none. Then the back
/// end's request never comes to its end.
#[tokio::test]
async fn a_body_that_breaks_later_never_ends_at_the_back_end() {
    for (what, chunks) in [
        ("a bare LF after a chunk", "1\r\nx\n0\r\n\r\n"),
        ("a chunk that is longer", "1\r\nxyz\r\n0\r\n\r\n"),
        ("a negative chunk", "1\r\nx\r\n-1\r\n\r\n0\r\n\r\n"),
        ("a folded trailer", "1\r\nx\r\n0\r\nX: 1\r\n 2\r\n\r\n"),
        ("a trailer with a blank", "1\r\nx\r\n0\r\nX : 1\r\n\r\n"),
    ] {
        let (gateway, noted) = gateway(b"").await;
        let head = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let behind = "GET /a HTTP/1.1\r\nHost: h\r\nX-Smuggled: yes\r\n\r\n";
        let answer = sent(&gateway, &format!("{head}{chunks}{behind}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
        let noted = text_of(&noted);
        let ended = noted.contains("\r\n0\r\n") || noted.contains("Smuggled");
        assert!(!ended, "{what}: {noted}");
    }
}

/// RFC 9112, section 6.3: the coding counts, the length does not travel on, and the connection is
/// closed, so that what follows is nobody's request.
#[tokio::test]
async fn of_length_and_coding_only_the_coding_travels_on() {
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let (gateway, noted) = gateway(ANSWER).await;
        let request = format!(
            "POST /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n1\r\nx\r\n0\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\nX-Smuggled: yes\r\n\r\n"
        );
        let answer = sent(&gateway, &request).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let noted = text_of(&noted).to_lowercase();
        assert!(
            !noted.contains("content-length") && !noted.contains("smuggled"),
            "{noted}"
        );
        assert!(noted.contains("transfer-encoding: chunked"), "{noted}");
    }
}

#[tokio::test]
async fn a_broken_response_of_a_back_end_is_a_fault() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX\0: a\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let (gateway, _) = gateway(answer).await;
        let request = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let got = sent(&gateway, request).await;
        let what = String::from_utf8_lossy(answer);
        assert!(
            got.starts_with("HTTP/1.1 500 ") && got.contains("101506"),
            "{what}: {got}"
        );
    }
}
