//! nginx with one file: the least that a server of these bytes has to do.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::puller::Puller;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx.
pub struct Nginx {
    pub version: String,
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Nginx {
    /// Starts it with the traffic manager's certificate.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start(data_dir: &Path, body: &[u8]) -> anyhow::Result<Self> {
        let version = Command::new("nginx").arg("-v").output().await;
        let version = version.context("it is not installed (Debian: nginx-light)")?;
        let version = String::from_utf8_lossy(&version.stderr).trim().to_owned();
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("log.zst"), body)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let identity = kit::tls::development_identity(data_dir, "localhost")?;
        let conf = conf(directory.path(), port, &identity);
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, conf)?;
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            ensure!(child.try_wait()?.is_none(), "it has ended");
            ensure!(Instant::now() < deadline, "it does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            version,
            child,
            port,
            _directory: directory,
        })
    }

    /// A gateway of it.
    ///
    /// # Errors
    /// When the authority cannot be read.
    pub fn puller(&self, data_dir: &Path) -> anyhow::Result<Puller> {
        Puller::new(data_dir, self.port, "/log.zst", "")
    }

    /// Ends it, workers included.
    pub async fn stop(mut self) {
        if let Some(id) = self.child.id() {
            let id = id.to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status().await;
        }
        let _ = self.child.wait().await;
    }
}

/// As many workers and connections as the traffic manager has; no log, the kernel sends the file
/// where it can.
fn conf(directory: &Path, port: u16, identity: &kit::tls::Identity) -> String {
    let directory = directory.display();
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    format!(
        "daemon off;\nmaster_process on;\nworker_processes {};\npid {directory}/pid;\n\
         user root;\nworker_rlimit_nofile 20000;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nodelay on;\n\
           client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n\
           fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n\
           scgi_temp_path {directory}/scgi;\n\
           server {{\n    listen 127.0.0.1:{port} ssl backlog=8192;\n    root {directory};\n\
             ssl_certificate {certificate};\n    ssl_certificate_key {key};\n\
             ssl_protocols TLSv1.3;\n  }}\n}}\n",
        kit::server::WORKERS
    )
}
