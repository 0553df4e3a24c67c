//! nginx, with the servers that a scenario describes.

use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use crate::process::{Process, free_port, peer};

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    pub version: String,
    pub port: u16,
    pub process: Process,
}

impl Nginx {
    /// Starts it with so many workers and no log; `http` are the lines of the http block, given a
    /// directory for files and the port to listen on.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start(
        workers: usize,
        http: impl FnOnce(&Path, u16) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let version = Command::new(peer("nginx")).arg("-v").output().await;
        let version = version.context("it is not installed (bench/peers install)")?;
        let version = String::from_utf8_lossy(&version.stderr).trim().to_owned();
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let http = http(directory.path(), port)?;
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, conf(directory.path(), workers, &http))?;
        let mut process = Process::start(
            "nginx",
            Command::new(peer("nginx"))
                .arg("-p")
                .arg(directory.path())
                .arg("-c")
                .arg(&file)
                .args(["-e", "stderr"]),
        )?;
        process.listening(port).await?;
        Ok(Self {
            version,
            port,
            process: process.working_in(directory),
        })
    }
}

fn conf(directory: &Path, workers: usize, http: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off;\nmaster_process on;\nworker_processes {workers};\npid {directory}/pid;\n\
         user root;\nworker_rlimit_nofile 20000;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nodelay on;\n\
           keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n\
           client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n\
           fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n\
           scgi_temp_path {directory}/scgi;\n{http}}}\n"
    )
}
