//! Which database: an address as WSO2's deployment.toml writes it, in JDBC form, or native.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::{Host, Url};

use crate::StoreError;
use crate::jdbc::{
    dialect, dialect_of_type, is_tls_mode, native_parameter, server_url, sqlite_path, tls_mode,
};

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
            .ok_or_else(|| invalid("sqlite", format!("is no file name: {shown}")))?;
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
            .ok_or_else(|| invalid("", "has no scheme like jdbc:postgresql:"))?;
        // No more of an address that cannot be read is shown: anything of it may be a password.
        let wrong = |rule: String| invalid(scheme, rule);
        let dialect = dialect(scheme).map_err(wrong)?;
        if !kind.is_empty() {
            let told = dialect_of_type(kind).map_err(wrong)?;
            if told != dialect {
                return Err(wrong(format!(
                    "is an address of {dialect}, but type says {kind:?}"
                )));
            }
        }
        if dialect == Dialect::Sqlite {
            let path = sqlite_path(rest).map_err(|rule| wrong(rule.to_owned()))?;
            return Self::file(&path);
        }
        let mut url = server_url(dialect, rest).map_err(wrong)?;
        let parameters: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        let (mut native, mut ignored) = (Vec::new(), Vec::new());
        let mut user = (decoded(url.username()), url.password().map(decoded));
        for (name, value) in &parameters {
            match (name.as_str(), dialect) {
                ("user" | "username", _) => user.0.clone_from(value),
                ("password", _) => user.1 = Some(value.clone()),
                _ if is_tls_mode(dialect, name) => {}
                _ => match native_parameter(dialect, name, value) {
                    Some(pair) => native.push(pair),
                    // A piece of something else is no parameter.
                    None if value.is_empty() => {}
                    None => ignored.push(name.clone()),
                },
            }
        }
        native.extend(tls_mode(dialect, &parameters).map_err(wrong)?);
        if let Some(Host::Ipv6(host)) = url.host() {
            if dialect == Dialect::MySql {
                return Err(wrong("names an IPv6 address; give the host a name".into()));
            }
            native.push(("host", host.to_string()));
        }
        for (name, value) in native {
            url.query_pairs_mut().append_pair(name, &value);
        }
        if !username.is_empty() {
            user.0 = username.to_owned();
        }
        if !password.is_empty() {
            user.1 = Some(password.to_owned());
        }
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let password = user.1.as_deref().map(encoded);
        let set = url.set_username(&encoded(&user.0)).is_ok()
            && url.set_password(password.as_deref()).is_ok();
        if !set {
            return Err(wrong("names no host".into()));
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

fn invalid(scheme: &str, rule: impl Into<String>) -> StoreError {
    StoreError::Address {
        address: match scheme {
            "" => String::new(),
            scheme => format!(" {scheme}:…"),
        },
        rule: rule.into(),
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// `postgres://host:5432/db`.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
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
            "postgres://u:s3c?ret@h/d",
            "postgres://u:1/s3cret@h/d",
            "postgres://h/d?password=a#s3cret",
            "jdbc:sqlserver://h;user=sa;password=s3cret",
            "jdbc:h2:./x;USER=a;PASSWORD=s3cret",
            "jdbc:db2://h:1/db:user=u;password=s3cret;",
            "jdbc:mysql://(host=h,user=u,password=s3cret)/db",
            "s3cret",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.contains("s3c"), "{bad}: {error}");
        }
        let cut = parse("mysql://h/d?password=a&s3cret").unwrap();
        assert!(cut.ignored_parameters().is_empty());
    }

    #[test]
    fn passwords_arrive_as_they_are() {
        for password in ["50%41", "a%ffb", "p@ss/w?rd", "#;:&=+ ä"] {
            let url = Database::parse("", "jdbc:mysql://h/d", "us%er", password).unwrap();
            let url = url.url();
            assert_eq!(decoded(url.password().unwrap()), password);
            assert_eq!(decoded(url.username()), "us%er");
        }
        let native = Database::parse("", "mysql://u:50%2541@h/d", "", "").unwrap();
        assert_eq!(decoded(native.url().password().unwrap()), "50%41");
    }

    #[test]
    fn tls_is_never_weaker_than_the_address_says() {
        let query = |address| {
            let url = parse(address).unwrap().url();
            url.query().unwrap_or_default().to_owned()
        };
        for (address, expected) in [
            ("jdbc:mysql://h/d", ""),
            ("jdbc:mysql://h/d?useSSL=true", ""),
            ("jdbc:mysql://h/d?useSSL=false", "ssl-mode=DISABLED"),
            (
                "jdbc:mysql://h/d?requireSSL=true&useSSL=true",
                "ssl-mode=REQUIRED",
            ),
            (
                "jdbc:mysql://h/d?verifyServerCertificate=true&useSSL=true&requireSSL=true",
                "ssl-mode=VERIFY_CA",
            ),
            (
                "jdbc:mysql://h/d?useSSL=false&sslMode=VERIFY_IDENTITY",
                "ssl-mode=VERIFY_IDENTITY",
            ),
            ("jdbc:mariadb://h/d?sslMode=trust", "ssl-mode=REQUIRED"),
            ("jdbc:postgresql://h/d?ssl=true", "sslmode=verify-full"),
            (
                "jdbc:postgresql://h/d?sslmode=verify-ca&ssl=true",
                "sslmode=verify-ca",
            ),
            ("jdbc:postgresql://[::1]/d", "host=%3A%3A1"),
        ] {
            assert_eq!(query(address), expected, "{address}");
        }
        let error = parse("jdbc:postgresql://h/d?sslmode=strong").unwrap_err();
        assert!(error.to_string().contains("unknown mode of TLS"), "{error}");
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
