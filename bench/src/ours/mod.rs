//! This project's own programs as processes: a traffic manager over an embedded database with what a
//! scenario saves there, and gateways of it.

pub mod apis;
pub mod gateway;
pub mod hosted;
pub mod installation;
pub mod manager;
pub mod puller;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use store::{Database, Save, SaveMode, Store, StoreOptions};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::data::DC;

/// The profile of programs that are installed.
const INSTALLED: &str = "dist";

/// The data directory that the programs share: database, certificates, users, snapshots.
#[derive(Debug)]
pub struct Ground {
    directory: TempDir,
    programs: PathBuf,
    /// Lines of `[apim.event_hub]` that say where the broker is, if there is one.
    event_hub: String,
}

impl Ground {
    /// Builds the programs, as they are installed unless this one is a debug build, and makes the
    /// directory.
    ///
    /// # Errors
    /// When they do not build.
    pub async fn new() -> anyhow::Result<Self> {
        Ok(Self {
            programs: built().await?,
            directory: tempfile::tempdir()?,
            event_hub: String::new(),
        })
    }

    /// The same with a broker, see [`crate::broker::Broker::event_hub`].
    ///
    /// # Errors
    /// When there are no development users.
    pub fn with_broker(self, event_hub: &str) -> anyhow::Result<Self> {
        // Named, because the user of the event hub is the broker's.
        kit::access::development::make(self.directory())?;
        let password = kit::access::development::password(self.directory(), "gateway");
        let password = password.context("there is no development user for gateways")?;
        let password = password.expose();
        Ok(Self {
            event_hub: format!(
                "service.username = \"gateway\"\nservice.password = \"{password}\"\n{event_hub}"
            ),
            ..self
        })
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Saves artifacts.
    ///
    /// # Errors
    /// When the database fails or refuses one.
    pub async fn save(&self, saves: &[Save]) -> anyhow::Result<()> {
        let store = self.store().await?;
        let outcomes = store.save(saves, SaveMode::Atomic, 1).await?;
        ensure!(
            !outcomes.iter().any(store::SaveOutcome::is_refusal),
            "an artifact is refused"
        );
        store.close().await;
        Ok(())
    }

    /// The database.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn store(&self) -> anyhow::Result<Store> {
        let options = StoreOptions {
            database: Database::file(&self.directory().join("lockstep.db"))?,
            dc: DC.into(),
            history_size: 10,
        };
        Ok(Store::open(&options).await?)
    }

    /// The database, with nothing to announce any more: what has been saved is pulled when gateways
    /// start.
    ///
    /// # Errors
    /// When it cannot be opened, read or written.
    pub async fn announced_store(&self) -> anyhow::Result<Store> {
        let store = self.store().await?;
        loop {
            let now = kit::clock::now_ms();
            let rows = store.claim_outbox(now, now + 60_000, 1000).await?;
            if rows.is_empty() {
                return Ok(store);
            }
            store.mark_announced(&rows, now).await?;
        }
    }

    /// A deployment.toml of these lines besides the data directory.
    ///
    /// # Errors
    /// When it cannot be written.
    fn conf(&self, name: &str, lines: &str) -> anyhow::Result<PathBuf> {
        let file = self.directory().join(format!("{name}.toml"));
        let data = self.directory().display();
        std::fs::write(&file, format!("[lockstep]\ndata_dir = \"{data}\"\n{lines}"))?;
        Ok(file)
    }

    /// A program with this configuration.
    fn program(&self, name: &str, conf: &Path) -> Command {
        let mut command = Command::new(self.programs.join(name));
        // The broker ends as they do.
        let log = "error,lapin=off";
        command.arg("--conf").arg(conf).env("LOCKSTEP_LOG", log);
        command
    }
}

/// Builds the programs of this workspace, once; returns where they are.
async fn built() -> anyhow::Result<PathBuf> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_try_init(build).await.cloned()
}

async fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet"]);
    for package in ["traffic-manager", "gateway-agent"] {
        build.args(["--package", package]);
    }
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let mut here = std::env::current_exe()?;
    here.pop();
    let programs = if here.ends_with("debug") {
        // Together with this program: of other packages alone Cargo would build the libraries again,
        // with only the features that those need.
        build.args(["--package", "bench"]);
        here
    } else {
        build.args(["--profile", INSTALLED]);
        here.with_file_name(INSTALLED)
    };
    let status = build.status().await.context("cargo")?;
    ensure!(status.success(), "the programs do not build");
    Ok(programs)
}
