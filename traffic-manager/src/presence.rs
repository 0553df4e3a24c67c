//! Which gateways are there: looked up again and again, so that one that falls silent is told of,
//! and once more so that the metrics know.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use store::{GatewayRow, Store, StoreError};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::instances;

/// All gateways as they last described themselves to any instance. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    known: Arc<RwLock<HashMap<String, Seen>>>,
    /// One look at a time.
    looks: Arc<Mutex<Looks>>,
    /// One that is silent for longer is offline, milliseconds.
    expiry: i64,
}

/// Milliseconds since the epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    last: i64,
    /// Until then, silence is not held against a gateway that was online.
    grace: i64,
}

/// A gateway when it was last looked for.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) row: GatewayRow,
    pub(crate) online: bool,
    /// A second process has its id.
    pub(crate) conflict: bool,
}

impl Presence {
    pub(crate) fn new(expiry: i64) -> Self {
        Self {
            known: Arc::default(),
            looks: Arc::default(),
            expiry,
        }
    }

    /// Looks until shutdown.
    pub(crate) async fn watch(&self, store: &Store, shutdown: CancellationToken) {
        let interval = Duration::from_millis(self.expiry.unsigned_abs() / 4);
        let interval = interval.clamp(Duration::from_millis(250), Duration::from_secs(5));
        loop {
            if let Err(error) = self.look(store, kit::clock::now_ms()).await {
                // The poll of the label logs tells it louder.
                tracing::debug!(%error, "the gateways cannot be read");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Looks once, and tells of gateways that have fallen silent or are back.
    ///
    /// # Errors
    /// When the database fails; what was known stays.
    pub(crate) async fn look(&self, store: &Store, now: i64) -> Result<(), StoreError> {
        let mut looks = self.looks.lock().await;
        let rows = store.gateways().await?;
        if looks.last > 0 && now - looks.last > self.expiry {
            // The database was away, so no gateway could be heard: each gets time to speak again.
            looks.grace = now + self.expiry;
        }
        looks.last = now;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let gateway_id = row.gateway_id.as_str();
            let silent_ms = now - row.last_seen;
            let before = known.get(gateway_id).map(|seen| seen.online);
            let excused = now < looks.grace && before == Some(true);
            let online = silent_ms <= self.expiry || excused;
            let conflict = instances::other(&row, now, self.expiry);
            let conflicted = known.get(gateway_id).is_some_and(|seen| seen.conflict);
            match (conflicted, &conflict) {
                (false, Some(other)) => tracing::error!(
                    gateway_id,
                    urls = ?row.urls,
                    other = ?other.urls,
                    "TWO GATEWAYS HAVE ONE ID: what the other one runs is not known; \
                     give each one its own ([gateway] id)"
                ),
                (true, None) => tracing::info!(gateway_id, "one gateway has this id again"),
                _ => {}
            }
            match (before, online) {
                (Some(true) | None, false) => {
                    tracing::warn!(gateway_id, silent_ms, "gateway offline: no heartbeat");
                }
                (Some(false), true) => tracing::info!(gateway_id, "gateway online again"),
                _ => {}
            }
            found.insert(
                gateway_id.to_owned(),
                Seen {
                    row,
                    online,
                    conflict: conflict.is_some(),
                },
            );
        }
        *known = found;
        Ok(())
    }

    /// As of the last look.
    pub(crate) fn gateways(&self) -> Vec<Seen> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    /// When a gateway has started, if it is known, milliseconds since the epoch.
    pub(crate) fn started(&self, gateway_id: &str) -> Option<i64> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Some(known.get(gateway_id)?.row.registered)
    }
}

#[cfg(test)]
mod tests {
    use store::{Database, Said, StoreOptions};

    use super::*;

    #[tokio::test]
    async fn a_silent_gateway_is_offline_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::file(&directory.path().join("lockstep.db")).unwrap(),
            dc: "DC1".into(),
            history_size: 1,
        };
        let store = Store::open(&options).await.unwrap();
        let beats = async |now| {
            let row = GatewayRow {
                gateway_id: "g".into(),
                labels: Vec::new(),
                urls: Vec::new(),
                tenants: Vec::new(),
                properties: serde_json::Map::new(),
                applied: std::collections::BTreeMap::new(),
                registered: 5,
                last_seen: now,
            };
            let said = Said {
                seen: vec![row],
                ..Said::default()
            };
            store.record(&said).await.unwrap();
        };
        let presence = Presence::new(100);
        let mut online = Vec::new();
        beats(5).await;
        for now in [5, 60, 105, 106] {
            presence.look(&store, now).await.unwrap();
            online.push(presence.gateways()[0].online);
        }
        beats(110).await;
        presence.look(&store, 111).await.unwrap();
        online.push(presence.gateways()[0].online);
        assert_eq!(online, [true, true, true, false, true]);
        // The database could not be asked for long: nobody could be heard.
        presence.look(&store, 400).await.unwrap();
        assert!(presence.gateways()[0].online);
        presence.look(&store, 499).await.unwrap();
        assert!(presence.gateways()[0].online);
        presence.look(&store, 500).await.unwrap();
        assert!(!presence.gateways()[0].online);
        assert_eq!(presence.started("g"), Some(5));
        assert_eq!(presence.started("nobody"), None);
    }
}
