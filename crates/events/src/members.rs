//! The members of a JSON object, read as leniently as Gson reads them: in any order, unknown ones
//! passed over unread, the last of doubled ones, numbers and booleans for strings verbatim, numeric
//! strings for numbers, null as if it were not there.

use std::collections::BTreeMap;

use serde_json::error::Category;
use serde_json::value::RawValue;

/// Why a JSON text is not what it should be. `member` is a path like `positions[0].seq`; no
/// variant holds a part of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("line {line}, column {column}: not JSON")]
    NotJson { line: usize, column: usize },
    #[error("must be a JSON object")]
    NotAnObject,
    #[error("{member}: missing")]
    Missing { member: String },
    #[error("{member}: must be {expected}")]
    WrongType {
        member: String,
        expected: &'static str,
    },
}

#[derive(Debug)]
pub(crate) struct Members<'a> {
    /// What stands before the name of a member in an error: empty, or a path and a dot.
    path: String,
    members: BTreeMap<String, &'a RawValue>,
}

impl<'a> Members<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, JsonError> {
        let members = serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Data => JsonError::NotAnObject,
            _ => JsonError::NotJson {
                line: error.line(),
                column: error.column(),
            },
        })?;
        Ok(Self {
            path: String::new(),
            members,
        })
    }

    fn nested(path: &str, raw: &'a RawValue) -> Result<Self, JsonError> {
        let members = serde_json::from_str(raw.get()).map_err(|_| JsonError::WrongType {
            member: path.to_owned(),
            expected: "an object",
        })?;
        Ok(Self {
            path: format!("{path}."),
            members,
        })
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    pub(crate) fn missing(&self, name: &str) -> JsonError {
        JsonError::Missing {
            member: self.path(name),
        }
    }

    pub(crate) fn wrong(&self, name: &str, expected: &'static str) -> JsonError {
        JsonError::WrongType {
            member: self.path(name),
            expected,
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let value = self.members.get(name).copied();
        value.filter(|value| value.get() != "null")
    }

    /// A string; the text of a number or boolean as it stands there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, JsonError> {
        let raw = self.get(name);
        raw.map(|raw| text_of(raw).ok_or_else(|| self.wrong(name, "a string")))
            .transpose()
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<String, JsonError> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// A whole number, also as `1.0`, `1e3` or in a string.
    pub(crate) fn long(&self, name: &str) -> Result<Option<i64>, JsonError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match long_of(text.trim()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, "a whole number of 64 bits")),
        }
    }

    /// A whole number that is not negative, also in a string.
    pub(crate) fn unsigned(&self, name: &str) -> Result<Option<u64>, JsonError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.wrong(name, "a whole number that is not negative")),
        }
    }

    pub(crate) fn required_object(&self, name: &str) -> Result<Self, JsonError> {
        let raw = self.get(name).ok_or_else(|| self.missing(name))?;
        Self::nested(&self.path(name), raw)
    }

    fn list(&self, name: &str) -> Result<Vec<&'a RawValue>, JsonError> {
        match self.get(name) {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| self.wrong(name, "a list")),
            None => Ok(Vec::new()),
        }
    }

    /// A list of strings; null elements are passed over.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, JsonError> {
        let items = self.list(name)?.into_iter().enumerate();
        items
            .filter(|(_, raw)| raw.get() != "null")
            .map(|(index, raw)| {
                text_of(raw).ok_or_else(|| self.wrong(&format!("{name}[{index}]"), "a string"))
            })
            .collect()
    }

    /// A list of objects; null elements are passed over.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, JsonError> {
        let items = self.list(name)?.into_iter().enumerate();
        items
            .filter(|(_, raw)| raw.get() != "null")
            .map(|(index, raw)| Self::nested(&self.path(&format!("{name}[{index}]")), raw))
            .collect()
    }
}

/// Nothing where the value is a list or object, or its text is not Unicode.
fn text_of(raw: &RawValue) -> Option<String> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'{' | b'[' => None,
        _ => Some(text.to_owned()),
    }
}

fn long_of(text: &str) -> Option<i64> {
    /// Below it, every whole `f64` is an `i64`.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < LIMIT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scalars_as_gson_does() {
        let text = r#"{"a":1,"a":1.00,"b":true,"c":null,"d":"x","e":"1e3","f":[],"g":"\ud800"}"#;
        let members = Members::read(text).unwrap();
        assert_eq!(members.text("a").unwrap().as_deref(), Some("1.00"));
        assert_eq!(members.text("b").unwrap().as_deref(), Some("true"));
        assert_eq!(members.text("c").unwrap(), None);
        assert_eq!(members.text("none").unwrap(), None);
        assert_eq!(members.long("a").unwrap(), Some(1));
        assert_eq!(members.long("e").unwrap(), Some(1000));
        for (name, error) in [
            ("b", "b: must be a whole number of 64 bits"),
            ("d", "d: must be a whole number of 64 bits"),
            ("f", "f: must be a string"),
            ("g", "g: must be a string"),
        ] {
            assert_eq!(members.long(name).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn takes_longs_up_to_their_limits() {
        assert_eq!(long_of("9223372036854775807"), Some(i64::MAX));
        assert_eq!(long_of("-9223372036854775808"), Some(i64::MIN));
        for text in ["9223372036854775808", "1e30", "1.5", "nan", "inf", ""] {
            assert_eq!(long_of(text), None, "{text}");
        }
    }

    #[test]
    fn passes_over_any_depth_of_what_it_does_not_read() {
        let deep = format!(
            r#"{{"x":{}{},"a":1}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(Members::read(&deep).unwrap().long("a").unwrap(), Some(1));
    }
}
