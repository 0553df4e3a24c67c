//! Telling the traffic manager what was deployed, and that this gateway is alive; hearing which held
//! repairs an operator has accepted.

use std::collections::HashMap;
use std::time::Duration;

use artifact::{
    CONFLICT, DeploymentNotice, DeploymentNotices, GatewayNotice, GatewayNoticeReply, HeldRepair,
    INSTANCE, Label, NoticeKind, UNREGISTERED,
};
use kit::backoff::{Backoff, spread};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::applied::Applied;
use crate::commands::Commands;
use crate::reconciliation::Reconciliation;
use crate::sync_core::Told;

/// What reporting needs to know.
#[derive(Clone, Debug)]
pub struct Reporter {
    pub client: reqwest::Client,
    pub traffic_manager: String,
    pub gateway_id: String,
    pub labels: Vec<Label>,
    /// Where clients reach this gateway.
    pub urls: Vec<String>,
    pub applied: Applied,
    pub reconciliation: Reconciliation,
    /// Where accepted repairs go.
    pub commands: Commands,
    /// Which tenants are loaded; `None` where all are.
    pub tenants: Option<watch::Receiver<Told>>,
    pub heartbeat: Duration,
    pub batch_size: usize,
    pub batch_interval: Duration,
    /// The tenants that are loaded, as of the last look.
    pub loaded: Vec<String>,
}

/// What is remembered of what was said.
struct Said {
    /// Names this process, so that another one with the gateway's id is told apart.
    instance: String,
    /// The newest about each API: said again where the traffic manager does not know it any more.
    all: HashMap<String, DeploymentNotice>,
    /// Another process has the gateway's id.
    conflict: bool,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After news the next heartbeat comes this soon, for it tells how far the logs have been applied, and
/// which tenants are loaded.
const BEAT_AFTER_NEWS: Duration = Duration::from_secs(1);
/// While something is held, a heartbeat asks so often whether it has been accepted: an operator waits
/// for that …
const ASK_AT_FIRST: Duration = Duration::from_secs(2);
/// … at least in the first minutes.
const FIRST_MS: i64 = 10 * 60 * 1000;
const ASK_LATER: Duration = Duration::from_secs(5);
/// Bytes of what is told of held repairs: the traffic manager takes 64 KiB of properties.
const MAX_HELD: usize = 48 * 1024;
/// Bytes of the list of loaded tenants that are told …
const MAX_TENANTS: usize = 60_000;
/// … and of an item besides its name.
const ITEM_BYTES: usize = 3;

/// How long after a heartbeat the next one comes.
fn pause<'a>(
    heartbeat: Duration,
    held: impl Iterator<Item = &'a HeldRepair>,
    now: i64,
) -> Duration {
    let Some(newest) = held.map(|held| held.since).max() else {
        return heartbeat;
    };
    let young = now.saturating_sub(newest) < FIRST_MS;
    heartbeat.min(if young { ASK_AT_FIRST } else { ASK_LATER })
}

impl Reporter {
    /// Sends notices in batches and heartbeats in between, until shutdown; then that the
    /// gateway has ended.
    ///
    /// Notices wait while the traffic manager is away. Only the newest about each API is kept:
    /// that is what counts, and it bounds the memory.
    pub async fn run(
        mut self,
        mut notices: mpsc::UnboundedReceiver<DeploymentNotice>,
        shutdown: CancellationToken,
    ) {
        let backoff = Backoff {
            first: Duration::from_millis(500),
            most: Duration::from_secs(15),
        };
        let mut waiting: HashMap<String, DeploymentNotice> = HashMap::new();
        let mut said = Said {
            instance: uuid::Uuid::new_v4().to_string(),
            all: HashMap::new(),
            conflict: false,
        };
        let mut kind = NoticeKind::Register;
        let mut open = true;
        let mut next_beat = Instant::now();
        let mut failures = 0;
        let mut held = self.reconciliation.held();
        let mut tenants = self.tenants.take();
        while !shutdown.is_cancelled() {
            let now = loaded(&mut tenants);
            if now != self.loaded {
                self.loaded = now;
                next_beat = next_beat.min(Instant::now() + BEAT_AFTER_NEWS.min(self.heartbeat));
            }
            let sent = self
                .speak(&mut kind, &mut said, &mut waiting, &mut next_beat)
                .await;
            let mut wake = match sent {
                Ok(()) => {
                    failures = 0;
                    next_beat
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error, failures, "cannot report to the traffic manager");
                    Instant::now() + backoff.wait_with_jitter(failures, spread())
                }
            };
            // A first notice starts a batch, unless a failure is being waited out.
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep_until(wake) => break,
                    // It lasts as long as this reporter.
                    Ok(()) = held.changed() => {
                        next_beat = Instant::now();
                        wake = if failures == 0 { next_beat } else { wake };
                        if !held.borrow_and_update().held.is_empty() {
                            // What was said may have gone with the database that it was said to.
                            waiting.clone_from(&said.all);
                        }
                        continue;
                    }
                    notice = notices.recv(), if open => match notice {
                        Some(notice) => {
                            said.all.insert(notice.api_id.clone(), notice.clone());
                            waiting.insert(notice.api_id.clone(), notice);
                        }
                        None => open = false,
                    },
                    () = changed(&mut tenants), if failures == 0 => break,
                };
                if failures == 0 && waiting.len() >= self.batch_size {
                    break;
                }
                if failures == 0 {
                    wake = wake.min(Instant::now() + self.batch_interval);
                }
            }
        }
        self.loaded = loaded(&mut tenants);
        // The gateway ends in good order: nobody has to wait for it, or for what it had to say.
        let notice = self.notice(NoticeKind::Deregister, &said);
        if let Err(error) = self.post("notify-gateway", &notice).await {
            tracing::warn!(%error, "ended without telling the traffic manager");
        }
    }

    fn notice(&self, payload_type: NoticeKind, said: &Said) -> GatewayNotice {
        GatewayNotice {
            payload_type,
            gateway_id: self.gateway_id.clone(),
            environment_labels: self.labels.clone(),
            time_stamp: kit::clock::now_ms(),
            gateway_properties: self.properties(&said.instance),
            loading_tenants: self.loaded.clone(),
            urls: self.urls.clone(),
            applied: self.applied.positions(),
        }
    }

    /// What people want to know of a gateway besides.
    fn properties(&self, instance: &str) -> Map<String, Value> {
        let mut properties = Map::new();
        properties.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        properties.insert(INSTANCE.into(), instance.into());
        let reconciled = serde_json::to_value(self.reconciliation.now().within(MAX_HELD));
        properties.insert("reconciliation".into(), reconciled.unwrap_or_default());
        properties
    }

    /// Registers or beats when it is time, then sends what waits.
    async fn speak(
        &self,
        kind: &mut NoticeKind,
        said: &mut Said,
        waiting: &mut HashMap<String, DeploymentNotice>,
        next_beat: &mut Instant,
    ) -> Result<(), String> {
        while *kind == NoticeKind::Register || Instant::now() >= *next_beat {
            let notice = self.notice(*kind, said);
            let reply = self.post("notify-gateway", &notice).await;
            let reply = understood(&reply.map_err(|error| error.to_string())?);
            self.tell_conflict(reply.status == CONFLICT, said);
            if reply.status == UNREGISTERED && *kind == NoticeKind::Heartbeat {
                tracing::warn!(
                    "the traffic manager has forgotten this gateway, telling it everything"
                );
                *kind = NoticeKind::Register;
                waiting.clone_from(&said.all);
                continue;
            }
            // A second registration would make the traffic manager forget what follows.
            *kind = NoticeKind::Heartbeat;
            self.accept(reply).await;
            let reconciled = self.reconciliation.now();
            let pause = pause(
                self.heartbeat,
                reconciled.held.values(),
                kit::clock::now_ms(),
            );
            *next_beat = Instant::now() + pause;
        }
        if !waiting.is_empty() {
            *next_beat = (*next_beat).min(Instant::now() + BEAT_AFTER_NEWS.min(self.heartbeat));
        }
        let mut size = self.batch_size.max(1);
        while !waiting.is_empty() {
            let batch = waiting.values().take(size);
            let list: Vec<DeploymentNotice> = batch.cloned().collect();
            let notices = DeploymentNotices {
                count: list.len(),
                instance: Some(said.instance.clone()),
                list,
            };
            match self.post("notify-api-deployment-status", &notices).await {
                Ok(_) => {}
                Err(PostError::Rejected(_)) if size > 1 => {
                    // One of them is at fault: find it.
                    size = 1;
                    continue;
                }
                Err(PostError::Rejected(reason)) => {
                    let api_id = &notices.list[0].api_id;
                    tracing::error!(
                        api_id,
                        reason,
                        "the traffic manager rejects a report, dropping it"
                    );
                }
                Err(error) => return Err(error.to_string()),
            }
            for notice in &notices.list {
                waiting.remove(&notice.api_id);
            }
        }
        // After a start few come at a time.
        waiting.shrink_to(self.batch_size);
        Ok(())
    }

    fn tell_conflict(&self, conflict: bool, said: &mut Said) {
        let gateway_id = &self.gateway_id;
        match (said.conflict, conflict) {
            (false, true) => tracing::error!(
                gateway_id,
                "ANOTHER GATEWAY HAS THIS ID: what this one runs is not known to the traffic manager; \
                 give each one its own ([gateway] id)"
            ),
            (true, false) => tracing::info!(gateway_id, "no other gateway has this id any more"),
            _ => {}
        }
        said.conflict = conflict;
    }

    /// Hands on what an operator has accepted. What the core does not hold any more changes nothing.
    async fn accept(&self, reply: GatewayNoticeReply) {
        for repair in reply.accepted_repairs {
            match self.commands.accept(repair).await {
                Ok(true) => {
                    let repair = repair.short();
                    tracing::warn!(
                        repair,
                        "an operator has accepted the repair, carrying it out"
                    );
                }
                Ok(false) => tracing::debug!(%repair, "an accepted repair is not held any more"),
                // The gateway ends.
                Err(_) => return,
            }
        }
    }

    /// Returns the body of the answer.
    async fn post(
        &self,
        resource: &str,
        body: &impl serde::Serialize,
    ) -> Result<String, PostError> {
        let url = format!("{}/internal/data/v1/{resource}", self.traffic_manager);
        let request = self.client.post(url).timeout(REQUEST_TIMEOUT).json(body);
        match request.send().await {
            Err(error) => Err(PostError::Failed(kit::http_client::cause(&error))),
            Ok(answer) if answer.status().is_success() => {
                let text = answer.text().await;
                text.map_err(|error| PostError::Failed(kit::http_client::cause(&error)))
            }
            Ok(answer) => {
                let rejected = matches!(answer.status().as_u16(), 400 | 413 | 422);
                let reason = kit::http_client::failure(answer).await;
                Err(if rejected {
                    PostError::Rejected(reason)
                } else {
                    PostError::Failed(reason)
                })
            }
        }
    }
}

/// A reply to a gateway's notice. Another kind of traffic manager may answer anything.
fn understood(text: &str) -> GatewayNoticeReply {
    serde_json::from_str(text).unwrap_or_else(|_| GatewayNoticeReply {
        status: String::new(),
        gateway_id: String::new(),
        accepted_repairs: Vec::new(),
    })
}

/// The tenants that are loaded; none where all are. So many that no notice could hold them are cut off:
/// of the others nobody is told that they are loaded.
fn loaded(tenants: &mut Option<watch::Receiver<Told>>) -> Vec<String> {
    let told = tenants.as_mut().map(watch::Receiver::borrow_and_update);
    let Some(told) = told else {
        return Vec::new();
    };
    let mut left = MAX_TENANTS;
    let fits = |item: &&String| {
        left = left.saturating_sub(item.len() + ITEM_BYTES);
        left > 0
    };
    told.loaded.iter().take_while(fits).cloned().collect()
}

/// Waits until others are loaded.
async fn changed(tenants: &mut Option<watch::Receiver<Told>>) {
    if let Some(tenants) = tenants
        && tenants.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[derive(Debug, thiserror::Error)]
enum PostError {
    /// Saying it again will not help.
    #[error("rejected: {0}")]
    Rejected(String),
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use artifact::Digest;

    use super::*;

    #[test]
    fn any_reply_is_understood() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"status":"ACKNOWLEDGED","gatewayId":"g","acceptedRepairs":["{digest}"],"n":1}}"#
        );
        assert_eq!(understood(&text).accepted_repairs, [digest]);
        let theirs = r#"{"status":"ACKNOWLEDGED","gatewayId":"g"}"#;
        assert!(understood(theirs).accepted_repairs.is_empty());
        for other in ["", "[]", "{}", "acknowledged"] {
            assert_eq!(understood(other).status, "");
        }
    }

    #[test]
    fn heartbeats_come_sooner_while_something_is_held() {
        let seconds = Duration::from_secs;
        let held = |since| HeldRepair {
            repair: Digest::of(b"x"),
            reason: "r".into(),
            removes: 11,
            puts: 0,
            apis: Vec::new(),
            since,
        };
        let (beat, now) = (seconds(30), 100 * FIRST_MS);
        let (old, young) = (held(0), held(now - 1000));
        assert_eq!(pause(beat, [].iter(), now), beat);
        assert_eq!(pause(beat, [&old, &young].into_iter(), now), ASK_AT_FIRST);
        assert_eq!(pause(beat, [&old].into_iter(), now), ASK_LATER);
        assert_eq!(pause(seconds(1), [&old].into_iter(), now), seconds(1));
    }
}
