//! The traffic manager as a process of its own.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use events::{AmqpBus, AmqpOptions, Bus};
use kit::config::Config;
use kit::process::{ProcessArguments, Sharing};
use store::{Store, StoreOptions};
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
    let store = Store::open(&StoreOptions::of(&config)?).await?;
    let manager = TrafficManager::new(&config, store.clone(), shutdown.clone());
    let running = traffic_manager::serve(&config, &manager)?;
    kit::process::announce("traffic-manager", &format!("https://{}", running.address));
    let events = AmqpOptions::of(&config, "traffic-manager")?;
    let events = events.map(|options| Bus::Amqp(AmqpBus::new(options)));
    let watching = tokio::spawn(manager.watch(events));
    running
        .until(shutdown.clone())
        .await
        .context("the internal data API ended")?;
    shutdown.cancel();
    watching.await.context("watching the label logs ended")?;
    store.close().await;
    Ok(())
}
