//! Servers that test programs share: whoever needs one first starts it, and writes down where.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::container::{self, root};
use crate::{Kind, Server};

#[derive(Serialize, Deserialize)]
struct Running {
    port: u16,
    container: String,
}

pub(crate) async fn server(kind: Kind) -> anyhow::Result<Server> {
    let directory = PathBuf::from(root()?).join("target/test-servers");
    std::fs::create_dir_all(&directory)?;
    // One at a time, across test programs and their threads.
    let path = directory.join(format!("{kind}.lock"));
    let lock = tokio::task::spawn_blocking(move || -> std::io::Result<File> {
        let lock = File::create(path)?;
        lock.lock()?;
        Ok(lock)
    })
    .await??;
    let noted = directory.join(format!("{kind}.json"));
    if let Some(server) = running(kind, &noted).await {
        return Ok(server);
    }
    let (server, container) = container::start(kind, None, "shared").await?;
    container::ready(server, container.id()).await?;
    let running = Running {
        port: server.port,
        container: container.id().to_owned(),
    };
    std::fs::write(&noted, serde_json::to_vec(&running)?).context("cannot note the server")?;
    // Left running: its handle would remove it.
    std::mem::forget(container);
    drop(lock);
    Ok(server)
}

async fn running(kind: Kind, noted: &std::path::Path) -> Option<Server> {
    let running: Running = serde_json::from_slice(&std::fs::read(noted).ok()?).ok()?;
    let port = running.port;
    let server = Server { kind, port };
    // Another program may have the port by now, so the container has to run, too.
    if !container::runs(&running.container).await.ok()? {
        return None;
    }
    let ready = container::ready(server, &running.container);
    let ready = timeout(Duration::from_secs(30), ready).await;
    matches!(ready, Ok(Ok(()))).then_some(server)
}
