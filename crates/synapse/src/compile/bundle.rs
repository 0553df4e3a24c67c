//! Which other pieces an API or sequence refers to: what has to travel with it.

use crate::xml::Element;

/// The endings of the sequences that APIManagerExtensionHandler finds by the API's runtime key.
pub const EXTENSION_SUFFIXES: [&str; 3] = ["--In", "--Out", "--Fault"];

/// What a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferenceKind {
    Sequence,
    Endpoint,
    LocalEntry,
}

impl ReferenceKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Endpoint => "endpoint",
            Self::LocalEntry => "local entry",
        }
    }
}

/// A reference by key, with the place of the element that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub kind: ReferenceKind,
    pub key: String,
    pub line: usize,
    pub column: usize,
}

/// The references in an element and below it, in document order. Keys that are computed per
/// message are left out: nothing can be said about them. So are registry paths (`gov:/…`).
#[must_use]
pub fn references(root: &Element) -> Vec<Reference> {
    let mut found = Vec::new();
    for element in root.descendants() {
        let mut add = |kind, attribute: &str| {
            let key = element.set_attribute(attribute);
            let Some(key) = key.filter(|key| !key.starts_with('{') && !is_registry(key)) else {
                return;
            };
            found.push(Reference {
                kind,
                key: key.to_owned(),
                line: element.line,
                column: element.column,
            });
        };
        use ReferenceKind::{Endpoint, LocalEntry, Sequence};
        match element.name.as_str() {
            "resource" => {
                for attribute in ["inSequence", "outSequence", "faultSequence"] {
                    add(Sequence, attribute);
                }
            }
            "sequence" => {
                add(Sequence, "key");
                add(Sequence, "onError");
            }
            "then" | "else" => add(Sequence, "sequence"),
            "send" => add(Sequence, "receive"),
            "endpoint" => add(Endpoint, "key"),
            "target" => {
                add(Sequence, "sequence");
                add(Endpoint, "endpoint");
            }
            "schema" | "script" | "xslt" | "xquery" => add(LocalEntry, "key"),
            "format" => add(LocalEntry, "key"),
            _ => {}
        }
    }
    found
}

fn is_registry(key: &str) -> bool {
    ["gov:", "conf:", "resources:"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, read};

    #[test]
    fn finds_references_with_their_places() {
        let text = "<api><resource faultSequence='f'>\n<inSequence><sequence key='s'/><sequence key='{$ctx:x}'/>\
                    <send><endpoint key='e'/></send><xslt key='gov:/x'/><script key='l'/></inSequence></resource></api>";
        let found = references(&read(text, &Limits::default()).unwrap());
        let found: Vec<_> = found
            .iter()
            .map(|r| (r.kind.as_str(), r.key.as_str(), r.line))
            .collect();
        assert_eq!(
            found,
            [
                ("sequence", "f", 1),
                ("sequence", "s", 2),
                ("endpoint", "e", 2),
                ("local entry", "l", 2)
            ]
        );
    }
}
