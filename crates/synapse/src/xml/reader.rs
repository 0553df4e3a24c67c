//! Reading XML with limits. No DOCTYPE, no entities but the predefined ones, no recursion.
//!
//! Comments and processing instructions are dropped wherever they stand: the ones behind the
//! root of generated artifacts can hold credentials.

use std::fmt;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::element::{Element, Node};
use super::places::Places;
use super::well_formed::{Prefixes, is_char, is_name};

/// Namespace prefixes that are declared around one element: each name is looked up among them.
const MAX_PREFIXES: usize = 256;

/// How much XML is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub size: usize,
    /// Elements inside each other.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
}

impl Default for Limits {
    /// 16 MiB, 128 deep, 64 attributes: an order of magnitude above the largest real artifact.
    fn default() -> Self {
        Self {
            size: 16 * 1024 * 1024,
            depth: 128,
            attributes: 64,
        }
    }
}

/// Why a text is refused, with the 1-based place. The text itself is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XmlError {
    pub line: usize,
    pub column: usize,
    pub rule: String,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.rule
        )
    }
}

impl std::error::Error for XmlError {}

/// Reads one document and returns its root.
///
/// # Errors
/// [`XmlError`] when the text is not well-formed (namespaces included), holds a DOCTYPE or an
/// entity of its own, or exceeds a limit.
pub fn read(text: &str, limits: &Limits) -> Result<Element, XmlError> {
    let without_bom = text.strip_prefix('\u{feff}').unwrap_or(text);
    if without_bom.len() > limits.size {
        let (size, most) = (without_bom.len(), limits.size);
        return Err(XmlError {
            line: 1,
            column: 1,
            rule: format!("the text has {size} bytes, at most {most} are read"),
        });
    }
    let mut reading = Reading {
        places: Places::new(text),
        offset: text.len() - without_bom.len(),
        limits,
        prefixes: Prefixes::default(),
        open: Vec::new(),
        root: None,
    };
    reading.run(without_bom)
}

struct Reading<'a> {
    places: Places<'a>,
    /// Bytes before the text that the event reader sees (a byte order mark).
    offset: usize,
    limits: &'a Limits,
    prefixes: Prefixes,
    open: Vec<Element>,
    root: Option<Element>,
}

impl Reading<'_> {
    fn run(&mut self, text: &str) -> Result<Element, XmlError> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.check_comments = true;
        config.check_end_names = true;
        loop {
            let at = position(reader.buffer_position()) + self.offset;
            let event = match reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    let at = position(reader.error_position()) + self.offset;
                    return Err(self.error(at, format!("not well-formed: {error}")));
                }
            };
            let end = position(reader.buffer_position()) + self.offset;
            match event {
                Event::Start(tag) => self.start(&tag, at)?,
                Event::Empty(tag) => {
                    self.start(&tag, at)?;
                    self.end(end);
                }
                Event::End(_) => self.end(end),
                Event::Text(text) => {
                    let text = text.xml10_content();
                    if text.contains("]]>") {
                        return Err(self.error(at, "not well-formed: ]]> in text"));
                    }
                    self.text(at, &text)?;
                }
                Event::CData(data) => {
                    if self.open.is_empty() {
                        return Err(self.error(at, "not well-formed: CDATA outside the root"));
                    }
                    self.text(at, &data.xml10_content())?;
                }
                Event::GeneralRef(reference) => {
                    let resolved = self.reference(at, &reference)?;
                    self.text(at, &resolved)?;
                }
                Event::DocType(_) => {
                    return Err(self.error(at, "a DOCTYPE is not allowed in an artifact"));
                }
                Event::Decl(_) if at != self.offset => {
                    return Err(self.error(at, "not well-formed: XML declaration not at the start"));
                }
                Event::PI(pi) => {
                    let target = pi.target();
                    if !is_name(target) || target.eq_ignore_ascii_case("xml") {
                        return Err(self.error(at, "not well-formed: bad processing instruction"));
                    }
                }
                Event::Decl(_) | Event::Comment(_) => {}
                Event::Eof => break,
            }
        }
        if let Some(element) = self.open.last() {
            let (colon, name) = (
                if element.prefix.is_empty() { "" } else { ":" },
                &element.name,
            );
            return Err(XmlError {
                line: element.line,
                column: element.column,
                rule: format!(
                    "not well-formed: <{}{colon}{name}> is never closed",
                    element.prefix
                ),
            });
        }
        self.root
            .take()
            .ok_or_else(|| self.error(self.places.end(), "the document has no element"))
    }

    fn start(&mut self, tag: &BytesStart<'_>, at: usize) -> Result<(), XmlError> {
        let depth = self.open.len() + 1;
        if depth == 1 && self.root.is_some() {
            return Err(self.error(at, "not well-formed: a second root element"));
        }
        if depth > self.limits.depth {
            let most = self.limits.depth;
            return Err(self.error(at, format!("elements are more than {most} deep")));
        }
        let name = tag.name();
        let written: &str = name.as_ref();
        if !is_name(written) {
            return Err(self.error(at, "not well-formed: bad element name"));
        }
        let attributes = self.attributes(tag, at, depth)?;
        let known = |name: &str| match name.split_once(':') {
            Some((prefix, _)) => self.prefixes.knows(prefix),
            None => true,
        };
        if let Some(name) = std::iter::once(written)
            .chain(attributes.iter().map(|(name, _)| name.as_str()))
            .find(|name| !known(name))
        {
            return Err(self.error(at, format!("not well-formed: undeclared prefix in {name}")));
        }
        let (line, column) = self.places.of(at);
        let (prefix, local) = written.split_once(':').unwrap_or(("", written));
        self.open.push(Element {
            name: local.to_owned(),
            prefix: prefix.to_owned(),
            attributes,
            children: Vec::new(),
            line,
            column,
            start: at,
            end: at,
        });
        Ok(())
    }

    fn attributes(
        &mut self,
        tag: &BytesStart<'_>,
        at: usize,
        depth: usize,
    ) -> Result<Vec<(String, String)>, XmlError> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        // The reader's own check for doubled attributes compares each with each; the limit comes
        // first, so that it stays cheap.
        for attribute in tag.attributes() {
            if attributes.len() == self.limits.attributes {
                let most = self.limits.attributes;
                return Err(self.error(at, format!("more than {most} attributes")));
            }
            let attribute = attribute.map_err(|error| {
                // The library's own position counts from the start of the tag.
                let rule = error.to_string();
                let rule = rule
                    .split_once(": ")
                    .map_or(rule.as_str(), |(_, rule)| rule);
                self.error(at, format!("not well-formed: in an attribute: {rule}"))
            })?;
            let name = attribute.key.as_ref().to_owned();
            if !is_name(&name) {
                return Err(self.error(at, "not well-formed: bad attribute name"));
            }
            let raw = attribute.value.as_ref();
            if raw.contains('<') {
                return Err(self.error(at, format!("not well-formed: < in attribute {name}")));
            }
            let value = self.unescape(at, raw)?;
            if let Some(prefix) = name.strip_prefix("xmlns:") {
                if value.is_empty() {
                    return Err(self.error(at, format!("not well-formed: empty {name}")));
                }
                self.prefixes.declare(depth, prefix);
                if self.prefixes.count() > MAX_PREFIXES {
                    return Err(self.error(at, "more than 256 namespace prefixes are declared"));
                }
            }
            attributes.push((name, value));
        }
        if separated(tag) {
            Ok(attributes)
        } else {
            Err(self.error(at, "not well-formed: no blank between attributes"))
        }
    }

    fn end(&mut self, end: usize) {
        self.prefixes.leave(self.open.len());
        let Some(mut element) = self.open.pop() else {
            return;
        };
        element.end = end;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, at: usize, text: &str) -> Result<(), XmlError> {
        if !text.chars().all(is_char) {
            return Err(self.error(at, "not well-formed: a control character"));
        }
        match self.open.last_mut() {
            Some(parent) => {
                if let Some(Node::Text(before)) = parent.children.last_mut() {
                    before.push_str(text);
                } else if !text.is_empty() {
                    parent.children.push(Node::Text(text.to_owned()));
                }
                Ok(())
            }
            None if text.trim_ascii().is_empty() => Ok(()),
            None => {
                let blanks = text.len() - text.trim_ascii_start().len();
                Err(self.error(
                    at + blanks,
                    "not well-formed: text outside the root element",
                ))
            }
        }
    }

    fn reference(&self, at: usize, reference: &BytesRef<'_>) -> Result<String, XmlError> {
        let name: &str = reference;
        let character = reference
            .resolve_char_ref()
            .map_err(|_| self.error(at, format!("not well-formed: &{};", escape(name))))?;
        match (character, resolve_predefined_entity(name)) {
            (Some(character), _) => Ok(character.to_string()),
            (None, Some(text)) => Ok(text.to_owned()),
            (None, None) => Err(self.error(
                at,
                format!(
                    "entity &{}; is not one of the five that XML defines",
                    escape(name)
                ),
            )),
        }
    }

    fn unescape(&self, at: usize, raw: &str) -> Result<String, XmlError> {
        let value = quick_xml::escape::unescape(raw)
            .map_err(|error| self.error(at, format!("in an attribute: {error}")))?;
        if !value.chars().all(is_char) {
            return Err(self.error(at, "not well-formed: a control character"));
        }
        // Line ends and tabs that are written as such count as blanks (XML 1.0, section 3.3.3).
        if raw.contains(['\n', '\t', '\r']) {
            let spaced = raw.replace("\r\n", " ").replace(['\n', '\t', '\r'], " ");
            return quick_xml::escape::unescape(&spaced)
                .map(std::borrow::Cow::into_owned)
                .map_err(|error| self.error(at, format!("in an attribute: {error}")));
        }
        Ok(value.into_owned())
    }

    fn error(&self, at: usize, rule: impl Into<String>) -> XmlError {
        let (line, column) = self.places.of(at);
        XmlError {
            line,
            column,
            rule: rule.into(),
        }
    }
}

fn position(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Whether blanks stand between the attributes of a tag; the event reader does not ask for them.
fn separated(tag: &BytesStart<'_>) -> bool {
    let mut quote = None;
    let mut after_value = false;
    for byte in tag.attributes_raw().bytes() {
        match quote {
            Some(open) => {
                if byte == open {
                    quote = None;
                    after_value = true;
                }
            }
            None => {
                if after_value && !byte.is_ascii_whitespace() && byte != b'/' {
                    return false;
                }
                after_value = false;
                if matches!(byte, b'"' | b'\'') {
                    quote = Some(byte);
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        read(text, &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn reads_elements_attributes_text_and_places() {
        let text = "\u{feff}<?xml version=\"1.0\"?>\n<!-- a -->\n<a x='1&amp;2' xmlns:q=\"u\">\n  <q:b>t&lt;<![CDATA[<c>]]></q:b></a>\n<!-- secret -->";
        let root = read(text, &Limits::default()).unwrap();
        assert_eq!((root.name.as_str(), root.line, root.column), ("a", 3, 1));
        assert_eq!(root.attribute("x"), Some("1&2"));
        let b = root.child("b").unwrap();
        assert_eq!((&*b.text(), b.line, b.column), ("t<<c>", 4, 3));
        assert_eq!(&text[b.start..b.end], "<q:b>t&lt;<![CDATA[<c>]]></q:b>");
        assert!(text[root.start..root.end].ends_with("</a>"));
        assert_eq!(root.descendants().count(), 2);
    }

    #[test]
    fn refuses_what_is_not_well_formed_and_says_where() {
        for (text, expected) in [
            ("", "line 1, column 1: the document has no element"),
            (
                "<a>",
                "line 1, column 1: not well-formed: <a> is never closed",
            ),
            (
                "<a/><b/>",
                "line 1, column 5: not well-formed: a second root",
            ),
            (
                "## x\n<a/>",
                "line 1, column 1: not well-formed: text outside",
            ),
            (
                "<a/>\n  x",
                "line 2, column 3: not well-formed: text outside",
            ),
            (
                "\n<?xml version='1.0'?><a/>",
                "XML declaration not at the start",
            ),
            ("<a b='1'c='2'/>", "no blank between attributes"),
            ("<a b='1' b='2'/>", "not well-formed"),
            ("<a b='<'/>", "< in attribute b"),
            ("<a b='?x={y}&z=1'/>", "in an attribute"),
            ("<x:a/>", "undeclared prefix in x:a"),
            ("<a>&nbsp;</a>", "entity &nbsp; is not one of the five"),
            ("<a>&#0;</a>", "not well-formed"),
            ("<a>]]></a>", "]]> in text"),
            ("<a>\u{1}</a>", "a control character"),
            (
                "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
                "line 1, column 1: a DOCTYPE",
            ),
            ("<a></b>", "not well-formed"),
            ("<a <b/>", "not well-formed"),
        ] {
            let rule = rule(text);
            assert!(rule.contains(expected), "{text:?}: {rule}");
        }
    }

    #[test]
    fn stops_at_each_limit() {
        let limits = Limits {
            size: 60,
            depth: 3,
            attributes: 2,
        };
        let rule = |text: &str| read(text, &limits).unwrap_err().rule;
        assert!(read("<a><b><c/></b></a>", &limits).is_ok());
        assert!(rule("<a><b><c><d/></c></b></a>").contains("more than 3 deep"));
        assert!(rule("<a x='1' y='2' z='3'/>").contains("more than 2 attributes"));
        assert!(rule(&" ".repeat(61)).contains("61 bytes, at most 60"));
        let prefixes = |depth: usize| {
            let declared: String = (0..50).map(|at| format!(" xmlns:p{at}='u'")).collect();
            format!("<a{declared}>").repeat(depth) + &"</a>".repeat(depth)
        };
        assert!(super::read(&prefixes(5), &Limits::default()).is_ok());
        let error = super::read(&prefixes(6), &Limits::default()).unwrap_err();
        assert!(error.rule.contains("more than 256 namespace prefixes"));
        let deep = "<a>".repeat(200_000);
        assert!(super::read(&deep, &Limits::default()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[<>&;/='\"a-c!\\[\\]?x: \n-]{0,60}") {
            let _ = read(&text, &Limits::default());
        }
    }
}
