//! Two gateways with one id: both serve, everybody is told, and what is said of the id is said of one
//! of them.

use serde_json::Value;

use super::cluster::{Cluster, Member};
use super::load::Load;
use crate::kit_of_tests::{eventually, run};
use crate::nodes::Ground;

/// Heartbeats come often, and silence is noticed soon.
const BEATS: &str = "[apim.gateway_notification.heartbeat]\nnotify_interval = 100\n\
                     [apim.gateway_notification.cleanup]\nexpiry_time = 4000\n";

/// What the traffic manager tells of the one gateway that it knows; for a moment after that has ended
/// it knows none.
async fn told(cluster: &Cluster) -> Option<Value> {
    let url = format!("{}/api/lockstep/v1/gateways", cluster.nodes.manager_url);
    let answer = cluster.nodes.admin.get(url).send().await.ok()?;
    let page: Value = answer.json().await.ok()?;
    let gateways = page["list"].as_array()?;
    assert!(gateways.len() < 2, "{page}");
    gateways.first().cloned()
}

/// Waits until one of them speaks for the id, and another one is known or is not.
async fn speaks(cluster: &Cluster, member: &Member, other: Option<&Member>) {
    let other = other.map(|other| other.http.as_str());
    eventually(
        &format!("{} speaks, not {other:?}", member.http),
        || async {
            let told = told(cluster).await?;
            let heard = told["urls"][0] == member.http.as_str();
            let known = told["other"]["urls"][0].as_str() == other;
            (heard && known).then_some(())
        },
    )
    .await;
}

/// A gateway as on a machine of its own, with the same id as the others.
fn twin(cluster: &Cluster, n: usize) -> Member {
    let disk = cluster.nodes.directory.path().join(format!("disk{n}"));
    cluster.member("twin", |text| {
        format!("{text}\n[gateway.snapshot]\ndirectory = {disk:?}\n")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_with_one_id_serve_and_the_conflict_is_told() {
    let mut cluster = Cluster::start(&Ground::default(), 0, BEATS).await;
    let publisher = cluster.publisher.clone();
    for n in 0..2 {
        let member = twin(&cluster, n);
        // The file has the name of the id.
        let own = member.conf.with_file_name(format!("twin{n}.toml"));
        std::fs::rename(&member.conf, &own).unwrap();
        cluster.gateways.push(Member {
            conf: own,
            ..member
        });
    }
    cluster.start_gateway(0).await;
    cluster.is_reported(&publisher.expected(), 1).await;
    let mut targets = cluster.targets();
    targets.retain(|target| target.gateway == 0);
    let load = Load::start(targets, 50);
    cluster.start_gateway(1).await;
    let [first, second] = &cluster.gateways[..] else {
        unreachable!()
    };
    // Who has started last is believed, as if the other one had been restarted.
    speaks(&cluster, second, Some(first)).await;
    publisher.changes(0..30).await;
    let expected = publisher.expected();
    for gateway in cluster.running() {
        cluster.serves(gateway, &expected).await;
    }
    cluster.is_reported(&expected, 1).await;
    // However often both of them speak.
    let (mut beats, mut before) = (0, Value::Null);
    while beats < 10 {
        let told = eventually("the gateway is told of", || told(&cluster)).await;
        assert_eq!(told["urls"][0], second.http.as_str(), "{told}");
        assert_eq!(told["other"]["urls"][0], first.http.as_str(), "{told}");
        let now = told["other"]["lastSeen"].clone();
        beats += u32::from(now != before);
        before = now;
    }
    cluster.is_reported(&expected, 1).await;
    let data = cluster.nodes.directory.path().join("data");
    let manager = cluster.nodes.manager_url.clone();
    let arguments = ["--server", &manager, "--data-dir", data.to_str().unwrap()];
    for command in ["gateways", "list"] {
        let printed = run("lockstep", &[&[command], &arguments[..]].concat()).await;
        for text in ["CONFLICT", &first.http, &second.http] {
            assert!(printed.stdout.contains(text), "{printed:?}");
        }
    }

    // One of them ends in good order: the other one is told of, with all it runs.
    let ended = cluster.gateways[1].running.take().unwrap();
    assert_eq!(ended.running.interrupt().await, 0);
    speaks(&cluster, &cluster.gateways[0], None).await;
    cluster.is_reported(&expected, 1).await;
    // Or it is killed.
    cluster.start_gateway(1).await;
    speaks(&cluster, &cluster.gateways[1], Some(&cluster.gateways[0])).await;
    cluster.kill_gateway(1).await;
    publisher.changes(30..40).await;
    speaks(&cluster, &cluster.gateways[0], None).await;
    cluster.is_reported(&publisher.expected(), 1).await;

    load.stop().await.judge(&[]);
    let log = cluster.gateways[0]
        .running
        .take()
        .unwrap()
        .running
        .log()
        .await;
    assert!(log.contains("ANOTHER GATEWAY HAS THIS ID"), "{log}");
    let log = cluster.nodes.manager.take().unwrap().log().await;
    assert!(log.contains("TWO GATEWAYS HAVE ONE ID"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_gateways_in_one_directory_one_keeps_a_snapshot() {
    let mut cluster = Cluster::start(&Ground::default(), 0, BEATS).await;
    for n in 0..2 {
        let member = cluster.member("twin", |text| text);
        cluster.gateways.push(member);
        cluster.start_gateway(n).await;
    }
    let publisher = cluster.publisher.clone();
    publisher.changes(0..30).await;
    let expected = publisher.expected();
    for gateway in cluster.running() {
        cluster.serves(gateway, &expected).await;
    }
    let second = cluster.gateways[1].running.take().unwrap();
    let state = cluster.nodes.state(&second).await;
    assert_eq!(state["snapshot"]["on"], false, "{state}");
    let log = second.running.log().await;
    assert!(
        log.contains("another gateway with this id uses the snapshot"),
        "{log}"
    );
    // The other one's is whole.
    let first = cluster.gateways[0].running.as_ref().unwrap();
    cluster.is_written(first).await;
    cluster.nodes.manager.take().unwrap().kill().await;
    cluster.kill_gateway(0).await;
    // The file of both names the second one's ports.
    cluster.start_gateway(1).await;
    let gateway = cluster.running().next().unwrap();
    cluster.serves(gateway, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_forgotten_and_lives_says_everything_again() {
    let cluster = Cluster::start(&Ground::default(), 1, BEATS).await;
    let url = format!("{}/api/lockstep/v1/gateways/gw0", cluster.nodes.manager_url);
    let forgotten = cluster.nodes.admin.delete(url).send().await.unwrap();
    assert!(forgotten.status().is_success(), "{forgotten:?}");
    cluster.converged().await;
}
