//! `lockstep db`: the schema of the database.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use kit::config::Config;
use kit::process::Usage;
use serde::Serialize;
use store::{Database, SCHEMA_VERSION, SchemaStatus, StoreOptions};

use crate::print;

/// Look at the database's schema, or bring it up to date.
#[derive(Debug, clap::Args)]
pub struct DbArguments {
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DbCommand {
    /// Apply the scripts of dbscripts/ that the database has not seen. The programs do the same when
    /// they start, if their user may
    Migrate(Where),
    /// Show the schema version and the scripts still to be applied: exit code 0 if there are none,
    /// 1 otherwise
    Status(Where),
}

/// Which database: the URL's, else that of the configuration.
#[derive(Debug, clap::Args)]
struct Where {
    /// jdbc:postgresql://HOST:PORT/DB, jdbc:mysql://…, jdbc:mariadb://…, postgres://…, mysql://…
    /// or sqlite:PATH
    #[arg(long, value_name = "URL", conflicts_with = "conf")]
    url: Option<String>,
    /// The database's user, if the URL does not name it
    #[arg(long, value_name = "USER", requires = "url")]
    username: Option<String>,
    /// File with the user's password; without it the environment variable
    /// LOCKSTEP_DATABASE_PASSWORD is taken
    #[arg(long, value_name = "FILE", requires = "url")]
    password_file: Option<PathBuf>,
    /// deployment.toml that names the database
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Where {
    fn database(&self) -> anyhow::Result<Database> {
        let Some(url) = &self.url else {
            let config = Config::load(self.conf.as_deref())?;
            return Ok(StoreOptions::of(&config)?.database);
        };
        let username = self.username.as_deref().unwrap_or_default();
        let password = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("{}: cannot be read", file.display()))?,
            None => std::env::var("LOCKSTEP_DATABASE_PASSWORD").unwrap_or_default(),
        };
        let password = password.trim_end_matches(['\r', '\n']);
        let database = Database::parse("", url, username, password);
        database.map_err(|error| Usage(error.to_string()).into())
    }
}

/// What both commands print.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    database: String,
    kind: String,
    version: i64,
    known: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<Vec<&'static str>>,
    pending: Vec<&'static str>,
}

pub async fn run(arguments: DbArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        DbCommand::Migrate(of) => migrate(&of).await,
        DbCommand::Status(of) => status(&of).await,
    }
}

async fn migrate(of: &Where) -> anyhow::Result<ExitCode> {
    let database = of.database()?;
    let before = database.migrate().await?;
    let applied = names(&before);
    if of.json {
        print::json(&Report {
            database: database.to_string(),
            kind: database.dialect().to_string(),
            version: SCHEMA_VERSION,
            known: SCHEMA_VERSION,
            applied: Some(applied),
            pending: Vec::new(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    for script in &applied {
        print::line(&format!("applied: {script}"));
    }
    let done = if applied.is_empty() {
        "was up to date already"
    } else {
        "is up to date"
    };
    print::line(&format!(
        "{database} ({}) {done}: schema version {SCHEMA_VERSION}",
        database.dialect()
    ));
    Ok(ExitCode::SUCCESS)
}

async fn status(of: &Where) -> anyhow::Result<ExitCode> {
    let database = of.database()?;
    let status = database.status().await?;
    let current = status.version == SCHEMA_VERSION;
    if of.json {
        print::json(&Report {
            database: database.to_string(),
            kind: database.dialect().to_string(),
            version: status.version,
            known: SCHEMA_VERSION,
            applied: None,
            pending: names(&status),
        })?;
    } else {
        let said = match status.version {
            0 => "has no schema of Lockstep".to_owned(),
            version if current => format!("is up to date: schema version {version}"),
            version if version > SCHEMA_VERSION => format!(
                "has schema version {version}, which is newer than this program knows \
                 ({SCHEMA_VERSION})"
            ),
            version => format!("has schema version {version} of {SCHEMA_VERSION}"),
        };
        print::line(&format!("{database} ({}) {said}", database.dialect()));
        for script in names(&status) {
            print::line(&format!("pending: {script}"));
        }
    }
    Ok(ExitCode::from(u8::from(!current)))
}

fn names(status: &SchemaStatus) -> Vec<&'static str> {
    status.pending.iter().map(|script| script.name).collect()
}
