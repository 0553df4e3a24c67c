//! The traffic manager as a process of its own.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use kit::config::Config;
use kit::process::{ProcessArguments, Sharing};
use store::StoreOptions;
use traffic_manager::TrafficManager;

/// Serves the label logs to gateways and knows what each of them runs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    process: ProcessArguments,
}

fn main() -> ExitCode {
    kit::process::run(&Arguments::parse().process, serve)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = kit::shutdown::on_signal()?;
    let _in_use = kit::process::open_data_dir(&config, Sharing::WithOthers)?;
    let lockstep = &config.lockstep;
    let file = config.database_file();
    let options = StoreOptions::new(file, &lockstep.dc, lockstep.history_size);
    let store = store::Store::open(&options, kit::clock::now_ms()).await?;
    let manager = TrafficManager::new(&config, store.clone(), shutdown.clone());
    let running = traffic_manager::serve(&config, &manager)?;
    kit::process::announce("traffic-manager", &format!("https://{}", running.address));
    let watching = tokio::spawn(manager.watch(None));
    running
        .until(shutdown.clone())
        .await
        .context("the internal data API ended")?;
    shutdown.cancel();
    watching.await.context("watching the label logs ended")?;
    store.close().await;
    Ok(())
}
