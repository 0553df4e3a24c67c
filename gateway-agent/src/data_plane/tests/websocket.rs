//! WebSockets through the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use artifact::{Artifact, Content};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::raw::{Raw, in_time, noting, text_of};
use super::{Serving, Settings, artifact};
use crate::data_plane::AccessLog;
use crate::data_plane::access_log::{Destination, Format};

const ASKS: &str = "GET /a/chat?x=1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// Each connection that it gets.
async fn back_end() -> (SocketAddr, mpsc::UnboundedReceiver<Raw>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = sender.send(Raw::of(stream));
        }
    });
    (address, connections)
}

async fn next(connections: &mut mpsc::UnboundedReceiver<Raw>) -> Raw {
    in_time("a connection", connections.recv()).await.unwrap()
}

/// As API Manager makes them: a resource of its own for each binding, and an endpoint of its own.
fn bound(address: SocketAddr) -> Artifact {
    Artifact {
        api_definition: Some(
            "<api name='A' context='/a' binds-to='WebSocketInboundEndpoint, SecureWebSocketEP, default'>\
             <resource methods='POST' url-mapping='/*' binds-to='default'><inSequence><respond/></inSequence></resource>\
             <resource url-mapping='/*' binds-to='WebSocketInboundEndpoint, SecureWebSocketEP'>\
             <inSequence><send><endpoint key='A--v1_APIproductionEndpoint_mapping__wildcard'/></send></inSequence>\
             <outSequence><send/></outSequence></resource></api>"
                .into(),
        ),
        endpoint_entries_to_be_add: vec![Content {
            name: "A--v1_APIproductionEndpoint_mapping__wildcard".into(),
            content: format!(
                "<endpoint name='A--v1_APIproductionEndpoint_mapping__wildcard'><http uri-template='ws://{address}/base'/></endpoint>"
            ),
        }],
        ..artifact("<default/>")
    }
}

/// Both ends of a tunnel.
async fn opened(gateway: &Serving, connections: &mut mpsc::UnboundedReceiver<Raw>) -> (Raw, Raw) {
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(ASKS).await;
    let mut back_end = next(connections).await;
    back_end.head().await;
    back_end.send(AGREES).await;
    client.head().await;
    (client, back_end)
}

#[tokio::test]
async fn bytes_pass_in_both_directions() {
    let (address, mut connections) = back_end().await;
    let mut gateway = Serving::start().await;
    gateway.deploy(&bound(address), 1);
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(ASKS).await;
    let mut back_end = next(&mut connections).await;
    let asked = back_end.head().await.to_lowercase();
    assert!(
        asked.starts_with("get /base/chat?x=1 http/1.1\r\n"),
        "{asked}"
    );
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
        "sec-websocket-protocol: chat",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(
            asked.contains(&format!("\r\n{line}\r\n")),
            "{line}: {asked}"
        );
    }
    // Bytes right behind the head belong to the tunnel.
    back_end.send(format!("{AGREES}\u{1}first")).await;
    let agreed = client.head().await.to_lowercase();
    assert!(agreed.starts_with("http/1.1 101 "), "{agreed}");
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "sec-websocket-protocol: chat",
    ] {
        assert!(
            agreed.contains(&format!("\r\n{line}\r\n")),
            "{line}: {agreed}"
        );
    }
    client.until("\u{1}first").await;
    client.send("from the client").await;
    back_end.until("from the client").await;
    back_end.send("from the back end").await;
    client.until("from the back end").await;
    drop(client);
    assert_eq!(back_end.rest().await, "");
}

#[tokio::test]
async fn an_ordinary_resource_is_reached_by_a_websocket_too() {
    let (address, mut connections) = back_end().await;
    let mut gateway = Serving::start().await;
    let mut artifact = artifact(&format!("<http uri-template='http://{address}'/>"));
    artifact.api_definition = artifact
        .api_definition
        .map(|api| api.replace("methods=", "url-mapping='/*' methods="));
    gateway.deploy(&artifact, 1);
    let (mut client, mut back_end) = opened(&gateway, &mut connections).await;
    back_end.send("hello").await;
    client.until("hello").await;
}

#[tokio::test]
async fn what_a_plan_asks_besides_is_no_handshake() {
    let (address, mut connections) = back_end().await;
    let (other, noted) = noting(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut gateway = Serving::start().await;
    let mut artifact = bound(address);
    let call = format!(
        "<inSequence><property name='h' expression='$trp:Sec-WebSocket-Version'/><payloadFactory media-type='text'>\
         <format>token</format></payloadFactory><property name='HTTP_METHOD' scope='axis2' value='POST'/>\
         <call><endpoint><http uri-template='http://{other}'/></endpoint></call>\
         <enrich><source type='body'/><target action='remove' type='body'/></enrich>\
         <property name='HTTP_METHOD' scope='axis2' value='GET'/><property name='NO_ENTITY_BODY' scope='axis2' value='true'/><send>"
    );
    artifact.api_definition = artifact
        .api_definition
        .map(|api| api.replace("<inSequence><send>", &call));
    gateway.deploy(&artifact, 1);
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(ASKS).await;
    let asked = next(&mut connections).await.head().await.to_lowercase();
    assert!(asked.contains("upgrade: websocket"), "{asked}");
    let noted = text_of(&noted).to_lowercase();
    assert!(
        noted.starts_with("post ") && !noted.contains("upgrade"),
        "{noted}"
    );
}

#[tokio::test]
async fn a_back_end_may_decline() {
    let (address, mut connections) = back_end().await;
    let mut gateway = Serving::start().await;
    gateway.deploy(&bound(address), 1);
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(ASKS).await;
    let mut back_end = next(&mut connections).await;
    back_end.head().await;
    back_end
        .send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let answer = client.until("no").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn other_upgrades_do_not_travel_on() {
    let (address, mut connections) = back_end().await;
    let mut gateway = Serving::start().await;
    gateway.deploy(
        &artifact(&format!("<http uri-template='http://{address}'/>")),
        1,
    );
    for request in [
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut client = Raw::connect(gateway.addresses.http).await;
        client.send(request).await;
        let mut back_end = next(&mut connections).await;
        let asked = back_end.head().await.to_lowercase();
        assert!(
            !asked.contains("upgrade") && !asked.contains("http2-settings"),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let (address, mut connections) = back_end().await;
    let settings = Settings {
        tunnel_idle: Duration::from_millis(100),
        ..Settings::default()
    };
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(&bound(address), 1);
    let (mut client, mut back_end) = opened(&gateway, &mut connections).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(back_end.rest().await, "");
}

#[tokio::test]
async fn the_access_log_tells_of_a_tunnel_when_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let destination = Destination::File(file.clone());
    let (address, mut connections) = back_end().await;
    let settings = Settings {
        access_log: Some(AccessLog::start(destination, Format::Json, false).unwrap()),
        ..Settings::default()
    };
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(&bound(address), 1);
    let (mut client, mut back_end) = opened(&gateway, &mut connections).await;
    client.send("12345").await;
    back_end.until("12345").await;
    back_end.send("678").await;
    client.until("678").await;
    drop((client, back_end));
    gateway.end().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["status"], 101, "{text}");
    assert_eq!(line["bytes"], 8);
    assert_eq!(line["target"], "/a/chat");
}

#[tokio::test]
async fn tunnels_may_end_within_the_drain_and_are_cut_after_it() {
    // The drain is long: the tunnel ends by itself, and the shutdown with it.
    let (address, mut connections) = back_end().await;
    let mut gateway = Serving::start().await;
    gateway.deploy(&bound(address), 1);
    let (mut client, mut back_end) = opened(&gateway, &mut connections).await;
    gateway.shutdown.cancel();
    in_time("the port is closed", async {
        while tokio::net::TcpStream::connect(gateway.addresses.http)
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    back_end.send("still there").await;
    client.until("still there").await;
    drop((client, back_end));
    in_time("the shutdown", gateway.end()).await;

    let mut settings = Settings::default();
    settings.limits.drain = Duration::from_millis(100);
    let mut gateway = Serving::with(settings).await;
    gateway.deploy(&bound(address), 1);
    let (mut client, mut back_end) = opened(&gateway, &mut connections).await;
    in_time("the shutdown", gateway.end()).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(back_end.rest().await, "");
}
