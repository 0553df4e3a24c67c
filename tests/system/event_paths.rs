//! How gateways keep in step: one suite, over the watch stream and over the broker.

use test_servers::{Kind, Own};

use super::kit_of_tests::{eventually, free_ports, run};
use super::nodes::{Ground, Nodes};

async fn watch_stream() -> Option<Ground> {
    Some(Ground::default())
}

async fn broker() -> Option<Ground> {
    Ground::amqp("gateways over AMQP").await
}

async fn broker_and_postgresql() -> Option<Ground> {
    let what = "gateways over AMQP and PostgreSQL";
    Ground::amqp(what).await?.on(Kind::PostgreSql, what).await
}

async fn watch_stream_and_mariadb() -> Option<Ground> {
    let ground = Ground::default();
    ground.on(Kind::MariaDb, "gateways over MariaDB").await
}

macro_rules! suite {
    ($($test:ident,)*) => {
        suite!(over_the_watch_stream, watch_stream: $($test,)*);
        suite!(over_the_broker, broker: $($test,)*);
        suite!(over_the_broker_on_postgresql, broker_and_postgresql: $($test,)*);
        suite!(over_the_watch_stream_on_mariadb, watch_stream_and_mariadb: $($test,)*);
    };
    ($name:ident, $ground:ident: $($test:ident,)*) => {
        mod $name {
            $(#[tokio::test]
            async fn $test() {
                if let Some(ground) = super::$ground().await {
                    super::$test(&ground).await;
                }
            })*
        }
    };
}

suite! {
    what_is_published_is_served_until_it_is_removed,
    what_a_gateway_missed_while_it_was_away_is_there_when_it_is_back,
    a_traffic_manager_that_restarts_is_followed_again,
}

async fn what_is_published_is_served_until_it_is_removed(ground: &Ground) {
    // No pull without a reason: the event alone has to be one.
    let nodes = Nodes::start(ground, "reconcile_interval = 3600000\n").await;
    let (one, two) = tokio::join!(nodes.gateway(), nodes.gateway());
    if ground.broker.is_some() {
        nodes.heard(&one, "subscribed", 1).await;
        nodes.heard(&two, "subscribed", 1).await;
    }
    for n in 0..20 {
        nodes.publish(&format!("api{n}"), "first").await.unwrap();
    }
    nodes.publish("api7", "second").await.unwrap();
    nodes.remove("api3").await;
    for gateway in [&one, &two] {
        nodes.answers(gateway, "api7", 200, "second").await;
        nodes.answers(gateway, "api3", 404, "").await;
        for n in (0..20).filter(|n| ![3, 7].contains(n)) {
            nodes
                .answers(gateway, &format!("api{n}"), 200, "first")
                .await;
        }
        if ground.broker.is_some() {
            nodes.heard(gateway, "events", 22).await;
        } else {
            let events = &nodes.state(gateway).await["events"];
            assert!(events.is_null(), "{events}");
        }
    }
    eventually("the outbox is empty", || async {
        (nodes.outbox().await? == 0).then_some(())
    })
    .await;
    assert_eq!(one.running.interrupt().await, 0);
}

async fn what_a_gateway_missed_while_it_was_away_is_there_when_it_is_back(ground: &Ground) {
    let nodes = Nodes::start(ground, "reconcile_interval = 3600000\n").await;
    nodes.publish("stays", "old").await.unwrap();
    let gateway = nodes.gateway().await;
    nodes.answers(&gateway, "stays", 200, "old").await;
    gateway.running.kill().await;
    nodes.publish("stays", "new").await.unwrap();
    nodes.publish("comes", "here").await.unwrap();
    let gateway = nodes.gateway().await;
    nodes.answers(&gateway, "stays", 200, "new").await;
    nodes.answers(&gateway, "comes", 200, "here").await;
}

async fn a_traffic_manager_that_restarts_is_followed_again(ground: &Ground) {
    let mut nodes = Nodes::start(ground, "reconcile_interval = 3600000\n").await;
    nodes.publish("a", "one").await.unwrap();
    let gateway = nodes.gateway().await;
    nodes.manager.take().unwrap().kill().await;
    // Announced while nobody can be asked for it.
    nodes.publish("a", "two").await.unwrap();
    nodes.answers(&gateway, "a", 200, "one").await;
    nodes.start_manager().await;
    nodes.answers(&gateway, "a", 200, "two").await;
    nodes.publish("a", "three").await.unwrap();
    nodes.answers(&gateway, "a", 200, "three").await;
}

/// The broker dies and comes back: nothing is late but the events.
#[tokio::test]
async fn while_the_broker_is_dead_gateways_follow_the_watch_stream() {
    let Some(own) = Own::start(Kind::RabbitMq, "a broker that dies").await else {
        return;
    };
    let ground = Ground {
        broker: Some((own.server, "notification".into())),
        ..Ground::default()
    };
    let nodes = Nodes::start(&ground, "reconcile_interval = 3600000\n").await;
    let gateway = nodes.gateway().await;
    nodes.heard(&gateway, "subscribed", 1).await;
    nodes.publish("a", "one").await.unwrap();
    nodes.answers(&gateway, "a", 200, "one").await;
    own.kill().await;
    nodes.publish("a", "two").await.unwrap();
    nodes.answers(&gateway, "a", 200, "two").await;
    assert!(nodes.outbox().await.unwrap() > 0);
    // A gateway that starts now is ready as soon as any.
    let other = nodes.gateway().await;
    nodes.answers(&other, "a", 200, "two").await;
    own.restart().await;
    nodes.heard(&gateway, "subscribed", 2).await;
    eventually("the outbox is empty", || async {
        (nodes.outbox().await? == 0).then_some(())
    })
    .await;
    nodes.publish("a", "three").await.unwrap();
    nodes.answers(&gateway, "a", 200, "three").await;
    nodes.answers(&other, "a", 200, "three").await;
}

/// Everything in one process, on servers.
#[tokio::test]
async fn up_runs_on_postgresql_and_a_broker() {
    let Some(ground) = broker_and_postgresql().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let conf = free_ports(directory.path(), &ground.toml());
    let arguments = ["up", "--once", "--conf", conf.to_str().unwrap()];
    let first = run("lockstep", &arguments).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.contains("Publishing the samples"), "{first:?}");
    // The database has them; nothing is published again.
    let second = run("lockstep", &arguments).await;
    assert_eq!(second.code, 0, "{second:?}");
    assert!(second.stdout.contains("published already"), "{second:?}");
    let printed = run(
        "lockstep",
        &["up", "--print-config", "--conf", conf.to_str().unwrap()],
    )
    .await;
    assert!(printed.stdout.contains("jdbc:postgresql://"), "{printed:?}");
    assert!(
        printed.stdout.contains("password = \"********\""),
        "{printed:?}"
    );
}

/// `lockstep db` on each server, by the address that WSO2's nodes have.
#[tokio::test]
async fn the_schema_is_looked_at_and_brought_up_to_date_by_command() {
    for kind in [Kind::PostgreSql, Kind::MariaDb] {
        let Some(server) = test_servers::shared(kind, "lockstep db").await else {
            return;
        };
        let url = server.jdbc_url(&server.new_database().await);
        let (user, password) = server.credentials();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, format!("{password}\n")).unwrap();
        let db = async |command: &str, more: &[&str]| {
            let file = file.to_str().unwrap();
            let mut all = vec!["db", command, "--url", &url, "--username", user];
            all.extend(["--password-file", file]);
            all.extend(more);
            run("lockstep", &all).await
        };
        let status = db("status", &["--json"]).await;
        assert_eq!((status.code, &status.json()["version"]), (1, &0.into()));
        let migrated = db("migrate", &[]).await;
        assert_eq!(migrated.code, 0, "{migrated:?}");
        assert!(migrated.stdout.contains("applied: "), "{migrated:?}");
        assert!(
            db("migrate", &[])
                .await
                .stdout
                .contains("was up to date already")
        );
        let status = db("status", &["--json"]).await;
        assert_eq!(status.code, 0, "{status:?}");
        assert_eq!(status.json()["pending"], serde_json::json!([]));
        let wrong = run(
            "lockstep",
            &["db", "status", "--url", &url, "--username", user],
        )
        .await;
        assert_eq!(wrong.code, 1, "{wrong:?}");
    }
    let usage = run(
        "lockstep",
        &["db", "migrate", "--url", "jdbc:oracle:thin:@h/x"],
    )
    .await;
    assert_eq!(usage.code, 2, "{usage:?}");
    assert!(usage.stderr.contains("not spoken here"), "{usage:?}");
}
