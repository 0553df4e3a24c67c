//! JSON text as Gson writes it with its default settings, so that stored artifacts look the
//! same whoever wrote them: no white space, HTML-relevant characters escaped.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

struct GsonFormatter;

impl Formatter for GsonFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, character) in fragment.char_indices() {
            let escape: &[u8] = match character {
                '<' => b"\\u003c",
                '>' => b"\\u003e",
                '&' => b"\\u0026",
                '=' => b"\\u003d",
                '\'' => b"\\u0027",
                '\u{2028}' => b"\\u2028",
                '\u{2029}' => b"\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[written..at])?;
            writer.write_all(escape)?;
            written = at + character.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

/// Serializes `value` as Gson's `toJson` does, members in the order in which `value` gives them.
/// Leaving nulls out is up to `value`. Fails only where `value` refuses to be serialized.
pub fn to_text(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes,
        GsonFormatter,
    ))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_html_and_keeps_other_text() {
        assert_eq!(
            to_text(&"<a b='c'>&/é\u{2028}\n").unwrap(),
            "\"\\u003ca b\\u003d\\u0027c\\u0027\\u003e\\u0026/é\\u2028\\n\""
        );
    }

    proptest::proptest! {
        #[test]
        fn reads_back_as_written(text in ".*") {
            let written = to_text(&text).unwrap();
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
