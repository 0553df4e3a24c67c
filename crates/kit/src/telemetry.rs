//! Logging: fixed sentences with fields, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sends log lines to standard error. `LOCKSTEP_LOG` chooses what is logged
/// (`info`, `debug`, `gateway_agent=debug,info` …); without it `default` does.
pub fn init(default: &str) {
    let filter =
        EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // The broker's client would log messages with their content, and at its finest the password.
    let filter = match "lapin=error".parse() {
        Ok(cap) => filter.add_directive(cap),
        Err(_) => filter,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(true);
    // A second call (several parts in one process) keeps the first subscriber.
    let _ = builder.try_init();
}
