//! What differs between the databases: sessions, transactions, locks, scripts.

use std::time::Duration;

use sqlx::{AnyConnection, Connection, Executor};
use tokio::time::{Instant, sleep};

use crate::Dialect;

/// So long a file that others have locked is tried to be opened, as SQLite's busy_timeout …
const LOCKED: Duration = Duration::from_secs(20);
/// … again after this.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// MySQL's limit for a statement with its arguments, bytes.
pub(crate) const MAX_PACKET: &str = "SELECT CAST(@@max_allowed_packet AS SIGNED)";

/// A script of `dbscripts/`: the schema version that it makes, its name and its text.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub version: i64,
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! script {
    ($version:literal, $name:literal) => {
        Script {
            version: $version,
            name: $name,
            text: include_str!(concat!("../../../dbscripts/", $name)),
        }
    };
}

impl Dialect {
    /// The scripts in the order in which they are applied. A version means the same on every
    /// database; those that came after version 1 begin with 2.
    #[must_use]
    pub fn scripts(self) -> &'static [Script] {
        match self {
            Self::Sqlite => &[
                script!(1, "sqlite/0001-artifacts-and-label-log.sql"),
                script!(2, "sqlite/0002-names-beside-the-api.sql"),
                script!(3, "sqlite/0003-gateways-and-announcements.sql"),
                script!(4, "sqlite/0004-accepted-repairs.sql"),
            ],
            Self::PostgreSql => &[
                script!(2, "postgresql/0002-artifacts-and-label-log.sql"),
                script!(3, "postgresql/0003-gateways-and-announcements.sql"),
                script!(4, "postgresql/0004-accepted-repairs.sql"),
            ],
            Self::MySql => &[
                script!(2, "mysql/0002-artifacts-and-label-log.sql"),
                script!(3, "mysql/0003-gateways-and-announcements.sql"),
                script!(4, "mysql/0004-accepted-repairs.sql"),
            ],
        }
    }

    pub(crate) fn has_schema_table(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'LS_SCHEMA'"
            }
            Self::PostgreSql => {
                "SELECT COUNT(*) FROM information_schema.tables \
                 WHERE table_schema = current_schema() AND table_name = 'ls_schema'"
            }
            Self::MySql => {
                "SELECT COUNT(*) FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = 'LS_SCHEMA'"
            }
        }
    }

    /// Takes and gives back the turn to change the schema. SQLite's and PostgreSQL's turns end
    /// with their transaction; MySQL commits around each change, so its turn is the session's.
    pub(crate) fn schema_turn(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Sqlite => None,
            Self::PostgreSql => Some(("SELECT pg_advisory_xact_lock(5283301764921)", None)),
            Self::MySql => Some((
                "SELECT GET_LOCK(CONCAT('lockstep.', LEFT(DATABASE(), 50)), 60)",
                Some("SELECT RELEASE_LOCK(CONCAT('lockstep.', LEFT(DATABASE(), 50)))"),
            )),
        }
    }

    /// Begins a transaction that writes.
    pub(crate) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::PostgreSql => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            Self::MySql => "START TRANSACTION",
        }
    }

    /// Takes the turn of those who save, until the end of the transaction. SQLite's writers take
    /// turns anyway.
    pub(crate) fn writers_turn(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::PostgreSql | Self::MySql => {
                Some("SELECT SAVES, TOKENS FROM LS_WRITER WHERE ID = 1 FOR UPDATE")
            }
        }
    }

    /// Tells those who listen ([`crate::Growing`]) that label logs have grown, once the transaction
    /// commits.
    pub(crate) fn tell_growth(self) -> Option<&'static str> {
        match self {
            Self::PostgreSql => Some("NOTIFY lockstep_label_log"),
            Self::Sqlite | Self::MySql => None,
        }
    }

    /// Begins a transaction that reads one snapshot.
    pub(crate) fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN DEFERRED",
            Self::PostgreSql => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            // The session's level is READ COMMITTED, which knows no snapshot.
            Self::MySql => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                 START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
        }
    }

    /// Rows of the outbox that nobody has claimed, oldest first, each with the oldest row of its API,
    /// claimed or not; those that another relay is just claiming are passed over.
    pub(crate) fn unclaimed(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT o.ID, o.API_ID, o.ANNOUNCEMENT, \
                 (SELECT MIN(h.ID) FROM LS_OUTBOX h WHERE h.API_ID = o.API_ID) \
                 FROM LS_OUTBOX o WHERE o.CLAIMED_UNTIL < ? ORDER BY o.ID LIMIT ?"
            }
            Self::PostgreSql | Self::MySql => {
                "SELECT o.ID, o.API_ID, o.ANNOUNCEMENT, \
                 (SELECT MIN(h.ID) FROM LS_OUTBOX h WHERE h.API_ID = o.API_ID) \
                 FROM LS_OUTBOX o WHERE o.CLAIMED_UNTIL < ? ORDER BY o.ID LIMIT ? \
                 FOR UPDATE SKIP LOCKED"
            }
        }
    }

    /// Why a server of this version cannot be used; it is told by `SELECT VERSION()`.
    pub(crate) fn too_old(self, version: &str) -> Option<&'static str> {
        let mut numbers = version
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse::<u32>().ok());
        let mut next = || numbers.next().unwrap_or(0);
        let found = (next(), next());
        match self {
            Self::Sqlite | Self::PostgreSql => None,
            Self::MySql if version.contains("MariaDB") => {
                (found < (10, 6)).then_some("MariaDB 10.6 or newer is needed (SKIP LOCKED)")
            }
            Self::MySql => (found < (8, 0)).then_some("MySQL 8.0 or newer is needed (SKIP LOCKED)"),
        }
    }

    /// Sets up a new session. `read_only` is for SQLite, whose one writer has a pool of its own.
    pub(crate) async fn set_up(
        self,
        connection: &mut AnyConnection,
        read_only: bool,
    ) -> Result<(), sqlx::Error> {
        let statements: &[&'static str] = match (self, read_only) {
            (Self::Sqlite, false) => &[
                "PRAGMA busy_timeout = 20000",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
            ],
            (Self::Sqlite, true) => &["PRAGMA busy_timeout = 20000", "PRAGMA query_only = ON"],
            // Who waits longer than that waits for a session that hangs; and one that hangs in
            // the middle of a save must not keep its turn for ever.
            (Self::PostgreSql, _) => &[
                "SET lock_timeout = '20s'",
                // A ROLLBACK outside of a transaction is how a connection is tried.
                "SET client_min_messages = error",
                "SET idle_in_transaction_session_timeout = '60s'",
            ],
            (Self::MySql, _) => &[
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET SESSION innodb_lock_wait_timeout = 20",
                "SET SESSION wait_timeout = 120",
                // A text that does not fit is an error, never cut off.
                "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
            ],
        };
        let deadline = Instant::now() + LOCKED;
        for statement in statements {
            while let Err(error) = connection.execute(*statement).await {
                // SQLite does not wait by itself where the journal's mode changes, or where the
                // last connection of another program closes.
                let locked = self == Self::Sqlite && error.to_string().contains("is locked");
                if !locked || Instant::now() > deadline {
                    return Err(error);
                }
                sleep(BETWEEN_TRIES).await;
            }
        }
        if self == Self::MySql {
            // MariaDB's name of it; MySQL has none.
            let _ = connection
                .execute("SET SESSION idle_transaction_timeout = 60")
                .await;
        }
        connection.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_lack_what_is_needed_are_told() {
        for (version, usable) in [
            ("5.7.44-log", false),
            ("8.0.36", true),
            ("9.1.0", true),
            ("10.5.23-MariaDB-1", false),
            ("10.11.6-MariaDB-0+deb12u1", true),
        ] {
            assert_eq!(
                Dialect::MySql.too_old(version).is_none(),
                usable,
                "{version}"
            );
        }
    }
}
