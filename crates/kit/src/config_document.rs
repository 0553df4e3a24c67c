//! deployment.toml as a document: the user's file checked against the default one, key by key,
//! so that every error names line, column and the nearest known key.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::config::ConfigError;

/// Lays the user's file over the default document.
pub(crate) fn overlay(default: &Table, text: &str, file: &Path) -> Result<Table, ConfigError> {
    let at = |offset: usize, message: String| {
        let before = text.get(..offset).unwrap_or(text);
        ConfigError::Invalid {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1,
            message,
        }
    };
    let parsed = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        at(offset, error.message().to_owned())
    })?;
    let mut merged = default.clone();
    merge(&mut merged, parsed.get_ref(), "", &at)?;
    Ok(merged)
}

type At<'a> = dyn Fn(usize, String) -> ConfigError + 'a;

fn merge(into: &mut Table, from: &DeTable<'_>, path: &str, at: &At<'_>) -> Result<(), ConfigError> {
    for (key, value) in from {
        let name = key.get_ref().as_ref();
        let full = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        let Some(known) = into.get_mut(name) else {
            return Err(at(key.span().start, unknown_key(&full, name, into)));
        };
        match (known, value.get_ref()) {
            (Value::Table(known), DeValue::Table(table)) => merge(known, table, &full, at)?,
            (known, _) => {
                *known = convert(known, value)
                    .and_then(|value| in_range(name, value))
                    .map_err(|message| at(value.span().start, format!("{full}: {message}")))?;
            }
        }
    }
    Ok(())
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

/// Numbers count things, milliseconds or ports: none is negative, and ports end at 65535.
fn in_range(name: &str, value: Value) -> Result<Value, String> {
    let most = if name.ends_with("port") || name == "offset" {
        i64::from(u16::MAX)
    } else {
        i64::from(u32::MAX)
    };
    match value {
        Value::Integer(number) if number < 0 => {
            Err(format!("must not be negative, found {number}"))
        }
        Value::Integer(number) if number > most => {
            Err(format!("must be at most {most}, found {number}"))
        }
        value => Ok(value),
    }
}

/// The user's value as the type that the default has. Numbers and booleans may stand in quotes,
/// as WSO2's documentation writes them.
fn convert(default: &Value, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let value = value.get_ref();
    let wrong = |expected: &str| Err(format!("must be {expected}, found {}", value.type_str()));
    match (default, value) {
        (Value::String(_), DeValue::String(text)) => {
            if ["$env{", "$ref{", "$sys{", "$secret{"]
                .iter()
                .any(|p| text.contains(p))
            {
                return Err("placeholders like $env{…} are not available in this version".into());
            }
            Ok(Value::String(text.to_string()))
        }
        (Value::String(_), _) => wrong("a string"),
        (Value::Integer(_), DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Integer)
                .map_err(|_| "must be a whole number".to_owned())
        }
        (Value::Integer(_), DeValue::String(text)) => text
            .trim()
            .parse()
            .map(Value::Integer)
            .map_err(|_| format!("must be a whole number, found {text:?}")),
        (Value::Integer(_), _) => wrong("a whole number"),
        (Value::Boolean(_), DeValue::Boolean(flag)) => Ok(Value::Boolean(*flag)),
        (Value::Boolean(_), DeValue::String(text)) => match text.trim() {
            "true" | "yes" | "1" => Ok(Value::Boolean(true)),
            "false" | "no" | "0" => Ok(Value::Boolean(false)),
            other => Err(format!("must be true or false, found {other:?}")),
        },
        (Value::Boolean(_), _) => wrong("true or false"),
        (Value::Array(_), DeValue::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                convert(&Value::String(String::new()), item)
                    .map_err(|message| format!("[{index}]: {message}"))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        (Value::Array(_), _) => wrong("a list of strings"),
        (Value::Table(_), _) => wrong("a section"),
        (Value::Float(_) | Value::Datetime(_), _) => wrong("a value of the default's type"),
    }
}
