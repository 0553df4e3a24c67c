//! deployment.toml as a document: the user's file checked against the default one, key by key,
//! so that every error names line, column and the nearest known key.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::ConfigError;
use super::placeholder::Text;
use super::secrets::Entry;
use super::users::entry_of;
use super::values::{convert, in_range, owned};

/// The section whose keys the user chooses.
pub(super) const SECRETS: &str = "secrets";

/// The user's file, to say where in it something is wrong.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub file: &'a Path,
}

impl Source<'_> {
    /// An error at the byte `offset` of the file.
    pub fn error(self, offset: usize, message: String) -> ConfigError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        ConfigError::Invalid {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1,
            message,
        }
    }
}

/// A value of the user's file that has placeholders, which are resolved after the overlay.
pub(super) struct Waiting {
    /// The keys that lead to it.
    pub path: Vec<String>,
    /// Byte offset of the value.
    pub offset: usize,
    /// What it replaces; it gives the type.
    pub default: Value,
    pub written: Written,
}

/// How a value with placeholders is written.
pub(super) enum Written {
    One(Text),
    List(Vec<Text>),
}

impl Written {
    /// Each text in it.
    pub fn texts(&self) -> &[Text] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
        }
    }
}

/// The user's file over the default document. Values with placeholders still have their default.
pub(super) struct Document<'a> {
    pub source: Source<'a>,
    pub values: Table,
    /// By full key.
    pub waiting: BTreeMap<String, Waiting>,
    /// By alias.
    pub secrets: BTreeMap<String, Entry>,
    /// Byte offset of every key and section that the user's file has.
    keys: BTreeMap<String, usize>,
}

impl<'a> Document<'a> {
    /// Lays the user's file over the default document.
    pub fn overlay(default: &Table, source: Source<'a>) -> Result<Self, ConfigError> {
        let parsed = DeTable::parse(source.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            source.error(offset, error.message().to_owned())
        })?;
        let mut document = Self {
            source,
            values: Table::new(),
            waiting: BTreeMap::new(),
            secrets: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        let mut values = default.clone();
        document.merge(&mut values, parsed.get_ref(), &[])?;
        document.values = values;
        Ok(document)
    }

    /// A broken rule with the place of its key in the user's file, or of the section that the key
    /// belongs to, if one of them stands there. A port that is left out breaks a rule only by the
    /// offset.
    pub fn placed(&self, error: ConfigError) -> ConfigError {
        let (key, rule) = match &error {
            ConfigError::Rule { key, rule } => (*key, rule),
            ConfigError::Entry { key, rule } => (key.as_str(), rule),
            _ => return error,
        };
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let mut candidates = vec![key, section];
        if key.ends_with(".port") {
            candidates.insert(1, "server.offset");
        }
        let mut found = candidates.into_iter().filter_map(|key| self.keys.get(key));
        match found.next() {
            None => error,
            Some(offset) => self.source.error(*offset, format!("{key}: {rule}")),
        }
    }

    fn merge(
        &mut self,
        into: &mut Table,
        from: &DeTable<'_>,
        above: &[String],
    ) -> Result<(), ConfigError> {
        for (key, value) in from {
            let name = key.get_ref().as_ref();
            let mut path = above.to_vec();
            path.push(name.to_owned());
            let full = path.join(".");
            let Some(known) = into.get_mut(name) else {
                let message = unknown_key(&full, name, into);
                return Err(self.source.error(key.span().start, message));
            };
            self.keys.insert(full.clone(), key.span().start);
            match (known, value.get_ref()) {
                (Value::Table(_), DeValue::Table(entries)) if full == SECRETS => {
                    self.secrets(entries)?;
                }
                (Value::Table(known), DeValue::Table(table)) => self.merge(known, table, &path)?,
                (known, written) if entry_of(&full).is_some() => {
                    let offset = value.span().start;
                    *known = Value::Table(self.entries(&full, written, offset, &path)?);
                }
                (known, written) => {
                    let offset = value.span().start;
                    if let Some(written) = with_placeholders(known, written) {
                        let default = known.clone();
                        let waiting = Waiting {
                            path,
                            offset,
                            default,
                            written,
                        };
                        self.waiting.insert(full, waiting);
                        continue;
                    }
                    *known = owned(written)
                        .and_then(|value| convert(known, value, None))
                        .and_then(|value| in_range(name, value, None))
                        .map_err(|rule| self.source.error(offset, format!("{full}: {rule}")))?;
                }
            }
        }
        Ok(())
    }

    /// A list of sections as a section with their indices as keys.
    fn entries(
        &mut self,
        full: &str,
        written: &DeValue<'_>,
        offset: usize,
        above: &[String],
    ) -> Result<Table, ConfigError> {
        let mut entries = Table::new();
        let DeValue::Array(items) = written else {
            let message = format!("{full}: must be a list of sections: [[{full}]]");
            return Err(self.source.error(offset, message));
        };
        for (index, item) in items.iter().enumerate() {
            let offset = item.span().start;
            let DeValue::Table(written) = item.get_ref() else {
                let message = format!("{full}.{index}: must be a section: [[{full}]]");
                return Err(self.source.error(offset, message));
            };
            let index = index.to_string();
            let mut path = above.to_vec();
            path.push(index.clone());
            self.keys.insert(format!("{full}.{index}"), offset);
            let mut entry = entry_of(full).unwrap_or_default();
            self.merge(&mut entry, written, &path)?;
            entries.insert(index, Value::Table(entry));
        }
        Ok(entries)
    }

    fn secrets(&mut self, entries: &DeTable<'_>) -> Result<(), ConfigError> {
        for (alias, value) in entries {
            let offset = value.span().start;
            let DeValue::String(text) = value.get_ref() else {
                let found = value.get_ref().type_str();
                let alias = alias.get_ref();
                let message = format!("{SECRETS}.{alias}: must be a string, found {found}");
                return Err(self.source.error(offset, message));
            };
            let text = text.to_string();
            let alias = alias.get_ref().to_string();
            self.secrets.insert(alias, Entry { text, offset });
        }
        Ok(())
    }
}

/// The value, if it has placeholders and stands where one string or a list of them can stand.
fn with_placeholders(default: &Value, value: &DeValue<'_>) -> Option<Written> {
    let written = match (default, value) {
        (Value::Table(_), _) => return None,
        (_, DeValue::String(text)) => Written::One(Text::parse(text)),
        (Value::Array(_), DeValue::Array(items)) => {
            let texts = items.iter().map(Spanned::get_ref).map(|item| match item {
                DeValue::String(text) => Some(Text::parse(text)),
                _ => None,
            });
            Written::List(texts.collect::<Option<_>>()?)
        }
        _ => return None,
    };
    let some = written.texts().iter().any(Text::has_placeholders);
    some.then_some(written)
}

fn unknown_key(full: &str, name: &str, siblings: &Table) -> String {
    let nearest = siblings
        .keys()
        .map(|key| (strsim::damerau_levenshtein(key, name), key))
        .min();
    match nearest {
        Some((distance, key)) if distance <= name.len().max(3) / 2 => {
            format!("unknown key {full}; did you mean {key}?")
        }
        _ => {
            let known: Vec<&str> = siblings.keys().map(String::as_str).collect();
            format!("unknown key {full}; known here: {}", known.join(", "))
        }
    }
}
