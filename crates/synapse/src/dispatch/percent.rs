//! Percent decoding with the strictness of `java.net.URLDecoder`.
//!
//! A stray `%` is an error there, not text, while bytes that are no UTF-8 become U+FFFD.

use std::borrow::Cow;

/// What a `+` stands for in encoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// `+` is a blank: query strings.
    Space,
    /// `+` is itself: path segments.
    Literal,
}

/// The decoded text, or `None` when a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let is_special = |b: u8| b == b'%' || (b == b'+' && plus == Plus::Space);
    if !text.bytes().any(is_special) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = hex_value(bytes.next()?)?;
                let low = hex_value(bytes.next()?)?;
                decoded.push((high << 4) | low);
            }
            b'+' if plus == Plus::Space => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    Some(Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }))
}

/// The value of one hexadecimal digit.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plus_is_a_blank_only_in_queries() {
        assert_eq!(decode("a+b%20c", Plus::Space).as_deref(), Some("a b c"));
        assert_eq!(decode("a+b%20c", Plus::Literal).as_deref(), Some("a+b c"));
    }

    #[test]
    fn a_stray_percent_is_an_error() {
        for text in ["%", "%4", "a%zz", "50% off"] {
            assert_eq!(decode(text, Plus::Space), None, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_become_the_replacement_character() {
        assert_eq!(decode("%C3%BC", Plus::Literal).as_deref(), Some("ü"));
        assert_eq!(decode("%FF", Plus::Literal).as_deref(), Some("\u{FFFD}"));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in ".{0,40}") {
            let _ = decode(&text, Plus::Space);
            let _ = decode(&text, Plus::Literal);
        }
    }
}
