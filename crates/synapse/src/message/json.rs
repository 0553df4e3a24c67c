//! JSON whose numbers keep their digits: `1.50`, `1e2` and integers of any length are written as
//! they were read. Source: JsonUtil of Synapse (its parser's numbers are texts).
//!
//! `serde_json` has a feature for this, which would change numbers in every program of the
//! workspace. Here a number that [`Number`] would not write again as it is, and no other, is a
//! string behind a mark that is no character.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

const MARK: char = '\u{ffff}';
/// How [`MARK`] and the quote before it are written in JSON.
const MARKED: &str = "\"\\uffff";

/// Integers of so many digits are kept by any number.
const SHORT: usize = 15;

/// `None`: it is no JSON.
pub(crate) fn read(text: &str) -> Option<Value> {
    serde_json::from_str(&marked(text)).ok()
}

/// A value as text.
pub(crate) fn write(value: &Value) -> String {
    serde_json::to_string(&Written(value)).unwrap_or_default()
}

/// What a text is that follows the grammar of JSON's numbers.
pub(crate) fn number_of(text: &str) -> Option<Value> {
    let end = number_end(text.as_bytes())?;
    (end == text.len()).then(|| match exact(text) {
        Some(number) => Value::Number(number),
        None => Value::String(format!("{MARK}{text}")),
    })
}

/// The digits, where a string of a value stands for a number.
pub(crate) fn digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(MARK)?;
    (number_end(digits.as_bytes())? == digits.len()).then_some(digits)
}

/// A value as a number.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => digits(text)?.parse().ok(),
        _ => None,
    }
}

/// A value that is a text.
pub(crate) fn as_text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| digits(text).is_none())
}

/// The number that is written as this text.
fn exact(text: &str) -> Option<Number> {
    let number: Number = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// JSON with the numbers that would change as marked strings.
fn marked(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut made = String::new();
    let mut written = 0;
    let mut at = 0;
    // The last character that is no blank: values stand behind these.
    let mut before = b'[';
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' if matches!(before, b'[' | b',' | b':') => {
                let Some(length) = number_end(&bytes[at..]) else {
                    break;
                };
                let number = &text[at..at + length];
                let is_short = length <= SHORT && number.bytes().all(|byte| byte.is_ascii_digit());
                if !is_short && ends_value(&bytes[at + length..]) && exact(number).is_none() {
                    made.push_str(&text[written..at]);
                    made.push_str(MARKED);
                    made.push_str(number);
                    made.push('"');
                    written = at + length;
                }
                at += length;
            }
            _ => at += 1,
        }
        if !byte.is_ascii_whitespace() {
            before = *byte;
        }
    }
    if made.is_empty() {
        return text.into();
    }
    made.push_str(&text[written..]);
    made.into()
}

/// Whether what comes next is the end of a value, and not of a name.
fn ends_value(rest: &[u8]) -> bool {
    let next = rest.trim_ascii_start().first();
    matches!(next, None | Some(b',' | b']' | b'}'))
}

/// Behind the string that begins here.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// How long the number is that the text begins with (RFC 8259, section 6).
fn number_end(bytes: &[u8]) -> Option<usize> {
    let count = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match (bytes.get(at)?, count(at)) {
        (_, 0) => return None,
        (b'0', _) => 1,
        (_, digits) => digits,
    };
    if bytes.get(at) == Some(&b'.') {
        match count(at + 1) {
            0 => return Some(at),
            digits => at += 1 + digits,
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        match count(at + 1 + sign) {
            0 => return Some(at),
            digits => at += 1 + sign + digits,
        }
    }
    Some(at)
}

struct Written<'v>(&'v Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Written(item))?;
                }
                list.end()
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &Written(value))?;
                }
                map.end()
            }
            Value::String(text) => match digits(text) {
                Some(digits) => RawValue::from_string(digits.to_owned())
                    .map_err(serde::ser::Error::custom)?
                    .serialize(serializer),
                None => serializer.serialize_str(text),
            },
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        for text in [
            r#"{"a":1.50,"b":[1e2,-0,12345678901234567890123,0.1],"c":"1.50"}"#,
            "1.0",
            "1E+400",
            "[-1.10]",
            r#"["\uFFFE",1.50,"a\"1.50,1.50"]"#,
        ] {
            let written = write(&read(text).unwrap());
            let text = text.replace("\\uFFFE", "\u{fffe}");
            assert_eq!(written, text);
        }
        assert_eq!(write(&read(" [ 1.50 , 1 ] ").unwrap()), "[1.50,1]");
        let value = read("[1.50, 1e2, 2]").unwrap();
        let numbers: Vec<_> = value.as_array().unwrap().iter().map(as_number).collect();
        assert_eq!(numbers, [Some(1.5), Some(100.0), Some(2.0)]);
        assert_eq!(as_text(&value[0]), None);
    }

    #[test]
    fn what_is_no_json_does_not_become_it() {
        for text in [
            "{1.50:2}",
            "1.50 1.50",
            "01.50",
            "[1.50x]",
            "x1.50",
            "1.",
            "-",
            "[1.50",
            "1.5e",
            "\"1.50",
            "{\"a\" 1.50}",
            "[1.50 2.50]",
            "--1.50",
            "+1.50",
            "\"\\",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        // A text that looks like the mark is at most a number.
        assert_eq!(write(&read("\"\\uffff1,2\"").unwrap()), "\"\u{ffff}1,2\"");
    }

    #[test]
    fn a_text_is_a_number_by_the_grammar_of_json() {
        for (text, is_number) in [
            ("9.90", true),
            ("-0", true),
            ("1e5", true),
            ("01", false),
            ("1.", false),
            (".5", false),
            ("+1", false),
            ("NaN", false),
            ("", false),
            ("1 ", false),
        ] {
            let value = number_of(text);
            assert_eq!(value.is_some(), is_number, "{text}");
            assert!(value.is_none_or(|value| write(&value) == text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_same_is_json_as_before(text in "[-0-9.eE,:{}\"a\\\\\\[\\] +]{0,20}") {
            let plain: Option<Value> = serde_json::from_str(&text).ok();
            // What overflows a number is kept, too.
            if let Some(plain) = plain {
                let again: Value = serde_json::from_str(&write(&read(&text).unwrap())).unwrap();
                proptest::prop_assert_eq!(again, plain);
            } else if let Some(value) = read(&text) {
                proptest::prop_assert!(text.contains(['e', 'E']), "{text} {value}");
            }
        }
    }
}
