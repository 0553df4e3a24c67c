//! The operator's command.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lockstep::{
    db, explain, forget, gateways, list, publish, remove, repair, rollout, sample_back_end, up,
    user,
};

/// Keeps every API gateway in step with what was published.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArguments),
    Publish(publish::PublishArguments),
    Remove(remove::RemoveArguments),
    List(list::ListArguments),
    Explain(explain::ExplainArguments),
    Wait(rollout::WaitArguments),
    Gateways(gateways::GatewaysArguments),
    Repair(repair::RepairArguments),
    Forget(forget::ForgetArguments),
    Db(db::DbArguments),
    User(user::UserArguments),
    /// Run only the sample back end, which answers any request with what it got
    BackEnd {
        /// Port on 127.0.0.1
        #[arg(long, default_value_t = sample_back_end::PORT)]
        port: u16,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let default = match arguments.command {
        Command::Up(_) => "warn,synapse::log=info,actix_http=error,rustls_platform_verifier=off",
        _ => "warn,rustls_platform_verifier=off",
    };
    kit::telemetry::init(default);
    kit::tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return kit::process::fail(&error.into()),
    };
    runtime
        .block_on(run(arguments.command))
        .unwrap_or_else(|error| kit::process::fail(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(arguments) => Box::pin(up::run(arguments)).await,
        Command::Publish(arguments) => Box::pin(publish::run(arguments)).await,
        Command::Remove(arguments) => remove::run(arguments).await,
        Command::List(arguments) => list::run(arguments).await,
        Command::Explain(arguments) => explain::run(arguments).await,
        Command::Wait(arguments) => rollout::run(arguments).await,
        Command::Gateways(arguments) => gateways::run(arguments).await,
        Command::Repair(arguments) => Box::pin(repair::run(arguments)).await,
        Command::Forget(arguments) => forget::run(arguments).await,
        Command::User(arguments) => user::run(arguments),
        Command::Db(arguments) => Box::pin(db::run(arguments)).await,
        Command::BackEnd { port } => {
            let shutdown = kit::shutdown::on_signal()?;
            let listener = kit::server::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
            let address = format!("http://{}", listener.local_addr()?);
            kit::process::announce("sample back end", &address);
            sample_back_end::serve(listener, shutdown).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
