//! Writes that go out together.
//!
//! A small write waits until everything else that is ready on its thread has had its turn; then all
//! that have come together go out one behind the other. The other sides find several messages when
//! they wake up, and the connections need not be polled once more for it: one of them, which was the
//! first, sends for all.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes of a connection that wait at most. Larger writes do not wait: they are worth their own call,
/// and would be copied.
const SMALL: usize = 4096;

/// A connection whose small writes go out with those of others.
pub(crate) struct Batched {
    reads: OwnedReadHalf,
    outlet: Arc<Outlet>,
    /// The batch that this connection sends.
    leads: Option<Leads>,
}

struct Leads {
    batch: Arc<Batch>,
    /// Whether the others have had their turn.
    waited: bool,
}

/// What goes out of one connection.
struct Outlet(Mutex<Out>);

struct Out {
    writes: OwnedWriteHalf,
    /// Bytes that have been taken, and not sent.
    unsent: Vec<u8>,
    /// It is in a batch, which will send them.
    waits: bool,
    /// Who is told when a batch could not send them.
    waker: Option<Waker>,
    failure: Option<io::Error>,
}

/// Outlets with something to send; `None` once it has been sent.
struct Batch(Mutex<Option<Vec<Arc<Outlet>>>>);

thread_local! {
    /// The batch that writes of this thread join.
    static OPEN: RefCell<Option<Arc<Batch>>> = const { RefCell::new(None) };
}

impl Batch {
    /// Puts an outlet into the open batch. Where there is none it is the first of a new one, which the
    /// caller has to send.
    fn join(outlet: &Arc<Outlet>) -> Option<Arc<Self>> {
        OPEN.with_borrow_mut(|open| {
            if let Some(batch) = open
                && let Some(outlets) = lock(&batch.0).as_mut()
            {
                outlets.push(Arc::clone(outlet));
                return None;
            }
            let batch = Arc::new(Self(Mutex::new(Some(vec![Arc::clone(outlet)]))));
            *open = Some(Arc::clone(&batch));
            Some(batch)
        })
    }

    fn send(&self) {
        let outlets = lock(&self.0).take();
        for outlet in outlets.into_iter().flatten() {
            lock(&outlet.0).send();
        }
    }
}

impl Out {
    /// Sends what waits. What cannot be sent now is left to the connection's own task.
    fn send(&mut self) {
        self.waits = false;
        if self.unsent.is_empty() {
            return;
        }
        match self.writes.try_write(&self.unsent) {
            Ok(sent) if sent == self.unsent.len() => {
                self.unsent.clear();
                return;
            }
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                self.unsent.clear();
                self.failure = Some(error);
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Sends what is left of earlier writes, whatever it waits for.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.writes).poll_write(context, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    fn is_told(&mut self, waker: &Waker) {
        match &self.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => self.waker = Some(waker.clone()),
        }
    }
}

impl Batched {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (reads, writes) = stream.into_split();
        let out = Out {
            writes,
            unsent: Vec::new(),
            waits: false,
            waker: None,
            failure: None,
        };
        Self {
            reads,
            outlet: Arc::new(Outlet(Mutex::new(out))),
            leads: None,
        }
    }

    /// Takes a write of `length` bytes, where they may wait; else all before it have been sent.
    fn poll_take<'p>(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> Poll<io::Result<Option<usize>>> {
        let mut out = lock(&self.outlet.0);
        let fits = out.unsent.len().saturating_add(length) <= SMALL;
        if !(out.waits && fits) {
            ready!(out.poll_rest(context))?;
        }
        if !fits {
            return Poll::Ready(Ok(None));
        }
        for piece in pieces {
            out.unsent.extend_from_slice(piece);
        }
        if !out.waits && length > 0 {
            out.waits = true;
            if let Some(batch) = Batch::join(&self.outlet) {
                let waited = false;
                self.leads = Some(Leads { batch, waited });
            }
        }
        Poll::Ready(Ok(Some(length)))
    }
}

impl AsyncRead for Batched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reads).poll_read(context, buffer)
    }
}

impl AsyncWrite for Batched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pieces = std::iter::once(data);
        match ready!(self.poll_take(context, data.len(), pieces))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => Pin::new(&mut lock(&self.outlet.0).writes).poll_write(context, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = data.iter().map(|piece| piece.len()).sum();
        let pieces = data.iter().map(|piece| &**piece);
        match ready!(self.poll_take(context, length, pieces))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => Pin::new(&mut lock(&self.outlet.0).writes).poll_write_vectored(context, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(leads) = &mut self.leads {
            if !std::mem::replace(&mut leads.waited, true) {
                ready!(pin!(tokio::task::yield_now()).poll(context));
            }
            leads.batch.send();
            self.leads = None;
        }
        let mut out = lock(&self.outlet.0);
        if out.waits {
            // Whoever leads sends it.
            out.is_told(context.waker());
            return Poll::Ready(Ok(()));
        }
        out.poll_rest(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(leads) = self.leads.take() {
            leads.batch.send();
        }
        let mut out = lock(&self.outlet.0);
        ready!(out.poll_rest(context))?;
        Pin::new(&mut out.writes).poll_shutdown(context)
    }
}

impl Drop for Batched {
    fn drop(&mut self) {
        if let Some(leads) = self.leads.take() {
            leads.batch.send();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

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
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
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
        second.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"b");
        one.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_takes_its_time_gets_all_in_order() {
        let (mut one, mut theirs) = pair().await;
        let lengths = [1, 100, 5000, 3000, 3000, 70_000, 1, 4096, 4097];
        let all: Vec<u8> = (0..=250_u8).cycle().take(3_000_000).collect();
        let sent = all.clone();
        let writes = tokio::spawn(async move {
            let mut rest = &sent[..];
            for length in lengths.into_iter().cycle() {
                let (now, then) = rest.split_at(length.min(rest.len()));
                one.write_all(now).await.unwrap();
                if length % 2 == 0 {
                    one.flush().await.unwrap();
                }
                rest = then;
                if rest.is_empty() {
                    break;
                }
            }
            one.shutdown().await.unwrap();
        });
        // Nothing is taken before the writer has to wait.
        tokio::task::yield_now().await;
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        writes.await.unwrap();
        assert!(got == all);
    }

    #[tokio::test]
    async fn a_batch_that_cannot_send_leaves_it_to_the_connection() {
        let (mut one, _first) = pair().await;
        let (mut other, mut second) = pair().await;
        // As much as the connection takes while nobody reads.
        let mut sent = 0;
        let full = loop {
            let writes = &mut lock(&other.outlet.0).writes;
            match writes.try_write(&[7; 65_536]) {
                Ok(taken) => sent += taken,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, ErrorKind::WouldBlock);
        written(&mut one, b"a").await;
        written(&mut other, b"b").await;
        let waits = tokio::spawn(async move {
            // First it is in the batch, then it waits for the reader.
            std::future::poll_fn(|context| Pin::new(&mut other).poll_flush(context)).await?;
            std::future::poll_fn(|context| {
                if lock(&other.outlet.0).waits {
                    return Poll::Pending;
                }
                Pin::new(&mut other).poll_flush(context)
            })
            .await?;
            other.shutdown().await
        });
        tokio::task::yield_now().await;
        one.flush().await.unwrap();
        let got = read(&mut second, sent + 1).await;
        assert_eq!(got.last(), Some(&b'b'));
        waits.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_failure_is_told_to_the_connection() {
        let (mut one, _first) = pair().await;
        let (mut other, second) = pair().await;
        second.set_zero_linger().unwrap();
        drop(second);
        written(&mut one, b"a").await;
        written(&mut other, b"b").await;
        one.flush().await.unwrap();
        assert!(other.flush().await.is_err());
    }
}
