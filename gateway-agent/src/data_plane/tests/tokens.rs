//! A back end that wants OAuth tokens, and its token endpoint, over real HTTP.

use super::*;

/// A back end that takes the newest token only, on the same port as its token endpoint.
#[derive(Default)]
struct Secured {
    /// Tokens granted so far: the newest is `t` and that number.
    granted: AtomicUsize,
    refused: AtomicUsize,
    /// The token endpoint answers when so many messages have come to the gateway.
    expects: AtomicU64,
}

impl Secured {
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        messages: &AtomicU64,
    ) -> hyper::Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.uri.path() == "/token" {
            assert_eq!(parts.headers["authorization"], "Basic Y2lkOnNlY3JldA==");
            assert_eq!(body, "grant_type=client_credentials");
            while messages.load(Ordering::SeqCst) < self.expects.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            let number = self.granted.fetch_add(1, Ordering::SeqCst) + 1;
            let token = format!("{{\"access_token\":\"t{number}\",\"expires_in\":3600}}");
            return hyper::Response::new(Full::from(token));
        }
        let newest = format!("Bearer t{}", self.granted.load(Ordering::SeqCst));
        let given = parts.headers.get("authorization");
        if given.is_none_or(|given| given != newest.as_str()) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let refused = hyper::Response::builder().status(401);
            return refused.body(Full::default()).unwrap();
        }
        hyper::Response::new(Full::new(body))
    }

    async fn serve(self: Arc<Self>, messages: Arc<AtomicU64>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, messages) = (Arc::clone(&self), Arc::clone(&messages));
                let service = service_fn(move |request| {
                    let (own, messages) = (Arc::clone(&own), Arc::clone(&messages));
                    async move { Ok::<_, Infallible>(own.answer(request, &messages).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        address
    }
}

fn secured(back_end: SocketAddr, token_endpoint: SocketAddr) -> Artifact {
    let credentials = format!(
        "<authentication><oauth><clientCredentials><clientId>cid</clientId><clientSecret>secret</clientSecret>\
         <tokenUrl>http://{token_endpoint}/token</tokenUrl></clientCredentials></oauth></authentication>"
    );
    artifact(&format!(
        "<http uri-template='http://{back_end}/'>{credentials}</http>"
    ))
}

#[tokio::test]
async fn one_token_serves_all_requests_until_the_back_end_refuses_it() {
    let mut gateway = Serving::start().await;
    let back_end = Arc::new(Secured::default());
    let address = Arc::clone(&back_end)
        .serve(Arc::clone(&gateway.messages))
        .await;
    gateway.deploy(&secured(address, address), 1);
    let before = gateway.messages.load(Ordering::SeqCst);
    back_end.expects.store(before + 6, Ordering::SeqCst);
    let answers = futures_util::future::join_all((0..6).map(|_| gateway.post("hello"))).await;
    assert!(
        answers
            .iter()
            .all(|answer| *answer == (200, "hello".into()))
    );
    assert_eq!(back_end.granted.load(Ordering::SeqCst), 1);

    // Somebody else has got a newer one: the same body is sent once more.
    back_end.granted.fetch_add(1, Ordering::SeqCst);
    assert_eq!(gateway.post("again").await, (200, "again".into()));
    assert_eq!(back_end.granted.load(Ordering::SeqCst), 3);
    assert_eq!(back_end.refused.load(Ordering::SeqCst), 1);

    // A later revision goes on with the token.
    gateway.deploy(&secured(address, address), 2);
    assert_eq!(gateway.post("later").await, (200, "later".into()));
    assert_eq!(back_end.granted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn without_a_token_the_back_end_is_not_called() {
    let mut gateway = Serving::start().await;
    let (back_end, count) = echo().await;
    gateway.deploy(&secured(back_end, nobody().await), 1);
    let (status, answer) = gateway.post("hello").await;
    assert_eq!(status, 500);
    assert!(
        answer.contains("Could not generate access token"),
        "{answer}"
    );
    assert_eq!(count.load(Ordering::Relaxed), 0);
    // The endpoint itself has not failed.
    assert!(gateway.states().contains(&("G".into(), State::Active)));
}
