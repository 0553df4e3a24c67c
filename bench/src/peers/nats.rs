//! NATS with JetStream: a key-value bucket, whose every put is synced to the disk.

use anyhow::Context;
use async_nats::jetstream::{self, kv};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::process::{Process, free_port, peer};

/// A running NATS server.
#[derive(Debug)]
pub struct Nats {
    pub version: String,
    pub process: Process,
    context: jetstream::Context,
    address: String,
}

/// A bucket with one revision of each key.
#[derive(Debug)]
pub struct Bucket(kv::Store);

impl Nats {
    /// Starts it.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        let program = peer("nats-server");
        let version = Command::new(&program).arg("--version").output().await;
        let version = version.context("it is not installed (bench/peers install)")?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let file = directory.path().join("nats.conf");
        let store = directory.path().display();
        // A put is answered when it is on the disk, as it is in the other stores.
        std::fs::write(
            &file,
            format!(
                "listen: \"127.0.0.1:{port}\"\nlogfile: \"{store}/log\"\n\
                 jetstream {{ store_dir: \"{store}\", sync_interval: always }}\n"
            ),
        )?;
        let mut process = Process::start("nats-server", Command::new(program).arg("-c").arg(file))?;
        process.listening(port).await?;
        let address = format!("127.0.0.1:{port}");
        let client = async_nats::connect(&address).await?;
        Ok(Self {
            version,
            process: process.working_in(directory),
            context: jetstream::new(client),
            address,
        })
    }

    /// A bucket that is there, on a connection of its own.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connected(&self, bucket: &str) -> anyhow::Result<Bucket> {
        let client = async_nats::connect(&self.address).await?;
        Ok(Bucket(jetstream::new(client).get_key_value(bucket).await?))
    }

    /// A new bucket.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn bucket(&self, name: &str) -> anyhow::Result<Bucket> {
        let config = kv::Config {
            bucket: name.to_owned(),
            ..kv::Config::default()
        };
        Ok(Bucket(self.context.create_key_value(config).await?))
    }
}

impl Bucket {
    /// Puts one value; returns when it is stored.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn put(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.0.put(key, value.to_owned().into()).await?;
        Ok(())
    }

    /// Puts many, some at a time.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn put_all(&self, all: &[(String, String)]) -> anyhow::Result<()> {
        for batch in all.chunks(64) {
            let mut puts = Vec::with_capacity(batch.len());
            for (key, value) in batch {
                puts.push(self.put(key, value));
            }
            try_join_all(puts).await?;
        }
        Ok(())
    }

    /// What is put from now on, value by value.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn watch(&self) -> anyhow::Result<mpsc::Receiver<Vec<u8>>> {
        let mut watch = self.0.watch_all().await?;
        let (sender, values) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(Ok(entry)) = watch.next().await {
                if sender.send(entry.value.to_vec()).await.is_err() {
                    return;
                }
            }
        });
        Ok(values)
    }
}
