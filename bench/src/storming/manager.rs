//! A traffic manager as a process, over a database with artifacts.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use base64::Engine as _;
use store::{Database, SaveMode, Store, StoreOptions};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::puller::Puller;
use crate::data::{DC, Maker};

/// The size of each artifact, bytes.
const ARTIFACT: usize = 8 * 1024;
const PATH: &str = "/internal/data/v1/label-log?gatewayLabel=Production+and+Sandbox";

/// The program, its data, and the process that runs.
pub struct Manager {
    program: PathBuf,
    directory: TempDir,
    running: Option<(Child, u16)>,
}

impl Manager {
    /// Builds the program and saves artifacts.
    ///
    /// # Errors
    /// When it does not build or the database fails.
    pub async fn prepare(apis: usize) -> anyhow::Result<Self> {
        let program = built().await?;
        let directory = tempfile::tempdir()?;
        let data = directory.path().display();
        let conf =
            format!("[lockstep]\ndata_dir = \"{data}\"\n[transport.https.properties]\nport = 0\n");
        std::fs::write(directory.path().join("deployment.toml"), conf)?;
        let options = StoreOptions {
            database: Database::file(&directory.path().join("lockstep.db"))?,
            dc: DC.into(),
            history_size: 10,
        };
        let store = Store::open(&options).await?;
        let saves = Maker::new()?.new_saves(apis, ARTIFACT)?;
        let outcomes = store.save(&saves, SaveMode::Atomic, 1).await?;
        ensure!(
            !outcomes.iter().any(store::SaveOutcome::is_refusal),
            "an artifact is refused"
        );
        store.close().await;
        Ok(Self {
            program,
            directory,
            running: None,
        })
    }

    /// The data directory, which has the certificates.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it, after ending the one that ran.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.stop().await;
        let mut child = Command::new(&self.program)
            .arg("--conf")
            .arg(self.directory().join("deployment.toml"))
            .env("LOCKSTEP_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let output = child.stdout.take().context("no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let line = line.context("the traffic manager has ended")?;
        let port = line
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let port = port.with_context(|| format!("no port in {line:?}"))?;
        self.running = Some((child, port));
        Ok(())
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill().await;
        }
    }

    /// A gateway of it.
    ///
    /// # Errors
    /// When it does not run.
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

    /// The most memory that it has had, bytes.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn peak_memory(&self) -> anyhow::Result<f64> {
        let (child, _) = self.running.as_ref().context("it does not run")?;
        let id = child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: f64 = kibibytes.context("no VmHWM")?.trim().parse()?;
        Ok(kibibytes * 1024.0)
    }

    fn client(&self, user: &str, path: &str) -> anyhow::Result<Puller> {
        let (_, port) = self.running.as_ref().context("it does not run")?;
        let password = kit::access::development::password(self.directory(), user);
        let password = password.context("there is no such development user")?;
        let pair = format!("{user}:{}", password.expose());
        let basic = base64::engine::general_purpose::STANDARD.encode(pair);
        let head = format!("Authorization: Basic {basic}\r\n");
        Puller::new(self.directory(), *port, path, &head)
    }
}

/// The program of this workspace, built as this one is.
async fn built() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--package", "traffic-manager"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.status().await.context("cargo")?;
    ensure!(status.success(), "the traffic manager does not build");
    let here = std::env::current_exe()?;
    Ok(here.with_file_name("traffic-manager"))
}
