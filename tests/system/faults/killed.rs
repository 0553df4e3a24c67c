//! kill -9 of each part, in the middle of 300 changes and 500 requests a second.

use test_servers::{Kind, Own};

use super::cluster::Cluster;
use super::load::Load;
use crate::kit_of_tests::eventually;
use crate::nodes::Ground;

const CHANGES: u64 = 300;
const GATEWAYS: usize = 3;
const REQUESTS: u32 = 500;

/// The embedded database and the watch stream.
async fn embedded() -> Option<Ground> {
    Some(Ground::default())
}

/// PostgreSQL and the broker.
async fn servers() -> Option<Ground> {
    let what = "faults on PostgreSQL and RabbitMQ";
    Ground::amqp(what).await?.on(Kind::PostgreSql, what).await
}

macro_rules! suite {
    ($($test:ident,)*) => {
        suite!(on_the_embedded_database, embedded: $($test,)*);
        suite!(on_postgresql_and_the_broker, servers: $($test,)*);
    };
    ($name:ident, $ground:ident: $($test:ident,)*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(ground) = super::$ground().await {
                    super::$test(&ground).await;
                }
            })*
        }
    };
}

suite! {
    a_gateway_is_killed,
    the_traffic_manager_is_killed,
    the_saver_is_killed,
}

/// Has been under way for a while.
async fn flows(load: &Load) {
    let before = load.answered();
    eventually("requests are answered", || async {
        (load.answered() >= before + 100).then_some(())
    })
    .await;
}

/// The end of each of these tests.
async fn nothing_was_lost(cluster: &Cluster, load: Load, away: &[super::load::Away]) {
    cluster.converged().await;
    flows(&load).await;
    let requests = load.stop().await;
    println!("{}", requests.summary());
    requests.judge(away);
}

async fn a_gateway_is_killed(ground: &Ground) {
    let mut cluster = Cluster::start(ground, GATEWAYS, "").await;
    let load = cluster.load(REQUESTS);
    let publisher = cluster.publisher.clone();
    publisher.changes(0..100).await;
    let mut away = Vec::new();
    // While changes come in: with what it has on its disk, it has to pull some of them again.
    let meanwhile = async {};
    let killed = cluster.without_gateway(0, meanwhile);
    let (killed, ()) = tokio::join!(killed, publisher.changes(100..150));
    away.push(killed);
    let killed = cluster.without_gateway(1, publisher.changes(150..250));
    away.push(killed.await);
    publisher.changes(250..CHANGES).await;
    assert_eq!(
        publisher.failures(),
        0,
        "a save does not wait for a gateway"
    );
    nothing_was_lost(&cluster, load, &away).await;
}

async fn the_traffic_manager_is_killed(ground: &Ground) {
    let mut cluster = Cluster::start(ground, GATEWAYS, "").await;
    let load = cluster.load(REQUESTS);
    let publisher = cluster.publisher.clone();
    publisher.changes(0..100).await;
    let manager = cluster.nodes.manager.take().unwrap();
    tokio::join!(manager.kill(), publisher.changes(100..150));
    tokio::join!(cluster.nodes.start_manager(), publisher.changes(150..200));
    // At once again, before everything has settled.
    cluster.nodes.manager.take().unwrap().kill().await;
    publisher.changes(200..250).await;
    tokio::join!(
        cluster.nodes.start_manager(),
        publisher.changes(250..CHANGES)
    );
    assert_eq!(
        publisher.failures(),
        0,
        "a save does not wait for the traffic manager"
    );
    nothing_was_lost(&cluster, load, &[]).await;
}

async fn the_saver_is_killed(ground: &Ground) {
    let mut cluster = Cluster::start(ground, GATEWAYS, "").await;
    let load = cluster.load(REQUESTS);
    let publisher = cluster.publisher.clone();
    let changes = publisher.changes(0..CHANGES);
    let mut changes = std::pin::pin!(changes);
    for at in [50, 120, 210] {
        // Somewhere in a change, or between two.
        tokio::select! {
            () = &mut changes => panic!("ended before the saver was killed"),
            () = publisher.reached(at) => {}
        }
        let mut saver = cluster.nodes.saver.take().unwrap();
        let kill = async {
            saver.kill_now().await;
            let before = publisher.failures();
            eventually("a change is not acknowledged", || async {
                (publisher.failures() > before).then_some(())
            })
            .await;
            cluster.nodes.start_saver().await;
        };
        tokio::select! {
            () = &mut changes => panic!("acknowledged by a saver that is dead"),
            () = kill => {}
        }
    }
    changes.await;
    nothing_was_lost(&cluster, load, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_killed() {
    let what = "a broker that is killed";
    let Some(own) = Own::start(Kind::RabbitMq, what).await else {
        return;
    };
    let ground = Ground {
        broker: Some((own.server, "notification".into())),
        ..Ground::default()
    };
    let ground = ground.on(Kind::PostgreSql, what).await.unwrap();
    let cluster = Cluster::start(&ground, GATEWAYS, "").await;
    let load = cluster.load(REQUESTS);
    let publisher = cluster.publisher.clone();
    publisher.changes(0..100).await;
    tokio::join!(own.kill(), publisher.changes(100..200));
    tokio::join!(own.restart(), publisher.changes(200..CHANGES));
    assert_eq!(
        publisher.failures(),
        0,
        "a save does not wait for the broker"
    );
    nothing_was_lost(&cluster, load, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_killed() {
    let what = "a database that is killed";
    let Some(own) = Own::start(Kind::PostgreSql, what).await else {
        return;
    };
    let Some(ground) = Ground::amqp(what).await else {
        return;
    };
    let ground = Ground {
        database: Some((own.server, own.server.new_database().await)),
        ..ground
    };
    let cluster = Cluster::start(&ground, GATEWAYS, "").await;
    let load = cluster.load(REQUESTS);
    let publisher = cluster.publisher.clone();
    let changes = publisher.changes(0..CHANGES);
    let fault = async {
        publisher.reached(100).await;
        own.kill().await;
        let before = publisher.failures();
        eventually("a change is not acknowledged", || async {
            (publisher.failures() > before).then_some(())
        })
        .await;
        own.restart().await;
    };
    tokio::join!(changes, fault);
    nothing_was_lost(&cluster, load, &[]).await;
}
