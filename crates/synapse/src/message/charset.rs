//! Bodies as text: by the charset of their type, a byte order mark, or what their XML declares.
//! Source: BuilderUtil of Axis2.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE};

/// Bytes of an XML declaration that are looked at.
const DECLARATION: usize = 256;

/// The text that a body is; only what is not UTF-8 is copied. `None` where it is none.
pub(crate) fn text_of<'b>(bytes: &'b [u8], content_type: &str) -> Option<Cow<'b, str>> {
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => (encoding, mark),
        None => (encoding_of(bytes, content_type), 0),
    };
    let bytes = bytes.get(mark..)?;
    if encoding == UTF_8 {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    encoding.decode_without_bom_handling_and_without_replacement(bytes)
}

/// Whether a body of this type is no UTF-8, as far as the type says.
pub(crate) fn is_foreign(content_type: &str) -> bool {
    charset(content_type).is_some_and(|label| Encoding::for_label(label.as_bytes()) != Some(UTF_8))
}

/// A content type without its charset, where that is another than UTF-8: what is written here is
/// UTF-8.
pub(crate) fn without_foreign(content_type: &str) -> Option<String> {
    if !is_foreign(content_type) {
        return None;
    }
    let mut parts = content_type.split(';');
    let media = parts.next().unwrap_or_default().trim_end();
    let others = parts.filter(|part| value_of_charset(part).is_none());
    Some(others.fold(media.to_owned(), |made, part| made + ";" + part))
}

fn charset(content_type: &str) -> Option<&str> {
    if !content_type.contains(';') {
        return None;
    }
    content_type.split(';').skip(1).find_map(value_of_charset)
}

fn value_of_charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    let is_it = name.trim().eq_ignore_ascii_case("charset");
    is_it.then(|| value.trim().trim_matches(['"', '\'']))
}

/// One that is not known counts as UTF-8.
fn encoding_of(bytes: &[u8], content_type: &str) -> &'static Encoding {
    let found = match charset(content_type) {
        // Without a mark, the first one of the two (RFC 2781).
        Some(label) if label.eq_ignore_ascii_case("utf-16") => Some(UTF_16BE),
        Some(label) => Encoding::for_label(label.as_bytes()),
        // What can be read so far is not UTF-16, whatever it declares.
        None => declared(bytes)
            .and_then(|label| Encoding::for_label(label.as_bytes()))
            .map(Encoding::output_encoding),
    };
    found.unwrap_or(UTF_8)
}

/// The encoding that an XML declaration names.
fn declared(bytes: &[u8]) -> Option<&str> {
    let head = bytes.strip_prefix(b"<?xml")?;
    let head = &head[..head.len().min(DECLARATION)];
    let end = head.windows(2).position(|two| two == b"?>")?;
    let head = std::str::from_utf8(&head[..end]).ok()?;
    let (_, after) = head.split_once("encoding")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.split(quote).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_they_are_written() {
        for (bytes, content_type, text) in [
            (&b"\xe4"[..], "text/plain; charset=ISO-8859-1", Some("ä")),
            (b"\xc3\xa4", "text/plain; charset=\"UTF-8\"", Some("ä")),
            (b"\xc3\xa4", "text/plain", Some("ä")),
            (b"\xe4", "text/plain", None),
            (b"\xef\xbb\xbf{}", "application/json", Some("{}")),
            (b"\xff\xfea\0", "application/json", Some("a")),
            (b"\0a", "application/json;charset=utf-16", Some("a")),
            (b"a\0", "application/json;CharSet=utf-16le", Some("a")),
            (b"a", "application/json;charset=nowhere", Some("a")),
            (
                b"<?xml version='1.0' encoding='utf-16'?><a/>",
                "application/xml",
                Some("<?xml version='1.0' encoding='utf-16'?><a/>"),
            ),
            (
                b"<?xml version='1.0' encoding='windows-1252'?><a>\x80</a>",
                "application/xml",
                Some("<?xml version='1.0' encoding='windows-1252'?><a>€</a>"),
            ),
            (
                b"<?xml version='1.0'?>",
                "application/xml",
                Some("<?xml version='1.0'?>"),
            ),
        ] {
            let found = text_of(bytes, content_type);
            assert_eq!(found.as_deref(), text, "{content_type}");
            let is_utf_8 = std::str::from_utf8(bytes).is_ok() && !content_type.contains("utf-16");
            if is_utf_8 {
                assert!(
                    matches!(found, None | Some(Cow::Borrowed(_))),
                    "{content_type}"
                );
            }
        }
    }

    #[test]
    fn a_charset_is_dropped_where_it_says_otherwise() {
        for (content_type, without) in [
            ("text/xml; charset=ISO-8859-1; x=y", Some("text/xml; x=y")),
            ("text/xml ; x=y;Charset=\"utf-16\"", Some("text/xml; x=y")),
            ("text/xml; charset=UTF-8", None),
            ("text/xml", None),
        ] {
            assert_eq!(
                without_foreign(content_type).as_deref(),
                without,
                "{content_type}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, content_type in "[a-z/;= \"'-]{0,20}") {
            let declared = [b"<?xml encoding", bytes.as_slice()].concat();
            for bytes in [&bytes, &declared] {
                let _ = text_of(bytes, &content_type);
            }
            let _ = without_foreign(&content_type);
        }
    }
}
