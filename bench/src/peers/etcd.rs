//! etcd, one member, spoken to by the JSON of its gRPC gateway.

use std::process::Stdio;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::process::{Process, free_port, peer};

/// Keys of one transaction; the server takes 128.
const BATCH: usize = 100;

/// A running etcd, which syncs each commit to the disk, as it always does.
#[derive(Debug)]
pub struct Etcd {
    pub version: String,
    pub process: Process,
    client: reqwest::Client,
    url: String,
}

impl Etcd {
    /// Starts it.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        let version = Command::new(peer("etcd")).arg("--version").output().await;
        let version = version.context("it is not installed (bench/peers install)")?;
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.lines().next().unwrap_or("etcd").to_owned();
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let members = format!("http://127.0.0.1:{}", free_port()?);
        let mut process = Process::start(
            "etcd",
            Command::new(peer("etcd"))
                .arg("--data-dir")
                .arg(directory.path().join("data"))
                .args(["--listen-client-urls", &url])
                .args(["--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &members])
                .args(["--initial-advertise-peer-urls", &members])
                .args(["--initial-cluster", &format!("default={members}")])
                .args(["--log-level", "error"])
                // Its gateway complains when it ends.
                .stderr(Stdio::null()),
        )?;
        process.listening(port).await?;
        Ok(Self {
            version,
            process: process.working_in(directory),
            client: reqwest::Client::builder().no_proxy().build()?,
            url,
        })
    }

    /// Puts one value; returns when it is committed.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn put(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.call("/v3/kv/put", &put(key, value)).await?;
        Ok(())
    }

    /// Puts many.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn put_all(&self, all: &[(String, String)]) -> anyhow::Result<()> {
        for batch in all.chunks(BATCH) {
            let puts = batch.iter().map(|(key, value)| put(key, value));
            let puts: Vec<Value> = puts.map(|put| json!({"request_put": put})).collect();
            self.call("/v3/kv/txn", &json!({"success": puts})).await?;
        }
        Ok(())
    }

    /// What is put below this prefix from now on, value by value.
    ///
    /// # Errors
    /// When it refuses to watch.
    pub async fn watch(&self, prefix: &str) -> anyhow::Result<mpsc::Receiver<Vec<u8>>> {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let create = json!({"create_request": {
            "key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end),
        }});
        let url = format!("{}/v3/watch", self.url);
        let answer = self.client.post(url).body(create.to_string());
        let mut answer = answer.send().await?.error_for_status()?;
        let mut lines = Vec::new();
        // The first line says that it watches.
        let first = line(&mut answer, &mut lines).await?;
        let created = first.is_some_and(|line| line["result"]["created"] == true);
        anyhow::ensure!(created, "etcd does not watch");
        let (sender, values) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok(Some(line)) = line(&mut answer, &mut lines).await {
                let events = line["result"]["events"].as_array();
                for event in events.into_iter().flatten() {
                    let value = event["kv"]["value"].as_str().unwrap_or_default();
                    let Ok(value) = STANDARD.decode(value) else {
                        return;
                    };
                    if sender.send(value).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(values)
    }

    /// The values of the keys from `start` to before `end`, in their order.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn range(&self, start: &str, end: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            kvs: Vec<Pair>,
        }
        #[derive(Deserialize)]
        struct Pair {
            value: String,
        }
        let range = json!({"key": STANDARD.encode(start), "range_end": STANDARD.encode(end)});
        let text = self.call("/v3/kv/range", &range).await?;
        let Answer { kvs } = serde_json::from_str(&text)?;
        let values = kvs.into_iter().map(|pair| Ok(STANDARD.decode(pair.value)?));
        values.collect()
    }

    async fn call(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        let call = self.client.post(format!("{}{path}", self.url));
        let answer = call.body(body.to_string()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("etcd answers {status}: {text}");
        }
        Ok(text)
    }
}

fn put(key: &str, value: &str) -> Value {
    json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)})
}

/// The next line of JSON; `None` at the end. `rest` is what has come of later ones.
async fn line(answer: &mut reqwest::Response, rest: &mut Vec<u8>) -> anyhow::Result<Option<Value>> {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            return Ok(Some(serde_json::from_slice(&line)?));
        }
        match answer.chunk().await? {
            Some(chunk) => rest.extend_from_slice(&chunk),
            None => return Ok(None),
        }
    }
}
