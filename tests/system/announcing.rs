//! Whatever crashes: what was committed is announced at least once, and nothing else is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact::Label;
use events::{AmqpBus, AmqpOptions, AmqpTls, Bus, Heard};
use kit::config::BrokerEndpoint;
use kit::secret::Secret;
use store::{Database, Store, StoreOptions};
use test_servers::{Kind, Own, Server};

use super::kit_of_tests::eventually;
use super::nodes::{Ground, Nodes};

/// Position and digest, which together name a change.
type Change = (u64, String);

/// Hears all events of the ground's topic, as a gateway would; subscribed on return.
async fn collect(ground: &Ground) -> Arc<Mutex<BTreeSet<Change>>> {
    let (server, topic) = ground.broker.clone().unwrap();
    let (username, password) = server.credentials();
    let bus = Bus::Amqp(AmqpBus::new(AmqpOptions {
        endpoints: vec![BrokerEndpoint::parse(&server.broker_url()).unwrap()],
        username: username.into(),
        password: Secret::new(password),
        virtual_host: "/".into(),
        topic,
        heartbeat: 60,
        failback: Duration::from_secs(60),
        tls: AmqpTls::default(),
        name: "collector".into(),
    }));
    let heard: Arc<Mutex<BTreeSet<Change>>> = Arc::default();
    let into = Arc::clone(&heard);
    let mut subscription = bus.subscribe();
    while subscription.next().await != Some(Heard::Subscribed) {}
    tokio::spawn(async move {
        while let Some(said) = subscription.next().await {
            if let Heard::Event(event) = said {
                let digest = event.digest.unwrap().to_string();
                let changes = event.positions.iter().map(|at| (at.seq, digest.clone()));
                into.lock().unwrap().extend(changes);
            }
        }
    });
    heard
}

/// All changes that the database holds.
async fn committed(nodes: &Nodes, ground: &Ground) -> BTreeSet<Change> {
    let database = match &ground.database {
        None => Database::file(&nodes.directory.path().join("data/lockstep.db")).unwrap(),
        Some((server, name)) => {
            let (user, password) = server.credentials();
            Database::parse("", &server.jdbc_url(name), user, password).unwrap()
        }
    };
    let options = StoreOptions {
        database,
        dc: "DC1".into(),
        history_size: 10,
    };
    let store = Store::open(&options).await.unwrap();
    let label = Label::parse("Production and Sandbox").unwrap();
    let mut logs = store.label_logs(&[].into()).await.unwrap();
    store.close().await;
    let entries = logs.entries.remove(&label).unwrap_or_default().into_iter();
    entries
        .map(|entry| (entry.seq, entry.digest.to_string()))
        .collect()
}

/// Waits until what was announced is what was committed, and the outbox is empty.
async fn announced_what_was_committed(
    nodes: &Nodes,
    ground: &Ground,
    heard: &Mutex<BTreeSet<Change>>,
) {
    eventually("the outbox is empty", || async {
        (nodes.outbox().await? == 0).then_some(())
    })
    .await;
    let committed = committed(nodes, ground).await;
    eventually("every commit is announced", || async {
        committed.is_subset(&heard.lock().unwrap()).then_some(())
    })
    .await;
    let heard = heard.lock().unwrap();
    let never: Vec<&Change> = heard.difference(&committed).collect();
    assert!(never.is_empty(), "announced, never committed: {never:?}");
}

/// Numbers that differ from run to run, with the seed in the test's output.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// 200 saves of an API each; the saver is killed at random points, ten times.
async fn killed_at_random_points(ground: Option<Ground>) {
    let Some(ground) = ground else { return };
    let heard = collect(&ground).await;
    let mut nodes = Nodes::start(&ground, "").await;
    let mut random = Random::new();
    let mut next_kill = random.below(20);
    let mut n = 0;
    while n < 200 {
        let name = format!("api{n}");
        if n < next_kill {
            if nodes.publish(&name, "x").await.is_some() {
                n += 1;
            }
            continue;
        }
        next_kill = n + 1 + random.below(38);
        // In the middle of a save, or of what follows it.
        let moment = Duration::from_micros(random.below(8_000));
        let mut saver = nodes.saver.take().unwrap();
        tokio::select! {
            biased;
            () = tokio::time::sleep(moment) => {}
            Some(_) = nodes.publish(&name, "x") => n += 1,
        }
        saver.kill_now().await;
        nodes.start_saver().await;
    }
    assert!(committed(&nodes, &ground).await.len() >= 200);
    announced_what_was_committed(&nodes, &ground, &heard).await;
}

#[tokio::test]
async fn a_saver_on_sqlite_that_is_killed_announces_every_commit() {
    killed_at_random_points(Ground::amqp("a saver that is killed").await).await;
}

#[tokio::test]
async fn a_saver_on_postgresql_that_is_killed_announces_every_commit() {
    let what = "a saver that is killed";
    let Some(ground) = Ground::amqp(what).await else {
        return;
    };
    killed_at_random_points(ground.on(Kind::PostgreSql, what).await).await;
}

#[tokio::test]
async fn a_saver_on_mariadb_that_is_killed_announces_every_commit() {
    let what = "a saver that is killed";
    let Some(ground) = Ground::amqp(what).await else {
        return;
    };
    killed_at_random_points(ground.on(Kind::MariaDb, what).await).await;
}

/// 500 saves; in the middle of them the broker hangs for 20 s, then it is killed.
#[tokio::test]
async fn a_broker_that_hangs_and_dies_costs_nothing_but_delay() {
    let Some(own) = Own::start(Kind::RabbitMq, "a broker that hangs and dies").await else {
        return;
    };
    let server: Server = own.server;
    let ground = Ground {
        broker: Some((server, "notification".into())),
        ..Ground::default()
    };
    let nodes = Nodes::start(&ground, "").await;
    let gateway = nodes.gateway().await;
    // Heard by a collector that is there before and after; what came in between is told by the
    // outbox, which is empty only when the broker has confirmed everything.
    let save = async |range: std::ops::Range<u32>| {
        for n in range {
            let saved = nodes.publish(&format!("api{n}"), "x").await;
            assert!(
                saved.is_some(),
                "api{n}: a save does not wait for the broker"
            );
        }
    };
    save(0..100).await;
    own.pause().await;
    let hangs = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        own.unpause().await;
    };
    tokio::join!(save(100..250), hangs);
    save(250..300).await;
    own.kill().await;
    save(300..400).await;
    own.restart().await;
    let heard = collect(&ground).await;
    save(400..500).await;
    eventually("the outbox is empty", || async {
        (nodes.outbox().await? == 0).then_some(())
    })
    .await;
    let committed = committed(&nodes, &ground).await;
    assert_eq!(committed.len(), 500);
    assert!(heard.lock().unwrap().is_subset(&committed));
    for n in [0, 99, 100, 249, 250, 299, 300, 399, 400, 499] {
        nodes.answers(&gateway, &format!("api{n}"), 200, "x").await;
    }
}
