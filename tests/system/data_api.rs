//! The internal data API: API Manager's three resources, and what a label log tells besides.

use std::collections::BTreeSet;

use artifact::{Artifact, Digest, Label, LabelDigest};

use super::kit_of_tests::{Up, answering_dto, decoded, eventually, raw_client, workspace};

/// The text that is saved for the artifact of [`answering_dto`].
fn saved(name: &str, text: &str) -> String {
    let artifact = answering_dto(name, &format!("/{name}"), text);
    Artifact::parse(&artifact).unwrap().to_text().unwrap()
}

async fn publish(up: &Up, name: &str, text: &str, labels: &[&str]) {
    let artifact = answering_dto(name, &format!("/{name}"), text);
    let file = up.file(&format!("{name}.json"), artifact);
    let mut arguments = vec!["publish", &file];
    for label in labels {
        arguments.extend(["--label", label]);
    }
    let finished = up.command(&arguments).await;
    assert_eq!(finished.code, 0, "{finished:?}");
}

/// Asks a resource of the internal data API as a gateway does: status and body.
async fn get(up: &Up, resource: &str) -> (u16, String) {
    let url = format!("{}/internal/data/v1/{resource}", up.management);
    let answer = up.client_of("gateway").get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[tokio::test]
async fn the_resources_of_api_manager_answer_in_its_shapes() {
    let up = Up::start(&["--gateways", "1"]).await;
    publish(&up, "A", "one", &["Label & 1+"]).await;
    publish(&up, "B", "zwei ä", &["Label & 1+", "L2"]).await;
    let (a, b) = (saved("A", "one"), saved("B", "zwei ä"));

    let artifact = "synapse-artifacts?apiId=id-of-A&gatewayInstruction=";
    for label in ["Label+%26+1%2B", "Label%20%26%201%2B"] {
        for instruction in ["Publish", "ANY"] {
            let found = get(
                &up,
                &format!("{artifact}{instruction}&gatewayLabel={label}"),
            )
            .await;
            assert_eq!(found, (200, a.clone()), "{label} {instruction}");
        }
        let all = get(
            &up,
            &format!("gateway-synapse-artifacts?gatewayLabel={label}"),
        )
        .await;
        let list = format!("{},{}", quoted(&a), quoted(&b));
        let wanted = format!("{{\"count\":2,\"list\":[{list}],\"pagination\":null}}");
        assert_eq!(all, (200, wanted));
    }
    // No row is no error: an empty body.
    for nothing in [
        "synapse-artifacts?apiId=id-of-A&gatewayInstruction=Remove&gatewayLabel=Label+%26+1%2B",
        "synapse-artifacts?apiId=id-of-A&gatewayInstruction=publish&gatewayLabel=Label+%26+1%2B",
        "synapse-artifacts?apiId=id-of-A&gatewayInstruction=Publish&gatewayLabel=L2",
        "synapse-artifacts?apiId=nobody&gatewayInstruction=ANY&gatewayLabel=L2",
        "synapse-artifacts?apiId=id-of-A",
        "synapse-artifacts",
    ] {
        assert_eq!(get(&up, nothing).await, (200, String::new()), "{nothing}");
    }
    let none = "{\"count\":0,\"list\":[],\"pagination\":null}".to_owned();
    for nothing in ["?gatewayLabel=unknown", ""] {
        let found = get(&up, &format!("gateway-synapse-artifacts{nothing}")).await;
        assert_eq!(found, (200, none.clone()), "{nothing}");
    }
    let attributes = "synapse-attributes?apiName=B&tenantDomain=carbon.super&version=1.0";
    let wanted = "{\"count\":null,\"labels\":[\"L2\",\"Label & 1+\"],\"apiId\":\"id-of-B\"}";
    assert_eq!(get(&up, attributes).await, (200, wanted.to_owned()));
    let unknown = "{\"count\":null,\"labels\":[],\"apiId\":null}".to_owned();
    for nothing in [
        "?apiName=C&tenantDomain=carbon.super&version=1.0",
        "?apiName=B",
        "",
    ] {
        let found = get(&up, &format!("synapse-attributes{nothing}")).await;
        assert_eq!(found, (200, unknown.clone()), "{nothing}");
    }

    // Out of one label: its tombstone is what API Manager's table has.
    publish(&up, "B", "drei", &["L2"]).await;
    let tombstone = Artifact::parse(&b).unwrap().to_removal().to_text().unwrap();
    let removed = "synapse-artifacts?apiId=id-of-B&gatewayLabel=Label+%26+1%2B&gatewayInstruction=";
    for (instruction, wanted) in [
        ("Remove", &tombstone),
        ("ANY", &tombstone),
        ("Publish", &String::new()),
    ] {
        let found = get(&up, &format!("{removed}{instruction}")).await;
        assert_eq!(found, (200, wanted.clone()), "{instruction}");
    }
    assert_eq!(up.command(&["remove", "B", "1.0"]).await.code, 0);
    let (status, text) = get(
        &up,
        "synapse-artifacts?apiId=id-of-B&gatewayLabel=L2&gatewayInstruction=ANY",
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        Artifact::parse(&text).unwrap().api_definition,
        None,
        "a tombstone"
    );
    let wanted = "{\"count\":null,\"labels\":[],\"apiId\":\"id-of-B\"}";
    assert_eq!(
        get(&up, attributes).await,
        (200, wanted.to_owned()),
        "known, not published"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_get_their_own_answers() {
    let up = Up::start(&["--gateways", "1"]).await;
    for n in 0..8 {
        publish(&up, &format!("A{n}"), "x", &[&format!("L{n}")]).await;
    }
    let client = up.client_of("gateway");
    let calls = (0..400).map(|call| {
        let n = call % 8;
        let (resource, wanted) = match call % 3 {
            0 => (
                format!("gateway-synapse-artifacts?gatewayLabel=L{n}"),
                format!("id-of-A{n}"),
            ),
            1 => (
                format!("synapse-attributes?apiName=A{n}&tenantDomain=carbon.super&version=1.0"),
                format!("[\"L{n}\"]"),
            ),
            _ => (
                format!(
                    "synapse-artifacts?apiId=id-of-A{n}&gatewayLabel=L{n}&gatewayInstruction=ANY"
                ),
                saved(&format!("A{n}"), "x"),
            ),
        };
        let request = client.get(format!("{}/internal/data/v1/{resource}", up.management));
        tokio::spawn(async move {
            let answer = request.send().await.unwrap().text().await.unwrap();
            assert!(answer.contains(&wanted), "{resource}: {answer}");
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_log_tells_its_digest_its_index_and_whether_anything_is_new() {
    let up = Up::start(&["--gateways", "1"]).await;
    publish(&up, "A", "one", &["L1"]).await;
    publish(&up, "B", "one", &["L1"]).await;
    publish(&up, "C", "one", &["L1"]).await;
    assert_eq!(up.command(&["remove", "B", "1.0"]).await.code, 0);
    let digest = |name| Digest::of(saved(name, "one").as_bytes());
    let wanted = LabelDigest::of([("id-of-A", digest("A")), ("id-of-C", digest("C"))]);
    let (status, told) = get(&up, "label-log/digest?gatewayLabel=L1&minSeq=4").await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        told,
        serde_json::json!({"gatewayLabel": "L1", "seq": 4, "count": 2, "digest": wanted.digest})
    );
    let (_, index) = get(&up, "label-log/index?gatewayLabel=L1").await;
    let lines: Vec<serde_json::Value> = index
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let entries: Vec<_> = lines[..3]
        .iter()
        .map(|line| {
            (
                line["seq"].as_u64().unwrap(),
                line["apiId"].as_str().unwrap(),
                line["instruction"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        entries,
        [
            (1, "id-of-A", "Publish"),
            (3, "id-of-C", "Publish"),
            (4, "id-of-B", "Remove")
        ]
    );
    assert_eq!(lines[0]["digest"], digest("A").to_string());
    assert!(lines[0]["artifact"].is_null());
    assert_eq!(lines[3], serde_json::json!({"completeTo": 4}));
    let (_, page) = get(&up, "label-log/index?gatewayLabel=L1&limit=2").await;
    assert!(
        page.ends_with("{\"completeTo\":3,\"more\":true}\n"),
        "{page}"
    );

    let url = format!(
        "{}/internal/data/v1/label-log?gatewayLabel=L1&after=4",
        up.management
    );
    let client = up.client_of("gateway");
    let answer = client.get(&url).send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    let again = client
        .get(&url)
        .header("If-None-Match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(again.text().await.unwrap(), "");
    publish(&up, "A", "two", &["L1"]).await;
    let behind = client.get(format!("{url}&minSeq=6")).send().await.unwrap();
    assert_eq!(behind.status(), 409);
    assert_eq!(behind.headers()["retry-after"], "1");
    let problem: serde_json::Value = behind.json().await.unwrap();
    assert_eq!(
        (&problem["seq"], &problem["code"]),
        (&5.into(), &"behind".into())
    );
    let newer = client
        .get(format!("{url}&minSeq=5"))
        .header("If-None-Match", &tag);
    let newer = newer.send().await.unwrap();
    assert_eq!(newer.status(), 200);
    assert!(newer.text().await.unwrap().contains("\"seq\":5"));
}

#[tokio::test]
async fn every_encoding_says_the_same_and_tenants_are_kept_apart() {
    let up = Up::start(&["--gateways", "1"]).await;
    for n in 0..30 {
        publish(&up, &format!("A{n}"), &"long text ".repeat(n), &["L1"]).await;
    }
    let mut other: serde_json::Value =
        serde_json::from_str(&answering_dto("T", "/t/x.com/T", "t")).unwrap();
    other["tenantDomain"] = "x.com".into();
    let file = up.file("T.json", other.to_string());
    assert_eq!(
        up.command(&["publish", &file, "--label", "L1"]).await.code,
        0
    );
    let url = format!(
        "{}/internal/data/v1/label-log?gatewayLabel=L1",
        up.management
    );
    let client = raw_client(up.directory.path(), "gateway");
    let plain = client.get(&url).header("Accept-Encoding", "identity");
    let plain = plain.send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.text().await.unwrap();
    assert_eq!(plain.lines().count(), 32);
    for (encoding, bulk) in [
        ("zstd", false),
        ("gzip", false),
        ("zstd", true),
        ("gzip", true),
    ] {
        let url = if bulk {
            url.replace("label-log", "gateway-synapse-artifacts")
        } else {
            url.clone()
        };
        let answer = client.get(&url).header("Accept-Encoding", encoding);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], encoding);
        assert_eq!(answer.headers()["vary"], "Accept-Encoding, Authorization");
        let bytes = answer.bytes().await.unwrap();
        assert!(
            bytes.len() < plain.len() * 2 / 3,
            "{encoding}: {}",
            bytes.len()
        );
        let text = decoded(encoding, &bytes);
        if bulk {
            let all: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(all["list"].as_array().unwrap().len(), 31);
        } else {
            assert!(text == plain, "{encoding}");
        }
    }
    let tenant = client
        .get(format!("{url}&tenantDomain=x.com"))
        .send()
        .await
        .unwrap();
    let tenant = tenant.text().await.unwrap();
    assert_eq!(tenant.lines().count(), 2, "{tenant}");
    assert!(
        tenant.contains("\"tenantDomain\":\"x.com\"") && tenant.ends_with("{\"completeTo\":31}\n")
    );
    let label = Label::parse("L1").unwrap();
    assert!(tenant.contains("id-of-T"), "{label}");
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let up = Up::start(&["--gateways", "1"]).await;
    for (query, wanted) in [
        ("", "gatewayLabel: is missing"),
        ("gatewayLabel=", "gatewayLabel: a label must not be empty"),
        (
            "gatewayLabel=L&gatewayLabel=M",
            "gatewayLabel: is given more than once",
        ),
        (
            "gatewayLabel=L&after=x",
            "after: \"x\" is not a whole number of at least 0",
        ),
        (
            "gatewayLabel=L&limit=0",
            "limit: \"0\" is not a whole number of at least 1",
        ),
        (
            "gatewayLabel=L&minSeq=-1",
            "minSeq: \"-1\" is not a whole number of at least 0",
        ),
        (
            "gatewayLabel=L&follow=maybe",
            "follow: \"maybe\" is not true or false",
        ),
    ] {
        let (status, problem) = get(&up, &format!("label-log?{query}")).await;
        assert_eq!(status, 400, "{query}: {problem}");
        let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
        assert_eq!(problem["detail"], wanted, "{query}");
        assert_eq!(problem["code"], "bad-parameter");
    }
    let client = up.client_of("gateway");
    let notices = format!(
        "{}/internal/data/v1/notify-api-deployment-status",
        up.management
    );
    for (body, wanted) in [
        ("{\"count\":1,\"list\":[{}]}", "gatewayId"),
        ("[1]", "invalid"),
    ] {
        let answer = client
            .post(&notices)
            .header("content-type", "application/json");
        let answer = answer.body(body).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let problem: serde_json::Value = answer.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(wanted), "{detail}");
    }
    let large = client
        .post(&notices)
        .header("content-type", "application/json");
    let large = large
        .body(vec![b' '; 5 * 1024 * 1024])
        .send()
        .await
        .unwrap();
    assert!([400, 413].contains(&large.status().as_u16()), "{large:?}");
}

#[tokio::test]
async fn every_metric_is_in_the_table_and_the_other_way_round() {
    let up = Up::start(&["--gateways", "1"]).await;
    publish(&up, "A", "one", &["Production and Sandbox"]).await;
    let text = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        words
            .filter(|word| word.starts_with("lockstep_"))
            .map(str::to_owned)
            .collect()
    };
    let table = text.split("### Metrics").nth(1).unwrap();
    let mut table = names(table.split("###").next().unwrap());
    // While a back end fails, and where there is an access log.
    for rare in [
        "lockstep_endpoint_unready",
        "lockstep_gateway_access_log_dropped_total",
    ] {
        assert!(table.remove(rare), "{rare}");
    }
    // Failures are not in the table by themselves, a histogram's parts neither.
    let told = eventually("what was published is told to be deployed", || async {
        let url = format!("{}/metrics", up.management);
        let answer = up.client_of("viewer").get(url).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let told: BTreeSet<String> = text
            .lines()
            .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
            .collect();
        told.contains("lockstep_publish_to_deployed_seconds")
            .then_some(told)
    })
    .await;
    assert_eq!(told, table);
}
