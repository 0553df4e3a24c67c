//! wrk, which asks as fast as it is answered.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::peer;

/// Its script for a list of paths, prepared once.
#[derive(Debug)]
pub struct Wrk {
    file: std::path::PathBuf,
    _directory: TempDir,
}

/// How many clients ask, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections, each with one request at a time.
    pub connections: usize,
    pub time: Duration,
}

/// What it has counted.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Counted {
    pub requests: u64,
    /// Microseconds that all of it took.
    pub duration: u64,
    /// Microseconds from request to answer.
    pub p50: f64,
    pub p99: f64,
    /// Answers of another status than 2xx and 3xx.
    pub status: u64,
    /// Connections that failed, answers that could not be read or took more than two seconds.
    pub failed: u64,
}

impl Counted {
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration as f64
    }
}

/// What wrk calls at its end, with what it has counted (wrk's SCRIPTING document).
const DONE: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration":%d,"p50":%.1f,"p99":%.1f,"status":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50.0), latency:percentile(99.0),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"#;

impl Wrk {
    /// It will ask for these paths, one after the other and then again.
    ///
    /// # Errors
    /// When it is not installed or the script cannot be written.
    pub async fn new(paths: &[String]) -> anyhow::Result<Self> {
        // It prints its version and exits with 1.
        let there = Command::new(peer("wrk")).arg("-v").output().await;
        there.context("wrk is not installed (bench/peers install)")?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("requests.lua");
        std::fs::write(&file, script(paths))?;
        Ok(Self {
            file,
            _directory: directory,
        })
    }

    /// Asks, from one thread.
    ///
    /// # Errors
    /// When a request fails or is answered by an error.
    pub async fn run(&self, port: u16, load: Load) -> anyhow::Result<Counted> {
        let output = Command::new(peer("wrk"))
            .args(["--threads", "1"])
            .args(["--connections", &load.connections.to_string()])
            .args(["--duration", &format!("{}s", load.time.as_secs().max(1))])
            .arg("--script")
            .arg(&self.file)
            .arg(format!("http://127.0.0.1:{port}"))
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with("{\"requests\""));
        let line = line.with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("wrk has counted nothing: {text}{errors}")
        })?;
        let counted: Counted = serde_json::from_str(line)?;
        ensure!(
            counted.requests > 0 && counted.status == 0 && counted.failed == 0,
            "port {port}: {} of {} requests were answered by an error, {} failed",
            counted.status,
            counted.requests,
            counted.failed
        );
        Ok(counted)
    }
}

fn script(paths: &[String]) -> String {
    let mut script = String::from("local paths = {\n");
    for path in paths {
        let _ = writeln!(script, "{path:?},");
    }
    script += "}\nlocal requests = {}\nlocal next = 0\n\
               function init(args)\n\
               for i, path in ipairs(paths) do requests[i] = wrk.format('GET', path) end\n\
               end\n\
               function request()\nnext = next % #requests + 1\nreturn requests[next]\nend\n";
    script += DONE;
    script
}
