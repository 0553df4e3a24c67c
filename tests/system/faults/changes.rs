//! Changes through the saver's interface, and the book of those that were acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::kit_of_tests::eventually;
use crate::nodes::Nodes;

/// APIs that are published again and again, and never removed.
pub const STAYING: u64 = 5;
/// APIs that come and go.
pub const COMING: u64 = 25;

/// Who publishes. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    client: reqwest::Client,
    url: String,
    book: Arc<Mutex<Book>>,
    /// Acknowledged changes.
    count: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    /// The newest acknowledged revision of each API; none where a removal was acknowledged.
    acknowledged: BTreeMap<String, Option<u64>>,
    /// Tries that were not acknowledged.
    failures: u64,
}

/// The artifact of an API that tells its revision in a header and in the body. `padding` is a text
/// that makes it larger.
fn artifact(name: &str, revision: u64, padding: &str) -> String {
    let definition = format!(
        "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"{name}\" context=\"/{name}\">\
         <resource url-mapping=\"/padding\"><inSequence><payloadFactory media-type=\"text\">\
         <format>{padding}</format></payloadFactory><respond/></inSequence></resource>\
         <resource><inSequence><loopback/></inSequence><outSequence>\
         <property name=\"X-Revision\" scope=\"transport\" value=\"{revision}\"/>\
         <payloadFactory media-type=\"text\"><format>{revision}</format></payloadFactory>\
         <send/></outSequence></resource></api>"
    );
    serde_json::json!({
        "name": name, "version": "1.0", "tenantDomain": "carbon.super",
        "apiId": format!("id-of-{name}"), "apiDefinition": definition, "override": true,
    })
    .to_string()
}

impl Publisher {
    pub fn of(nodes: &Nodes) -> Self {
        Self {
            client: nodes.admin.clone(),
            url: nodes.saver_url.clone(),
            book: Arc::default(),
            count: watch::Sender::new(0),
        }
    }

    /// Publishes all APIs that stay and some that come and go.
    pub async fn begin(&self) {
        for n in 0..STAYING {
            self.publish(&format!("stays{n}"), 1).await;
        }
        for n in 0..COMING / 2 {
            self.publish(&format!("comes{n}"), 1).await;
        }
    }

    /// The nth change: one of three publishes an API that stays again, the others let APIs come, change
    /// and go. Tried until it is acknowledged.
    pub async fn change(&self, n: u64) {
        let revision = n + 2;
        if n.is_multiple_of(3) {
            let name = format!("stays{}", n / 3 % STAYING);
            return self.publish(&name, revision).await;
        }
        // In an order that has no pattern with those three.
        let name = format!("comes{}", n * 7 % COMING);
        let there = self.newest(&name).is_some();
        if there && n % 3 == 1 {
            self.remove(&name).await;
        } else {
            self.publish(&name, revision).await;
        }
    }

    pub async fn changes(&self, range: std::ops::Range<u64>) {
        for n in range {
            self.change(n).await;
        }
    }

    pub async fn publish(&self, name: &str, revision: u64) {
        self.publish_large(name, revision, 0).await;
    }

    /// With at least so many bytes that cannot be compressed.
    pub async fn publish_large(&self, name: &str, revision: u64, bytes: usize) {
        // An id has 16 bytes, written as twice as many characters.
        let ids = (0..bytes.div_ceil(16)).map(|_| uuid::Uuid::new_v4().simple().to_string());
        let artifact = artifact(name, revision, &ids.collect::<String>());
        let request = serde_json::json!({
            "labels": ["Production and Sandbox"],
            "items": [{"source": name, "artifact": artifact}],
        });
        let url = format!("{}/api/lockstep/v1/publish", self.url);
        eventually(&format!("{name} {revision} is acknowledged"), async || {
            let answer = self.client.post(&url).json(&request).send().await;
            let answer = self.succeeded(answer)?;
            let report: serde_json::Value = answer.json().await.ok()?;
            let outcome = report["results"][0]["outcome"].as_str()?;
            // A try that was not acknowledged may have been saved all the same.
            assert!(["saved", "unchanged"].contains(&outcome), "{report}");
            Some(())
        })
        .await;
        self.acknowledged(name, Some(revision));
    }

    pub async fn remove(&self, name: &str) {
        let url = format!("{}/api/lockstep/v1/apis", self.url);
        let query = [("name", name), ("version", "1.0")];
        eventually(
            &format!("the removal of {name} is acknowledged"),
            async || {
                let answer = self.client.delete(&url).query(&query).send().await;
                // A try that was not acknowledged may have removed it.
                let gone = matches!(&answer, Ok(answer) if answer.status() == 404);
                (gone || self.succeeded(answer).is_some()).then_some(())
            },
        )
        .await;
        self.acknowledged(name, None);
    }

    fn succeeded(&self, answer: reqwest::Result<reqwest::Response>) -> Option<reqwest::Response> {
        match answer {
            Ok(answer) if answer.status().is_success() => Some(answer),
            failed => {
                if let Ok(answer) = failed {
                    assert!(answer.status().is_server_error(), "{answer:?}");
                }
                self.book.lock().unwrap().failures += 1;
                None
            }
        }
    }

    fn acknowledged(&self, name: &str, revision: Option<u64>) {
        let mut book = self.book.lock().unwrap();
        book.acknowledged.insert(name.to_owned(), revision);
        self.count.send_modify(|count| *count += 1);
    }

    fn newest(&self, name: &str) -> Option<u64> {
        let book = self.book.lock().unwrap();
        book.acknowledged.get(name).copied().flatten()
    }

    /// All APIs with what was last acknowledged of them.
    pub fn expected(&self) -> BTreeMap<String, Option<u64>> {
        self.book.lock().unwrap().acknowledged.clone()
    }

    /// Returns when so many changes were acknowledged, those of the beginning included. Each has its own
    /// patience, so this needs none.
    pub async fn reached(&self, changes: u64) {
        let mut count = self.count.subscribe();
        count.wait_for(|count| *count >= changes).await.unwrap();
    }

    /// How many tries were not acknowledged.
    pub fn failures(&self) -> u64 {
        self.book.lock().unwrap().failures
    }
}
