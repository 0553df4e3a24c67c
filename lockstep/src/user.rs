//! `lockstep user`: hashes and tokens for the users of the management interfaces.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::Context;
use kit::access::{hash_password, new_token, token_hash};
use kit::process::Usage;

use crate::print;

/// Make what a user's entry in deployment.toml needs.
#[derive(Debug, clap::Args)]
pub struct UserArguments {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, clap::Subcommand)]
enum UserCommand {
    /// Read a password from standard input, without showing it, and print its argon2id hash for the
    /// key `password`
    Hash,
    /// Print a new random token, then its hash for the key `token`
    Token,
}

/// The longest password, in bytes.
const MOST: u64 = 1024;

pub fn run(arguments: UserArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        UserCommand::Hash => print::line(&hash_password(&password()?)?),
        UserCommand::Token => {
            let token = new_token()?;
            print::line(&token);
            print::line(&token_hash(&token));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn password() -> anyhow::Result<String> {
    let password = if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            return Err(Usage("the two passwords differ".into()).into());
        }
        password
    } else {
        let mut text = String::new();
        let mut input = std::io::stdin().lock().take(MOST + 2);
        input
            .read_to_string(&mut text)
            .context("standard input: the password cannot be read as UTF-8")?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    };
    let length = u64::try_from(password.len()).unwrap_or(u64::MAX);
    if !(1..=MOST).contains(&length) || password.contains(['\r', '\n']) {
        let rule = format!("the password must be one line of 1 to {MOST} bytes");
        return Err(Usage(rule).into());
    }
    Ok(password)
}
