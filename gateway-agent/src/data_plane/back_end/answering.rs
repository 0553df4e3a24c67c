//! A connection to a back end that may answer, and close, before it has taken the whole request: what
//! cannot be sent any more is no failure as long as there may be an answer to read (RFC 9112, 9.5).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Who reads from it finds the answer, or the end.
pub(super) struct Answering<S> {
    stream: S,
    /// The other side takes nothing any more; what is written is dropped.
    is_deaf: bool,
}

impl<S> Answering<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            is_deaf: false,
        }
    }

    fn taken<T>(&mut self, written: io::Result<T>, dropped: T) -> io::Result<T> {
        match written {
            Err(error) => {
                tracing::debug!(%error, "a back end takes nothing more of a request");
                self.is_deaf = true;
                Ok(dropped)
            }
            written => written,
        }
    }
}

impl<S: Read + Unpin> Read for Answering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Answering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Ready(Ok(data.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, data));
        Poll::Ready(self.taken(written, data.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = || data.iter().map(|piece| piece.len()).sum();
        if self.is_deaf {
            return Poll::Ready(Ok(length()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, data));
        Poll::Ready(self.taken(written, length()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(self.taken(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
