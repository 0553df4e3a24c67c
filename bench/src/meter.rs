//! Counts the bytes on the way to a server and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A port whose connections lead to another one.
#[derive(Debug)]
pub struct Meter {
    pub port: u16,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// Listens for as long as this program runs.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn before(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server)).await?;
                    client.set_nodelay(true)?;
                    server.set_nodelay(true)?;
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::try_join!(
                        forward(from_client, to_server, &counted),
                        forward(from_server, to_client, &counted)
                    )?;
                    std::io::Result::Ok(())
                });
            }
        });
        Ok(Self { port, bytes })
    }

    /// In both directions, of all connections: what TCP carries, TLS included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counted: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        counted.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_directions_count() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let meter = Meter::before(server.local_addr().unwrap().port());
        let meter = meter.await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", meter.port)).await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        let mut asked = [0; 3];
        served.read_exact(&mut asked).await.unwrap();
        served.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!((&asked, &answer), (b"ask", b"answer"));
        assert_eq!(meter.bytes(), 9);
    }
}
