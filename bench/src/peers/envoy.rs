//! Envoy, with a bootstrap that a scenario describes.

use anyhow::Context;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::{Process, free_port, peer};

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    pub version: String,
    pub port: u16,
    pub process: Process,
}

impl Envoy {
    /// Starts it with so many worker threads, one HTTP/1.1 listener and one cluster, `back_end`, on
    /// that port. `routes` is `route_config` or `rds` of the connection manager, with its value.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start(
        workers: usize,
        back_end: u16,
        routes: (&str, Value),
    ) -> anyhow::Result<Self> {
        let version = Command::new(peer("envoy")).arg("--version").output().await;
        let version = version.context("it is not installed (bench/peers install)")?;
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.rsplit_once("version: ").map(|(_, build)| build);
        let version = version.and_then(|build| build.split('/').nth(1));
        let version = format!("Envoy {}", version.unwrap_or("of an unknown version"));
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let file = directory.path().join("bootstrap.json");
        std::fs::write(&file, bootstrap(port, back_end, routes).to_string())?;
        let mut process = Process::start(
            "envoy",
            Command::new(peer("envoy"))
                .arg("-c")
                .arg(&file)
                .args(["--concurrency", &workers.to_string()])
                .args(["--disable-hot-restart", "--log-level", "error"]),
        )?;
        process.listening(port).await?;
        Ok(Self {
            version,
            port,
            process: process.working_in(directory),
        })
    }
}

/// No access log, no request ids, no statistics by response, no limits that a benchmark would meet,
/// as Envoy's own advice on benchmarks has it.
fn bootstrap(port: u16, back_end: u16, (kind, routes): (&str, Value)) -> Value {
    let most = 1_000_000_000;
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "codec_type": "HTTP1",
        "generate_request_id": false,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                "dynamic_stats": false,
            },
        }],
    });
    manager[kind] = routes;
    json!({
        "node": {"id": "bench", "cluster": "bench"},
        "static_resources": {
            "listeners": [{
                "name": "front",
                "address": address(port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": [{
                "name": "back_end",
                "type": "STATIC",
                "connect_timeout": "10s",
                "circuit_breakers": {"thresholds": [{
                    "max_connections": most, "max_pending_requests": most, "max_requests": most,
                }]},
                "load_assignment": {"cluster_name": "back_end", "endpoints": [{
                    "lb_endpoints": [{"endpoint": {"address": address(back_end)}}],
                }]},
            }],
        },
    })
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}
