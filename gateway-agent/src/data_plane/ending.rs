//! Telling connections to end after the request that they are at.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Begins once, for all who watch it.
#[derive(Debug, Default)]
pub(super) struct Ending {
    begun: Arc<AtomicBool>,
    token: CancellationToken,
}

/// The view of one connection. A connection is polled several times for each request: after the
/// first time, to look costs a read.
pub(super) struct Watch {
    begun: Arc<AtomicBool>,
    wakes: Pin<Box<WaitForCancellationFutureOwned>>,
    is_woken: bool,
}

impl Ending {
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(super) fn watch(&self) -> Watch {
        Watch {
            begun: Arc::clone(&self.begun),
            wakes: Box::pin(self.token.clone().cancelled_owned()),
            is_woken: false,
        }
    }
}

impl Watch {
    /// Whether it has begun. If not, the task that has asked first is woken when it does: always ask
    /// from the same one.
    pub(super) fn has_begun(&mut self, context: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.is_woken, true) {
            return self.wakes.as_mut().poll(context).is_ready();
        }
        self.begun.load(Ordering::Acquire)
    }
}
