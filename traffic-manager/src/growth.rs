//! How an instance learns that label logs have grown: from the events, from the database where it
//! can tell, and from looking again and again.

use std::time::Duration;

use events::{Bus, Heard};
use kit::backoff::{Backoff, spread};
use store::Store;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::logs::Logs;

/// Waits between looks that fail, and between attempts to listen.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    most: Duration::from_secs(5),
};
/// While the database tells of growth, it is looked at this often, or as seldom as otherwise: it may
/// have stopped to tell.
const WHILE_TOLD: Duration = Duration::from_secs(1);

/// Looks at the database again and again, and at once when woken. `told` is whether the database
/// tells of growth by itself.
pub(crate) async fn poll(
    logs: Logs,
    interval: Duration,
    woken: &Notify,
    told: watch::Receiver<bool>,
    shutdown: CancellationToken,
) {
    let mut failures = 0;
    loop {
        let wait = match logs.refresh().await {
            Ok(()) => {
                failures = 0;
                if *told.borrow() {
                    interval.max(WHILE_TOLD)
                } else {
                    interval
                }
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "cannot read the label logs, trying again");
                BACKOFF.wait_with_jitter(failures, spread())
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = woken.notified(), if failures == 0 => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Wakes the poll with each event: what it says is looked up, not believed.
pub(crate) async fn listen(bus: &Bus, woken: &Notify, shutdown: CancellationToken) {
    let mut events = bus.subscribe();
    loop {
        let heard = tokio::select! {
            () = shutdown.cancelled() => return,
            heard = events.next() => heard,
        };
        match heard {
            Some(Heard::Event(_)) => woken.notify_one(),
            Some(Heard::Subscribed | Heard::Lost) => {}
            None => return,
        }
    }
}

/// Wakes the poll whenever the database tells that a log has grown, where it can.
pub(crate) async fn hear(
    store: &Store,
    woken: &Notify,
    told: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let mut failures = 0;
    loop {
        let heard = async {
            let Some(mut growing) = store.growing().await? else {
                return Ok(());
            };
            failures = 0;
            told.send_replace(true);
            loop {
                // Also at first: what came before somebody listened.
                woken.notify_one();
                growing.next().await?;
            }
        };
        let heard: Result<(), store::StoreError> = tokio::select! {
            () = shutdown.cancelled() => return,
            heard = heard => heard,
        };
        told.send_replace(false);
        let Err(error) = heard else {
            return;
        };
        failures += 1;
        tracing::debug!(%error, failures, "the database does not tell of growth, looking instead");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(BACKOFF.wait_with_jitter(failures, spread())) => {}
        }
    }
}
