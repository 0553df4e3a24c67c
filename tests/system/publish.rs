//! Publish, change, remove: what the gateways do with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::kit_of_tests::{Up, answering_dto, eventually};

async fn body(client: &reqwest::Client, url: &str) -> (u16, String) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn publish_and_wait_means_that_the_gateways_answer() {
    let up = Up::start(&[]).await;
    let client = up.client();
    let url = format!("{}/hello", up.gateways[0]);
    for text in ["one", "two", "three"] {
        let file = up.file("hello.json", answering_dto("Hello", "/hello", text));
        let finished = up.command(&["publish", &file, "--wait"]).await;
        assert_eq!(finished.code, 0, "{finished:?}");
        assert_eq!(body(&client, &url).await, (200, text.into()));
    }
    let file = up.file("hello.json", answering_dto("Hello", "/hello", "three"));
    let again = up.command(&["publish", &file, "--json"]).await.json();
    assert_eq!(again["results"][0]["outcome"], "unchanged");
    assert_eq!(again["results"][0]["revision"], 3);

    let removed = up.command(&["remove", "Hello", "1.0", "--wait"]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(body(&client, &url).await.0, 404);
    let missing = up.command(&["remove", "Hello", "1.0"]).await;
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("no API Hello 1.0 is published"),
        "{missing:?}"
    );
    // What was removed can come back.
    assert_eq!(up.command(&["publish", &file, "--wait"]).await.code, 0);
    assert_eq!(body(&client, &url).await, (200, "three".into()));
}

#[tokio::test]
async fn an_api_moves_with_its_labels() {
    let up = Up::start(&[]).await;
    let client = up.client();
    let file = up.file("hello.json", answering_dto("Hello", "/hello", "x"));
    let publish = async |labels: &[&str]| {
        let mut arguments = vec!["publish", &file, "--wait"];
        arguments.extend(labels.iter().flat_map(|label| ["--label", label]));
        let finished = up.command(&arguments).await;
        assert_eq!(finished.code, 0, "{finished:?}");
    };
    let statuses = async || {
        let mut found = Vec::new();
        for gateway in &up.gateways {
            found.push(body(&client, &format!("{gateway}/hello")).await.0);
        }
        found
    };
    publish(&["Production and Sandbox"]).await;
    assert_eq!(statuses().await, [200, 404]);
    publish(&["Production and Sandbox", "Label1"]).await;
    assert_eq!(statuses().await, [200, 200]);
    publish(&["Label1"]).await;
    assert_eq!(statuses().await, [404, 200]);
}

#[tokio::test]
async fn waiting_for_a_label_that_nobody_carries_fails_with_the_reason() {
    let up = Up::start(&[]).await;
    let file = up.file("hello.json", answering_dto("Hello", "/hello", "x"));
    let finished = up
        .command(&["publish", &file, "--label", "Nowhere", "--wait=1"])
        .await;
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(
        finished
            .stdout
            .contains("no gateway carries the label Nowhere"),
        "{finished:?}"
    );
}

#[tokio::test]
async fn no_request_fails_while_an_api_is_published_again_and_again() {
    let up = Up::start(&["--gateways", "1"]).await;
    let client = up.client();
    let url = format!("{}/hello", up.gateways[0]);
    let first = up.file("hello.json", answering_dto("Hello", "/hello", "0"));
    assert_eq!(up.command(&["publish", &first, "--wait"]).await.code, 0);

    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut newest = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    let (status, text) = body(&client, &url).await;
                    assert_eq!(status, 200);
                    let revision: u32 = text.parse().unwrap();
                    assert!(revision >= newest, "{revision} after {newest}");
                    newest = revision;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for revision in 1..=20 {
        let file = up.file(
            "hello.json",
            answering_dto("Hello", "/hello", &revision.to_string()),
        );
        assert_eq!(up.command(&["publish", &file]).await.code, 0);
    }
    eventually("the last revision answers", || async {
        (body(&client, &url).await.1 == "20").then_some(())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn a_batch_saves_the_good_ones_and_lists_the_bad_ones() {
    let up = Up::start(&["--gateways", "1"]).await;
    for number in 0..97 {
        let name = format!("Api{number:02}");
        let context = format!("/api{number:02}");
        up.file(
            &format!("batch/{name}.json"),
            answering_dto(&name, &context, "x"),
        );
    }
    up.file(
        "batch/bad-method.json",
        answering_dto("Bad1", "/bad1", "x").replace("<resource>", "<resource methods='FETCH'>"),
    );
    up.file(
        "batch/bad-xml.json",
        answering_dto("Bad2", "/bad2", "x").replace("</api>", ""),
    );
    up.file(
        "batch/same-context.json",
        answering_dto("Bad3", "/api00", "x"),
    );
    let batch = up.directory.path().join("batch");
    let batch = batch.to_str().unwrap();

    let atomic = up.command(&["publish", batch, "--atomic", "--json"]).await;
    assert_eq!(atomic.code, 2);
    let outcomes = |finished: &super::kit_of_tests::Finished, outcome: &str| {
        let json = finished.json();
        let results = json["results"].as_array().unwrap().clone();
        results
            .into_iter()
            .filter(|r| r["outcome"] == outcome)
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&atomic, "notSaved").len(), 97);
    let listed = up.command(&["list", "--json"]).await.json();
    assert_eq!(
        listed["apis"].as_array().unwrap().len(),
        5,
        "only the samples"
    );

    let each = up.command(&["publish", batch, "--json", "--wait"]).await;
    assert_eq!(each.code, 2);
    assert_eq!(outcomes(&each, "saved").len(), 97);
    let rejected = outcomes(&each, "rejected");
    let reasons: Vec<String> = rejected
        .iter()
        .map(|result| {
            let source = result["source"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap();
            format!("{source}: {}", result["reason"].as_str().unwrap())
        })
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(
        reasons[0]
            .starts_with("bad-method.json: apiDefinition/api/resource: unknown method \"FETCH\""),
        "{reasons:?}"
    );
    assert!(
        reasons[1].starts_with(
            "bad-xml.json: apiDefinition: line 1, column 1: not well-formed: <api> is never closed"
        ),
        "{reasons:?}"
    );
    assert!(
        reasons[2].starts_with("same-context.json: claims the context and version of "),
        "{reasons:?}"
    );
    let listed = up.command(&["list", "--json"]).await.json();
    assert_eq!(listed["apis"].as_array().unwrap().len(), 102);
    assert_eq!(each.json()["waited"]["converged"], true);
}

#[tokio::test]
async fn a_context_that_is_published_already_is_refused_with_its_owner() {
    let up = Up::start(&["--gateways", "1"]).await;
    let one = up.file("one.json", answering_dto("One", "/same", "1"));
    let two = up.file("two.json", answering_dto("Two", "/same", "2"));
    assert_eq!(up.command(&["publish", &one]).await.code, 0);
    let refused = up.command(&["publish", &two]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stdout
            .contains("its context and version (/same) are those of the published API One 1.0"),
        "{refused:?}"
    );
    assert_eq!(up.command(&["remove", "One", "1.0"]).await.code, 0);
    assert_eq!(up.command(&["publish", &two, "--wait"]).await.code, 0);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_change_and_saves_nothing() {
    let up = Up::start(&["--gateways", "1"]).await;
    let file = up.file("hello.json", answering_dto("Hello", "/hello", "x"));
    let outcome = async |arguments: &[&str]| {
        let json = up.command(arguments).await.json();
        json["results"][0]["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        outcome(&["publish", &file, "--dry-run", "--json"]).await,
        "wouldCreate"
    );
    assert_eq!(outcome(&["publish", &file, "--json"]).await, "saved");
    assert_eq!(
        outcome(&["publish", &file, "--dry-run", "--json"]).await,
        "unchanged"
    );
    let file = up.file("hello.json", answering_dto("Hello", "/hello", "y"));
    assert_eq!(
        outcome(&["publish", &file, "--dry-run", "--json"]).await,
        "wouldUpdate"
    );
    let listed = up.command(&["list", "--json"]).await.json();
    let apis = listed["apis"].as_array().unwrap();
    let hello = apis.iter().find(|api| api["name"] == "Hello").unwrap();
    assert_eq!(hello["revision"], 1);
}

#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    let up = Up::start(&["--gateways", "1"]).await;
    for number in 0..40 {
        let name = format!("Api{number:02}");
        up.file(
            &format!("batch/{name}.json"),
            answering_dto(&name, &format!("/api{number:02}"), "x"),
        );
    }
    let batch = up.directory.path().join("batch");
    let batch = batch.to_str().unwrap().to_owned();
    assert_eq!(up.command(&["publish", &batch]).await.code, 0);
    let before = up.command(&["list", "--json"]).await.json();
    let Up {
        directory, running, ..
    } = up;
    running.kill().await;
    let up = Up::start_in(directory, &["--gateways", "1"]).await;
    let after = up.command(&["list", "--json"]).await.json();
    assert_eq!(before["apis"].as_array().unwrap().len(), 45);
    let digests = |json: &serde_json::Value| {
        let apis = json["apis"].as_array().unwrap().iter();
        apis.map(|api| api["digest"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(digests(&before), digests(&after));
    let url = format!("{}/api39", up.gateways[0]);
    assert_eq!(body(&up.client(), &url).await, (200, "x".into()));
}

#[tokio::test]
async fn a_route_that_moves_with_a_later_request_of_the_same_publish_is_free() {
    let up = Up::start(&["--gateways", "1"]).await;
    // More than one request's worth; the first API takes what the last one leaves.
    for number in 0..40 {
        let name = format!("Api{number:02}");
        up.file(
            &format!("many/{name}.json"),
            answering_dto(&name, &format!("/api{number:02}"), "x"),
        );
    }
    let many = up.directory.path().join("many");
    let many = many.to_str().unwrap();
    assert_eq!(up.command(&["publish", many]).await.code, 0);
    up.file("many/Api00.json", answering_dto("Api00", "/api39", "x"));
    up.file("many/Api39.json", answering_dto("Api39", "/moved", "x"));
    let finished = up.command(&["publish", many, "--wait"]).await;
    assert_eq!(finished.code, 0, "{finished:?}");
    let url = format!("{}/api39", up.gateways[0]);
    assert_eq!(body(&up.client(), &url).await, (200, "x".into()));
}
