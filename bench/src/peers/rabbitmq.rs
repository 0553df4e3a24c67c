//! RabbitMQ from Debian, as a node of its own beside whatever else runs on the machine.

use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use crate::process::{Process, free_port};

/// A running broker, with the user that the programs know: guest.
#[derive(Debug)]
pub struct RabbitMq {
    pub port: u16,
    pub process: Process,
    /// Its name server, which would otherwise be left behind.
    pub epmd: Process,
}

/// The launcher; the one in the path changes the user and knows one node only.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

impl RabbitMq {
    /// Starts it on free ports, with its files in a directory that goes with it.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        let there = std::path::Path::new(PROGRAM).exists();
        anyhow::ensure!(there, "it is not installed (bench/peers install)");
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name);
        let (port, names, nodes) = (free_port()?, free_port()?, free_port()?);
        std::fs::write(
            at("rabbitmq.conf"),
            format!("listeners.tcp.1 = 127.0.0.1:{port}\nlog.file.level = error\n"),
        )?;
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &names.to_string(), "-address", "127.0.0.1"]);
        // It complains of connections that say nothing, as this one that only looks whether it is there.
        epmd.stderr(Stdio::null());
        let mut epmd = Process::start("epmd", &mut epmd)?;
        epmd.listening(names).await?;
        let mut process = Process::start(
            "rabbitmq-server",
            Command::new(PROGRAM)
                .env("HOME", directory.path())
                .env("ERL_EPMD_PORT", names.to_string())
                .env("ERL_EPMD_ADDRESS", "127.0.0.1")
                .env("RABBITMQ_NODENAME", format!("bench{port}@localhost"))
                .env("RABBITMQ_DIST_PORT", nodes.to_string())
                .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
                .env("RABBITMQ_LOG_BASE", at("log"))
                .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
                .env("RABBITMQ_PID_FILE", at("pid"))
                .env("RABBITMQ_CONF_ENV_FILE", "/dev/null"),
        )?;
        process.listening(port).await.context("RabbitMQ")?;
        Ok(Self {
            port,
            process: process.working_in(directory),
            epmd,
        })
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.stop().await;
        self.epmd.stop().await;
    }
}
