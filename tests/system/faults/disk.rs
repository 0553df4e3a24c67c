//! The disk of a gateway's snapshot is full, or cannot be written: the gateway goes on, says so, and
//! writes again when it can.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::cluster::Cluster;
use crate::kit_of_tests::eventually;
use crate::nodes::Ground;

/// A small file system of its own.
struct Disk(TempDir);

impl Disk {
    /// `None` where it cannot be mounted; that is told.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", path];
        let mounted = Command::new("mount").args(arguments).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(directory));
        }
        // Not by a print macro: the test runner keeps those of tests that pass.
        let line = "LEFT OUT: a full disk: only root can mount one\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// `ro` or `rw`.
    fn remount(&self, how: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(self.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A gateway may still have files open there.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

/// A gateway whose snapshot is on the disk.
async fn start(disk: &Disk) -> Cluster {
    let mut cluster = Cluster::start(&Ground::default(), 0, "").await;
    let member = cluster.member("gw", |text| {
        format!(
            "{text}\n[gateway.snapshot]\ndirectory = {:?}\n",
            disk.path()
        )
    });
    cluster.gateways.push(member);
    cluster.start_gateway(0).await;
    cluster.converged().await;
    cluster.is_written(cluster.running().next().unwrap()).await;
    cluster
}

/// Waits until the gateway says that it cannot write what it has applied.
async fn says_that_it_waits(cluster: &Cluster) {
    let gateway = cluster.running().next().unwrap();
    eventually("the gateway says that its disk fails", || async {
        let snapshot = &cluster.nodes.state(gateway).await["snapshot"];
        let fails = snapshot["failures"].as_u64()? > 0 && snapshot["waiting"] == true;
        fails.then_some(())
    })
    .await;
}

/// Waits until everything is written, and starts the gateway from that alone. Returns what it has
/// logged before.
async fn starts_from_what_was_written(cluster: &mut Cluster) -> String {
    let gateway = cluster.gateways[0].running.take().unwrap();
    cluster.is_written(&gateway).await;
    cluster.nodes.manager.take().unwrap().kill().await;
    let log = gateway.running.log().await;
    cluster.start_gateway(0).await;
    let gateway = cluster.running().next().unwrap();
    let expected = cluster.publisher.expected();
    cluster.serves(gateway, &expected).await;
    assert_eq!(cluster.nodes.state(gateway).await["pulled"], 0);
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_nothing() {
    let Some(disk) = Disk::mount() else { return };
    let mut cluster = start(&disk).await;
    let publisher = cluster.publisher.clone();
    let load = cluster.load(200);
    disk.fill();
    publisher.publish_large("large", 2, 3_000_000).await;
    publisher.changes(0..30).await;
    cluster.converged().await;
    says_that_it_waits(&cluster).await;
    // Also one that starts now.
    let away = cluster.without_gateway(0, async {}).await;
    publisher.changes(30..60).await;
    cluster.converged().await;
    says_that_it_waits(&cluster).await;
    disk.empty();
    cluster.is_written(cluster.running().next().unwrap()).await;
    load.stop().await.judge(&[away]);
    let log = starts_from_what_was_written(&mut cluster).await;
    for line in [
        "the snapshot cannot be written",
        "the snapshot is written again",
    ] {
        assert!(log.contains(line), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_read_only_stops_nothing() {
    let Some(disk) = Disk::mount() else { return };
    let mut cluster = start(&disk).await;
    let publisher = cluster.publisher.clone();
    // Newer than the older state that is kept.
    publisher.changes(0..30).await;
    cluster.converged().await;
    cluster.is_written(cluster.running().next().unwrap()).await;
    cluster.nodes.manager.take().unwrap().kill().await;
    cluster.kill_gateway(0).await;
    disk.remount("ro");
    // It serves what is there, alone …
    cluster.start_gateway(0).await;
    let gateway = cluster.running().next().unwrap();
    cluster.serves(gateway, &publisher.expected()).await;
    // … and deploys what comes.
    let load = cluster.load(200);
    cluster.nodes.start_manager().await;
    publisher.changes(30..60).await;
    cluster.converged().await;
    says_that_it_waits(&cluster).await;
    disk.remount("rw");
    cluster.is_written(cluster.running().next().unwrap()).await;
    load.stop().await.judge(&[]);
    let log = starts_from_what_was_written(&mut cluster).await;
    for line in [
        "the snapshot cannot be written",
        "the snapshot is written again",
    ] {
        assert!(log.contains(line), "{log}");
    }
}
