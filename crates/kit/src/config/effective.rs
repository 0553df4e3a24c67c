//! The configuration as it is in effect, with a mask over what must not be shown.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// Stands for what is not shown.
pub(super) const MASK: &str = "********";

/// Keys that hold secrets although their names do not tell.
const SECRET_KEYS: [&str; 1] = ["gateway.snapshot.key"];

/// Whether a key, given with its sections, holds a secret.
pub(super) fn is_secret(full: &str) -> bool {
    let name = full.rsplit('.').next().unwrap_or(full);
    SECRET_KEYS.contains(&full) || secret_by_name(name)
}

/// Whether a key holds a secret by its name. `key`, `client_key` and the like are the names of
/// files, which may be shown.
fn secret_by_name(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "private_key",
        "key_material",
    ]
    .iter()
    .any(|word| key.contains(word))
}

/// Whether an environment variable holds a secret by its name.
pub(super) fn secret_variable(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "secret", "token", "key", "credential"]
        .iter()
        .any(|word| name.contains(word))
}

/// The document with a mask over `hidden` keys, keys that hold secrets by their name, and
/// credentials in addresses.
pub(super) fn masked(table: &Table, hidden: &BTreeSet<String>) -> Table {
    masked_below(table, "", hidden)
}

fn masked_below(table: &Table, above: &str, hidden: &BTreeSet<String>) -> Table {
    let entries = table.iter().map(|(key, value)| {
        let full = match above {
            "" => key.clone(),
            above => format!("{above}.{key}"),
        };
        let value = match value {
            Value::Table(table) => Value::Table(masked_below(table, &full, hidden)),
            value if hidden.contains(&full) || is_secret(&full) => covered(value),
            value => without_credentials(value),
        };
        (key.clone(), value)
    });
    entries.collect()
}

/// A mask, unless there is nothing to hide.
fn covered(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        Value::Array(items) if items.is_empty() => value.clone(),
        _ => Value::String(MASK.to_owned()),
    }
}

fn without_credentials(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(url_without_credentials(text)),
        Value::Array(items) => Value::Array(items.iter().map(without_credentials).collect()),
        value => value.clone(),
    }
}

/// `url` with a mask over `user:password@` and over the values of parameters like `password=`. It
/// covers too much rather than too little; a text that is no URL and no PEM stays as it is.
pub(super) fn url_without_credentials(url: &str) -> String {
    if url.contains("-----BEGIN") {
        return MASK.to_owned();
    }
    let separator = if url.contains('?') { "&" } else { ";" };
    let pieces: Vec<String> = url.split(separator).map(masked_parameter).collect();
    let url = pieces.join(separator);
    let masked = url.split_once("//").and_then(|(scheme, rest)| {
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}//{MASK}@{host}"))
    });
    masked.unwrap_or(url)
}

/// `…name=value` with a mask over the value if the name is that of a credential.
fn masked_parameter(piece: &str) -> String {
    for (index, _) in piece.match_indices('=') {
        let (before, _) = piece.split_at(index);
        let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c));
        let name = name.take(1).collect::<String>().to_ascii_lowercase();
        let secret = ["pass", "pwd", "secret", "token", "credential"];
        let of_a_user = ["user", "username"].contains(&name.as_str());
        if of_a_user || secret.iter().any(|word| name.contains(word)) {
            return format!("{before}={MASK}");
        }
    }
    piece.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_masked() {
        for (url, expected) in [
            ("", ""),
            (
                "https://localhost:9443/services/",
                "https://localhost:9443/services/",
            ),
            (
                "jdbc:mysql://db:3306/am?useSSL=false",
                "jdbc:mysql://db:3306/am?useSSL=false",
            ),
            ("postgres://wso2:pa@ss/w@db/am", "postgres://********@db/am"),
            ("mysql://root@db/am", "mysql://********@db/am"),
            (
                "jdbc:postgresql://db/am?user=wso2&password=a@b;c&sslkey=/k.pem",
                "jdbc:postgresql://db/am?user=********&password=********&sslkey=/k.pem",
            ),
            (
                "jdbc:mysql://db/am?useSSL=true&amp;Password=x&amp;a=b",
                "jdbc:mysql://db/am?useSSL=true&amp;Password=********&amp;a=b",
            ),
            (
                "jdbc:h2:./db;USER=a;PASSWORD=b;X=c",
                "jdbc:h2:./db;USER=********;PASSWORD=********;X=c",
            ),
            (
                "jdbc:mysql://(host=h,user=u,password=p)/am",
                "jdbc:mysql://(host=h,user=********",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMII", "********"),
        ] {
            assert_eq!(url_without_credentials(url), expected, "{url}");
        }
    }

    #[test]
    fn keys_are_masked_by_name_and_by_origin() {
        let table: Table = "password = 'a'\nempty_password = ''\nport = 1\nclient_key = 'k.pem'\n\
                            [b]\nlist = ['//u:p@h']\nport = 2"
            .parse()
            .unwrap();
        let hidden = BTreeSet::from(["b.port".to_owned()]);
        let expected: Table =
            "password = '********'\nempty_password = ''\nport = 1\nclient_key = 'k.pem'\n\
             [b]\nlist = ['//********@h']\nport = '********'"
                .parse()
                .unwrap();
        assert_eq!(masked(&table, &hidden), expected);
        assert!(is_secret("gateway.snapshot.key") && !is_secret("management.tls.key"));
    }
}
