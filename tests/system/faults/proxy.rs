//! A network that fails: a TCP proxy which refuses, delays, falls silent, and cuts the stream of bytes
//! anywhere, and one that speaks HTTP and cuts an answer in the middle of a line.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::kit_of_tests::raw_client;
use crate::nodes::free_port;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    Fair,
    /// Nobody listens, and connections are reset.
    Refuses,
    /// Connections take everything and give nothing. Those of this time never speak again, as when a
    /// firewall has forgotten them.
    Silent,
    /// Each piece is held back for so long.
    Slow(Duration),
    /// Each connection ends after so many bytes from the server.
    Cuts(u64),
}

/// Between clients and a server on this machine.
pub struct Proxy {
    pub port: u16,
    weather: watch::Sender<Weather>,
    harmed: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let port = free_port();
        let weather = watch::Sender::new(Weather::Fair);
        let harmed = Arc::default();
        let running = run(port, server, weather.subscribe(), Arc::clone(&harmed));
        tokio::spawn(running);
        Self {
            port,
            weather,
            harmed,
        }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections the weather has done something to.
    pub fn harmed(&self) -> u64 {
        self.harmed.load(Ordering::Relaxed)
    }
}

async fn run(port: u16, server: u16, weather: watch::Receiver<Weather>, harmed: Arc<AtomicU64>) {
    let mut seen = weather.clone();
    loop {
        if seen.wait_for(|now| *now != Weather::Refuses).await.is_err() {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (client, _) = accepted.unwrap();
                    let connection = connection(client, server, weather.clone(), Arc::clone(&harmed));
                    tokio::spawn(connection);
                }
                refuses = seen.wait_for(|now| *now == Weather::Refuses) => match refuses {
                    Ok(_) => break,
                    Err(_) => return,
                },
            }
        }
        harmed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn connection(
    client: TcpStream,
    server: u16,
    mut weather: watch::Receiver<Weather>,
    harmed: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let back = pump(from_server, to_client, weather.clone(), true, &harmed);
    let forth = pump(from_client, to_server, weather.clone(), false, &harmed);
    // Both directions end together.
    tokio::select! {
        () = back => {}
        () = forth => {}
        _ = weather.wait_for(|now| *now == Weather::Refuses) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    is_answer: bool,
    harmed: &AtomicU64,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    let mut silent = false;
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(read) if read > 0 => read,
            _ => return,
        };
        let mut piece = &buffer[..read];
        let now = *weather.borrow();
        let mut last = false;
        match now {
            Weather::Silent if !silent => {
                silent = true;
                harmed.fetch_add(1, Ordering::Relaxed);
            }
            Weather::Slow(time) => {
                harmed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(time).await;
            }
            Weather::Cuts(most) if is_answer && passed + read as u64 >= most => {
                harmed.fetch_add(1, Ordering::Relaxed);
                let rest = most.saturating_sub(passed);
                piece = &piece[..usize::try_from(rest).unwrap()];
                last = true;
            }
            _ => {}
        }
        if silent {
            continue;
        }
        if to.write_all(piece).await.is_err() || last {
            return;
        }
        passed += read as u64;
    }
}

/// How an answer ends too early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    Never,
    /// In the middle of a line, by the end of the connection.
    Broken,
    /// In the middle of a line, as if that were its end.
    Ended,
}

/// Speaks HTTP and TLS as the traffic manager, and asks it.
pub struct HttpProxy {
    pub port: u16,
    cut: watch::Sender<Cut>,
    cuts: Arc<AtomicU64>,
}

impl HttpProxy {
    /// `directory` is the test's; `server` is `https://localhost:1234`.
    pub async fn start(directory: &Path, server: String) -> Self {
        let identity = kit::tls::development_identity(&directory.join("data"), "localhost");
        let mut tls = kit::tls::server_config(&identity.unwrap(), None).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, cuts) = (watch::Sender::new(Cut::Never), Arc::default());
        let asked = Asked {
            client: raw_client(directory, "gateway"),
            server,
            cut: cut.subscribe(),
            cuts: Arc::clone(&cuts),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, asked) = (tls.clone(), asked.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| asked.clone().answer(request));
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = serving.await;
                });
            }
        });
        Self { port, cut, cuts }
    }

    pub fn set(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }

    /// How many answers were cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Asked {
    client: reqwest::Client,
    server: String,
    cut: watch::Receiver<Cut>,
    cuts: Arc<AtomicU64>,
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

impl Asked {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let url = format!("{}{}", self.server, parts.uri);
        let body = body.collect().await.map(|body| body.to_bytes());
        let mut asked = self.client.request(parts.method, url).body(body.unwrap());
        // Without an encoding, so that lines can be seen.
        for name in [header::CONTENT_TYPE, header::IF_NONE_MATCH] {
            if let Some(value) = parts.headers.get(&name) {
                asked = asked.header(name, value);
            }
        }
        let Ok(answer) = asked.send().await else {
            let empty = http_body_util::Empty::new().map_err(|never| match never {});
            let answer = Response::builder().status(502);
            return Ok(answer.body(empty.boxed_unsync()).unwrap());
        };
        let mut made = Response::builder().status(answer.status());
        if let Some(value) = answer.headers().get(header::CONTENT_TYPE) {
            made = made.header(header::CONTENT_TYPE, value);
        }
        let pieces = futures_util::stream::unfold(
            (Box::pin(answer.bytes_stream()), self, false),
            |(mut pieces, asked, ended)| async move {
                if ended {
                    return None;
                }
                let piece = pieces.next().await?;
                let Ok(piece) = piece else {
                    return Some((Err(std::io::Error::other("cut")), (pieces, asked, true)));
                };
                let cut = *asked.cut.borrow();
                let text = String::from_utf8_lossy(&piece);
                match text.find("\"artifact\":") {
                    Some(at) if cut != Cut::Never => {
                        asked.cuts.fetch_add(1, Ordering::Relaxed);
                        if cut == Cut::Broken {
                            let error = Err(std::io::Error::other("cut"));
                            return Some((error, (pieces, asked, true)));
                        }
                        let piece = piece.slice(..at + 20);
                        Some((Ok(piece), (pieces, asked, true)))
                    }
                    _ => Some((Ok(piece), (pieces, asked, false))),
                }
            },
        );
        let body = StreamBody::new(pieces.map(|piece| piece.map(Frame::data)));
        Ok(made.body(body.boxed_unsync()).unwrap())
    }
}
