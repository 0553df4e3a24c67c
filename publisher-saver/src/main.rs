//! The publisher-saver as a process of its own.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use events::{AmqpBus, AmqpOptions, Bus, InProcessBus};
use kit::config::Config;
use kit::process::{ProcessArguments, Sharing};
use publisher_saver::Saver;
use store::{Store, StoreOptions};

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
    let store = Store::open(&StoreOptions::of(&config)?).await?;
    let bus = match AmqpOptions::of(&config, "publisher-saver")? {
        Some(options) => Bus::Amqp(AmqpBus::new(options)),
        // Without a broker nobody of this process listens: others see what grew in the database.
        None => Bus::InProcess(InProcessBus::new()),
    };
    let saver = Saver::of(&config, store.clone(), bus)?;
    let running = publisher_saver::serve(&config, &saver)?;
    kit::process::announce("publisher-saver", &format!("https://{}", running.address));
    let mut working = tokio::spawn(saver.run(shutdown.clone()));
    tokio::select! {
        served = running.until(shutdown.clone()) => {
            served.context("the publish interface ended")?;
            shutdown.cancel();
            working.await.context("relay and saver ended")?;
        }
        ended = &mut working => {
            ended.context("relay and saver ended")?;
        }
    }
    store.close().await;
    Ok(())
}
