//! Both sides of HTTP as bytes, where a library would hide or mend something.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => panic!("it takes too long: {what}"),
    }
}

/// Waits until it is so.
pub(super) async fn eventually(what: &str, is: impl Fn() -> bool) {
    in_time(what, async {
        while !is() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A connection that is written and read by hand.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
    got: Vec<u8>,
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    pub(super) fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            got: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// What comes, until it ends with `end`; it is taken.
    pub(super) async fn until(&mut self, end: &str) -> String {
        in_time(end, async {
            loop {
                let text = String::from_utf8_lossy(&self.got).into_owned();
                if let Some(at) = text.find(end) {
                    let rest = self.got.split_off(at + end.len());
                    self.got = rest;
                    return text[..at + end.len()].to_owned();
                }
                assert!(self.more().await, "closed before {end:?}: {text}");
            }
        })
        .await
    }

    /// What comes until the other side closes.
    pub(super) async fn rest(&mut self) -> String {
        in_time("the other side closes", async {
            while self.more().await {}
        })
        .await;
        String::from_utf8_lossy(&std::mem::take(&mut self.got)).into_owned()
    }

    /// The head of a message.
    pub(super) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.got.extend_from_slice(&buffer[..read]);
                true
            }
        }
    }
}

/// A back end that notes the bytes it gets, and answers each request's head with `answer`.
pub(super) async fn noting(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&noted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            tokio::spawn(async move {
                let mut seen = 0;
                let mut all = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    all.extend_from_slice(&buffer[..read]);
                    note(&notes, &buffer[..read]);
                    let heads = String::from_utf8_lossy(&all).matches("\r\n\r\n").count();
                    while seen < heads {
                        seen += 1;
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, noted)
}

fn note(noted: &Mutex<Vec<u8>>, bytes: &[u8]) {
    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    noted.extend_from_slice(bytes);
}

pub(super) fn text_of(noted: &Mutex<Vec<u8>>) -> String {
    let noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&noted).into_owned()
}
