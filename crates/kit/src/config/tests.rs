//! The configuration as a whole.

mod effective;
mod environments;
mod placeholders;
mod sections;
mod tenants;
mod users;

use std::env::VarError;
use std::path::Path;

use super::document::Source;
use super::{Config, ConfigError, DEFAULT};

/// The environment of the tests; nothing reads that of the process.
const VARIABLES: [(&str, &str); 8] = [
    ("HOST", "gw.example"),
    ("PORT", "7000"),
    ("YES", " yes "),
    ("WRONG", "leaked"),
    ("HUGE", "70123"),
    ("EMPTY", ""),
    ("DB_PASSWORD", "leaked-password"),
    ("NESTED", "$env{HOST} $ref{server.hostname}"),
];

fn environment(name: &str) -> Result<String, VarError> {
    let found = VARIABLES.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, value)) => Ok((*value).to_owned()),
        None => Err(VarError::NotPresent),
    }
}

/// The configuration and the aliases of secrets in plain text.
fn load(text: &str) -> Result<(Config, Vec<String>), ConfigError> {
    let file = Path::new("d.toml");
    Config::from_source(Source { text, file }, &environment)
}

fn config(text: &str) -> Config {
    load(text).unwrap_or_else(|error| panic!("{error}")).0
}

fn error(text: &str) -> String {
    let error = load(text).unwrap_err().to_string();
    for (_, value) in VARIABLES.iter().filter(|(_, value)| value.len() > 4) {
        assert!(!error.contains(value), "{error}");
    }
    error
}
