//! The network between a gateway and the traffic manager fails: the gateway serves what it has, and is
//! in step when the network is back.

use std::time::Duration;

use super::cluster::Cluster;
use super::proxy::{Cut, HttpProxy, Proxy, Weather};
use crate::kit_of_tests::eventually;
use crate::nodes::Ground;

/// A gateway notices soon that a stream is silent.
const NOTICES: &str = "[traffic_manager]\nwatch_heartbeat_interval = 500\n";

fn port(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Adds a gateway that finds the traffic manager at another port, and starts it.
async fn start_behind(cluster: &mut Cluster, proxy: u16) {
    let manager = port(&cluster.nodes.manager_url);
    let service = |port| format!("service_url = \"https://localhost:{port}/");
    let member = cluster.member("behind", |text| {
        assert!(text.contains(&service(manager)));
        text.replace(&service(manager), &service(proxy))
    });
    cluster.gateways.push(member);
    cluster.start_gateway(cluster.gateways.len() - 1).await;
    cluster.converged().await;
}

/// The gateway goes on with what it has through all of this weather, and catches up after it.
async fn through(weather: &[Weather]) {
    let mut cluster = Cluster::start(&Ground::default(), 0, NOTICES).await;
    let proxy = Proxy::start(port(&cluster.nodes.manager_url)).await;
    start_behind(&mut cluster, proxy.port).await;
    let load = cluster.load(200);
    let publisher = cluster.publisher.clone();
    for (round, weather) in (0..).zip(weather) {
        let before = proxy.harmed();
        proxy.set(*weather);
        publisher.changes(round * 20..round * 20 + 20).await;
        eventually(&format!("{weather:?} has been felt"), || async {
            (proxy.harmed() > before).then_some(())
        })
        .await;
        proxy.set(Weather::Fair);
        cluster.converged().await;
    }
    let requests = load.stop().await;
    println!("{}", requests.summary());
    requests.judge(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_refused() {
    through(&[Weather::Refuses, Weather::Refuses]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_delayed() {
    through(&[Weather::Slow(Duration::from_millis(200))]).await;
}

/// In a handshake, in a header, in a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_anywhere() {
    let after = [0, 1, 90, 1000, 1800, 2300, 2800, 3500, 5000, 8000];
    through(&after.map(Weather::Cuts)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_fall_silent_for_ever() {
    through(&[Weather::Silent]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_cut_in_their_middle() {
    let mut cluster = Cluster::start(&Ground::default(), 0, NOTICES).await;
    let manager = cluster.nodes.manager_url.clone();
    let proxy = HttpProxy::start(cluster.nodes.directory.path(), manager).await;
    start_behind(&mut cluster, proxy.port).await;
    let load = cluster.load(200);
    let publisher = cluster.publisher.clone();
    for (round, cut) in (0..).zip([Cut::Broken, Cut::Ended]) {
        let before = proxy.cuts();
        proxy.set(cut);
        publisher.changes(round * 20..round * 20 + 20).await;
        eventually("lines are cut", || async {
            (proxy.cuts() > before + 2).then_some(())
        })
        .await;
        proxy.set(Cut::Never);
        cluster.converged().await;
    }
    load.stop().await.judge(&[]);
}

/// A network that lets no connection live for long: each brings the gateway nearer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_longer_than_connections_live_is_pulled_in_pieces() {
    let mut cluster = Cluster::start(&Ground::default(), 0, NOTICES).await;
    let proxy = Proxy::start(port(&cluster.nodes.manager_url)).await;
    let publisher = cluster.publisher.clone();
    for n in 0..100 {
        publisher.publish_large(&format!("large{n}"), 1, 2000).await;
    }
    // About a third of the log.
    proxy.set(Weather::Cuts(70_000));
    start_behind(&mut cluster, proxy.port).await;
    assert!(proxy.harmed() > 0);
}
