//! A database that is not what gateways were told: what differs little is repaired, what would take
//! many APIs away is held until an operator accepts it.

use std::path::PathBuf;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

use super::kit_of_tests::{Finished, eventually, run};
use super::nodes::{Gateway, Ground, Nodes};

/// Comparisons come soon after each other.
const OFTEN: &str = "reconcile_interval = 1000\n";
const LABEL: &str = "Production and Sandbox";

fn database(nodes: &Nodes) -> PathBuf {
    nodes.directory.path().join("data/lockstep.db")
}

/// Ends saver and traffic manager, does something to the database's file, and starts them again;
/// returns what the traffic manager had logged.
async fn while_stopped(nodes: &mut Nodes, work: impl AsyncFnOnce(PathBuf)) -> String {
    nodes.saver.take().unwrap().interrupt().await;
    let log = nodes.manager.take().unwrap().log().await;
    work(database(nodes)).await;
    nodes.start_manager().await;
    nodes.start_saver().await;
    log
}

/// Copies a database over another one that nobody has open.
fn copy(from: &PathBuf, to: &PathBuf) {
    for end in ["", "-wal", "-shm"] {
        let name = |path: &PathBuf| PathBuf::from(format!("{}{end}", path.display()));
        if name(from).exists() {
            std::fs::copy(name(from), name(to)).unwrap();
        } else if name(to).exists() {
            std::fs::remove_file(name(to)).unwrap();
        }
    }
}

async fn command(nodes: &Nodes, server: &str, arguments: &[&str]) -> Finished {
    let data = nodes.directory.path().join("data");
    let place = ["--server", server, "--data-dir", data.to_str().unwrap()];
    run("lockstep", &[arguments, &place].concat()).await
}

async fn held(nodes: &Nodes) -> Vec<Value> {
    let listed = command(nodes, &nodes.manager_url, &["repair", "--json"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    listed.json().as_array().unwrap().clone()
}

async fn metric(nodes: &Nodes, url: &str, name: &str) -> String {
    let answer = nodes.admin.get(format!("{url}/metrics")).send().await;
    let text = answer.unwrap().text().await.unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with(name));
    let line = lines.next().unwrap_or_else(|| panic!("no {name}: {text}"));
    line.rsplit_once(' ').unwrap().1.to_owned()
}

/// A gateway that serves `Keep` in its second revision and twelve others; the database is then the one
/// from before it all, with the first revision of `Keep` only.
async fn gone_back() -> (Nodes, Gateway) {
    let mut nodes = Nodes::start(&Ground::default(), OFTEN).await;
    nodes.publish("Keep", "one").await.unwrap();
    let gateway = nodes.gateway().await;
    nodes.answers(&gateway, "Keep", 200, "one").await;
    let backup = nodes.directory.path().join("backup.db");
    while_stopped(&mut nodes, async |file| copy(&file, &backup)).await;
    nodes.publish("Keep", "two").await.unwrap();
    for number in 0..12 {
        nodes.publish(&format!("Api{number}"), "x").await.unwrap();
    }
    nodes.answers(&gateway, "Keep", 200, "two").await;
    nodes.answers(&gateway, "Api11", 200, "x").await;
    while_stopped(&mut nodes, async |file| copy(&backup, &file)).await;
    (nodes, gateway)
}

#[tokio::test]
async fn a_database_that_went_back_is_followed_when_an_operator_accepts_it() {
    let (mut nodes, gateway) = gone_back().await;
    let server = nodes.manager_url.clone();
    let repair = eventually("the repair is held", || async {
        held(&nodes).await.into_iter().next()
    })
    .await;
    assert_eq!(
        (&repair["label"], &repair["removes"], &repair["puts"]),
        (&json!(LABEL), &json!(12), &json!(1)),
        "{repair}"
    );
    let reason = repair["reason"].as_str().unwrap();
    assert!(reason.contains("seems to be an older one"), "{reason}");
    assert_eq!(repair["accepted"], Value::Null);
    let (id, digest) = (
        repair["gatewayId"].as_str().unwrap(),
        repair["repair"].as_str().unwrap(),
    );
    let short = &digest[..12];

    // Told wherever one looks.
    let listed = command(&nodes, &server, &["repair"]).await;
    let lines = [
        format!("{short}: {id}: the label log ends at 1"),
        "┆ waits".into(),
        "    concerns id-of-Api0, id-of-Api1, id-of-Api10, id-of-Api11, id-of-Api2 and 8 more"
            .into(),
    ];
    for line in lines {
        assert!(listed.stdout.contains(&line), "{listed:?}");
    }
    let listed = command(&nodes, &server, &["gateways"]).await;
    let line = format!("{id}: a repair of {LABEL} ({short}) is held until an operator accepts it");
    assert!(listed.stdout.contains(&line), "{listed:?}");
    let explained = command(&nodes, &server, &["explain", "Keep:1.0", id, "--json"]).await;
    assert_eq!(explained.json()["outcome"], "repairHeld", "{explained:?}");
    // The database that came back said of the gateway what had been so before.
    eventually("the gateway has told anew what it runs", || async {
        let overview = command(&nodes, &server, &["list", "--json"]).await.json();
        (overview["apis"][0]["gateways"][0]["state"] == "pending").then_some(())
    })
    .await;
    let unknown = command(&nodes, &server, &["explain", "Api3:1.0", id]).await;
    let told = format!("{id} holds repairs that take 12 API(s) away, perhaps this one");
    assert!(
        unknown.code == 1 && unknown.stderr.contains(&told),
        "{unknown:?}"
    );
    assert_eq!(metric(&nodes, &server, "lockstep_held_repairs").await, "1");
    let on_gateway = metric(&nodes, &gateway.management, "lockstep_reconciliation_held").await;
    assert_eq!(on_gateway, "1");

    // Nothing is taken away, and what is not meant is not accepted.
    let wrong = command(&nodes, &server, &["repair", "--accept", "ffffff"]).await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(
        wrong.stderr.contains("no repair ffffff is held; held: "),
        "{wrong:?}"
    );
    let elsewhere = ["repair", "--accept", "--gateway", "nobody"];
    let elsewhere = command(&nodes, &server, &elsewhere).await;
    assert!(
        elsewhere.stderr.contains("no gateway nobody is registered"),
        "{elsewhere:?}"
    );
    for (repair, status) in [("abc", 400), (&"0".repeat(64), 404)] {
        let url = format!("{server}/api/lockstep/v1/repairs/{id}/{repair}/accept");
        let answer = nodes.admin.post(url).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    nodes.answers(&gateway, "Keep", 200, "two").await;
    for number in 0..12 {
        nodes
            .answers(&gateway, &format!("Api{number}"), 200, "x")
            .await;
    }

    // Any traffic manager takes the word, and the gateway's own one hands it on.
    let (other, url) = nodes.another_manager(&[]).await;
    let accepted = command(&nodes, &url, &["repair", "--accept", &digest[..6]]).await;
    assert_eq!(accepted.code, 0, "{accepted:?}");
    let line = format!("{id}: carried out {short} of {LABEL} after");
    assert!(accepted.stdout.contains(&line), "{accepted:?}");
    nodes.answers(&gateway, "Keep", 200, "one").await;
    for number in 0..12 {
        nodes
            .answers(&gateway, &format!("Api{number}"), 404, "")
            .await;
    }
    let state = nodes.state(&gateway).await;
    let reconciled = &state["reconciliation"];
    assert_eq!(
        (
            &reconciled["repairs"],
            &reconciled["put"],
            &reconciled["removed"]
        ),
        (&json!(1), &json!(1), &json!(12)),
        "{state}"
    );
    let listed = command(&nodes, &server, &["repair"]).await;
    assert_eq!(listed.stdout, "no repair waits to be accepted\n");
    assert!(held(&nodes).await.is_empty());
    let nothing = command(&nodes, &server, &["repair", "--accept"]).await;
    assert!(nothing.stderr.contains("no repair is held"), "{nothing:?}");
    let log = other.log().await;
    let audited = log.lines().find(|line| line.contains("/accept"));
    assert!(audited.is_some_and(|line| line.contains("audit")), "{log}");

    // What is published now goes on from there.
    nodes.publish("New", "y").await.unwrap();
    nodes.answers(&gateway, "New", 200, "y").await;
    nodes.manager.take().unwrap().interrupt().await;
}

#[tokio::test]
async fn a_repair_is_accepted_on_the_gateway_itself() {
    let (nodes, gateway) = gone_back().await;
    let url = format!("{}/api/lockstep/v1/repairs", gateway.management);
    let list = async |client: &reqwest::Client| -> Value {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    };
    let repair = eventually("the repair is held", || async {
        list(&nodes.client_of("viewer")).await["list"][0]["repair"]
            .as_str()
            .map(str::to_owned)
    })
    .await;
    let accept = format!("{url}/{repair}/accept");
    for (user, status) in [("viewer", 403), ("gateway", 403), ("operator", 200)] {
        let answer = nodes.client_of(user).post(&accept).send().await.unwrap();
        assert_eq!(answer.status(), status, "{user}");
    }
    nodes.answers(&gateway, "Keep", 200, "one").await;
    nodes.answers(&gateway, "Api0", 404, "").await;
    eventually("the gateway holds nothing", || async {
        let answer = nodes.admin.post(&accept).send().await.unwrap();
        (answer.status() == 404).then_some(())
    })
    .await;
    assert_eq!(list(&nodes.admin).await["list"], json!([]));
    eventually("the traffic manager has heard of it", || async {
        held(&nodes).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_differs_little_is_repaired_by_itself() {
    let mut nodes = Nodes::start(&Ground::default(), OFTEN).await;
    for name in ["Gone", "Back", "Keep"] {
        nodes.publish(name, "one").await.unwrap();
    }
    nodes.publish("Back", "two").await.unwrap();
    let gateway = nodes.gateway().await;
    nodes.answers(&gateway, "Back", 200, "two").await;
    while_stopped(&mut nodes, async |file| {
        let url = format!("sqlite://{}", file.display());
        let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let statements = "DELETE FROM LS_LABEL_LOG WHERE API_ID = 'id-of-Gone'; \
             UPDATE LS_LABEL_LOG SET REVISION = 1, DIGEST = (SELECT r.DIGEST FROM LS_REVISION r \
             WHERE r.API_ID = 'id-of-Back' AND r.REVISION = 1) WHERE API_ID = 'id-of-Back'";
        database.execute(sqlx::raw_sql(statements)).await.unwrap();
        database.close().await.unwrap();
    })
    .await;
    nodes.answers(&gateway, "Gone", 404, "").await;
    nodes.answers(&gateway, "Back", 200, "one").await;
    nodes.answers(&gateway, "Keep", 200, "one").await;
    let counted = eventually("it is counted", || async {
        let state = nodes.state(&gateway).await;
        let found = state["reconciliation"].clone();
        (found["removed"] == 1 && found["put"] == 1).then_some(found)
    })
    .await;
    assert!(counted.get("held").is_none(), "{counted}");
    let compared = "lockstep_reconciliation_comparisons_total";
    let answer = nodes.admin.get(format!("{}/metrics", gateway.management));
    let text = answer.send().await.unwrap().text().await.unwrap();
    let repaired = |line: &str| line.starts_with(compared) && line.contains("result=\"repaired\"");
    let line = text.lines().find(|line| repaired(line)).unwrap();
    assert!(!line.ends_with(" 0"), "{text}");
    assert!(held(&nodes).await.is_empty());
}
