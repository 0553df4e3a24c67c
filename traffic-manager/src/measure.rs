//! What the traffic manager tells Prometheus. The table of all names is in the README.

use std::sync::atomic::Ordering;
use std::time::Duration;

use artifact::{DeploymentAction, DeploymentNotices, Digest, GatewayNotice, NoticeKind};
use metrics::{counter, gauge, histogram};
use tokio::time::timeout;

use crate::{TrafficManager, repairs};

/// A scrape waits so long for the database at most.
const PATIENCE: Duration = Duration::from_secs(2);

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
    // Without the database they are as it was when it could last be asked.
    let look = manager.presence.look(&manager.store, kit::clock::now_ms());
    let _ = timeout(PATIENCE, look).await;
    let gateways = manager.presence.gateways();
    let live = || gateways.iter().filter(|gateway| gateway.online);
    let online = live().count();
    gauge!("lockstep_gateways", "status" => "online").set(online as f64);
    gauge!("lockstep_gateways", "status" => "offline").set((gateways.len() - online) as f64);
    let conflicts = gateways.iter().filter(|gateway| gateway.conflict).count();
    gauge!("lockstep_gateway_conflicts").set(conflicts as f64);
    let held = gateways.iter().map(|seen| repairs::held(&seen.row).len());
    gauge!("lockstep_held_repairs").set(held.sum::<usize>() as f64);
    for (label, seq) in &seqs {
        let carriers = live().filter(|gateway| gateway.row.labels.contains(label));
        let applied = carriers.map(|gateway| gateway.row.applied.get(label).copied().unwrap_or(0));
        let lag = applied
            .min()
            .map_or(0, |slowest| seq.saturating_sub(slowest));
        gauge!("lockstep_convergence_lag_entries", "label" => label.to_string()).set(lag as f64);
    }
}

/// Counts a gateway's notice.
pub(crate) fn gateway(notice: &GatewayNotice) {
    let kind = match notice.payload_type {
        NoticeKind::Register => "register",
        NoticeKind::Heartbeat => "heartbeat",
        NoticeKind::Deregister => "deregister",
    };
    counter!("lockstep_gateway_notices_total", "kind" => kind).increment(1);
}

/// Counts deployments, and how long after its publication each revision answered requests: from
/// the saver's clock to this one's.
pub(crate) fn deployments(manager: &TrafficManager, notices: &DeploymentNotices, now: i64) {
    for notice in &notices.list {
        let succeeded = notice.deployment_status == "SUCCESS";
        let result = if succeeded { "success" } else { "failure" };
        counter!("lockstep_deployments_total", "result" => result).increment(1);
        if !succeeded || notice.action != DeploymentAction::Deploy {
            continue;
        }
        let digest = Digest::parse(&notice.revision_id).ok();
        let saved = digest.and_then(|digest| manager.logs.saved(&notice.api_id, digest));
        // What was saved before the gateway started says nothing about how fast it got there.
        let started = manager.presence.started(&notice.gateway_id);
        if let (Some(saved), Some(started)) = (saved, started)
            && saved >= started
        {
            let seconds = (now - saved).max(0) as f64 / 1000.0;
            histogram!("lockstep_publish_to_deployed_seconds").record(seconds);
        }
    }
}
