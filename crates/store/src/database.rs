//! Which database: an address as WSO2's deployment.toml writes it, in JDBC form, or native.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::StoreError;

/// The databases that the store speaks. MariaDB is a MySQL here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    PostgreSql,
    MySql,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::PostgreSql => "PostgreSQL",
            Self::MySql => "MySQL/MariaDB",
        })
    }
}

/// Where a database is. Shown without user and password.
#[derive(Clone)]
pub struct Database {
    dialect: Dialect,
    /// With user and password.
    url: Url,
    shown: String,
    /// Parameters of a JDBC URL that mean nothing here.
    ignored: Vec<String>,
    pub pool: PoolOptions,
}

/// How many connections are kept, and how long one is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Connections at most (`maxActive`).
    pub max: u32,
    /// Connections kept open when idle (`minIdle`).
    pub min: u32,
    /// How long a connection is waited for (`maxWait`).
    pub wait: Duration,
    /// Whether a connection is tried before each use (`testOnBorrow`).
    pub test: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max: 16,
            min: 0,
            wait: Duration::from_secs(10),
            test: true,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.shown)
    }
}

impl Database {
    /// The embedded database in a file; made when it is not there.
    ///
    /// # Errors
    /// When the file's name cannot stand in a URL.
    pub fn file(file: &Path) -> Result<Self, StoreError> {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let shown = file.display().to_string();
        // The driver decodes the path again.
        let url = Url::from_file_path(&file)
            .ok()
            .and_then(|url| Url::parse(&url.as_str().replacen("file:", "sqlite:", 1)).ok())
            .ok_or_else(|| invalid(&shown, "is no file name"))?;
        Ok(Self {
            dialect: Dialect::Sqlite,
            url,
            shown,
            ignored: Vec::new(),
            pool: PoolOptions::default(),
        })
    }

    /// Reads an address: `jdbc:mysql://host:3306/db?useSSL=false`, `jdbc:postgresql://host/db`,
    /// `jdbc:mariadb:…`, `postgres://user:password@host/db`, `mysql://…`, `sqlite:PATH`.
    ///
    /// `kind` is the `type` of deployment.toml (`mysql`, `mariadb`, `postgre`, `postgresql`,
    /// `sqlite`), empty when the address alone tells. `username` and `password` win over those in
    /// the address.
    ///
    /// # Errors
    /// [`StoreError::Address`] with the address, without user and password, and the rule.
    pub fn parse(
        kind: &str,
        address: &str,
        username: &str,
        password: &str,
    ) -> Result<Self, StoreError> {
        // deployment.toml is rendered into XML by WSO2, so its URLs write & as &amp;.
        let address = address.trim().replace("&amp;", "&");
        let native = address.strip_prefix("jdbc:").unwrap_or(&address);
        let (scheme, rest) = native
            .split_once(':')
            .ok_or_else(|| invalid(&safe(&address), "has no scheme like jdbc:postgresql:"))?;
        let dialect = dialect(scheme).map_err(|rule| invalid(&safe(&address), rule))?;
        if !kind.is_empty() {
            let told =
                dialect_of_type(kind).map_err(|rule| invalid(&safe(&address), rule.as_str()))?;
            if told != dialect {
                let rule = format!("is an address of {dialect}, but type says {kind:?}");
                return Err(invalid(&safe(&address), rule));
            }
        }
        if dialect == Dialect::Sqlite {
            return Self::file(&sqlite_path(rest).map_err(|rule| invalid(&address, rule))?);
        }
        let mut url = server_url(dialect, rest).map_err(|rule| invalid(&safe(&address), rule))?;
        let parameters: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        let mut ignored = Vec::new();
        let mut user = (decoded(url.username()), url.password().map(decoded));
        for (name, value) in parameters {
            match (name.as_str(), dialect) {
                ("user" | "username", _) => user.0 = value,
                ("password", _) => user.1 = Some(value),
                _ => match native_parameter(dialect, &name, &value) {
                    Some((name, value)) => {
                        url.query_pairs_mut().append_pair(&name, &value);
                    }
                    None => ignored.push(name),
                },
            }
        }
        if !username.is_empty() {
            user.0 = username.to_owned();
        }
        if !password.is_empty() {
            user.1 = Some(password.to_owned());
        }
        let set = url.set_username(&user.0).is_ok() && url.set_password(user.1.as_deref()).is_ok();
        if !set {
            return Err(invalid(&safe(&address), "names no host"));
        }
        Ok(Self {
            dialect,
            shown: shown(&url),
            url,
            ignored,
            pool: PoolOptions::default(),
        })
    }

    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Parameters of the address that have no effect here, by name.
    #[must_use]
    pub fn ignored_parameters(&self) -> &[String] {
        &self.ignored
    }

    /// The file of an embedded database.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        (self.dialect == Dialect::Sqlite).then(|| PathBuf::from(&self.shown))
    }

    /// The driver's address, with user and password.
    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }
}

fn invalid(address: &str, rule: impl Into<String>) -> StoreError {
    StoreError::Address {
        address: address.to_owned(),
        rule: rule.into(),
    }
}

fn dialect(scheme: &str) -> Result<Dialect, String> {
    match scheme {
        "mysql" | "mariadb" => Ok(Dialect::MySql),
        "postgresql" | "postgres" => Ok(Dialect::PostgreSql),
        "sqlite" => Ok(Dialect::Sqlite),
        "h2" => Err("is an H2 database; the embedded one here is sqlite:PATH".into()),
        other => Err(format!(
            "is a database that is not spoken here ({other}); known: postgresql, mysql, mariadb, \
             sqlite"
        )),
    }
}

/// The names that WSO2's `type` may have.
fn dialect_of_type(kind: &str) -> Result<Dialect, String> {
    match kind.to_ascii_lowercase().as_str() {
        "mysql" | "mariadb" => Ok(Dialect::MySql),
        "postgre" | "postgres" | "postgresql" => Ok(Dialect::PostgreSql),
        "sqlite" => Ok(Dialect::Sqlite),
        other => Err(format!(
            "has type {other:?}, which is not spoken here; known: postgre, mysql, mariadb, sqlite"
        )),
    }
}

fn sqlite_path(rest: &str) -> Result<PathBuf, &'static str> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains(":memory:") {
        return Err("must be sqlite:PATH, a file that lasts");
    }
    Ok(PathBuf::from(path))
}

/// `//host:port/database?…`, or PostgreSQL's short `database`.
fn server_url(dialect: Dialect, rest: &str) -> Result<Url, String> {
    let scheme = match dialect {
        Dialect::MySql => "mysql",
        Dialect::PostgreSql | Dialect::Sqlite => "postgres",
    };
    let rest = match rest.strip_prefix("//") {
        Some(rest) => rest.to_owned(),
        None if dialect == Dialect::PostgreSql => format!("localhost/{}", rest.trim_matches('/')),
        None => return Err("names no host; write //HOST:PORT/DATABASE".into()),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains(',') {
        return Err(
            "names several hosts; one address is supported, put a proxy before them".into(),
        );
    }
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| error.to_string())?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host; write //HOST:PORT/DATABASE".into());
    }
    if url.path().trim_matches('/').is_empty() {
        return Err("names no database; write //HOST:PORT/DATABASE".into());
    }
    Ok(url)
}

/// A parameter of the JDBC drivers (MySQL Connector/J, PgJDBC) as the native driver names it.
fn native_parameter(dialect: Dialect, name: &str, value: &str) -> Option<(String, String)> {
    let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    let on = value.eq_ignore_ascii_case("true");
    match (dialect, name) {
        (Dialect::MySql, "useSSL") => pair("ssl-mode", if on { "PREFERRED" } else { "DISABLED" }),
        (Dialect::MySql, "requireSSL") if on => pair("ssl-mode", "REQUIRED"),
        (Dialect::MySql, "sslMode" | "ssl-mode") => {
            let mode = match value.to_ascii_lowercase().replace('_', "-").as_str() {
                "trust" => "REQUIRED".to_owned(),
                "verify-full" => "VERIFY_IDENTITY".to_owned(),
                mode => mode.to_ascii_uppercase().replace('-', "_"),
            };
            pair("ssl-mode", &mode)
        }
        (Dialect::MySql, "serverSslCert" | "ssl-ca" | "sslca") => pair("ssl-ca", value),
        (Dialect::MySql, "ssl-cert" | "ssl-key" | "socket" | "charset") => pair(name, value),
        (Dialect::PostgreSql, "ssl") if on => pair("sslmode", "require"),
        (Dialect::PostgreSql, "sslmode" | "sslrootcert" | "sslcert" | "sslkey") => {
            pair(name, value)
        }
        (Dialect::PostgreSql, "ApplicationName" | "application_name") => {
            pair("application_name", value)
        }
        (Dialect::PostgreSql, "currentSchema") => pair("options[search_path]", value),
        (Dialect::PostgreSql, name) if name.starts_with("options[") => pair(name, value),
        _ => None,
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// `postgresql://host:5432/db`.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

/// An address that could not be read, without what may be a password: no parameters, and nothing
/// between the scheme and the last `@`.
fn safe(address: &str) -> String {
    let address = address.split('?').next().unwrap_or_default();
    let Some((before, host)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    let before = before.strip_prefix("jdbc:").unwrap_or(before);
    let scheme = before.split(':').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<Database, StoreError> {
        Database::parse("", address, "apim", "p@ss/w?rd")
    }

    #[test]
    fn jdbc_and_native_addresses_mean_the_same() {
        let url = |address| parse(address).unwrap().url().to_string();
        let mysql = "mysql://apim:p%40ss%2Fw%3Frd@db.example:3307/apim_db?ssl-mode=DISABLED";
        for address in [
            "jdbc:mysql://db.example:3307/apim_db?useSSL=false",
            "jdbc:mariadb://db.example:3307/apim_db?autoReconnect=true&amp;useSSL=false",
            "mysql://root:other@db.example:3307/apim_db?ssl-mode=disabled",
        ] {
            assert_eq!(url(address), mysql);
        }
        assert_eq!(
            url("jdbc:postgresql://db.example/apim_db?sslmode=verify-full&user=x&password=y"),
            "postgres://apim:p%40ss%2Fw%3Frd@db.example/apim_db?sslmode=verify-full"
        );
        assert_eq!(
            url("jdbc:postgresql:apim_db"),
            "postgres://apim:p%40ss%2Fw%3Frd@localhost/apim_db"
        );
    }

    #[test]
    fn user_and_password_are_never_shown() {
        let database = parse("postgres://u:s3cret@h/d?password=s3cret").unwrap();
        assert_eq!(database.to_string(), "postgres://h/d");
        assert_eq!(format!("{database:?}"), "Database(postgres://h/d)");
        for bad in [
            "oracle://u:s3cret@h/d",
            "postgres://u:s3cret@h",
            "mysql://u:s3cret@:80/x",
            "mysql:u:s3cret@h?password=s3cret",
            "postgres://u:s3c@ret@h:port/d",
            "postgres://u:s3cret@h,g/d",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.contains("s3c"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_spoken_is_named_with_its_rule() {
        let error = |kind: &str, address: &str| {
            Database::parse(kind, address, "", "")
                .unwrap_err()
                .to_string()
        };
        assert!(error("", "jdbc:oracle:thin:@h:1521/x").contains("not spoken here (oracle)"));
        assert!(error("", "jdbc:h2:./repository/database/X").contains("sqlite:PATH"));
        assert!(error("mysql", "jdbc:postgresql://h/d").contains("type says \"mysql\""));
        assert!(error("", "jdbc:mysql://h").contains("names no database"));
        assert!(error("", "sqlite::memory:").contains("a file that lasts"));
        assert!(error("", "lockstep.db").contains("has no scheme"));
    }

    #[test]
    fn parameters_without_effect_are_told() {
        let database = parse("jdbc:mysql://h/d?serverTimezone=UTC&useSSL=true").unwrap();
        assert_eq!(database.ignored_parameters(), ["serverTimezone"]);
    }

    #[test]
    fn a_file_name_may_hold_anything() {
        let database = Database::file(Path::new("/tmp/a b?c#d%20.db")).unwrap();
        assert_eq!(database.path(), Some(PathBuf::from("/tmp/a b?c#d%20.db")));
        assert!(database.url().query().is_none());
    }
}
