//! A client that asks again and again until the answer is a new one, and tells when that was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use tokio::sync::oneshot;

use crate::process::PATIENCE;

/// Between two requests: the machine is to work for the sides, not for this.
const PAUSE: Duration = Duration::from_micros(200);

/// Asks on one connection until the answer is of status 200 and holds `mark`; returns when it had
/// come. `asked` is told of the first answer. Blocks: to be called where that is allowed.
///
/// # Errors
/// When the connection fails, or it takes too long.
#[expect(
    clippy::disallowed_methods,
    reason = "on a thread where blocking is allowed"
)]
pub fn until(
    port: u16,
    path: &str,
    mark: &str,
    asked: oneshot::Sender<()>,
) -> anyhow::Result<Instant> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let begun = Instant::now();
    let mut answer = Vec::new();
    let mut asked = Some(asked);
    loop {
        stream.write_all(request.as_bytes())?;
        let is_ok = read(&mut stream, &mut answer)?;
        let now = Instant::now();
        if let Some(asked) = asked.take() {
            // Who does not wait for it needs not be told.
            let _ = asked.send(());
        }
        let holds = answer
            .windows(mark.len())
            .any(|part| part == mark.as_bytes());
        if is_ok && holds {
            return Ok(now);
        }
        ensure!(
            now - begun < PATIENCE,
            "port {port}: {path} does not become {mark}: {}",
            String::from_utf8_lossy(&answer)
        );
        std::thread::sleep(PAUSE);
    }
}

/// Reads one answer, which says how long it is; whether it is of status 200.
fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<bool> {
    answer.clear();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the server has closed the connection");
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .with_context(|| format!("an answer without a length: {head}"))?;
        if answer.len() >= end + 4 + length.trim().parse::<usize>()? {
            return Ok(head.starts_with("http/1.1 200"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_counts_when_it_is_whole_and_new() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = 0;
            for answer in [
                "HTTP/1.1 503 Later\r\nContent-Length: 5\r\n\r\nmark2",
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nmark1",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmark2",
            ] {
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                asked += 1;
                // In two parts.
                let (head, rest) = answer.split_at(answer.len() - 3);
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(rest.as_bytes()).unwrap();
            }
            asked
        });
        let (asked, _) = oneshot::channel();
        until(port, "/x", "mark2", asked).unwrap();
        assert_eq!(server.join().unwrap(), 3);
    }
}
