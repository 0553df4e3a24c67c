//! The scenario `store`: saving artifacts, one and many, and announcing what was saved.

mod floor;
mod relaying;
mod saving;
mod site;

use clap::{Args, ValueEnum};

use crate::Options;
use crate::broker::Broker;
use crate::report::{Missing, Report};
use site::Site;

#[derive(Debug, Default, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Only this database; may be said several times. The relay is measured on PostgreSQL.
    #[arg(long, value_enum, value_name = "DATABASE")]
    database: Vec<Kind>,
    /// Only this part; may be said several times.
    #[arg(long, value_enum, value_name = "PART")]
    part: Vec<Part>,
}

impl Arguments {
    /// All of it.
    pub fn of(options: &Options) -> Self {
        Self {
            options: options.clone(),
            ..Self::default()
        }
    }
}

/// What can be measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Single,
    Bulk,
    Publishers,
    Relay,
}

/// The databases of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Sqlite,
    Postgresql,
    /// MariaDB.
    Mysql,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Rounds of single saves, each of `SINGLES` saves.
    singles: usize,
    bulks: usize,
    publishers: usize,
    relays: usize,
}

const FULL: Effort = Effort {
    singles: 20,
    bulks: 7,
    publishers: 7,
    relays: 15,
};
const QUICK: Effort = Effort {
    singles: 5,
    bulks: 2,
    publishers: 2,
    relays: 2,
};

/// Measures.
///
/// # Errors
/// When a database or the broker fails while it is measured. One that is not there at all is
/// reported as missing.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let effort = if arguments.options.quick { QUICK } else { FULL };
    let asked = |part| arguments.part.is_empty() || arguments.part.contains(&part);
    let mut report = Report::new();
    if !arguments.part.is_empty() {
        report
            .left_out
            .push("the parts that were not asked for".into());
    }
    for kind in [Kind::Sqlite, Kind::Postgresql, Kind::Mysql] {
        if !arguments.database.is_empty() && !arguments.database.contains(&kind) {
            report
                .left_out
                .push(format!("{} was not asked for", kind.name()));
            continue;
        }
        let site = match Site::open(kind).await {
            Ok(site) => site,
            Err(error) => {
                report.missing(kind.name(), &error);
                if kind == Kind::Postgresql && asked(Part::Relay) {
                    report.missing.push(Missing {
                        what: "the relay".into(),
                        reason: "its database is missing".into(),
                    });
                }
                continue;
            }
        };
        report.servers.push(site.version.clone());
        if asked(Part::Single) {
            saving::single(&site, effort.singles, &mut report).await?;
        }
        if asked(Part::Bulk) {
            saving::bulk(&site, effort.bulks, &mut report).await?;
        }
        if asked(Part::Publishers) {
            saving::publishers(&site, effort.publishers, &mut report).await?;
        }
        if kind == Kind::Postgresql && asked(Part::Relay) {
            match Broker::open().await {
                Ok(broker) => {
                    report.servers.push(broker.version.clone());
                    relaying::relay(&site, &broker, effort.relays, &mut report).await?;
                }
                Err(error) => report.missing("RabbitMQ", &error),
            }
        }
        site.close().await?;
    }
    Ok(report)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
            Self::Mysql => "MariaDB",
        }
    }
}
