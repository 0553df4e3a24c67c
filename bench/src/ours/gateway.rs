//! A gateway as a process.

use std::path::PathBuf;

use anyhow::Context;

use super::Ground;
use crate::process::Process;

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    pub process: Process,
    /// Where it serves clients by HTTP.
    pub port: u16,
}

/// What a gateway is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Names its snapshot and its file.
    pub id: &'a str,
    pub label: &'a str,
    /// Threads for requests; without it as many as there are cores.
    pub threads: Option<usize>,
    /// Whether it hears events, where there is a broker; else it follows the watch stream.
    pub hears: bool,
    /// Whether it keeps what it has applied on the disk.
    pub snapshot: bool,
}

impl Gateway {
    /// Starts one that pulls from the traffic manager on this port. It answers requests when it has
    /// pulled everything.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(
        ground: &Ground,
        manager: u16,
        settings: Settings<'_>,
    ) -> anyhow::Result<Self> {
        let conf = ground.gateway_conf(manager, settings)?;
        let mut command = ground.program("gateway-agent", &conf);
        if let Some(threads) = settings.threads {
            command.env("TOKIO_WORKER_THREADS", threads.to_string());
        }
        let mut process = Process::start("gateway-agent", &mut command)?;
        let line = process.line().await?;
        let port = line.split([' ', ',']).find_map(|word| {
            word.strip_prefix("http://")?
                .rsplit_once(':')?
                .1
                .parse()
                .ok()
        });
        Ok(Self {
            process,
            port: port.with_context(|| format!("no port in {line:?}"))?,
        })
    }
}

impl Ground {
    /// A file with the configuration of a gateway that pulls from the traffic manager on this port.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn gateway_conf(&self, manager: u16, settings: Settings<'_>) -> anyhow::Result<PathBuf> {
        let Settings { id, label, .. } = settings;
        let hears = if settings.hears {
            ""
        } else {
            "enable = false\n"
        };
        let lines = format!(
            "[apim.event_hub]\nservice_url = \"https://localhost:{manager}/services/\"\n{}{hears}\
             [apim.sync_runtime_artifacts.gateway]\ngateway_labels = [\"{label}\"]\n\
             [transport.passthru_http.listener.parameters]\nport = 0\n\
             [transport.passthru_https.listener.parameters]\nport = 0\n\
             [gateway]\nid = \"{id}\"\nmanagement_port = 0\nsnapshot.enable = {}\n",
            self.event_hub, settings.snapshot
        );
        self.conf(id, &lines)
    }
}
