//! Shutdown: one token that everything long-lived watches.

use std::io;

use tokio_util::sync::CancellationToken;

/// A token that is cancelled on Ctrl-C or SIGTERM. A second signal ends the process at once.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("shutting down");
        cancel.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("second signal, ending without drain");
        #[allow(clippy::disallowed_methods)]
        std::process::exit(130);
    });
    Ok(token)
}
