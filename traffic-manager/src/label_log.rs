//! The label log as a stream of lines: a pull, or with `follow=true` a watch stream.

use std::time::Duration;

use artifact::{Label, LogLine};
use bytes::Bytes;
use futures_util::Stream;
use store::{LogPage, Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::TrafficManager;

/// Pages in memory per follower; a slower reader makes its stream wait …
const BUFFERED: usize = 2;
/// … and is cut when it takes nothing for this long.
const SLOW_READER: Duration = Duration::from_secs(30);

/// A request for a label log.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) label: Label,
    pub(crate) after: u64,
    /// Entries at most, `None` for all.
    pub(crate) limit: Option<u64>,
    pub(crate) follow: bool,
}

/// Starts reading. The first page is read before anything is sent, so that a failing database
/// can still be answered with an error.
pub(crate) async fn stream(
    manager: &TrafficManager,
    pull: Pull,
) -> Result<impl Stream<Item = Result<Bytes, std::io::Error>> + use<>, StoreError> {
    // Subscribed before the first read: growth in between wakes the follower.
    let mut growth = manager.growth.follow(&pull.label);
    growth.borrow_and_update();
    let page = page(&manager.store, &pull, pull.after, manager.settings.page).await?;
    let (sender, receiver) = mpsc::channel(BUFFERED);
    let sending = Sending {
        store: manager.store.clone(),
        page_size: manager.settings.page,
        heartbeat: manager.settings.heartbeat,
        shutdown: manager.shutdown.clone(),
        pull,
        growth,
        sender,
    };
    tokio::spawn(sending.run(page));
    Ok(futures_util::stream::unfold(
        receiver,
        |mut receiver| async {
            let bytes = receiver.recv().await?;
            Some((Ok(bytes), receiver))
        },
    ))
}

async fn page(
    store: &Store,
    pull: &Pull,
    after: u64,
    page_size: u32,
) -> Result<LogPage, StoreError> {
    let limit = pull.limit.map_or(page_size, |limit| {
        u32::try_from(limit).unwrap_or(page_size).min(page_size)
    });
    store.label_log(&pull.label, after, limit.max(1)).await
}

struct Sending {
    store: Store,
    page_size: u32,
    heartbeat: Duration,
    shutdown: CancellationToken,
    pull: Pull,
    growth: tokio::sync::watch::Receiver<u64>,
    sender: mpsc::Sender<Bytes>,
}

impl Sending {
    async fn run(mut self, first: LogPage) {
        let mut page = first;
        loop {
            let reached = page.complete_to;
            let more = page.more;
            let sent = page.entries.len() as u64;
            if !self.send(page).await {
                return;
            }
            if let Some(left) = &mut self.pull.limit {
                *left = left.saturating_sub(sent);
                if *left == 0 {
                    return;
                }
            }
            if !more && !self.pull.follow {
                return;
            }
            if !more && !self.wait_for_growth(reached).await {
                return;
            }
            page = match self::page(&self.store, &self.pull, reached, self.page_size).await {
                Ok(page) => page,
                Err(error) => {
                    // The follower comes back with its cursor.
                    tracing::warn!(%error, label = %self.pull.label, "watch stream cut");
                    return;
                }
            };
            if page.complete_to <= reached {
                // Announced, but not to be read yet: a database that lags behind its events.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Sends the page's lines, and at the end of the log how far it reaches. `false` when the
    /// reader is gone or slow.
    async fn send(&self, page: LogPage) -> bool {
        let mut text = String::new();
        for entry in page.entries {
            let seq = entry.seq;
            match LogLine::Entry(Box::new(entry)).to_text() {
                Ok(line) => text.extend([line.as_str(), "\n"]),
                Err(error) => {
                    tracing::error!(%error, seq, label = %self.pull.label, "entry cannot be written");
                    return false;
                }
            }
        }
        if !page.more {
            text.push_str(&format!("{{\"completeTo\":{}}}\n", page.complete_to));
        }
        self.push(text).await
    }

    async fn push(&self, text: String) -> bool {
        let sent = timeout(SLOW_READER, self.sender.send(text.into())).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Waits until the log has grown beyond `reached`, with heartbeats in between.
    async fn wait_for_growth(&mut self, reached: u64) -> bool {
        loop {
            if *self.growth.borrow_and_update() > reached {
                return true;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return false,
                () = self.sender.closed() => return false,
                changed = self.growth.changed() => if changed.is_err() {
                    return false;
                },
                () = tokio::time::sleep(self.heartbeat) => {
                    let line = format!("{{\"completeTo\":{reached}}}\n");
                    if !self.push(line).await {
                        return false;
                    }
                }
            }
        }
    }
}
