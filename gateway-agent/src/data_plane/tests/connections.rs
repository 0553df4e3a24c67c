//! Connections to back ends: kept, used again, and given up.

use tokio::net::TcpListener;

use super::raw::Raw;
use super::{Serving, artifact};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// A gateway with one back end that is played by hand.
async fn gateway() -> (Serving, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut gateway = Serving::start().await;
    let endpoint = format!("<http uri-template='http://{address}'/>");
    gateway.deploy(&artifact(&endpoint), 1);
    (gateway, listener)
}

async fn accepted(listener: &TcpListener) -> Raw {
    Raw::of(listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (gateway, listener) = gateway().await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(REQUEST).await;
    let mut back_end = accepted(&listener).await;
    for _ in 0..3 {
        back_end.head().await;
        back_end.send(ANSWER).await;
        client.until("ok").await;
        client.send(REQUEST).await;
    }
    back_end.head().await;
}

#[tokio::test]
async fn a_response_that_comes_in_pieces_leaves_the_connection_behind() {
    let (gateway, listener) = gateway().await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(REQUEST).await;
    let mut back_end = accepted(&listener).await;
    back_end.head().await;
    back_end
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    client.until("one\r\n").await;
    back_end.send("3\r\ntwo\r\n0\r\n\r\n").await;
    client.until("two\r\n0\r\n\r\n").await;
    // It may be that the last piece has come before the connection has been put back: then there is
    // one more, but not one for each request.
    for _ in 0..3 {
        client.send(REQUEST).await;
        tokio::select! {
            _ = back_end.head() => {}
            other = accepted(&listener) => {
                back_end = other;
                back_end.head().await;
            }
        }
        back_end.send(ANSWER).await;
        client.until("ok").await;
    }
    client.send(REQUEST).await;
    back_end.head().await;
}

#[tokio::test]
async fn a_connection_that_the_back_end_has_closed_is_not_used() {
    let (gateway, listener) = gateway().await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    for _ in 0..3 {
        client.send(REQUEST).await;
        let mut back_end = accepted(&listener).await;
        back_end.head().await;
        back_end.send(ANSWER).await;
        client.until("ok").await;
        // Closed behind the answer, and the gateway's side knows.
        drop(back_end);
    }
}

#[tokio::test]
async fn a_response_may_begin_before_the_request_has_ended() {
    let (gateway, listener) = gateway().await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client
        .send("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    let mut back_end = accepted(&listener).await;
    back_end.until("one\r\n").await;
    back_end
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")
        .await;
    client.until("early\r\n").await;
    client.send("3\r\ntwo\r\n0\r\n\r\n").await;
    back_end.until("two\r\n0\r\n\r\n").await;
    back_end.send("4\r\nlate\r\n0\r\n\r\n").await;
    client.until("late\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_connection_with_it() {
    let (gateway, listener) = gateway().await;
    let mut client = Raw::connect(gateway.addresses.http).await;
    client.send(REQUEST).await;
    let mut back_end = accepted(&listener).await;
    back_end.head().await;
    drop(client);
    // The response would be nobody's, and the next request's answer behind it.
    assert_eq!(back_end.rest().await, "");
}
