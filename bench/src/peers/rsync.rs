//! rsync, from one directory to another on the same disk.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::process::peer;

/// What a run has told and taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Synced {
    pub milliseconds: f64,
    /// Bytes that its two sides have sent each other.
    pub bytes: f64,
    /// Files that were written.
    pub files: f64,
}

/// Its version.
///
/// # Errors
/// When it is not installed.
pub async fn version() -> anyhow::Result<String> {
    let version = Command::new(peer("rsync")).arg("--version").output().await;
    let version = version.context("it is not installed (bench/peers install)")?;
    let version = String::from_utf8_lossy(&version.stdout);
    Ok(version.lines().next().unwrap_or("rsync").trim().to_owned())
}

/// `rsync -a FROM/ TO/`.
///
/// # Errors
/// When it fails.
pub async fn sync(from: &Path, to: &Path) -> anyhow::Result<Synced> {
    let begun = Instant::now();
    let output = Command::new(peer("rsync"))
        .args(["-a", "--stats", "--no-human-readable"])
        .arg(from.join(""))
        .arg(to.join(""))
        .output()
        .await?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "rsync: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let number = |name: &str| stat(&text, name).with_context(|| format!("rsync: no {name}"));
    Ok(Synced {
        milliseconds,
        bytes: number("Total bytes sent")? + number("Total bytes received")?,
        files: number("Number of regular files transferred")?,
    })
}

/// The number on a line `NAME: NUMBER`.
fn stat(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.strip_prefix(':')?.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let text = "Number of files: 3 (reg: 2)\nTotal bytes sent: 1,234\n";
        assert_eq!(stat(text, "Total bytes sent"), Some(1234.0));
        assert_eq!(stat(text, "Total bytes"), None);
    }
}
