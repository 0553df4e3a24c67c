//! Transactions and statements, one way for all three databases.
//!
//! Statements are written with `?` for each argument; PostgreSQL gets its `$1`, `$2` … here.
//! Lists and rows come in powers of two, so that a connection prepares few texts, not one for each
//! length.

use std::borrow::Cow;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, SqlSafeStr, SqlStr, Transaction};

use crate::{Dialect, StoreError};

/// Arguments in one list at most.
const LIST: usize = 512;
/// Rows in one INSERT at most …
const ROWS: usize = 128;
/// … and bytes of their values, well below every server's limit for a packet.
const ROWS_BYTES: usize = 1024 * 1024;

/// An argument of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    Int(i64),
    Text(Cow<'a, str>),
    MaybeText(Option<Cow<'a, str>>),
    Blob(&'a [u8]),
}

impl Arg<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::Int(_) | Self::MaybeText(None) => 8,
            Self::Text(text) | Self::MaybeText(Some(text)) => text.len(),
            Self::Blob(blob) => blob.len(),
        }
    }
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Arg<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::MaybeText(value.map(Cow::Borrowed))
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(value)
    }
}

/// A table into which rows are put. The first `keys` columns are its key.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) keys: usize,
    pub(crate) there: There,
}

/// What happens to a row whose key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// It cannot be; an error.
    Never,
    /// The new row takes its place.
    Replace,
    /// The new row takes its place unless its value in this column is smaller.
    ReplaceUnlessOlder(&'static str),
    /// These columns keep their values, the others are replaced.
    ReplaceBut(&'static [&'static str]),
}

/// A transaction.
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    pub(crate) dialect: Dialect,
}

impl Tx {
    pub(crate) fn new(inner: Transaction<'static, Any>, dialect: Dialect) -> Self {
        Self { inner, dialect }
    }

    pub(crate) async fn fetch(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> Result<Vec<AnyRow>, StoreError> {
        let text = placeholders(self.dialect, Cow::Borrowed(sql));
        Ok(query(text, args).fetch_all(&mut *self.inner).await?)
    }

    /// Fetches by a statement whose `IN (??)` holds a list of any length: `before` are the
    /// arguments in front of it.
    pub(crate) async fn fetch_in(
        &mut self,
        sql: &'static str,
        before: &[Arg<'_>],
        list: &[&str],
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut rows = Vec::new();
        for part in list.chunks(LIST) {
            let text = placeholders(self.dialect, in_list(sql, part.len()));
            let mut args = before.to_vec();
            args.extend(padded(part).map(|text| Arg::from(*text)));
            rows.extend(query(text, &args).fetch_all(&mut *self.inner).await?);
        }
        Ok(rows)
    }

    /// Returns how many rows were changed.
    pub(crate) async fn execute(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> Result<u64, StoreError> {
        let text = placeholders(self.dialect, Cow::Borrowed(sql));
        let done = query(text, args).execute(&mut *self.inner).await?;
        Ok(done.rows_affected())
    }

    /// As [`Tx::fetch_in`], for a statement that changes rows; returns how many.
    pub(crate) async fn execute_in(
        &mut self,
        sql: &'static str,
        before: &[Arg<'_>],
        list: &[Arg<'_>],
    ) -> Result<u64, StoreError> {
        let mut changed = 0;
        for part in list.chunks(LIST) {
            let text = placeholders(self.dialect, in_list(sql, part.len()));
            let mut args = before.to_vec();
            args.extend(padded(part).cloned());
            let done = query(text, &args).execute(&mut *self.inner).await?;
            changed += done.rows_affected();
        }
        Ok(changed)
    }

    /// Puts rows into a table. No two of them may have the same key.
    pub(crate) async fn put(
        &mut self,
        table: &'static Table,
        rows: &[Vec<Arg<'_>>],
    ) -> Result<(), StoreError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(fitting(rest));
            let text = placeholders(self.dialect, put(self.dialect, table, part.len()).into());
            let args: Vec<Arg<'_>> = part.iter().flatten().cloned().collect();
            query(text, &args).execute(&mut *self.inner).await?;
            rest = after;
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let committed = self.inner.commit().await;
        match self.dialect {
            // In this process: an error is an answer.
            Dialect::Sqlite => Ok(committed?),
            Dialect::PostgreSql | Dialect::MySql => committed.map_err(StoreError::commit),
        }
    }

    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.inner.rollback().await?)
    }
}

/// Fetches by a statement that ends with a condition on a pair, for each of these pairs. They
/// go into one statement.
pub(crate) async fn fetch_pairs(
    pool: &AnyPool,
    dialect: Dialect,
    sql: &'static str,
    pairs: &[[Arg<'_>; 2]],
) -> Result<Vec<AnyRow>, StoreError> {
    let Some((head, condition)) = sql.split_once("WHERE ").filter(|_| !pairs.is_empty()) else {
        return Ok(Vec::new());
    };
    let conditions = vec![condition; pairs.len().next_power_of_two()].join(" OR ");
    let text = placeholders(dialect, format!("{head}WHERE {conditions}").into());
    let args: Vec<Arg<'_>> = padded(pairs).flatten().cloned().collect();
    Ok(query(text, &args).fetch_all(pool).await?)
}

fn query<'q>(text: SqlStr, args: &[Arg<'_>]) -> Query<'q, Any, AnyArguments> {
    let mut query = sqlx::query(text);
    for arg in args {
        query = match arg {
            Arg::Int(value) => query.bind(*value),
            Arg::Text(text) => query.bind(text.clone().into_owned()),
            Arg::MaybeText(text) => query.bind(text.clone().map(Cow::into_owned)),
            Arg::Blob(blob) => query.bind(blob.to_vec()),
        };
    }
    query
}

/// The text with the dialect's placeholders. No statement of the catalog has a `?` in a literal.
pub(crate) fn placeholders(dialect: Dialect, sql: Cow<'static, str>) -> SqlStr {
    if dialect != Dialect::PostgreSql {
        return match sql {
            Cow::Borrowed(sql) => sql.into_sql_str(),
            Cow::Owned(sql) => AssertSqlSafe(sql).into_sql_str(),
        };
    }
    let mut text = String::with_capacity(sql.len() + 16);
    for (number, part) in sql.split('?').enumerate() {
        if number > 0 {
            text.push_str(&format!("${number}"));
        }
        text.push_str(part);
    }
    AssertSqlSafe(text).into_sql_str()
}

/// The statement with as many `?` in its `(??)` as the padded list has.
fn in_list(sql: &'static str, length: usize) -> Cow<'static, str> {
    let marks = vec!["?"; length.next_power_of_two()].join(", ");
    Cow::Owned(sql.replace("??", &marks))
}

/// The list, its last element repeated up to a power of two.
fn padded<T>(list: &[T]) -> impl Iterator<Item = &T> {
    let length = list.len().next_power_of_two();
    list.iter()
        .chain(list.last().into_iter().cycle())
        .take(length)
}

/// How many of the rows go into the next statement: a power of two, at least one.
fn fitting(rows: &[Vec<Arg<'_>>]) -> usize {
    let mut bytes = 0;
    let fitting = rows
        .iter()
        .take(ROWS)
        .take_while(|row| {
            bytes += row.iter().map(Arg::bytes).sum::<usize>();
            bytes <= ROWS_BYTES
        })
        .count();
    1 << fitting.max(1).ilog2()
}

fn put(dialect: Dialect, table: &Table, rows: usize) -> String {
    let columns = table.columns.join(", ");
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let values = vec![row; rows].join(", ");
    let insert = format!("INSERT INTO {} ({columns}) VALUES {values}", table.name);
    let kept: &[&str] = match table.there {
        There::Never => return insert,
        There::ReplaceBut(kept) => kept,
        There::Replace | There::ReplaceUnlessOlder(_) => &[],
    };
    let mut replaced: Vec<&str> = table.columns[table.keys..]
        .iter()
        .filter(|column| !kept.contains(column))
        .copied()
        .collect();
    let guard = match table.there {
        There::ReplaceUnlessOlder(guard) => Some(guard),
        _ => None,
    };
    if let Some(guard) = guard {
        // MySQL assigns from left to right: what the others are compared with comes last.
        replaced.sort_by_key(|column| *column == guard);
    }
    match dialect {
        Dialect::MySql => {
            let set = replaced.iter().map(|column| match guard {
                None => format!("{column} = VALUES({column})"),
                Some(guard) => {
                    format!("{column} = IF(VALUES({guard}) >= {guard}, VALUES({column}), {column})")
                }
            });
            let set = set.collect::<Vec<_>>().join(", ");
            format!("{insert} ON DUPLICATE KEY UPDATE {set}")
        }
        Dialect::Sqlite | Dialect::PostgreSql => {
            let keys = table.columns[..table.keys].join(", ");
            let set = replaced.iter().map(|c| format!("{c} = excluded.{c}"));
            let set = set.collect::<Vec<_>>().join(", ");
            let guard = guard.map_or(String::new(), |guard| {
                format!(" WHERE excluded.{guard} >= {}.{guard}", table.name)
            });
            format!("{insert} ON CONFLICT ({keys}) DO UPDATE SET {set}{guard}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        name: "T",
        columns: &["K", "REV", "V"],
        keys: 1,
        there: There::ReplaceUnlessOlder("REV"),
    };

    #[test]
    fn upserts_are_written_in_each_dialect() {
        assert_eq!(
            put(Dialect::PostgreSql, &TABLE, 2),
            "INSERT INTO T (K, REV, V) VALUES (?, ?, ?), (?, ?, ?) ON CONFLICT (K) DO UPDATE SET \
             V = excluded.V, REV = excluded.REV WHERE excluded.REV >= T.REV"
        );
        assert_eq!(
            put(Dialect::MySql, &TABLE, 1),
            "INSERT INTO T (K, REV, V) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE \
             V = IF(VALUES(REV) >= REV, VALUES(V), V), \
             REV = IF(VALUES(REV) >= REV, VALUES(REV), REV)"
        );
    }

    #[test]
    fn placeholders_are_numbered_for_postgresql() {
        let text = |dialect| placeholders(dialect, "A = ? AND B IN (?, ?)".into());
        assert_eq!(
            text(Dialect::PostgreSql).as_str(),
            "A = $1 AND B IN ($2, $3)"
        );
        assert_eq!(text(Dialect::Sqlite).as_str(), "A = ? AND B IN (?, ?)");
    }

    #[test]
    fn lists_and_rows_come_in_powers_of_two() {
        assert_eq!(in_list("IN (??)", 3), "IN (?, ?, ?, ?)");
        let list: Vec<_> = padded(&[1, 2, 3]).copied().collect();
        assert_eq!(list, [1, 2, 3, 3]);
        let blob = vec![0; 600 * 1024];
        let row = |blob: &'static [u8]| vec![Arg::from(blob)];
        let small = vec![row(b"x"); 1000];
        assert_eq!((fitting(&small), fitting(&small[..100])), (128, 64));
        let large = vec![vec![Arg::from(blob.as_slice())]; 3];
        assert_eq!(fitting(&large), 1);
    }
}
