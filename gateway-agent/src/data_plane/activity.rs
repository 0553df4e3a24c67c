//! What a connection is at: whether it has asked for anything yet, and of HTTP/2, whether it has
//! streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

/// Shared by a connection and its requests.
#[derive(Debug)]
pub(super) struct Activity {
    has_asked: AtomicBool,
    is_multiplexed: AtomicBool,
    streams: AtomicUsize,
    /// When the last stream ended.
    ended: Mutex<Instant>,
}

/// A stream of HTTP/2, until its answer has been sent or given up.
#[derive(Debug)]
pub(crate) struct Stream(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            has_asked: AtomicBool::default(),
            is_multiplexed: AtomicBool::default(),
            streams: AtomicUsize::default(),
            ended: Mutex::new(Instant::now()),
        }
    }

    /// Takes note of a request. Those of HTTP/1 come one after the other, and the HTTP library looks
    /// after them.
    pub(super) fn request(self: &Arc<Self>, version: Version) -> Option<Stream> {
        self.has_asked.store(true, Ordering::Relaxed);
        if version != Version::HTTP_2 {
            return None;
        }
        self.is_multiplexed.store(true, Ordering::Relaxed);
        self.streams.fetch_add(1, Ordering::AcqRel);
        Some(Stream(Arc::clone(self)))
    }

    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.is_multiplexed.load(Ordering::Relaxed)
    }

    /// How long it has had no stream.
    pub(super) fn idle(&self) -> Duration {
        if self.streams.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.elapsed()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut ended = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = Instant::now();
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
