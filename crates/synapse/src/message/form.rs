//! Forms (`application/x-www-form-urlencoded`) as XML, and XML as a form. Sources:
//! XFormURLEncodedBuilder and XFormURLEncodedFormatter of Axis2.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Document, Envelope, Name, NodeId, NodeKind};
use crate::xml::is_name;

/// What stays as it is in a form; a blank becomes a plus.
const FIELD: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b' ');

/// Fields of one form that are looked at.
const MAX_FIELDS: usize = 100_000;

/// An envelope around `xformValues`, which has an element for each field. `None`: it has too many.
pub(crate) fn form_of(text: &str) -> Option<Envelope> {
    let mut made = Envelope::new();
    let body = made.body?;
    let named = |local: String| Name {
        local,
        ..Name::default()
    };
    let values = made.document.element(body, named("xformValues".to_owned()));
    let fields = text
        .trim_ascii()
        .split('&')
        .filter(|field| !field.is_empty());
    for (field, number) in fields.zip(0..) {
        if number == MAX_FIELDS {
            return None;
        }
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let element = made.document.element(values, named(decoded(name)));
        made.document.text(element, &decoded(value));
    }
    Some(made)
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The elements inside an element as the fields of a form.
pub(crate) fn fields_of(document: &Document, element: NodeId) -> String {
    let encoded = |text: &str| {
        utf8_percent_encode(text, FIELD)
            .to_string()
            .replace(' ', "+")
    };
    let mut form = String::new();
    for child in document.elements(element) {
        let Some(name) = document.name(child) else {
            continue;
        };
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(&encoded(&name.local));
        form.push('=');
        form.push_str(&encoded(&document.string_value(child)));
    }
    form
}

/// The first name of an element that is none in XML: fields may be called anything.
pub(crate) fn unnamable(document: &Document) -> Option<&str> {
    document
        .descendants(0)
        .find_map(|node| match document.kind(node) {
            NodeKind::Element { name, .. } if name.local.contains(':') || !is_name(&name.local) => {
                Some(name.local.as_str())
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_xml_and_a_form_again() {
        let made = form_of("a=1+2%26&b=%C3%A4&a=&c\n").unwrap();
        let payload = made.payload().unwrap();
        assert_eq!(
            made.document.to_xml(payload),
            "<xformValues><a>1 2&amp;</a><b>ä</b><a/><c/></xformValues>"
        );
        assert_eq!(
            fields_of(&made.document, payload),
            "a=1+2%26&b=%C3%A4&a=&c="
        );
        assert_eq!(unnamable(&made.document), None);
        for name in ["1", "", "x:y", "a b", "a[]"] {
            let made = form_of(&format!("ok=1&{name}=2")).unwrap();
            assert_eq!(unnamable(&made.document), Some(name));
        }
        assert!(form_of("").unwrap().payload().is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-c=&%+0-9ä<]{0,40}") {
            let made = form_of(&text).unwrap();
            let form = fields_of(&made.document, made.payload().unwrap());
            let again = form_of(&form).unwrap();
            proptest::prop_assert_eq!(fields_of(&again.document, again.payload().unwrap()), form);
        }
    }
}
