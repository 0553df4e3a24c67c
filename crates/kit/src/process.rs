//! The frame of a program: configuration, logging, runtime, exit code.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{Config, ConfigError};

/// Exit code for bad input and usage.
pub const EXIT_USAGE: u8 = 2;
/// Exit code for a failure.
pub const EXIT_FAILURE: u8 = 1;

/// Loads the configuration, runs the program and turns its end into an exit code: 0, 1 for a
/// failure, 2 for a configuration that cannot be used.
pub fn run<F, Fut>(conf: Option<&Path>, offset: Option<u16>, program: F) -> ExitCode
where
    F: FnOnce(Config) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    crate::telemetry::init("info,actix_http=error,rustls_platform_verifier=off");
    crate::tls::install_provider();
    let mut config = match Config::load(conf) {
        Ok(config) => config,
        Err(error) => return fail(&error.into()),
    };
    if let Some(offset) = offset {
        config.server.offset = offset;
    }
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

/// Prints the error on one line and chooses the exit code.
#[allow(clippy::print_stderr)]
pub fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let usage = error
        .chain()
        .any(|cause| cause.downcast_ref::<ConfigError>().is_some());
    ExitCode::from(if usage { EXIT_USAGE } else { EXIT_FAILURE })
}

/// Tells people and scripts where a program listens.
#[allow(clippy::print_stdout)]
pub fn announce(program: &str, address: &str) {
    println!("{program} listens on {address}");
}

/// Makes the data directory.
///
/// # Errors
/// When it cannot be made, with its name.
pub fn make_data_dir(config: &Config) -> anyhow::Result<()> {
    let directory = &config.lockstep.data_dir;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("{}: cannot make the data directory", directory.display()))
}
