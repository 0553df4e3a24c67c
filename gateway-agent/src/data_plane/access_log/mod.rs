//! The access log: a line for each request, written by a thread of its own.
//!
//! A request hands its record over and goes on. Where the writer cannot keep up, records are left
//! out and counted.

mod line;
mod writer;

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::header::{REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use metrics::{Counter, counter};

use crate::sync_core::Deployment;
pub use writer::Destination;
use writer::Writer;

/// How long the writer may take to end.
const END: Duration = Duration::from_secs(5);

/// Lines that were not written.
const LEFT_OUT: &str = "lockstep_gateway_access_log_dropped_total";

/// Records that wait for the writer.
const WAITING: usize = 16 * 1024;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NCSA's combined format, and what a gateway has to tell besides.
    Combined,
    /// An object.
    Json,
}

/// Where requests leave their records. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog(Arc<Inner>);

struct Inner {
    records: SyncSender<Message>,
    left_out: Counter,
    writing: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Record(Box<Record>),
    End,
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Opens the destination and starts the writer. `query`: whether paths have their query.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn start(destination: Destination, format: Format, query: bool) -> io::Result<Self> {
        kit::metrics::init();
        let writer = Writer::open(destination, format, query)?;
        let (records, waiting) = sync_channel(WAITING);
        let writing = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&waiting))?;
        let left_out = counter!(LEFT_OUT);
        left_out.increment(0);
        Ok(Self(Arc::new(Inner {
            records,
            left_out,
            writing: Mutex::new(Some(writing)),
        })))
    }

    /// Writes what waits, and ends the writer. Later records are left out. What cannot be written
    /// within five seconds is not waited for: nothing may keep the process from ending.
    pub(crate) async fn end(&self) {
        let inner = Arc::clone(&self.0);
        let (ending, ended) = tokio::sync::oneshot::channel();
        // A thread of its own: the runtime would wait for one of its.
        let started = std::thread::Builder::new().spawn(move || {
            let writing = inner
                .writing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(writing) = writing
                && inner.records.send(Message::End).is_ok()
            {
                let _ = writing.join();
            }
            let _ = ending.send(());
        });
        if started.is_ok() {
            let _ = tokio::time::timeout(END, ended).await;
        }
    }

    /// Begins the record of a request; it is written when the entry is dropped.
    pub(crate) fn entry(&self, head: &Parts, client: IpAddr, correlation: &HeaderValue) -> Entry {
        let header = |name| head.headers.get(name).cloned();
        let record = Record {
            time: kit::clock::now_ms(),
            client,
            method: head.method.clone(),
            target: head.uri.clone(),
            version: head.version,
            referer: header(REFERER),
            user_agent: header(USER_AGENT),
            correlation: correlation.clone(),
            status: None,
            bytes: 0,
            duration: Duration::ZERO,
            back_end: None,
            deployment: None,
            endpoint: None,
            complete: false,
        };
        Entry {
            log: self.clone(),
            record: Some(Box::new(record)),
            began: Instant::now(),
        }
    }

    fn write(&self, record: Box<Record>) {
        match self.0.records.try_send(Message::Record(record)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.left_out.increment(1);
            }
        }
    }
}

/// What is told about a request.
#[derive(Debug)]
pub(crate) struct Record {
    /// When it came, milliseconds since the epoch.
    time: i64,
    client: IpAddr,
    method: Method,
    target: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    correlation: HeaderValue,
    /// `None`: the connection ended before there was an answer.
    pub(crate) status: Option<StatusCode>,
    /// Of the answer's body, or of both directions of a tunnel.
    pub(crate) bytes: u64,
    /// Until the last byte of the answer was taken over by the connection.
    duration: Duration,
    /// Waiting for heads of back ends' answers.
    pub(crate) back_end: Option<Duration>,
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// The endpoint that was called last.
    pub(crate) endpoint: Option<String>,
    /// Whether the answer was sent to its end.
    pub(crate) complete: bool,
}

/// The record of a request that is being answered.
#[derive(Debug)]
pub(crate) struct Entry {
    log: AccessLog,
    /// There until it is dropped.
    record: Option<Box<Record>>,
    began: Instant,
}

impl Entry {
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.duration = self.began.elapsed();
            self.log.write(record);
        }
    }
}

#[cfg(test)]
mod tests;
