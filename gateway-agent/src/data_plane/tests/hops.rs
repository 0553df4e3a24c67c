//! What back ends, clients and the access log are told of a request.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::raw::{Raw, eventually, noting, text_of};
use super::{Serving, Settings, artifact, nobody};
use crate::data_plane::AccessLog;
use crate::data_plane::access_log::{Destination, Format};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nActivityID: other\r\n\r\nok";

const FORGED: &str = "GET /a HTTP/1.1\r\nHost: api.example:80\r\nX-Forwarded-For: 203.0.113.9\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: forged\r\nX-Forwarded-Port: 1\r\nForwarded: for=a\r\n\
    Connection: close, X-Forwarded-For\r\n\r\n";

async fn told(trusted_proxies: &'static str, request: &str) -> (String, String, Serving) {
    let (address, noted) = noting(ANSWER).await;
    let settings = Settings {
        trusted_proxies,
        ..Settings::default()
    };
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(request).await;
    let answer = client.rest().await;
    (
        text_of(&noted).to_lowercase(),
        answer.to_lowercase(),
        gateway,
    )
}

#[tokio::test]
async fn a_back_end_is_told_who_the_client_is_and_not_what_it_says() {
    let (told, _, gateway) = told("[]", FORGED).await;
    let port = gateway.addresses.http.port();
    for line in [
        // Named by Connection, so not for the back end; the gateway's own is.
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: api.example:80",
        &format!("x-forwarded-port: {port}"),
    ] {
        assert!(told.contains(&format!("\r\n{line}\r\n")), "{line}: {told}");
    }
    assert!(
        !told.contains("forged") && !told.contains("\r\nforwarded:"),
        "{told}"
    );
    assert!(!told.contains("\r\nvia:"), "{told}");
}

#[tokio::test]
async fn a_balancer_in_front_is_believed() {
    let request = FORGED.replace(", X-Forwarded-For", "");
    let (told, _, _gateway) = told("['127.0.0.0/8']", &request).await;
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: forged",
        "x-forwarded-port: 1",
        "forwarded: for=a",
    ] {
        assert!(told.contains(&format!("\r\n{line}\r\n")), "{line}: {told}");
    }
}

#[tokio::test]
async fn a_request_of_http_2_names_its_host_and_has_one_cookie_header() {
    let (address, noted) = noting(ANSWER).await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = Request::get(format!("{}/a", gateway.url))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Empty::<Bytes>::new())
        .unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), 200);
    let told = text_of(&noted).to_lowercase();
    assert_eq!(values(&told, "cookie"), ["a=1; b=2"]);
    let host = gateway.addresses.http.to_string();
    assert_eq!(values(&told, "x-forwarded-host"), [host]);
    assert_eq!(values(&told, "host"), [address.to_string()]);
}

/// The values of a header in a message.
fn values<'m>(message: &'m str, header: &str) -> Vec<&'m str> {
    let lines = message
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| *name == header)
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test]
async fn a_correlation_id_goes_to_the_back_end_and_into_the_answer() {
    let request = |id: &str| format!("GET /a HTTP/1.1\r\nHost: h\r\n{id}Connection: close\r\n\r\n");
    let (told_back_end, answer, _gateway) = told("[]", &request("ActivityID: mine-1\r\n")).await;
    assert_eq!(values(&told_back_end, "activityid"), ["mine-1"]);
    assert_eq!(values(&answer, "activityid"), ["mine-1"]);
    for given in ["", "ActivityID: a b\r\n"] {
        let (told_back_end, answer, _gateway) = told("[]", &request(given)).await;
        let made = values(&answer, "activityid");
        assert!(uuid::Uuid::parse_str(made[0]).is_ok(), "{made:?}");
        assert_eq!(values(&told_back_end, "activityid"), made);
    }
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let destination = Destination::File(file.clone());
    let log = AccessLog::start(destination, Format::Json, false).unwrap();
    let settings = Settings {
        access_log: Some(log),
        trusted_proxies: "['127.0.0.1']",
        ..Settings::default()
    };
    let (address, _) = noting(ANSWER).await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    let head = "Host: h\r\nActivityID: c-1\r\nX-Forwarded-For: 203.0.113.9\r\nUser-Agent: test\r\n";
    client
        .send(format!("GET /a?key=secret HTTP/1.1\r\n{head}\r\n"))
        .await;
    client.until("ok").await;
    client
        .send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    client.until("available.").await;
    client
        .send("GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n")
        .await;
    client.rest().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{}'/>", nobody().await)),
        2,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send("POST /a HTTP/1.0\r\nHost: h\r\n\r\n").await;
    client.rest().await;
    gateway.end().await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |field: &str| {
        lines
            .iter()
            .map(|line| line[field].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("status"), [200, 404, 400, 500], "{text}");
    assert_eq!(of("target"), ["/a", "/nothing", "/a", "/a"]);
    assert_eq!(
        of("protocol"),
        ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]
    );
    assert_eq!(of("complete"), [true; 4]);
    let first = &lines[0];
    assert_eq!(first["client"], "203.0.113.9");
    assert_eq!(first["bytes"], 2);
    assert_eq!(
        (&first["api"], &first["api_version"]),
        (&"A".into(), &"1".into())
    );
    assert_eq!(first["endpoint"], "G");
    assert_eq!(first["correlation"], "c-1");
    assert_eq!(first["user_agent"], "test");
    let spent = |line: &serde_json::Value, field: &str| line[field].as_u64().unwrap();
    assert!(
        spent(first, "back_end") <= spent(first, "duration"),
        "{first}"
    );
    assert!(lines[1]["api"].is_null() && lines[1]["back_end"].is_null());
    assert_eq!(lines[3]["endpoint"], "G");
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_take_is_told_as_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let destination = Destination::File(file.clone());
    let log = AccessLog::start(destination, Format::Json, false).unwrap();
    let settings = Settings {
        access_log: Some(log),
        back_end_timeout: Duration::from_secs(30),
        ..Settings::default()
    };
    let (address, _) = noting(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await;
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.until("ok").await;
    drop(client);
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("a line", || text().ends_with('\n')).await;
    let line: serde_json::Value = serde_json::from_str(&text()).unwrap();
    assert_eq!(
        (&line["complete"], &line["bytes"]),
        (&false.into(), &2.into())
    );
}
