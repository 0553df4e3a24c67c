//! A gateway that starts when everything but its own disk is dead.

use test_servers::{Kind, Own};

use super::cluster::Cluster;
use crate::nodes::Ground;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_start_alone_from_their_snapshots() {
    let what = "gateways that start when database and broker are dead";
    let Some(database) = Own::start(Kind::PostgreSql, what).await else {
        return;
    };
    let broker = Own::start(Kind::RabbitMq, what).await.unwrap();
    let ground = Ground {
        database: Some((database.server, database.server.new_database().await)),
        broker: Some((broker.server, "notification".into())),
    };
    let mut cluster = Cluster::start(&ground, 2, "").await;
    let publisher = cluster.publisher.clone();
    publisher.changes(0..60).await;
    cluster.converged().await;
    for gateway in cluster.running() {
        cluster.is_written(gateway).await;
    }

    cluster.nodes.manager.take().unwrap().kill().await;
    cluster.nodes.saver.take().unwrap().kill().await;
    tokio::join!(database.kill(), broker.kill());
    cluster.kill_gateway(0).await;
    cluster.kill_gateway(1).await;
    let expected = publisher.expected();
    for n in 0..2 {
        cluster.start_gateway(n).await;
        let gateway = cluster.gateways[n].running.as_ref().unwrap();
        cluster.serves(gateway, &expected).await;
        let state = cluster.nodes.state(gateway).await;
        assert_eq!(state["from_snapshot"], true, "{state}");
        assert_eq!(state["pulled"], 0, "{state}");
    }
    // From here on they serve, while the rest comes back.
    let load = cluster.load(200);
    tokio::join!(database.restart(), broker.restart());
    cluster.nodes.start_manager().await;
    cluster.nodes.start_saver().await;
    publisher.changes(60..100).await;
    cluster.converged().await;
    load.stop().await.judge(&[]);
}
