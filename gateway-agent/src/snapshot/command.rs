//! `gateway-agent snapshot`: a gateway's state to a file, from a file, and on the screen.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use artifact::Instruction;
use kit::config::{Config, ConfigError};
use kit::process::Usage;

use super::seal::{Key, Sealer};
use super::state::State;
use super::store::Store;
use super::{Owner, Settings, SnapshotError, generation, writer};

/// What to do with the snapshot of the gateway that the configuration describes.
#[derive(Clone, Debug, clap::Args)]
pub struct SnapshotArguments {
    /// deployment.toml, if it was not given before
    #[arg(long, value_name = "FILE", global = true)]
    conf: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Write what the gateway has applied to one encrypted file; the gateway may be running
    Export {
        file: PathBuf,
        /// File with the key of the exported file: 64 hex digits (32 bytes, AES-256-GCM), such as
        /// `openssl rand -hex 32` prints
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    /// Take an exported file over for this gateway, which must not be running. Its id may be
    /// another one, its dc not; labels that it does not carry are dropped
    Import {
        file: PathBuf,
        /// File with the key that the file was exported with
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// Throw away the snapshot that the gateway has
        #[arg(long)]
        replace: bool,
    },
    /// Print how far the label logs have been applied and how many APIs there are
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl SnapshotArguments {
    /// The configuration file, if it was given here.
    #[must_use]
    pub fn conf(&self) -> Option<&Path> {
        self.conf.as_deref()
    }

    /// Runs the command and prints what it did.
    ///
    /// # Errors
    /// When it fails, with the file.
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let http = config.gateway_http_address()?;
        if config.gateway.id.is_empty() && http.port() == 0 {
            return Err(ConfigError::Rule {
                key: "gateway.id",
                rule: "must be given where the operating system chooses the port".into(),
            }
            .into());
        }
        let id = crate::configured::gateway_id(config, Some(http));
        let labels =
            crate::configured::labels(&config.apim.sync_runtime_artifacts.gateway.gateway_labels)?;
        let settings = Settings::even_if_off(config, &id, &labels);
        match self.command {
            Command::Export { file, key_file } => {
                let (owner, time, state) = stored(&settings)?;
                let shown = file.display().to_string();
                generation::write(&file, &sealer_of(&key_file)?, &owner, &state).context(shown)?;
                print(&format!(
                    "{}: {} as of {time} ms since the epoch\n",
                    file.display(),
                    summary(&state)
                ))
            }
            Command::Import {
                file,
                key_file,
                replace,
            } => {
                let shown = file.display().to_string();
                let read = generation::read(&file, &sealer_of(&key_file)?);
                let (owner, _, mut state) = read.context(shown)?;
                let (from, here) = (&owner.dc, &settings.owner.dc);
                if from != here {
                    bail!(
                        "{}: it is of dc {from:?}, this gateway of {here:?}",
                        file.display()
                    );
                }
                state.keep_labels(&labels);
                if state.labels.is_empty() {
                    bail!("the file has none of this gateway's labels; nothing is imported");
                }
                if settings.directory.current().exists() && !replace {
                    let shown = settings.directory.path().display();
                    bail!("{shown}: gateway {id:?} has a snapshot; --replace throws it away");
                }
                writer::install(&settings, &state)
                    .with_context(|| settings.directory.path().display().to_string())?;
                print(&format!("gateway {id}: {}\n", summary(&state)))
            }
            Command::Show { json } => {
                let (owner, time, state) = stored(&settings)?;
                show(&owner, time, &state, json)
            }
        }
    }
}

/// The gateway's state: of the store, which may be in use, or of the newest generation.
fn stored(settings: &Settings) -> anyhow::Result<(Owner, i64, State)> {
    let directory = &settings.directory;
    let shown = || directory.path().display().to_string();
    let sealer = settings.sealer(false).with_context(shown)?;
    let error = match Store::look(&directory.current(), &sealer) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    for (_, file) in directory.generations() {
        if let Ok(found) = generation::read(&file, &sealer) {
            return Ok(found);
        }
    }
    Err(error).with_context(shown)
}

fn sealer_of(key_file: &Path) -> anyhow::Result<Sealer> {
    let shown = key_file.display();
    let text = std::fs::read_to_string(key_file).with_context(|| shown.to_string())?;
    let rule = format!("{shown}: must hold 64 hex digits (32 bytes)");
    let key = Key::parse(&text).ok_or(Usage(rule))?;
    Ok(Sealer::new(Some(&key)).map_err(SnapshotError::from)?)
}

fn summary(state: &State) -> String {
    format!(
        "{} label(s), {} API(s)",
        state.labels.len(),
        state.apis.len()
    )
}

fn show(owner: &Owner, time: i64, state: &State, json: bool) -> anyhow::Result<()> {
    let refused = state.apis.values().filter(|api| api.wanted != api.serving);
    let refused = refused.count();
    let labels = state.labels.iter().map(|(label, stored)| {
        let published = stored.entries.values();
        let published = published.filter(|entry| entry.instruction == Instruction::Publish);
        (label, stored.position, published.count())
    });
    if json {
        let labels: Vec<_> = labels
            .map(|(label, position, apis)| {
                serde_json::json!({
                    "label": label,
                    "cursor": position.cursor,
                    "complete": position.complete,
                    "apis": apis,
                })
            })
            .collect();
        let all = serde_json::json!({
            "gatewayId": owner.gateway_id,
            "dc": owner.dc,
            "time": time,
            "labels": labels,
            "apis": state.apis.len(),
            "refused": refused,
            "artifacts": state.texts.len(),
        });
        return print(&format!("{all:#}\n"));
    }
    let mut text = format!(
        "gateway {}, dc {}: {} API(s), {refused} of them refused in their newest revision\n",
        owner.gateway_id,
        owner.dc,
        state.apis.len()
    );
    for (label, position, apis) in labels {
        let end = if position.complete {
            ""
        } else {
            ", not applied to its end"
        };
        text += &format!(
            "  {label}: cursor {}, {apis} API(s){end}\n",
            position.cursor
        );
    }
    print(&text)
}

fn print(text: &str) -> anyhow::Result<()> {
    // A reader that has gone is no failure.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}
