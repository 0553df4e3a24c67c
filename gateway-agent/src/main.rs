//! The gateway as a process of its own.

use std::process::ExitCode;

use clap::Parser;
use events::{AmqpBus, AmqpOptions, Bus};
use gateway_agent::Agent;
use gateway_agent::data_plane::BackEndPolicy;
use gateway_agent::snapshot::command::SnapshotArguments;
use kit::access::Access;
use kit::config::Config;
use kit::process::{ProcessArguments, Sharing};

/// It lays the many small blocks of plans on huge pages: a request among many APIs finds them sooner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Follows the label logs of a traffic manager and serves the APIs that they say.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    process: ProcessArguments,
    /// Without a command, the gateway runs
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The gateway's last known good on its disk: export, import, show
    Snapshot(SnapshotArguments),
}

fn main() -> ExitCode {
    let Arguments {
        mut process,
        command,
    } = Arguments::parse();
    match command {
        None => kit::process::run(&process, serve),
        Some(Command::Snapshot(arguments)) => {
            if let Some(conf) = arguments.conf() {
                process.conf = Some(conf.to_owned());
            }
            kit::process::run(&process, async |config| arguments.run(&config))
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let shutdown = kit::shutdown::on_signal()?;
    let _in_use = kit::process::open_data_dir(&config, Sharing::WithOthers)?;
    let events = AmqpOptions::of(&config, "gateway-agent")?;
    let events = events.map(|options| Bus::Amqp(AmqpBus::new(options)));
    let access = Access::of(&config)?;
    let agent = Agent::start(
        &config,
        BackEndPolicy::Real,
        events.as_ref(),
        access,
        shutdown,
    )?;
    let management = format!("https://{} (management)", agent.management);
    let addresses = match agent.addresses {
        Some(addresses) => format!(
            "http://{}, https://{}, {management}",
            addresses.http, addresses.https
        ),
        None => management,
    };
    kit::process::announce("gateway-agent", &addresses);
    agent.run().await
}
