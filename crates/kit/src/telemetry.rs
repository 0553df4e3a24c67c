//! Logging: fixed sentences with fields, on standard error.

use std::io::IsTerminal;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

/// Sends log lines to standard error. `LOCKSTEP_LOG` chooses what is logged
/// (`info`, `debug`, `gateway_agent=debug,info` …); without it `default` does.
pub fn init(default: &str) {
    let filter =
        EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A second call (several parts in one process) keeps the first subscriber.
    let _ = subscriber(filter, std::io::stderr).try_init();
}

fn subscriber<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(true)
        .finish()
        .with(filter_fn(may_be_logged))
}

/// Whatever is chosen: the broker's client would log messages with their content, and at its finest
/// the password.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::ERROR || !metadata.target().starts_with("lapin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(chosen: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let subscriber = subscriber(EnvFilter::new(chosen), file.reopen().unwrap());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "lapin::channel", "a password");
            tracing::error!(target: "lapin::io", "the broker is gone");
            tracing::info!(target: "gateway_agent", "an api was deployed");
        });
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn the_client_of_the_broker_logs_errors_at_most() {
        for chosen in ["trace", "lapin=trace,info", "lapin::channel=trace,info"] {
            let logged = logged(chosen);
            assert!(!logged.contains("password"), "{chosen}: {logged}");
            assert!(logged.contains("the broker is gone"), "{chosen}: {logged}");
            assert!(logged.contains("an api was deployed"), "{chosen}: {logged}");
        }
    }

    #[test]
    fn the_client_of_the_broker_can_be_turned_off() {
        let logged = logged("info,lapin=off");
        assert!(!logged.contains("the broker is gone"), "{logged}");
        assert!(logged.contains("an api was deployed"), "{logged}");
    }
}
