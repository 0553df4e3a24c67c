//! A traffic manager as a process.

use std::path::Path;

use anyhow::Context;
use base64::Engine as _;

use super::Ground;
use super::puller::Puller;
use crate::process::Process;

const PATH: &str = "/internal/data/v1/label-log?gatewayLabel=Production+and+Sandbox";

/// A running traffic manager.
#[derive(Debug)]
pub struct Manager<'a> {
    ground: &'a Ground,
    pub process: Process,
    pub port: u16,
}

impl<'a> Manager<'a> {
    /// Starts one over what has been saved.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(ground: &'a Ground) -> anyhow::Result<Self> {
        let lines = format!(
            "[apim.event_hub]\n{}[transport.https.properties]\nport = 0\n",
            ground.event_hub
        );
        let conf = ground.conf("traffic-manager", &lines)?;
        let mut command = ground.program("traffic-manager", &conf);
        let mut process = Process::start("traffic-manager", &mut command)?;
        let line = process.line().await?;
        let port = line
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        Ok(Self {
            ground,
            process,
            port: port.with_context(|| format!("no port in {line:?}"))?,
        })
    }

    /// A gateway of it, as one request.
    ///
    /// # Errors
    /// When the authority of its certificate cannot be read.
    pub fn puller(&self) -> anyhow::Result<Puller> {
        self.client("gateway", PATH)
    }

    /// How many artifacts it has read from the database.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn database_reads(&self) -> anyhow::Result<f64> {
        let text = self.client("viewer", "/metrics")?.body().await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let name = "lockstep_artifact_database_reads_total ";
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.context("the counter is missing")?.parse()?)
    }

    fn client(&self, user: &str, path: &str) -> anyhow::Result<Puller> {
        let head = authorization(self.ground.directory(), user)?;
        Puller::new(self.ground.directory(), self.port, path, &head)
    }
}

/// The line of a request's head that says which development user it is.
fn authorization(data_dir: &Path, user: &str) -> anyhow::Result<String> {
    let password = kit::access::development::password(data_dir, user);
    let password = password.context("there is no such development user")?;
    let pair = format!("{user}:{}", password.expose());
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    Ok(format!("Authorization: Basic {basic}\r\n"))
}
