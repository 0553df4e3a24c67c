//! No request fails while one API is published again 20 times a second and others come and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cluster::Cluster;
use super::load::{Load, Target};
use super::long;
use crate::nodes::Ground;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_an_api_is_redeployed_20_times_a_second() {
    // 10 seconds, or two minutes.
    let redeployments = if long() { 2400 } else { 200 };
    let mut cluster = Cluster::start(&Ground::default(), 1, "").await;
    let publisher = cluster.publisher.clone();
    publisher.publish("hot", 1).await;
    let member = cluster.member("gw1", |text| text);
    cluster.gateways.push(member);
    cluster.start_gateway(1).await;
    cluster.converged().await;

    let mut targets = Vec::new();
    // Every other request is for the API that is redeployed.
    for other in cluster.targets() {
        let hot = Target {
            api: "hot".into(),
            may_be_absent: false,
            ..other.clone()
        };
        targets.extend([hot, other]);
    }
    let load = Load::start(targets, 500);
    let done = AtomicBool::new(false);
    let redeploying = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        for n in 0..redeployments {
            pace.tick().await;
            publisher.publish("hot", n + 2).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let others = async {
        for n in 0.. {
            publisher.change(n).await;
            if done.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::join!(redeploying, others);
    cluster.converged().await;
    let requests = load.stop().await;
    println!("{}", requests.summary());
    requests.judge(&[]);
    let seen: BTreeSet<u64> = requests.revisions("hot").collect();
    println!("{} of {redeployments} revisions answered", seen.len());
    assert!(seen.len() > 10, "the load has hardly met a redeployment");
}
