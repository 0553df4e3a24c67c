//! A gateway that pulls: one connection, one request, the whole answer.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What is asked, and how.
#[derive(Clone)]
pub struct Puller {
    connector: TlsConnector,
    port: u16,
    request: Arc<str>,
    /// A whole answer has at least so many bytes.
    least: u64,
}

const BUFFER: usize = 64 * 1024;

impl Puller {
    /// `data_dir` has the authority of the server's certificate; `more` are lines of the head.
    ///
    /// # Errors
    /// When the authority cannot be read.
    pub fn new(data_dir: &Path, port: u16, path: &str, more: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = kit::tls::certificates(&kit::tls::development_ca(data_dir))?;
        roots.add_parsable_certificates(authority);
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Accept-Encoding: zstd\r\n{more}\r\n"
        );
        Ok(Self {
            connector: Arc::new(config).into(),
            port,
            request: request.into(),
            least: 0,
        })
    }

    /// The same, for answers whose body has so many bytes.
    #[must_use]
    pub fn expecting(self, bytes: usize) -> Self {
        let least = bytes as u64;
        Self { least, ..self }
    }

    /// Pulls once; returns how many bytes came.
    ///
    /// # Errors
    /// When the connection fails, the answer is none of status 200, or not whole.
    pub async fn pull(&self) -> anyhow::Result<u64> {
        let mut received = 0;
        self.answer(|part| received += part.len() as u64).await?;
        let least = self.least;
        ensure!(
            received > least,
            "{received} bytes came, {least} and a head were expected"
        );
        Ok(received)
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// As [`Puller::pull`], and when the answer is cut off.
    pub async fn body(&self) -> anyhow::Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.answer(|part| answer.extend_from_slice(part)).await?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.context("the answer has no body")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let body = &answer[end + 4..];
        match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => Ok(body.to_vec()),
        }
    }

    async fn answer(&self, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = self.connector.connect(name, tcp).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut buffer = vec![0; BUFFER];
        let mut first = true;
        loop {
            let read = stream.read(&mut buffer).await?;
            let part = &buffer[..read];
            if first {
                let start = String::from_utf8_lossy(&part[..part.len().min(100)]);
                ensure!(
                    start.starts_with("HTTP/1.1 200 "),
                    "the answer is {start:?}"
                );
                first = false;
            }
            if read == 0 {
                return Ok(());
            }
            take(part);
        }
    }
}

fn unchunked(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let end = end.context("a chunk has no length")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        let chunk = rest.get(end + 2..end + 2 + length);
        body.extend_from_slice(chunk.context("a chunk is cut off")?);
        if length == 0 {
            return Ok(body);
        }
        rest = rest.get(end + 2 + length + 2..).unwrap_or_default();
    }
}
