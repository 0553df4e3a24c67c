//! Writes that go out together.
//!
//! A small write waits until what else is ready on its thread has had its turn; then all that have
//! come together go out one behind the other. The other sides find several messages when they wake
//! up, and the connections need not be polled once more for it: one of them, which was the first,
//! sends for all. What cannot be sent at once goes out as the other side takes it, without the
//! connection; it is no more than [`SMALL`].

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes of a connection that wait at most. Larger writes do not wait: they are worth their own call,
/// and would be copied.
const SMALL: usize = 4096;

/// Connections of one batch.
const MOST: usize = 64;

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
struct Outlet {
    writes: OwnedWriteHalf,
    out: Mutex<Out>,
}

#[derive(Default)]
struct Out {
    /// Bytes that have been taken, and not sent.
    unsent: Vec<u8>,
    /// It is in a batch, which will send them.
    waits: bool,
    failure: Option<io::Error>,
}

/// Outlets with something to send; `None` once it has been sent.
struct Batch(Mutex<Option<Vec<Arc<Outlet>>>>);

thread_local! {
    /// The batch that writes of this thread join.
    static OPEN: RefCell<Option<Arc<Batch>>> = const { RefCell::new(None) };
}

/// Sends what waits on this thread, before something that takes long.
pub(crate) fn send_waiting() {
    let open = OPEN.with_borrow_mut(Option::take);
    if let Some(batch) = open {
        batch.send();
    }
}

impl Batch {
    /// Puts an outlet into the open batch. Where there is none it is the first of a new one, which the
    /// caller has to send.
    fn join(outlet: &Arc<Outlet>) -> Option<Arc<Self>> {
        let outlet = Arc::clone(outlet);
        let full = OPEN.with_borrow_mut(|open| {
            if let Some(batch) = open
                && let Some(outlets) = lock(&batch.0).as_mut()
            {
                outlets.push(outlet);
                return Ok((outlets.len() >= MOST).then(|| Arc::clone(batch)));
            }
            let batch = Arc::new(Self(Mutex::new(Some(vec![outlet]))));
            *open = Some(Arc::clone(&batch));
            Err(batch)
        });
        match full {
            Err(new) => Some(new),
            Ok(full) => {
                if let Some(batch) = full {
                    batch.send();
                }
                None
            }
        }
    }

    fn send(&self) {
        let outlets = lock(&self.0).take();
        for outlet in outlets.into_iter().flatten() {
            outlet.send();
        }
    }
}

impl Outlet {
    /// Sends what waits, and leaves to a task of its own what cannot be sent now.
    fn send(self: Arc<Self>) {
        let mut out = lock(&self.out);
        out.waits = false;
        match self.push(&mut out) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(()) => return,
            Err(error) => {
                out.fail(error);
                return;
            }
        }
        drop(out);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.send_rest());
        }
    }

    async fn send_rest(self: Arc<Self>) {
        loop {
            let writable = self.writes.writable().await;
            let mut out = lock(&self.out);
            match writable.and_then(|()| self.push(&mut out)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(()) => return,
                Err(error) => {
                    out.fail(error);
                    return;
                }
            }
        }
    }

    /// Sends all that there is, or fails by [`ErrorKind::WouldBlock`].
    fn push(&self, out: &mut Out) -> io::Result<()> {
        while !out.unsent.is_empty() {
            match self.writes.try_write(&out.unsent)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                sent if sent == out.unsent.len() => out.unsent.clear(),
                sent => drop(out.unsent.drain(..sent)),
            }
        }
        Ok(())
    }

    /// Does it again when the connection takes something, for as long as it does not.
    fn poll_io<T>(
        &self,
        context: &mut Context<'_>,
        mut io: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match io() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.writes.as_ref().poll_write_ready(context))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Sends what is left of earlier writes, whatever it waits for.
    fn poll_rest(&self, out: &mut Out, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = out.failure.take() {
            return Poll::Ready(Err(failure));
        }
        self.poll_io(context, || self.push(out))
    }
}

impl Out {
    /// The connection is told when it writes or flushes the next time.
    fn fail(&mut self, error: io::Error) {
        self.unsent.clear();
        self.failure = Some(error);
    }
}

impl Batched {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (reads, writes) = stream.into_split();
        let out = Mutex::default();
        Self {
            reads,
            outlet: Arc::new(Outlet { writes, out }),
            leads: None,
        }
    }

    /// Sends the batch of which this connection was the first, if it is.
    fn send_batch(&mut self) {
        if let Some(leads) = self.leads.take() {
            leads.batch.send();
        }
    }

    /// Takes a write, where it may wait; else all before it have been sent.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut out = lock(&self.outlet.out);
        let fits = out.unsent.len().saturating_add(length) <= SMALL;
        if !(out.waits && fits) {
            if self.leads.is_some() {
                // The others must not wait for this connection.
                drop(out);
                self.send_batch();
                out = lock(&self.outlet.out);
            }
            ready!(self.outlet.poll_rest(&mut out, context))?;
        }
        if !fits {
            return Poll::Ready(Ok(None));
        }
        for piece in pieces {
            out.unsent.extend_from_slice(piece);
        }
        if length > 0 && !std::mem::replace(&mut out.waits, true) {
            drop(out);
            let batch = Batch::join(&self.outlet);
            let waited = false;
            self.leads = batch.map(|batch| Leads { batch, waited });
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
        if self.leads.as_ref().is_some_and(|leads| leads.waited) {
            // Who reads on and on may not come to flush.
            self.send_batch();
        }
        let before = buffer.remaining();
        ready!(Pin::new(&mut self.reads).poll_read(context, buffer))?;
        let is_end = before > 0 && buffer.remaining() == before;
        // Who has failed to send has taken the socket's error, and left it with what looks like an end.
        match is_end
            .then(|| lock(&self.outlet.out).failure.take())
            .flatten()
        {
            Some(failure) => Poll::Ready(Err(failure)),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Batched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_take(context, data))? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => {
                let writes = &self.outlet.writes;
                self.outlet
                    .poll_io(context, || writes.try_write_vectored(data))
            }
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
            self.send_batch();
        }
        let mut out = lock(&self.outlet.out);
        match out.waits {
            // Whoever leads sends it.
            true => Poll::Ready(Ok(())),
            false => self.outlet.poll_rest(&mut out, context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_batch();
        ready!(self.outlet.poll_rest(&mut lock(&self.outlet.out), context))?;
        match SockRef::from(self.outlet.writes.as_ref()).shutdown(Shutdown::Write) {
            // The other side has closed already.
            Err(error) if error.kind() != ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Batched {
    fn drop(&mut self) {
        self.send_batch();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
