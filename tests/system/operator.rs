//! The operator's API and the commands that read it.

use serde_json::{Value, json};

use super::kit_of_tests::{
    Finished, Running, Up, answering_dto, development_client, eventually, free_ports, listening,
    run,
};

const API: &str = "api/lockstep/v1";

/// Asks for a resource by the parts of its path, which may hold any character.
async fn get(up: &Up, path: &[&str], query: &[(&str, &str)]) -> (u16, Value) {
    let answer = up
        .client_of("admin")
        .get(url(up, path))
        .query(query)
        .send()
        .await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn url(up: &Up, path: &[&str]) -> reqwest::Url {
    let mut url = reqwest::Url::parse(&format!("{}/{API}", up.management)).unwrap();
    url.path_segments_mut().unwrap().extend(path);
    url
}

async fn publish(up: &Up, name: &str, text: &str, more: &[&str]) -> Finished {
    let context = format!("/{}", name.to_lowercase());
    let file = up.file(&format!("{name}.json"), answering_dto(name, &context, text));
    let finished = up.command(&[&["publish", &file], more].concat()).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    finished
}

/// A gateway that is only a name: it registers and says what it is told to.
async fn say(up: &Up, path: &str, body: Value) {
    let url = format!("{}/internal/data/v1/{path}", up.management);
    let answer = up
        .client_of("gateway")
        .post(url)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

async fn register(up: &Up, id: &str, labels: &[&str]) {
    let body = json!({"payloadType": "REGISTER", "gatewayId": id, "environmentLabels": labels,
        "timeStamp": 1, "gatewayProperties": {"zone": "b"}, "loadingTenants": ["carbon.super"],
        "applied": {labels[0]: 1}});
    say(up, "notify-gateway", body).await;
}

async fn deployment(up: &Up, id: &str, revision: u64, digest: &str, said: Value) {
    let mut notice = json!({"gatewayId": id, "apiId": "id-of-Hello", "tenantDomain": "carbon.super",
        "deploymentStatus": "SUCCESS", "action": "DEPLOY", "revisionId": digest,
        "revision": revision, "deployedRevisionId": digest, "timeStamp": 5});
    let notice_members = notice.as_object_mut().unwrap();
    notice_members.extend(said.as_object().unwrap().clone());
    let body = json!({"count": 1, "list": [notice]});
    say(up, "notify-api-deployment-status", body).await;
}

#[tokio::test]
async fn explain_tells_why_an_api_is_on_a_gateway_or_not() {
    let up = Up::start(&[]).await;
    publish(&up, "Hello", "one", &["--wait"]).await;
    let (_, gateways) = get(&up, &["gateways"], &[]).await;
    let id = |label: &str| {
        let mut list = gateways["list"].as_array().unwrap().iter();
        let gateway = list.find(|gateway| gateway["labels"] == json!([label]));
        gateway.unwrap()["gatewayId"].as_str().unwrap().to_owned()
    };
    let (first, second) = (id("Production and Sandbox"), id("Label1"));
    let explain = async |api: &str, gateway: &str| {
        get(&up, &["explain"], &[("api", api), ("gateway", gateway)]).await
    };

    for api in ["Hello:1.0", "Hello:1.0@carbon.super", "id-of-Hello"] {
        let (status, told) = explain(api, &first).await;
        assert_eq!(
            (status, &told["outcome"]),
            (200, &json!("deployed")),
            "{told}"
        );
        let said = format!("{first} answers requests with revision 1 of Hello 1.0");
        assert_eq!(told["conclusion"], json!(said));
        let steps = told["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 7);
    }
    // Announced may come after deployed: gateways follow the log.
    eventually("all steps are done", || async {
        let (_, told) = explain("Hello:1.0", &first).await;
        let steps = told["steps"].as_array().unwrap();
        steps.iter().all(|step| step["ok"] == true).then_some(())
    })
    .await;

    let (_, told) = explain("Hello:1.0", &second).await;
    assert_eq!(told["outcome"], "notCarried");
    let said =
        format!("Hello 1.0 is published to Production and Sandbox, but {second} carries Label1");
    assert_eq!(told["conclusion"], json!(said));
    assert!(told["status"].is_null());

    for (api, gateway, code, detail) in [
        (
            "Hullo:1.0",
            first.as_str(),
            "api-not-found",
            "there is no API Hullo:1.0; ",
        ),
        (
            "id-of-x",
            &first,
            "api-not-found",
            "there is no API id-of-x; ",
        ),
        (
            "Hello:1.0@x",
            &first,
            "api-not-found",
            "there is no API Hello:1.0@x; ",
        ),
        (
            "Hello:1.0",
            "g",
            "gateway-not-found",
            "no gateway g is registered",
        ),
    ] {
        let (status, problem) = explain(api, gateway).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some(code)));
        let told = problem["detail"].as_str().unwrap();
        assert!(told.starts_with(detail), "{told}");
    }
    let (status, problem) = get(&up, &["explain"], &[("api", "Hello:1.0")]).await;
    assert_eq!(
        (status, &problem["detail"]),
        (400, &json!("gateway: is missing"))
    );

    let told = up.command(&["explain", "Hello:1.0", &second]).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.starts_with(&said), "{told:?}");
    assert!(
        told.stdout.contains("  label      NO  it carries Label1"),
        "{told:?}"
    );
    let told = up
        .command(&["explain", "Hello:1.0", &first, "--json"])
        .await;
    assert_eq!(told.json()["outcome"], "deployed");
    let told = up.command(&["explain", "Nothing:1", &first]).await;
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("there is no API Nothing:1"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_refusal_shows_the_revision_that_is_wanted_and_the_one_that_serves() {
    let up = Up::start(&["--gateways", "1"]).await;
    // Its id holds what has a meaning in a path.
    let id = "https://host:8243/a b%2F?c#d";
    register(&up, id, &["Mine"]).await;
    publish(&up, "Hello", "one", &["--label", "Mine"]).await;
    let digest = async || {
        let (_, api) = get(&up, &["apis", "id-of-Hello"], &[]).await;
        api["digest"].as_str().unwrap().to_owned()
    };
    let one = digest().await;
    deployment(&up, id, 1, &one, json!({})).await;
    let convergence = async || {
        get(&up, &["apis", "id-of-Hello", "convergence"], &[])
            .await
            .1
    };
    let made = convergence().await;
    assert_eq!(made["converged"], true, "{made}");
    assert_eq!(made["online"], json!({"done": 1, "wanted": 1}));

    publish(&up, "Hello", "two", &["--label", "Mine"]).await;
    let two = digest().await;
    let made = convergence().await;
    assert_eq!(
        (&made["converged"], &made["revision"]),
        (&json!(false), &json!(2))
    );
    assert_eq!(made["missing"][0]["state"], "pending");
    let refused = json!({"deploymentStatus": "FAILURE", "deployedRevisionId": one,
        "errorMessage": "no such mediator"});
    deployment(&up, id, 2, &two, refused).await;
    let made = convergence().await;
    let missing = &made["missing"][0];
    assert_eq!(missing["state"], "failed");
    assert_eq!(missing["reason"], "no such mediator");
    assert_eq!(
        (&missing["desired"], &missing["received"]),
        (&json!(two), &json!(two))
    );
    assert_eq!(missing["deployed"], json!(one));

    let query = [("api", "Hello:1.0"), ("gateway", id)];
    let (_, told) = get(&up, &["explain"], &query).await;
    let said =
        format!("{id} refused revision 2 of Hello 1.0: no such mediator; it serves revision 1");
    assert_eq!(told["conclusion"], json!(said));

    let (status, gateway) = get(&up, &["gateways", id], &[]).await;
    assert_eq!(status, 200, "{gateway}");
    assert_eq!(gateway["gatewayId"], json!(id));
    assert_eq!(gateway["properties"], json!({"zone": "b"}));
    assert_eq!(gateway["tenants"], json!(["carbon.super"]));
    assert_eq!(gateway["applied"], json!({"Mine": 1}));
    assert_eq!(gateway["behind"], json!({"Mine": 1}));
    let (_, carriers) = get(&up, &["gateways"], &[("label", "Mine")]).await;
    assert_eq!(carriers["list"].as_array().unwrap().len(), 1);
    let (_, labels) = get(&up, &["labels"], &[]).await;
    let mut labels = labels["list"].as_array().unwrap().iter();
    let mine = labels.find(|label| label["label"] == "Mine").unwrap();
    assert_eq!(
        (&mine["seq"], &mine["apis"], &mine["online"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let listed = up.command(&["gateways"]).await;
    assert!(listed.stdout.contains("Mine"), "{listed:?}");

    let forgotten = up.command(&["forget", id]).await;
    assert_eq!(forgotten.code, 0, "{forgotten:?}");
    let (status, problem) = get(&up, &["gateways", id], &[]).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("gateway-not-found"))
    );
    let again = up.command(&["forget", id]).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("is registered"), "{again:?}");
}

#[tokio::test]
async fn a_rollout_is_waited_for_until_a_quorum_has_it() {
    let up = Up::start(&["--gateways", "1"]).await;
    publish(&up, "Hello", "one", &[]).await;
    let waited = up.command(&["wait", "Hello:1.0", "1"]).await;
    assert_eq!(waited.code, 0, "{waited:?}");
    assert!(
        waited
            .stdout
            .contains("revision 1 of Hello:1.0 is deployed on 1 of 1 gateway(s)"),
        "{waited:?}"
    );

    // One more gateway, which says nothing yet.
    register(&up, "silent", &["Production and Sandbox"]).await;
    let wait = ["wait", "id-of-Hello", "1", "--json", "--timeout", "1"];
    let waited = up.command(&wait).await;
    assert_eq!(waited.code, 1, "{waited:?}");
    let rollout = waited.json();
    assert_eq!(rollout["reached"], false);
    assert_eq!(
        (&rollout["deployed"], &rollout["wanted"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(rollout["missing"][0]["gatewayId"], "silent");
    assert_eq!(rollout["missing"][0]["state"], "pending");
    for quorum in ["1", "50%"] {
        let waited = up
            .command(&["wait", "id-of-Hello", "1", "--quorum", quorum])
            .await;
        assert_eq!(waited.code, 0, "{waited:?}");
    }

    let path = |revision: &'static str| ["rollouts", "Hello:1.0", revision, "wait"];
    let (_, api) = get(&up, &["apis", "id-of-Hello"], &[]).await;
    let digest = api["digest"].as_str().unwrap();
    let first = path("1");
    let (woken, ()) = tokio::join!(
        get(&up, &first, &[("timeout", "60")]),
        deployment(&up, "silent", 1, digest, json!({})),
    );
    assert_eq!(
        (woken.0, &woken.1["reached"]),
        (200, &json!(true)),
        "{woken:?}"
    );

    // A newer revision ends the wait for the one before.
    register(&up, "silent", &["Production and Sandbox"]).await;
    let (ended, _) = tokio::join!(
        get(&up, &first, &[("timeout", "60")]),
        publish(&up, "Hello", "two", &[]),
    );
    assert_eq!(
        (ended.0, &ended.1["reached"]),
        (200, &json!(false)),
        "{ended:?}"
    );
    assert_eq!(ended.1["superseded"], "revision 2 was published");

    publish(&up, "Lonely", "x", &["--label", "Nowhere"]).await;
    let lonely = up
        .command(&["wait", "Lonely:1.0", "1", "--timeout", "0"])
        .await;
    assert_eq!(lonely.code, 1);
    assert!(
        lonely
            .stdout
            .contains("no gateway carries a label that publishes the API"),
        "{lonely:?}"
    );

    for (path, query, status, detail) in [
        (
            path("9"),
            ("quorum", "1"),
            404,
            "there is no revision 9 of the API id-of-Hello yet",
        ),
        (
            path("x"),
            ("quorum", "1"),
            400,
            "revision: \"x\" is not a whole number",
        ),
        (
            path("1"),
            ("quorum", "0%"),
            400,
            "quorum: \"0%\" is not a number of gateways",
        ),
        (
            path("1"),
            ("timeout", "301"),
            400,
            "timeout: \"301\" is not a whole number from 0",
        ),
        (
            path("1"),
            ("timout", "3"),
            400,
            "timout: is no parameter of this resource",
        ),
    ] {
        let (found, problem) = get(&up, &path, &[query]).await;
        assert_eq!(found, status, "{problem}");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.starts_with(detail), "{told}");
    }
}

#[tokio::test]
async fn lists_are_walked_part_by_part() {
    let up = Up::start(&["--gateways", "1"]).await;
    for number in 0..20 {
        let name = format!("Api{number:02}");
        let file = format!("batch/{name}.json");
        up.file(
            &file,
            answering_dto(&name, &format!("/api{number:02}"), "x"),
        );
    }
    let batch = up.directory.path().join("batch");
    let batch = batch.to_str().unwrap();
    let published = up.command(&["publish", batch, "--label", "Many"]).await;
    assert_eq!(published.code, 0, "{published:?}");

    let walk = async |more: &[(&str, &str)], limit: &str| {
        let (mut names, mut sizes) = (Vec::new(), Vec::new());
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("limit", limit)];
            query.extend(more);
            query.extend(after.as_deref().map(|after| ("after", after)));
            let (status, page) = get(&up, &["apis"], &query).await;
            assert_eq!(status, 200, "{page}");
            let list = page["list"].as_array().unwrap();
            sizes.push(list.len());
            let of = |api: &Value| api["name"].as_str().unwrap().to_owned();
            names.extend(list.iter().map(of));
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return (names, sizes),
            }
        }
    };
    let (names, sizes) = walk(&[], "10").await;
    assert_eq!(sizes, [10, 10, 5], "20 and the five samples");
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 25, "each of them once");
    let listed = up.command(&["list", "--json"]).await.json();
    assert_eq!(listed["apis"].as_array().unwrap().len(), 25);
    let (names, sizes) = walk(&[("label", "Many")], "15").await;
    assert_eq!((names.len(), sizes), (20, vec![15, 5]));
    assert_eq!(walk(&[("name", "Api07")], "1").await.0, ["Api07"]);
    assert!(walk(&[("tenant", "example.com")], "1").await.0.is_empty());
    let ids = ("apiId", "id-of-Api03,id-of-Api01,id-of-nothing");
    assert_eq!(walk(&[ids], "1").await.0, ["Api01", "Api03"]);
    assert!(walk(&[ids, ("label", "Nowhere")], "1").await.0.is_empty());

    for (query, detail) in [
        (
            ("limit", "0"),
            "limit: \"0\" is not a whole number from 1 to 1000",
        ),
        (
            ("after", "00"),
            "after: is none that this list gave as next",
        ),
        (("label", ""), "label: is empty"),
        (("apiId", "a,,b"), "apiId: has an empty id"),
        (("lable", "x"), "lable: is no parameter of this resource"),
    ] {
        let (status, problem) = get(&up, &["apis"], &[query]).await;
        assert_eq!(status, 400, "{problem}");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.starts_with(detail), "{told}");
    }
    let (status, _) = get(&up, &["apis", "id-of-nothing"], &[]).await;
    assert_eq!(status, 404);
    let (status, document) = get(&up, &["openapi.json"], &[]).await;
    assert_eq!(
        (status, &document["info"]["title"]),
        (200, &json!("Lockstep"))
    );
}

#[tokio::test]
async fn revisions_are_shown_without_their_secrets() {
    let up = Up::start(&["--gateways", "1"]).await;
    for text in ["one", "two"] {
        let mut dto: Value = serde_json::from_str(&answering_dto("Hello", "/hello", text)).unwrap();
        let definition = dto["apiDefinition"].as_str().unwrap().replace(
            "<inSequence>",
            "<inSequence><property name=\"Authorization\" value=\"Basic c3dvcmRmaXNo\" \
             scope=\"transport\"/><property name=\"at\" value=\"http://joe:swordfish@host/x\"/>",
        );
        dto["apiDefinition"] = json!(definition);
        dto["credentialsToBeAdd"] = json!([{"alias": "joe", "password": "swordfish"}]);
        let file = up.file("hello.json", dto.to_string());
        let published = up.command(&["publish", &file]).await;
        assert_eq!(published.code, 0, "{published:?}");
    }
    let (_, page) = get(
        &up,
        &["apis", "id-of-Hello", "revisions"],
        &[("limit", "1")],
    )
    .await;
    assert_eq!(page["list"][0]["revision"], 2, "the newest first");
    let next = page["next"].as_str().unwrap();
    let (_, page) = get(
        &up,
        &["apis", "id-of-Hello", "revisions"],
        &[("after", next)],
    )
    .await;
    assert_eq!(page["list"][0]["revision"], 1);
    assert!(page["next"].is_null());
    let (status, detail) = get(&up, &["apis", "id-of-Hello", "revisions", "1"], &[]).await;
    assert_eq!(status, 200, "{detail}");
    let text = detail.to_string();
    assert!(
        !text.contains("swordfish") && !text.contains("c3dvcmRmaXNo"),
        "{text}"
    );
    let artifact = &detail["artifact"];
    assert_eq!(artifact["credentialsToBeAdd"][0]["alias"], "joe");
    let definition = artifact["apiDefinition"].as_str().unwrap();
    assert!(
        definition.contains("name=\"Authorization\" value=\"********\""),
        "{definition}"
    );
    assert!(definition.contains("one"), "{definition}");
    for (path, status) in [("9", 404), ("0", 400), ("x", 400)] {
        let (found, problem) = get(&up, &["apis", "id-of-Hello", "revisions", path], &[]).await;
        assert_eq!(found, status, "{problem}");
    }
    let (status, _) = get(&up, &["apis", "id-of-x", "revisions"], &[]).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_gateway_that_was_killed_is_why_an_api_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let more = "[apim.gateway_notification.heartbeat]\nnotify_interval = 200\n\
                [apim.gateway_notification.cleanup]\nexpiry_time = 1500\n";
    let conf = free_ports(directory.path(), more);
    let conf = conf.to_str().unwrap();
    let mut saver = Running::start("publisher-saver", &["serve", "--conf", conf]);
    let saver_url = listening(&mut saver).await.remove(0);
    let mut manager = Running::start("traffic-manager", &["--conf", conf]);
    let manager_url = listening(&mut manager).await.remove(0);
    let gateway_conf = directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(conf).unwrap()
        + &format!("\n[apim.event_hub]\nservice_url = \"{manager_url}/services/\"\n");
    std::fs::write(&gateway_conf, text).unwrap();
    let gateway_conf = gateway_conf.to_str().unwrap();
    let mut gateway = Running::start("gateway-agent", &["--conf", gateway_conf]);
    listening(&mut gateway).await;

    let data = directory.path().join("data");
    let command = async |arguments: &[&str]| {
        let servers = [
            "--server",
            &manager_url,
            "--data-dir",
            data.to_str().unwrap(),
        ];
        run("lockstep", &[arguments, &servers].concat()).await
    };
    let file = directory.path().join("a.json");
    let publish = async |text: &str, more: &[&str]| {
        std::fs::write(&file, answering_dto("A", "/a", text)).unwrap();
        let publish = ["publish", file.to_str().unwrap(), "--publisher", &saver_url];
        let finished = command(&[&publish, more].concat()).await;
        assert_eq!(finished.code, 0, "{finished:?}");
    };
    publish("one", &["--wait"]).await;
    let gateways = command(&["gateways", "--json"]).await.json();
    let id = gateways[0]["gatewayId"].as_str().unwrap().to_owned();
    gateway.kill().await;
    publish("two", &[]).await;
    let explain = ["explain", "A:1.0", &id, "--json"];
    eventually("the gateway counts as offline", || async {
        let told = command(&explain).await.json();
        (told["outcome"] == "offline").then_some(())
    })
    .await;
    let told = command(&["explain", "A:1.0", &id]).await;
    let said = format!(
        "{id} is offline and has not got revision 2 of A 1.0; it last said that it serves revision 1"
    );
    assert!(told.stdout.starts_with(&said), "{told:?}");
    let client = development_client(directory.path(), "viewer");
    let url = format!("{manager_url}/{API}/apis/id-of-A/convergence");
    let made: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(made["offline"], json!({"done": 0, "wanted": 1}));
    assert_eq!(made["online"], json!({"done": 0, "wanted": 0}));
    assert_eq!(made["missing"][0]["reason"], "offline: no heartbeat");
}
