//! The frame of a program: configuration, logging, runtime, exit code.

use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::access::AccessError;
use crate::config::{Config, ConfigError};
use crate::server::StartError;

/// Exit code for bad input and usage.
pub const EXIT_USAGE: u8 = 2;
/// Exit code for a failure.
pub const EXIT_FAILURE: u8 = 1;

/// The arguments that every program takes.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessArguments {
    /// deployment.toml; keys that it leaves out have their defaults
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,
    /// Added to every port, as `[server] offset`
    #[arg(long, value_name = "N")]
    pub offset: Option<u16>,
    /// Print the configuration in effect as TOML, without its passwords, and end
    #[arg(long)]
    pub print_config: bool,
}

impl ProcessArguments {
    /// The configuration that they ask for.
    ///
    /// # Errors
    /// When the file cannot be read or breaks a rule.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.conf.as_deref())?;
        if let Some(offset) = self.offset {
            config.server.offset = offset;
        }
        Ok(config)
    }
}

/// Prints the configuration in effect as TOML on standard output, without its passwords.
///
/// # Errors
/// When it cannot be written as TOML. A reader that has gone is none.
pub fn print_config(config: &Config) -> Result<(), ConfigError> {
    let text = config.effective()?;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// Something that the user gave cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Loads the configuration, runs the program – or prints the configuration, if that is asked for –
/// and turns its end into an exit code: 0, 1 for a failure, 2 for a configuration that cannot be
/// used.
pub fn run<F, Fut>(arguments: &ProcessArguments, program: F) -> ExitCode
where
    F: FnOnce(Config) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    crate::telemetry::init("info,actix_server=warn,actix_http=error,rustls_platform_verifier=off");
    crate::tls::install_provider();
    let config = match arguments.config() {
        Ok(config) => config,
        Err(error) => return fail(&error.into()),
    };
    if arguments.print_config {
        return match print_config(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.into()),
        };
    }
    allow_many_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(program(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Raises the soft limit for open files to the hard one: each connection is a file, and the usual
/// soft limit of 1024 is far below what a server has.
pub fn allow_many_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit for open files cannot be raised");
    }
}

/// Prints the error on one line and chooses the exit code.
#[allow(clippy::print_stderr)]
pub fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let usage = error.chain().any(|cause| {
        cause.downcast_ref::<ConfigError>().is_some()
            || cause.downcast_ref::<Usage>().is_some()
            || matches!(cause.downcast_ref(), Some(StartError::Config(_)))
            || matches!(cause.downcast_ref(), Some(AccessError::Config(_)))
    });
    ExitCode::from(if usage { EXIT_USAGE } else { EXIT_FAILURE })
}

/// Tells people and scripts where a program listens.
#[allow(clippy::print_stdout)]
pub fn announce(program: &str, address: &str) {
    println!("{program} listens on {address}");
}

/// Who may use a data directory besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: `lockstep up` runs everything itself.
    Alone,
    /// Other single programs.
    WithOthers,
}

/// A data directory that is in use for as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    _lock: std::fs::File,
}

/// Makes the data directory and takes it in use.
///
/// # Errors
/// When it cannot be made or another program has it, with its name.
pub fn open_data_dir(config: &Config, sharing: Sharing) -> anyhow::Result<DataDir> {
    let directory = &config.lockstep.data_dir;
    let shown = directory.display();
    std::fs::create_dir_all(directory)
        .with_context(|| format!("{shown}: cannot make the data directory"))?;
    let lock = std::fs::File::create(directory.join("lock"))
        .with_context(|| format!("{shown}: the data directory cannot be written"))?;
    let locked = match sharing {
        Sharing::Alone => lock.try_lock(),
        Sharing::WithOthers => lock.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(DataDir { _lock: lock }),
        Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
            "{shown}: another program uses this data directory; end it, or choose another one \
             (--data-dir, with ports of its own by --offset)"
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{shown}: cannot lock the data directory"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        process: ProcessArguments,
    }

    fn arguments(all: &[&str]) -> ProcessArguments {
        let all = ["program"].iter().chain(all);
        <Program as clap::Parser>::try_parse_from(all)
            .unwrap()
            .process
    }

    #[test]
    fn the_configuration_is_printed_instead_of_running_the_program() {
        let arguments = arguments(&["--print-config", "--offset", "3"]);
        let config = arguments.config().unwrap();
        assert!(config.effective().unwrap().contains("offset = 3"));
        let code = run(&arguments, |_| async { panic!("must not run") });
        assert_eq!(code, ExitCode::SUCCESS);
    }

    #[test]
    fn a_configuration_that_cannot_be_used_is_not_printed() {
        let arguments = arguments(&["--print-config", "--conf", "/absent/deployment.toml"]);
        let code = run(&arguments, |_| async { panic!("must not run") });
        assert_eq!(code, ExitCode::from(EXIT_USAGE));
    }
}
