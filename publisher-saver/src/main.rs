//! The publisher-saver as a process of its own.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kit::config::Config;
use kit::process::{ProcessArguments, Sharing};
use publisher_saver::Saver;
use store::StoreOptions;

/// Saves artifacts for the gateways and announces them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the publish interface and relay the outbox until Ctrl-C.
    Serve(ProcessArguments),
}

fn main() -> ExitCode {
    let Command::Serve(arguments) = Arguments::parse().command;
    kit::process::run(&arguments, serve)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = kit::shutdown::on_signal()?;
    let _in_use = kit::process::open_data_dir(&config, Sharing::WithOthers)?;
    let lockstep = &config.lockstep;
    let file = config.database_file();
    let options = StoreOptions::new(file, &lockstep.dc, lockstep.history_size);
    let store = store::Store::open(&options, kit::clock::now_ms()).await?;
    let saver = Saver::new(store.clone(), events::InProcessBus::new());
    let running = publisher_saver::serve(&config, &saver)?;
    kit::process::announce("publisher-saver", &format!("https://{}", running.address));
    let relay = tokio::spawn(saver.relay.clone().run(shutdown.clone()));
    running
        .until(shutdown.clone())
        .await
        .context("the publish interface ended")?;
    shutdown.cancel();
    relay.await.context("the relay ended")?;
    store.close().await;
    Ok(())
}
