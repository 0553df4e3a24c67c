//! The gateway REST API: golden answers, roles, and APIs that an operator takes down and puts back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::kit_of_tests::{
    Running, answering_dto, client, dto, eventually, free_ports, listening, run,
};
use super::nodes::{Gateway, Ground, Nodes};
use kit::credentials::Credentials;

const UNAUTHENTICATED: &str =
    r#"{"code":401,"message":"","description":"Unauthenticated request","moreInfo":"","error":[]}"#;

async fn publish(nodes: &Nodes, artifact: &str) -> u64 {
    let request = json!({
        "labels": ["Production and Sandbox"],
        "items": [{"source": "test", "artifact": artifact}],
    });
    let url = format!("{}/api/lockstep/v1/publish", nodes.saver_url);
    let answer = nodes.admin.post(url).json(&request).send().await.unwrap();
    let report: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(report["results"][0]["outcome"], "saved", "{report}");
    report["results"][0]["revision"].as_u64().unwrap()
}

/// Status, content type and body of a resource of the gateway REST API.
async fn ask(
    client: &reqwest::Client,
    gateway: &Gateway,
    method: &str,
    resource: &str,
) -> (u16, String, String) {
    let url = format!("{}/api/am/gateway/{resource}", gateway.management);
    let request = client.request(method.parse().unwrap(), url);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type");
    let content_type = content_type.map_or("", |value| value.to_str().unwrap());
    let content_type = content_type.to_owned();
    (status, content_type, answer.text().await.unwrap())
}

/// Asks and compares with a golden answer.
async fn check(
    client: &reqwest::Client,
    gateway: &Gateway,
    resource: &str,
    status: u16,
    golden: &str,
) {
    let (method, resource) = resource.split_once(' ').unwrap();
    let got = ask(client, gateway, method, resource).await;
    let expected = (status, "application/json".to_owned(), golden.to_owned());
    assert_eq!(got, expected, "{method} {resource}");
}

/// How the API stands on the only gateway, as the traffic manager tells.
async fn status(nodes: &Nodes, api: &str) -> Option<serde_json::Value> {
    let url = format!("{}/api/lockstep/v1/apis/{api}", nodes.manager_url);
    let answer = nodes.admin.get(url).send().await.ok()?;
    let overview: serde_json::Value = answer.json().await.ok()?;
    let mut gateways = overview["gateways"].as_array()?.iter();
    gateways.find(|status| status["online"] == true).cloned()
}

async fn becomes(nodes: &Nodes, api: &str, state: &str) -> serde_json::Value {
    eventually(&format!("{api} is {state}"), || async {
        status(nodes, api)
            .await
            .filter(|status| status["state"] == state)
    })
    .await
}

fn rich_artifact() -> String {
    let api = |name: &str, context: &str| {
        format!(
            "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"{name}\" context=\"{context}\">\
             <resource methods=\"GET\"><inSequence><property name=\"Authorization\" value=\"hunter22\" \
             scope=\"transport\"/><respond/></inSequence></resource></api>"
        )
    };
    json!({
        "name": "Gold", "version": "1.0", "tenantDomain": "carbon.super", "apiId": "id-of-Gold",
        "apiDefinition": api("Gold", "/gold/1.0"), "defaultAPIDefinition": api("Gold-d", "/gold"),
        "sequenceToBeAdd": [{"name": "Gold--In", "content": "<sequence \
            xmlns=\"http://ws.apache.org/ns/synapse\" name=\"Gold--In\"><log/></sequence>"}],
        "endpointEntriesToBeAdd": [{"name": "Gold--E", "content": "<endpoint \
            xmlns=\"http://ws.apache.org/ns/synapse\" name=\"Gold--E\"><http \
            uri-template=\"http://u:hunter22@localhost:1/\"/></endpoint>"}],
        "localEntriesToBeAdd": [{"name": "Gold--L", "content": "<localEntry \
            xmlns=\"http://ws.apache.org/ns/synapse\" key=\"Gold--L\">text</localEntry>"}],
        "credentialsToBeAdd": [{"alias": "a", "password": "hunter33"}],
        "override": true,
    })
    .to_string()
}

const ENDPOINT: &str = r#""<endpoint xmlns=\"http://ws.apache.org/ns/synapse\" name=\"Gold--E\"><http uri-template=\"http://********@localhost:1/\"/></endpoint>""#;
const STATE: &str = r#"{"children":[],"name":"Gold--E","nextRetry":null,"ready":true,"state":"ACTIVE","type":"http"}"#;
const LOCAL_ENTRY: &str =
    r#""<localEntry xmlns=\"http://ws.apache.org/ns/synapse\" key=\"Gold--L\">text</localEntry>""#;
const SEQUENCE: &str =
    r#""<sequence xmlns=\"http://ws.apache.org/ns/synapse\" name=\"Gold--In\"><log/></sequence>""#;

/// A definition of the artifact as it is shown.
fn definition(name: &str, context: &str) -> String {
    format!(
        r#""<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"{name}\" context=\"{context}\"><resource methods=\"GET\"><inSequence><property name=\"Authorization\" value=\"********\" scope=\"transport\"/><respond/></inSequence></resource></api>""#
    )
}

#[tokio::test]
async fn answers_as_api_manager_does_but_for_its_defects() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    publish(&nodes, &rich_artifact()).await;
    nodes.answers(&gateway, "gold", 200, "").await;
    let gold = "apiName=Gold&version=1.0";
    let (api, default) = (
        definition("Gold", "/gold/1.0"),
        definition("Gold-d", "/gold"),
    );
    let endpoints = format!(
        r#""Deployed Endpoints":[{ENDPOINT}],"UnDeployed Endpoints":[],"Endpoint States":[{STATE}]"#
    );
    let local_entries =
        format!(r#""Deployed Local Entries":[{LOCAL_ENTRY}],"Undeployed Local Entries":[]"#);
    let sequences = format!(r#""Deployed Sequences":[{SEQUENCE}],"Undeployed Sequences":[]"#);
    let all = format!(
        r#"{{{endpoints},{local_entries},{sequences},"Deployed API Definitions":[{api},{default}],"Undeployed API Definitions":[]}}"#
    );
    let viewer = nodes.client_of("viewer");
    for v in ["v1/", "v1.2/", ""] {
        for (resource, golden) in [
            ("api-artifact", all.clone()),
            ("end-points", format!("{{{endpoints}}}")),
            ("local-entry", format!("{{{local_entries}}}")),
            ("sequence", format!("{{{sequences}}}")),
        ] {
            let resource = format!("GET {v}{resource}?{gold}&tenantDomain=carbon.super");
            check(&viewer, &gateway, &resource, 200, &golden).await;
        }
    }
    for (resource, golden) in [
        ("api-artifact", format!(r#"{{"api":{api}}}"#)),
        (
            "end-points",
            format!(r#"{{"endpoints":[{ENDPOINT}],"endpointStates":[{STATE}]}}"#),
        ),
        (
            "local-entry",
            format!(r#"{{"localEntries":[{LOCAL_ENTRY}]}}"#),
        ),
        ("sequence", format!(r#"{{"sequences":[{SEQUENCE}]}}"#)),
    ] {
        let resource = format!("GET v2/{resource}?{gold}");
        check(&viewer, &gateway, &resource, 200, &golden).await;
    }
    // What is not there.
    let publisher = nodes.client_of("publisher");
    let missing = r#"{"code":404,"message":"Not Found","description":"Gone is not deployed in the Gateway","moreInfo":"","error":[]}"#;
    for what in [
        "apiName=Gone&version=1.0",
        "apiName=Gone&version=1.0&tenantDomain=carbon.super",
    ] {
        for (client, resource) in [
            (&publisher, "POST v1/redeploy-api"),
            (&publisher, "POST v1/undeploy-api"),
            (&viewer, "GET v1/api-artifact"),
            (&viewer, "GET v1/sequence"),
        ] {
            let text = "Gone is not deployed in the Gateway";
            check(client, &gateway, &format!("{resource}?{what}"), 400, text).await;
            let resource = resource.replace("v1", "v2");
            check(
                client,
                &gateway,
                &format!("{resource}?{what}"),
                404,
                missing,
            )
            .await;
        }
    }
    let elsewhere = format!("GET v1/end-points?{gold}&tenantDomain=other.com");
    let text = "Gold is not deployed in the Gateway";
    check(&viewer, &gateway, &elsewhere, 400, text).await;
    for v in ["v1", "v2"] {
        for (query, rule) in [
            ("version=1.0", "apiName: may not be null"),
            ("apiName=Gold", "version: may not be null"),
            ("apiName=Gold&version=", "version: may not be null"),
            (
                "apiName=Gold&version=1&version=2",
                "version: is given more than once",
            ),
        ] {
            let golden = format!(
                r#"{{"code":400,"message":"Bad Request","description":"{rule}","moreInfo":"","error":[]}}"#
            );
            let resource = format!("POST {v}/undeploy-api?{query}");
            check(&publisher, &gateway, &resource, 400, &golden).await;
        }
    }
    // Changes; what was taken down is what is undeployed.
    let undeploy = |v: &str| format!("POST {v}undeploy-api?{gold}");
    let redeploy = |v: &str| format!("POST {v}redeploy-api?{gold}");
    for v in ["", "v1/"] {
        check(
            &publisher,
            &gateway,
            &undeploy(v),
            200,
            "Gold Undeployed from the gateway",
        )
        .await;
        let text = "Gold redeployed successfully in the Gateway";
        check(&publisher, &gateway, &redeploy(v), 200, text).await;
    }
    let golden =
        r#"{"deployStatus":"UNDEPLOYED","jsonPayload":"Gold Undeployed from the gateway"}"#;
    check(&publisher, &gateway, &undeploy("v2/"), 200, golden).await;
    let golden = format!(r#"{{"Deployed Sequences":[],"Undeployed Sequences":[{SEQUENCE}]}}"#);
    for path in ["gold/1.0", "gold"] {
        // The version-less route goes with the API.
        nodes.answers(&gateway, path, 404, "").await;
    }
    let sequences = format!("GET v1/sequence?{gold}");
    check(&viewer, &gateway, &sequences, 200, &golden).await;
    let (status, _, _) = ask(&viewer, &gateway, "GET", &format!("v2/api-artifact?{gold}")).await;
    assert_eq!(status, 404);
    let golden = r#"{"deployStatus":"DEPLOYED","jsonPayload":"Gold redeployed from the gateway"}"#;
    check(&publisher, &gateway, &redeploy("v2/"), 200, golden).await;
}

#[tokio::test]
async fn each_role_may_do_its_part_on_a_gateway() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    nodes.publish("A", "a").await.unwrap();
    nodes.answers(&gateway, "A", 200, "a").await;
    let nobody = &nodes.client;
    for resource in ["redeploy-api", "v1/undeploy-api", "v2/undeploy-api"] {
        let resource = format!("{resource}?apiName=A&version=1.0");
        let url = format!("{}/api/am/gateway/{resource}", gateway.management);
        let answer = nobody.post(url).send().await.unwrap();
        let challenges = answer.headers().get_all("www-authenticate");
        assert_eq!(challenges.iter().count(), 2, "{answer:?}");
        check(
            nobody,
            &gateway,
            &format!("POST {resource}"),
            401,
            UNAUTHENTICATED,
        )
        .await;
        for (user, expected) in [
            ("viewer", 403),
            ("gateway", 403),
            ("publisher", 200),
            ("operator", 200),
        ] {
            let client = nodes.client_of(user);
            let (status, _, text) = ask(&client, &gateway, "POST", &resource).await;
            assert_eq!(status, expected, "{user} {resource} {text}");
        }
    }
    for resource in [
        "v1/api-artifact",
        "sequence",
        "v1/end-points",
        "v1.2/local-entry",
    ] {
        let resource = format!("{resource}?apiName=A&version=1.0");
        check(
            nobody,
            &gateway,
            &format!("GET {resource}"),
            401,
            UNAUTHENTICATED,
        )
        .await;
        for (user, expected) in [
            ("viewer", 200),
            ("gateway", 403),
            ("publisher", 403),
            ("operator", 200),
        ] {
            let client = nodes.client_of(user);
            let (status, content_type, text) = ask(&client, &gateway, "GET", &resource).await;
            assert_eq!(status, expected, "{user} {resource} {text}");
            assert_eq!(content_type, "application/json");
        }
    }
    let probe = "v2/server-startup-healthcheck";
    assert_eq!(ask(nobody, &gateway, "GET", probe).await.0, 200);
}

#[tokio::test]
async fn the_startup_check_fails_until_the_gateway_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let more = "[apim.event_hub]\nservice_url = \"https://localhost:1/services/\"\n";
    let conf = free_ports(directory.path(), more);
    let mut running = Running::start("gateway-agent", &["--conf", conf.to_str().unwrap()]);
    let urls = listening(&mut running).await;
    let client = client(directory.path(), &Credentials::none());
    let url = format!("{}/api/am/gateway/v2/server-startup-healthcheck", urls[2]);
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.text().await.unwrap(), "");
}

#[tokio::test]
async fn an_api_is_taken_down_on_a_gateway_until_it_is_published_or_redeployed() {
    let mut nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    let operator = nodes.client_of("operator");
    nodes.publish("A", "one").await.unwrap();
    nodes.publish("B", "other").await.unwrap();
    nodes.answers(&gateway, "A", 200, "one").await;
    nodes.answers(&gateway, "B", 200, "other").await;
    becomes(&nodes, "id-of-A", "deployed").await;
    let undeploy = "POST v1/undeploy-api?apiName=A&version=1.0";
    let redeploy = "POST v1/redeploy-api?apiName=A&version=1.0";
    let undeployed = "A Undeployed from the gateway";
    let redeployed = "A redeployed successfully in the Gateway";
    let answers = async |status: u16, text: &str| {
        // At once: the answer to the command comes when it is done.
        let answer = nodes.client.get(format!("{}/A", gateway.http)).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), status);
        let body = answer.text().await.unwrap();
        assert!(status != 200 || body == text, "{body}");
        let other = nodes.client.get(format!("{}/B", gateway.http)).send().await;
        assert_eq!(other.unwrap().text().await.unwrap(), "other");
    };

    for _ in 0..2 {
        check(&operator, &gateway, undeploy, 200, undeployed).await;
        answers(404, "").await;
    }
    let status = becomes(&nodes, "id-of-A", "overridden").await;
    assert_eq!(status["reason"], "undeployed on the gateway by operator");
    assert!(status["deployed"].is_null(), "{status}");
    let id = status["gatewayId"].as_str().unwrap();
    let tell = async |resource: &str| -> serde_json::Value {
        let url = format!("{}/api/lockstep/v1/{resource}", nodes.manager_url);
        let answer = nodes.admin.get(url).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let explained = tell(&format!("explain?api=id-of-A&gateway={id}")).await;
    assert_eq!(explained["outcome"], "overridden", "{explained}");
    let convergence = tell("apis/id-of-A/convergence").await;
    assert_eq!(convergence["converged"], false);
    assert_eq!(convergence["missing"][0]["state"], "overridden");

    let (authority, data) = ("data/tls/ca.pem", "data");
    let path = |name: &str| nodes.directory.path().join(name).display().to_string();
    let (authority, data) = (path(authority), path(data));
    let list = [
        "list",
        "--server",
        &nodes.manager_url,
        "--cacert",
        &authority,
        "--data-dir",
        &data,
    ];
    let listed = run("lockstep", &list).await;
    assert!(listed.stdout.contains("overridden"), "{listed:?}");

    // Others being published change nothing; its own next revision brings it back.
    nodes.publish("C", "third").await.unwrap();
    nodes.answers(&gateway, "C", 200, "third").await;
    answers(404, "").await;
    nodes.publish("A", "two").await.unwrap();
    nodes.answers(&gateway, "A", 200, "two").await;
    becomes(&nodes, "id-of-A", "deployed").await;

    check(&operator, &gateway, undeploy, 200, undeployed).await;
    answers(404, "").await;
    becomes(&nodes, "id-of-A", "overridden").await;
    check(&operator, &gateway, redeploy, 200, redeployed).await;
    answers(200, "two").await;
    becomes(&nodes, "id-of-A", "deployed").await;

    // Without the traffic manager; it is told when it is back.
    nodes.manager.take().unwrap().kill().await;
    check(&operator, &gateway, undeploy, 200, undeployed).await;
    let gone = nodes.client.get(format!("{}/A", gateway.http)).send().await;
    assert_eq!(gone.unwrap().status(), 404);
    check(&operator, &gateway, redeploy, 200, redeployed).await;
    let back = nodes.client.get(format!("{}/A", gateway.http)).send().await;
    assert_eq!(back.unwrap().text().await.unwrap(), "two");
    check(&operator, &gateway, undeploy, 200, undeployed).await;
    nodes.start_manager().await;
    becomes(&nodes, "id-of-A", "overridden").await;
    nodes.remove("A").await;
    becomes(&nodes, "id-of-A", "undeployed").await;
    let text = "A is not deployed in the Gateway";
    check(&operator, &gateway, redeploy, 400, text).await;
}

#[tokio::test]
async fn a_request_in_flight_ends_although_its_api_is_taken_down() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let back_end = format!("http://{}", listener.local_addr().unwrap());
    publish(&nodes, &dto("A", "/A", &back_end)).await;
    becomes(&nodes, "id-of-A", "deployed").await;
    let url = format!("{}/A/1.0", gateway.http);
    let request = tokio::spawn(nodes.client.get(&url).send());
    let (mut stream, _) = listener.accept().await.unwrap();
    let operator = nodes.client_of("operator");
    let undeploy = "POST v1/undeploy-api?apiName=A&version=1.0";
    check(
        &operator,
        &gateway,
        undeploy,
        200,
        "A Undeployed from the gateway",
    )
    .await;
    let after = nodes.client.get(&url).send().await.unwrap();
    assert_eq!(after.status(), 404);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
    stream.write_all(answer).await.unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "done");
}

#[tokio::test]
async fn no_request_fails_while_an_api_is_redeployed_again_and_again() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    publish(&nodes, &answering_dto("A", "/A", "steady")).await;
    nodes.answers(&gateway, "A", 200, "steady").await;
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (nodes.client.clone(), format!("{}/A", gateway.http));
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = client.get(&url).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    assert_eq!(answer.text().await.unwrap(), "steady");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let operator = nodes.client_of("operator");
    for round in 1..=50 {
        let text = "A redeployed successfully in the Gateway";
        let redeploy = "POST v1/redeploy-api?apiName=A&version=1.0";
        check(&operator, &gateway, redeploy, 200, text).await;
        eventually("requests between two redeployments", || async {
            (answered.load(Ordering::Relaxed) >= round * 10).then_some(())
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_back_end_that_fails_is_told_with_its_state() {
    let nodes = Nodes::start(&Ground::default(), "").await;
    let gateway = nodes.gateway().await;
    let artifact =
        rich_artifact().replace("<respond/>", "<send><endpoint key=\\\"Gold--E\\\"/></send>");
    publish(&nodes, &artifact).await;
    // Nobody listens at its port.
    nodes.answers(&gateway, "gold", 500, "").await;
    let viewer = nodes.client_of("viewer");
    let resource = "v2/end-points?apiName=Gold&version=1.0";
    let (status, _, text) = ask(&viewer, &gateway, "GET", resource).await;
    assert_eq!(status, 200);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let state = &told["endpointStates"][0];
    assert_eq!(state["state"], "SUSPENDED", "{text}");
    assert!(state["nextRetry"].as_i64().unwrap() > 0, "{text}");
    eventually("the metrics name the endpoint", || async {
        let answer = viewer
            .get(format!("{}/metrics", gateway.management))
            .send()
            .await;
        let text = answer.unwrap().text().await.unwrap();
        let named = text
            .lines()
            .find(|line| line.starts_with("lockstep_endpoint_unready{"))?;
        let suspended = text
            .lines()
            .find(|line| line.starts_with("lockstep_endpoints{") && line.contains("SUSPENDED"))?;
        (named.contains("endpoint=\"Gold--E\"")
            && named.ends_with(" 1")
            && suspended.ends_with(" 1"))
        .then_some(())
    })
    .await;
}
