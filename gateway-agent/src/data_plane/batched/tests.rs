use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

async fn pair() -> (Batched, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Batched::new(ours.unwrap()), theirs.unwrap().0)
}

/// A write whose connection is not polled any more, as a follower's is not.
async fn written(stream: &mut Batched, data: &[u8]) {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_write(context, data))
        .await
        .unwrap();
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let read = stream.read_exact(&mut data);
    let read = tokio::time::timeout(PATIENCE, read).await;
    read.unwrap().unwrap();
    data
}

#[tokio::test]
async fn the_first_one_sends_for_all() {
    let (mut one, mut first) = pair().await;
    let (mut other, mut second) = pair().await;
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    written(&mut other, b"c").await;
    assert!(one.leads.is_some() && other.leads.is_none());
    one.flush().await.unwrap();
    assert_eq!(read(&mut first, 1).await, b"a");
    assert_eq!(read(&mut second, 2).await, b"bc");
    // The next batch has another one.
    written(&mut other, b"d").await;
    assert!(other.leads.is_some());
    other.flush().await.unwrap();
    assert_eq!(read(&mut second, 1).await, b"d");
}

#[tokio::test]
async fn the_others_are_sent_when_the_first_one_goes() {
    let (mut one, _first) = pair().await;
    let (mut other, mut second) = pair().await;
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    drop(one);
    assert_eq!(read(&mut second, 1).await, b"b");
}

#[tokio::test]
async fn what_waits_is_sent_before_the_end() {
    let (mut one, _first) = pair().await;
    let (mut other, mut second) = pair().await;
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    other.shutdown().await.unwrap();
    let mut all = Vec::new();
    let read = second.read_to_end(&mut all);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert_eq!(all, b"b");
    one.flush().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_takes_its_time_gets_all_in_order() {
    let (mut one, mut theirs) = pair().await;
    SockRef::from(one.outlet.writes.as_ref())
        .set_send_buffer_size(8192)
        .unwrap();
    SockRef::from(&theirs).set_recv_buffer_size(8192).unwrap();
    let lengths = [1, 100, 5000, 3000, 3000, 70_000, 1, 4096, 4097];
    let all: Vec<u8> = (0..=250_u8).cycle().take(1_000_000).collect();
    let (sent, progress) = (all.clone(), Arc::<AtomicUsize>::default());
    let told = Arc::clone(&progress);
    let writes = tokio::spawn(async move {
        let mut rest = &sent[..];
        for length in lengths.into_iter().cycle() {
            let (now, then) = rest.split_at(length.min(rest.len()));
            one.write_all(now).await.unwrap();
            if length % 2 == 0 {
                one.flush().await.unwrap();
            }
            told.fetch_add(now.len(), Ordering::Relaxed);
            rest = then;
            if rest.is_empty() {
                break;
            }
        }
        one.shutdown().await.unwrap();
    });
    // Until the writer has to wait: it does not come any further.
    let mut still = 0;
    let mut came = 0;
    while still < 1000 {
        tokio::task::yield_now().await;
        let now = progress.load(Ordering::Relaxed);
        still = if now == came { still + 1 } else { 0 };
        came = now;
    }
    assert!(came < all.len(), "the connection takes everything");
    let mut got = Vec::new();
    let mut piece = [0; 1000];
    loop {
        let read = tokio::time::timeout(PATIENCE, theirs.read(&mut piece)).await;
        match read.unwrap().unwrap() {
            0 => break,
            read => got.extend_from_slice(&piece[..read]),
        }
    }
    writes.await.unwrap();
    assert!(got == all);
}

/// Writes as much as the connection takes while nobody reads.
fn fill(stream: &Batched) -> usize {
    let mut sent = 0;
    loop {
        match stream.outlet.writes.try_write(&[7; 65_536]) {
            Ok(taken) => sent += taken,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
}

#[tokio::test]
async fn what_a_batch_cannot_send_goes_out_without_the_connection() {
    let (mut one, _first) = pair().await;
    let (mut other, mut second) = pair().await;
    let sent = fill(&other);
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    one.flush().await.unwrap();
    // Nobody polls the other one any more.
    let got = read(&mut second, sent + 1).await;
    assert_eq!(got.last(), Some(&b'b'));
}

#[tokio::test]
async fn nobody_waits_for_a_first_one_that_is_stuck() {
    let (mut one, _first) = pair().await;
    let (mut other, mut second) = pair().await;
    fill(&one);
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    let large = vec![0; 2 * SMALL];
    assert!(tried(&mut one, &large).is_none(), "the connection is full");
    assert_eq!(read(&mut second, 1).await, b"b");
}

/// What a write gives that is tried once.
fn tried(stream: &mut Batched, data: &[u8]) -> Option<io::Result<usize>> {
    let mut context = Context::from_waker(std::task::Waker::noop());
    match Pin::new(stream).poll_write(&mut context, data) {
        Poll::Ready(written) => Some(written),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_batch_that_is_full_goes_out() {
    let (mut one, mut first) = pair().await;
    written(&mut one, b"a").await;
    let mut others = Vec::new();
    for _ in 1..MOST {
        let (mut other, theirs) = pair().await;
        written(&mut other, b"b").await;
        others.push((other, theirs));
    }
    assert_eq!(read(&mut first, 1).await, b"a");
}

#[tokio::test]
async fn a_failure_is_told_to_the_connection() {
    let (mut one, _first) = pair().await;
    let (mut other, second) = pair().await;
    second.set_zero_linger().unwrap();
    drop(second);
    other.reads.readable().await.unwrap();
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    one.flush().await.unwrap();
    assert!(other.flush().await.is_err());
}

#[tokio::test]
async fn a_failure_is_no_end() {
    let (mut one, _first) = pair().await;
    let (mut other, second) = pair().await;
    second.set_zero_linger().unwrap();
    drop(second);
    other.reads.readable().await.unwrap();
    written(&mut one, b"a").await;
    written(&mut other, b"b").await;
    one.flush().await.unwrap();
    assert!(other.read(&mut [0; 8]).await.is_err());
}
