//! Writes that wait until everything else that is ready has had its turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Bytes of several pieces that are written as one: to copy them costs less than to have the kernel
/// gather them.
const SMALL: usize = 2048;

/// A stream whose writes come together with those of other streams.
pub(crate) struct Batched<S> {
    stream: S,
    /// Whether the write that comes has waited.
    waited: bool,
}

impl<S> Batched<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            waited: false,
        }
    }

    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waited {
            return Poll::Ready(());
        }
        self.waited = true;
        std::pin::pin!(tokio::task::yield_now()).poll(context)
    }
}

impl<S: Read + Unpin> Read for Batched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Batched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.wait(context));
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, data));
        self.waited = false;
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.wait(context));
        let stream = Pin::new(&mut self.stream);
        let written = match data {
            [piece] => stream.poll_write(context, piece),
            _ if data.iter().map(|piece| piece.len()).sum::<usize>() <= SMALL => {
                let mut small = [0; SMALL];
                let pieces = gathered(data, &mut small);
                stream.poll_write(context, pieces)
            }
            _ => stream.poll_write_vectored(context, data),
        };
        let written = std::task::ready!(written);
        self.waited = false;
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// All pieces in one.
fn gathered<'s>(pieces: &[IoSlice<'_>], small: &'s mut [u8; SMALL]) -> &'s [u8] {
    let mut rest = &mut small[..];
    for piece in pieces {
        let (room, behind) = rest.split_at_mut(piece.len().min(rest.len()));
        room.copy_from_slice(&piece[..room.len()]);
        rest = behind;
    }
    let left = rest.len();
    &small[..SMALL - left]
}
