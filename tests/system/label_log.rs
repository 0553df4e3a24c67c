//! The label log over HTTP: a pull, and the same request followed.

use futures_util::StreamExt;

use super::kit_of_tests::{Up, answering_dto};

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_pull_gives_the_entries_after_the_cursor_and_how_far_it_reaches() {
    let up = Up::start(&[]).await;
    let url = format!("{}/internal/data/v1/label-log", up.management);
    let pull = async |query: &[(&str, &str)]| {
        let answer = up
            .client_of("gateway")
            .get(&url)
            .query(query)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let label = ("gatewayLabel", "Production and Sandbox");
    let (status, all) = pull(&[label]).await;
    assert_eq!(status, 200);
    let all = lines(&all);
    assert_eq!(all.len(), 5, "four APIs and how far it reaches");
    assert_eq!(all[4], serde_json::json!({"completeTo": 4}));
    let digest = all[0]["digest"].as_str().unwrap();
    assert_eq!(digest.len(), 64);
    assert_eq!(all[0]["artifact"]["name"], all[0]["name"]);
    let (_, rest) = pull(&[label, ("after", "3")]).await;
    assert_eq!(lines(&rest).len(), 2);
    let (_, none) = pull(&[("gatewayLabel", "nobody's")]).await;
    assert_eq!(lines(&none), [serde_json::json!({"completeTo": 0})]);

    let (status, problem) = pull(&[("gatewayLabel", "")]).await;
    assert_eq!(status, 400);
    assert!(problem.contains("a label must not be empty"), "{problem}");
    let (status, problem) = pull(&[label, ("after", "-1")]).await;
    assert_eq!(status, 400, "{problem}");
}

#[tokio::test]
async fn a_followed_log_brings_what_is_published_later() {
    let up = Up::start(&["--gateways", "1"]).await;
    let url = format!("{}/internal/data/v1/label-log", up.management);
    let query = [("gatewayLabel", "Label7"), ("follow", "true")];
    let client = up.client_of("gateway");
    let answer = client.get(url).query(&query).send().await.unwrap();
    let mut stream = answer.bytes_stream();
    let mut read = String::new();
    let mut until = async |text: &str| {
        while !read.contains(text) {
            let chunk = stream.next().await.unwrap().unwrap();
            read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        read.clone()
    };
    until("{\"completeTo\":0}").await;
    let file = up.file("a.json", answering_dto("A", "/a", "x"));
    let publish = ["publish", &file, "--label", "Label7"];
    assert_eq!(up.command(&publish).await.code, 0);
    let read = until("{\"completeTo\":1}").await;
    let entry = &lines(&read)[1];
    assert_eq!(
        (&entry["seq"], &entry["instruction"]),
        (&1.into(), &"Publish".into())
    );
    assert_eq!(up.command(&["remove", "A", "1.0"]).await.code, 0);
    let read = until("{\"completeTo\":2}").await;
    let entry = lines(&read)
        .into_iter()
        .find(|line| line["seq"] == 2)
        .unwrap();
    assert_eq!(entry["instruction"], "Remove");
    assert!(entry["artifact"].is_null());
}
