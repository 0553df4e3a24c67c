//! Users in the configuration: `[[apim.internal.user]]` of deployment.toml, `[[user]]` of a file of
//! their own.

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::document::{Document, SECRETS, Source};
use super::resolve::resolve;
use super::{Config, ConfigError, Environment, environments};
use crate::access::{Hashes, User, users};
use crate::secret::Secret;

/// The list in deployment.toml.
const LIST: &str = "apim.internal.user";
/// The list in a file of its own.
const LIST_OF_FILE: &str = "user";

/// A user as it is written.
#[derive(Clone, Debug, Deserialize)]
pub struct UserEntry {
    pub username: String,
    pub password: Secret,
    pub token: Secret,
    pub certificate_name: String,
    pub roles: Vec<String>,
    pub gateway_id: String,
    pub labels: Vec<String>,
    pub tenants: Vec<String>,
}

/// The keys of an entry with their defaults, if `full` is a list of sections.
pub(super) fn entry_of(full: &str) -> Option<Table> {
    if full == environments::LIST {
        return Some(environments::entry());
    }
    if full != LIST && full != LIST_OF_FILE {
        return None;
    }
    let texts = [
        "username",
        "password",
        "token",
        "certificate_name",
        "gateway_id",
    ];
    let texts = texts.map(|name| (name.to_owned(), Value::String(String::new())));
    let lists = ["roles", "labels", "tenants"];
    let lists = lists.map(|name| (name.to_owned(), Value::Array(Vec::new())));
    Some(texts.into_iter().chain(lists).collect())
}

/// Lists of sections as what they are: while placeholders are resolved, they are sections with the
/// indices of their entries as keys.
pub(super) fn as_lists(table: &mut Table, above: &str) {
    for (key, value) in table.iter_mut() {
        let full = match above {
            "" => key.clone(),
            above => format!("{above}.{key}"),
        };
        let Value::Table(inner) = value else { continue };
        if entry_of(&full).is_none() {
            as_lists(inner, &full);
            continue;
        }
        let mut entries: Vec<(usize, Value)> = std::mem::take(inner)
            .into_iter()
            .filter_map(|(index, entry)| Some((index.parse().ok()?, entry)))
            .collect();
        entries.sort_unstable_by_key(|(index, _)| *index);
        *value = Value::Array(entries.into_iter().map(|(_, entry)| entry).collect());
    }
}

/// The users of deployment.toml and of the file that it names.
pub(super) fn all(
    config: &Config,
    document: &Document<'_>,
    environment: &Environment<'_>,
) -> Result<Vec<User>, ConfigError> {
    let mut found = Vec::new();
    let entries = &config.apim.internal.user;
    users::add(&mut found, LIST, entries, Hashes::Argon2id)
        .map_err(|error| document.placed(error))?;
    let file = &config.management.users_file;
    if !file.is_empty() {
        read_file(Path::new(file), Hashes::Argon2id, environment, &mut found)?;
    }
    Ok(found)
}

/// Adds the users of a file of their own.
///
/// # Errors
/// When the file cannot be read or breaks a rule, with the place.
pub(crate) fn read_file(
    file: &Path,
    hashes: Hashes,
    environment: &Environment<'_>,
    into: &mut Vec<User>,
) -> Result<(), ConfigError> {
    #[derive(Deserialize)]
    struct Users {
        user: Vec<UserEntry>,
    }
    let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Read {
        file: file.to_owned(),
        reason: error.to_string(),
    })?;
    let schema = Table::from_iter([
        (LIST_OF_FILE.to_owned(), Value::Array(Vec::new())),
        (SECRETS.to_owned(), Value::Table(Table::new())),
    ]);
    let source = Source { text: &text, file };
    let mut document = Document::overlay(&schema, source)?;
    resolve(&mut document, environment)?;
    let mut values = std::mem::take(&mut document.values);
    as_lists(&mut values, "");
    let read: Users = values
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::Default(error.message().to_owned()))?;
    users::add(into, LIST_OF_FILE, &read.user, hashes).map_err(|error| document.placed(error))
}
