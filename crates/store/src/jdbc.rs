//! Addresses and parameters as the JDBC drivers have them, in the words of the native drivers.

use std::path::PathBuf;

use url::Url;

use crate::Dialect;

pub(crate) fn dialect(scheme: &str) -> Result<Dialect, String> {
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
pub(crate) fn dialect_of_type(kind: &str) -> Result<Dialect, String> {
    match kind.to_ascii_lowercase().as_str() {
        "mysql" | "mariadb" => Ok(Dialect::MySql),
        "postgre" | "postgres" | "postgresql" => Ok(Dialect::PostgreSql),
        "sqlite" => Ok(Dialect::Sqlite),
        other => Err(format!(
            "has type {other:?}, which is not spoken here; known: postgre, mysql, mariadb, sqlite"
        )),
    }
}

pub(crate) fn sqlite_path(rest: &str) -> Result<PathBuf, &'static str> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains(":memory:") {
        return Err("must be sqlite:PATH, a file that lasts");
    }
    Ok(PathBuf::from(path))
}

/// `//host:port/database?…`, or PostgreSQL's short `database`.
pub(crate) fn server_url(dialect: Dialect, rest: &str) -> Result<Url, String> {
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
    let database = url.path().trim_matches('/');
    if database.is_empty() {
        return Err("names no database; write //HOST:PORT/DATABASE".into());
    }
    if database.contains(['@', '/', ';']) || url.fragment().is_some() {
        return Err(
            "has @, /, ; or # behind the host; characters of a password have to be percent-encoded, \
             or given by password"
                .into(),
        );
    }
    Ok(url)
}

/// A parameter of the JDBC drivers (MySQL Connector/J, PgJDBC) as the native driver names it.
pub(crate) fn native_parameter(
    dialect: Dialect,
    name: &str,
    value: &str,
) -> Option<(&'static str, String)> {
    let native = match (dialect, name) {
        (Dialect::MySql, "serverSslCert" | "ssl-ca" | "sslca") => "ssl-ca",
        (Dialect::MySql, "ssl-cert") => "ssl-cert",
        (Dialect::MySql, "ssl-key") => "ssl-key",
        (Dialect::MySql, "socket") => "socket",
        (Dialect::PostgreSql, "sslrootcert") => "sslrootcert",
        (Dialect::PostgreSql, "sslcert") => "sslcert",
        (Dialect::PostgreSql, "sslkey") => "sslkey",
        (Dialect::PostgreSql, "ApplicationName" | "application_name") => "application_name",
        (Dialect::PostgreSql, "currentSchema" | "options[search_path]") => "options[search_path]",
        _ => return None,
    };
    Some((native, value.to_owned()))
}

/// Whether a parameter takes part in how TLS is used.
pub(crate) fn is_tls_mode(dialect: Dialect, name: &str) -> bool {
    let names: &[&str] = match dialect {
        Dialect::MySql => &[
            "sslMode",
            "ssl-mode",
            "useSSL",
            "requireSSL",
            "verifyServerCertificate",
        ],
        Dialect::PostgreSql => &["sslmode", "ssl"],
        Dialect::Sqlite => &[],
    };
    names.contains(&name)
}

/// How TLS is used, by the rules of the JDBC drivers: the mode if it is named, else what the older
/// switches say together.
pub(crate) fn tls_mode(
    dialect: Dialect,
    parameters: &[(String, String)],
) -> Result<Option<(&'static str, String)>, String> {
    let of = |name: &str| {
        let mut found = parameters.iter().rev().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    };
    let on = |name: &str| of(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let known = |mode: &str, modes: &[&str]| {
        let unknown = || format!("has an unknown mode of TLS; known: {}", modes.join(", "));
        let found = modes.iter().find(|known| mode.eq_ignore_ascii_case(known));
        found.map(|mode| (*mode).to_owned()).ok_or_else(unknown)
    };
    match dialect {
        Dialect::Sqlite => Ok(None),
        Dialect::PostgreSql => {
            let mode = match of("sslmode") {
                Some(mode) => known(
                    mode,
                    &[
                        "disable",
                        "allow",
                        "prefer",
                        "require",
                        "verify-ca",
                        "verify-full",
                    ],
                )?,
                None if on("ssl") => "verify-full".to_owned(),
                None => return Ok(None),
            };
            Ok(Some(("sslmode", mode)))
        }
        Dialect::MySql => {
            let mode = match of("sslMode").or_else(|| of("ssl-mode")) {
                // MariaDB's names of the same.
                Some("trust") => "REQUIRED".to_owned(),
                Some("verify-full") => "VERIFY_IDENTITY".to_owned(),
                Some(mode) => known(
                    &mode.replace('-', "_"),
                    &[
                        "DISABLED",
                        "PREFERRED",
                        "REQUIRED",
                        "VERIFY_CA",
                        "VERIFY_IDENTITY",
                    ],
                )?,
                None if of("useSSL").is_some() && !on("useSSL") => "DISABLED".to_owned(),
                None if on("verifyServerCertificate") => "VERIFY_CA".to_owned(),
                None if on("requireSSL") => "REQUIRED".to_owned(),
                None => return Ok(None),
            };
            Ok(Some(("ssl-mode", mode)))
        }
    }
}
