//! A gateway as a process.

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

impl Gateway {
    /// Starts one that pulls this label from the traffic manager on this port, with so many threads
    /// for requests; `id` names its snapshot. It answers requests when it has pulled everything.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(
        ground: &Ground,
        manager: u16,
        (id, label): (&str, &str),
        threads: usize,
    ) -> anyhow::Result<Self> {
        let lines = format!(
            "[apim.event_hub]\nservice_url = \"https://localhost:{manager}/services/\"\n\
             [apim.sync_runtime_artifacts.gateway]\ngateway_labels = [\"{label}\"]\n\
             [transport.passthru_http.listener.parameters]\nport = 0\n\
             [transport.passthru_https.listener.parameters]\nport = 0\n\
             [gateway]\nid = \"{id}\"\nmanagement_port = 0\n"
        );
        let mut command = ground.command("gateway-agent", id, &lines)?;
        command.env("TOKIO_WORKER_THREADS", threads.to_string());
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
