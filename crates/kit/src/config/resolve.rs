//! Resolves placeholders after the overlay, in WSO2's order: secrets, system properties,
//! environment variables, references.
//!
//! What comes from a secret or an environment variable is taken as it is: placeholders in it are
//! not resolved again. No error shows it.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::document::{Document, SECRETS, Waiting, Written};
use super::effective::{is_secret, secret_variable};
use super::placeholder::{Part, Text};
use super::secrets::{Kept, variable};
use super::values::{convert, in_range};
use super::{ConfigError, Environment};

/// What is known of the values that had placeholders.
#[derive(Default)]
pub(super) struct Resolved {
    /// Full keys whose values must not be shown.
    pub hidden: BTreeSet<String>,
    /// How they are written, by full key.
    pub written: BTreeMap<String, String>,
    /// Aliases of the secrets that stand in the file in plain text.
    pub plain: Vec<String>,
}

/// Puts the resolved values into the document.
pub(super) fn resolve(
    document: &mut Document<'_>,
    environment: &Environment<'_>,
) -> Result<Resolved, ConfigError> {
    let mut resolver = Resolver {
        document: &*document,
        secrets: BTreeMap::new(),
        variables: BTreeMap::new(),
        leaves: BTreeMap::new(),
        done: BTreeMap::new(),
    };
    let plain = resolver.read_secrets(environment)?;
    resolver.refuse_system_properties()?;
    resolver.read_variables(environment)?;
    leaves(&resolver.document.values, "", &mut resolver.leaves);
    for (key, _) in in_order(resolver.document) {
        resolver.value(key, &mut Vec::new())?;
    }
    let mut resolved = Resolved {
        plain,
        ..Resolved::default()
    };
    let done = resolver.done;
    for (key, found) in done {
        let Some(waiting) = document.waiting.get(&key) else {
            continue;
        };
        set(&mut document.values, &waiting.path, found.value);
        let texts = waiting.written.texts().iter();
        let written: Vec<&str> = texts.map(|text| text.written.as_str()).collect();
        resolved.written.insert(key.clone(), written.join(", "));
        if found.hidden {
            resolved.hidden.insert(key);
        }
    }
    Ok(resolved)
}

/// A value, and whether it must not be shown.
#[derive(Clone)]
struct Found {
    value: Value,
    hidden: bool,
}

struct Resolver<'d, 'a> {
    document: &'d Document<'a>,
    secrets: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    /// Every key and section of the document as it is before this.
    leaves: BTreeMap<String, Value>,
    done: BTreeMap<String, Found>,
}

impl Resolver<'_, '_> {
    /// Reads the secrets that are used; gives the aliases of those in plain text.
    fn read_secrets(&mut self, environment: &Environment<'_>) -> Result<Vec<String>, ConfigError> {
        let source = self.document.source;
        let mut all = BTreeMap::new();
        let mut plain = Vec::new();
        for (alias, entry) in &self.document.secrets {
            let wrong = |rule| source.error(entry.offset, format!("{SECRETS}.{alias}: {rule}"));
            let kept = entry.kept().map_err(wrong)?;
            if matches!(kept, Kept::Plainly(_)) {
                plain.push(alias.clone());
            }
            all.insert(alias, (kept, entry.offset));
        }
        for (key, waiting, part) in parts(self.document) {
            let Part::Secret(alias) = part else { continue };
            let Some((kept, offset)) = all.get(alias) else {
                let message = format!(
                    "{key}: Secret references can't be resolved for {alias}: \
                     there is no such alias in [{SECRETS}]"
                );
                return Err(source.error(waiting.offset, message));
            };
            if !self.secrets.contains_key(alias) {
                let wrong = |rule| source.error(*offset, format!("{SECRETS}.{alias}: {rule}"));
                let text = kept.read(environment).map_err(wrong)?;
                self.secrets.insert(alias.clone(), text);
            }
        }
        Ok(plain)
    }

    fn refuse_system_properties(&self) -> Result<(), ConfigError> {
        for (key, waiting, part) in parts(self.document) {
            if let Part::Sys(name) = part {
                let message = format!(
                    "{key}: $sys{{{name}}}: there are no Java system properties here; use $env{{NAME}}"
                );
                return Err(self.document.source.error(waiting.offset, message));
            }
        }
        Ok(())
    }

    fn read_variables(&mut self, environment: &Environment<'_>) -> Result<(), ConfigError> {
        let source = self.document.source;
        for (key, waiting, part) in parts(self.document) {
            if let Part::Env(name) = part {
                let wrong = |rule| source.error(waiting.offset, format!("{key}: {rule}"));
                let text = variable(environment, name).map_err(wrong)?;
                self.variables.insert(name.clone(), text);
            }
        }
        Ok(())
    }

    /// The value of a key that has placeholders; `trail` are the keys that have led to it.
    fn value(&mut self, key: &str, trail: &mut Vec<String>) -> Result<Found, ConfigError> {
        let document = self.document;
        if let Some(found) = self.done.get(key) {
            return Ok(found.clone());
        }
        let Some(waiting) = document.waiting.get(key) else {
            return Err(ConfigError::Default(format!("{key}: has no placeholders")));
        };
        let wrong = |rule| {
            document
                .source
                .error(waiting.offset, format!("{key}: {rule}"))
        };
        trail.push(key.to_owned());
        let (found, shown) = match &waiting.written {
            Written::One(text) => {
                let found = self.text(text, waiting, trail)?;
                (found, text.written.as_str())
            }
            Written::List(texts) => {
                let mut items = Vec::new();
                let mut hidden = false;
                for text in texts {
                    let item = self.text(text, waiting, trail)?;
                    hidden |= item.hidden;
                    items.push(as_text(item.value));
                }
                let value = Value::Array(items);
                (Found { value, hidden }, "")
            }
        };
        trail.pop();
        let value = match waiting.default {
            Value::String(_) => as_text(found.value),
            _ => found.value,
        };
        let name = waiting.path.last().map_or("", String::as_str);
        let value = convert(&waiting.default, value, Some(shown))
            .and_then(|value| in_range(name, value, Some(shown)))
            .map_err(wrong)?;
        let found = Found {
            value,
            hidden: found.hidden || is_secret(key),
        };
        self.done.insert(key.to_owned(), found.clone());
        Ok(found)
    }

    fn text(
        &mut self,
        text: &Text,
        waiting: &Waiting,
        trail: &mut Vec<String>,
    ) -> Result<Found, ConfigError> {
        if let [Part::Ref(target)] = text.parts.as_slice() {
            return self.reference(target, waiting, trail);
        }
        let mut all = String::new();
        let mut hidden = false;
        for part in &text.parts {
            match part {
                Part::Plain(text) => all.push_str(text),
                Part::Sys(_) => {}
                Part::Env(name) => {
                    all.push_str(self.variables.get(name).map_or("", String::as_str));
                    hidden |= secret_variable(name);
                }
                Part::Secret(alias) => {
                    all.push_str(self.secrets.get(alias).map_or("", String::as_str));
                    hidden = true;
                }
                Part::Ref(target) => {
                    let found = self.reference(target, waiting, trail)?;
                    hidden |= found.hidden;
                    let Value::String(text) = as_text(found.value) else {
                        let rule = "it is a list, which has to be the whole value";
                        return Err(self.unresolved(target, rule, waiting, trail));
                    };
                    all.push_str(&text);
                }
            }
        }
        let value = Value::String(all);
        Ok(Found { value, hidden })
    }

    fn reference(
        &mut self,
        target: &str,
        waiting: &Waiting,
        trail: &mut Vec<String>,
    ) -> Result<Found, ConfigError> {
        if trail.iter().any(|key| key == target) {
            let circle = format!("{} -> {target}", trail.join(" -> "));
            return Err(self.unresolved(&circle, "they lead in a circle", waiting, trail));
        }
        if self.document.waiting.contains_key(target) {
            return self.value(target, trail);
        }
        let in_secrets = target.strip_prefix(SECRETS);
        match self.leaves.get(target) {
            _ if in_secrets.is_some_and(|rest| rest.starts_with('.')) => {
                let rule = "secrets are referred to by $secret{alias}";
                Err(self.unresolved(target, rule, waiting, trail))
            }
            None => Err(self.unresolved(target, "there is no such key", waiting, trail)),
            Some(Value::Table(_)) => {
                Err(self.unresolved(target, "it is a section", waiting, trail))
            }
            Some(value) => Ok(Found {
                value: value.clone(),
                hidden: is_secret(target),
            }),
        }
    }

    fn unresolved(
        &self,
        target: &str,
        rule: &str,
        waiting: &Waiting,
        trail: &[String],
    ) -> ConfigError {
        let key = trail.last().map_or("", String::as_str);
        let message = format!("{key}: References can't be resolved for {target}: {rule}");
        self.document.source.error(waiting.offset, message)
    }
}

/// The values with placeholders, in the order of the user's file.
fn in_order<'d>(document: &'d Document<'_>) -> Vec<(&'d str, &'d Waiting)> {
    let mut all: Vec<(&str, &Waiting)> = document
        .waiting
        .iter()
        .map(|(key, waiting)| (key.as_str(), waiting))
        .collect();
    all.sort_unstable_by_key(|(_, waiting)| waiting.offset);
    all
}

/// Every part of every value, in that order.
fn parts<'d>(document: &'d Document<'_>) -> impl Iterator<Item = (&'d str, &'d Waiting, &'d Part)> {
    in_order(document).into_iter().flat_map(|(key, waiting)| {
        let parts = waiting.written.texts().iter().flat_map(|text| &text.parts);
        parts.map(move |part| (key, waiting, part))
    })
}

/// A number or a boolean as it would be written in a text.
fn as_text(value: Value) -> Value {
    match value {
        Value::Integer(number) => Value::String(number.to_string()),
        Value::Boolean(flag) => Value::String(flag.to_string()),
        value => value,
    }
}

fn leaves(table: &Table, above: &str, into: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let full = match above {
            "" => key.clone(),
            above => format!("{above}.{key}"),
        };
        if let Value::Table(table) = value {
            leaves(table, &full, into);
        }
        into.insert(full, value.clone());
    }
}

fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(name) {
                set(inner, rest, value);
            }
        }
    }
}
