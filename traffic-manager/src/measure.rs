//! What the traffic manager tells Prometheus. The table of all names is in the README.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use artifact::{DeploymentAction, DeploymentNotices, Digest, GatewayNotice, NoticeKind};
use metrics::{counter, gauge, histogram};
use tokio::time::timeout;

use crate::TrafficManager;

/// A scrape waits so long for the database at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// When each gateway has started, as far as this instance knows: what was published before says
/// nothing about how fast it got there.
pub(crate) type Started = Mutex<HashMap<String, i64>>;

/// Sets the gauges to what is so now.
pub(crate) async fn state(manager: &TrafficManager) {
    let seqs = manager.logs.seqs();
    for (label, seq) in &seqs {
        gauge!("lockstep_label_log_seq", "label" => label.to_string()).set(*seq as f64);
    }
    gauge!("lockstep_watchers").set(manager.logs.followers() as f64);
    let (bytes, artifacts) = manager.blobs.size();
    gauge!("lockstep_artifact_cache_bytes").set(bytes as f64);
    gauge!("lockstep_artifact_cache_artifacts").set(artifacts as f64);
    let counted = manager.blobs.counted();
    let total = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    counter!("lockstep_artifact_cache_hits_total").absolute(total(&counted.hits));
    counter!("lockstep_artifact_database_reads_total").absolute(total(&counted.reads));
    counter!("lockstep_label_log_database_reads_total").absolute(manager.logs.reads());
    let stale = manager.logs.stale_since();
    let stale = stale.map_or(0, |since| kit::clock::now_ms() - since);
    gauge!("lockstep_stale_seconds").set(stale as f64 / 1000.0);
    // Without the database the gauges of gateways stay as they were.
    let Ok(Ok(gateways)) = timeout(PATIENCE, manager.store.gateways()).await else {
        return;
    };
    let now = kit::clock::now_ms();
    let online = |last_seen: i64| now - last_seen <= manager.settings.expiry;
    let (live, silent): (Vec<_>, Vec<_>) = gateways.iter().partition(|row| online(row.last_seen));
    gauge!("lockstep_gateways", "status" => "online").set(live.len() as f64);
    gauge!("lockstep_gateways", "status" => "offline").set(silent.len() as f64);
    for (label, seq) in &seqs {
        let carriers = live.iter().filter(|row| row.labels.contains(label));
        let slowest = carriers.map(|row| row.applied.get(label).copied().unwrap_or(0));
        let lag = slowest
            .min()
            .map_or(0, |slowest| seq.saturating_sub(slowest));
        gauge!("lockstep_convergence_lag_entries", "label" => label.to_string()).set(lag as f64);
    }
    let mut started = started(manager);
    *started = gateways
        .into_iter()
        .map(|row| (row.gateway_id, row.registered))
        .collect();
}

/// Counts a gateway's notice.
pub(crate) fn gateway(manager: &TrafficManager, notice: &GatewayNotice, now: i64) {
    let kind = match notice.payload_type {
        NoticeKind::Register => "register",
        NoticeKind::Heartbeat => "heartbeat",
        NoticeKind::Deregister => "deregister",
    };
    counter!("lockstep_gateway_notices_total", "kind" => kind).increment(1);
    match notice.payload_type {
        NoticeKind::Register => {
            started(manager).insert(notice.gateway_id.clone(), now);
        }
        NoticeKind::Heartbeat => {}
        NoticeKind::Deregister => {
            started(manager).remove(&notice.gateway_id);
        }
    }
}

/// Counts deployments, and how long after its publication each revision answered requests: from
/// the saver's clock to this one's.
pub(crate) fn deployments(manager: &TrafficManager, notices: &DeploymentNotices, now: i64) {
    let started = started(manager);
    for notice in &notices.list {
        let succeeded = notice.deployment_status == "SUCCESS";
        let result = if succeeded { "success" } else { "failure" };
        counter!("lockstep_deployments_total", "result" => result).increment(1);
        if !succeeded || notice.action != DeploymentAction::Deploy {
            continue;
        }
        let digest = Digest::parse(&notice.revision_id).ok();
        let saved = digest.and_then(|digest| manager.logs.saved(&notice.api_id, digest));
        let since = started.get(&notice.gateway_id);
        if let (Some(saved), Some(since)) = (saved, since)
            && saved >= *since
        {
            let seconds = (now - saved).max(0) as f64 / 1000.0;
            histogram!("lockstep_publish_to_deployed_seconds").record(seconds);
        }
    }
}

fn started(manager: &TrafficManager) -> std::sync::MutexGuard<'_, HashMap<String, i64>> {
    let started = manager.started.lock();
    started.unwrap_or_else(PoisonError::into_inner)
}
