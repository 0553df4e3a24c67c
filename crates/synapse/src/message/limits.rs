//! Limits of what a body may consist of. Sources: JSONAnalyzer and XMLAnalyzer of API Manager, which
//! count what the JSON parser and the XML parser (Woodstox) come across.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::document::{Document, NodeKind};

/// Lengths are Java characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonLimits {
    pub(crate) properties: usize,
    pub(crate) string_length: usize,
    pub(crate) array_elements: usize,
    pub(crate) key_length: usize,
    pub(crate) depth: usize,
}

impl JsonLimits {
    /// # Errors
    /// What the text breaks, in the original's words.
    pub(crate) fn check(&self, text: &str, context: &str) -> Result<(), String> {
        let mut count = Count {
            limits: *self,
            context,
            depth: 0,
            properties: 0,
            array: None,
            broken: None,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = Walk(&mut count)
            .deserialize(&mut reader)
            .and_then(|()| reader.end());
        match (count.broken, read) {
            (Some(broken), _) => Err(broken),
            (None, Err(_)) => Err("Error occurred while parsing the JSON payload".to_owned()),
            (None, Ok(())) => Ok(()),
        }
    }
}

enum Token<'t> {
    StartObject,
    EndObject,
    Name(&'t str),
    Text(&'t str),
    StartArray,
    EndArray,
    Other,
}

struct Count<'c> {
    limits: JsonLimits,
    context: &'c str,
    depth: usize,
    properties: usize,
    /// In an array: what has been counted. The original reads up to the next end of an array, and
    /// counts everything in between as an element.
    array: Option<usize>,
    broken: Option<String>,
}

impl Count<'_> {
    fn see(&mut self, token: &Token<'_>) -> bool {
        self.broken = self.judge(token).err();
        self.broken.is_none()
    }

    fn judge(&mut self, token: &Token<'_>) -> Result<(), String> {
        let limits = &self.limits;
        if let Token::Text(text) = token
            && length(text) > limits.string_length
        {
            return Err("Max String Length Reached".to_owned());
        }
        if let Some(elements) = &mut self.array {
            if matches!(token, Token::EndArray) {
                self.array = None;
                return Ok(());
            }
            *elements += 1;
            if *elements > limits.array_elements {
                return Err(" Max Array Length Reached".to_owned());
            }
            return Ok(());
        }
        match token {
            Token::StartObject => {
                self.depth += 1;
                if self.depth > limits.depth {
                    let context = self.context;
                    return Err(format!(
                        "Threat Protection-JSON: {context} - Depth Limit Reached"
                    ));
                }
            }
            Token::EndObject => self.depth = self.depth.saturating_sub(1),
            Token::Name(name) => {
                self.properties += 1;
                if length(name) > limits.key_length {
                    return Err(" Max Key Length Reached".to_owned());
                }
                if self.properties > limits.properties {
                    return Err("Max Property Count Reached".to_owned());
                }
            }
            Token::StartArray => self.array = Some(0),
            Token::EndArray | Token::Text(_) | Token::Other => {}
        }
        Ok(())
    }
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Reads a value for what it consists of, repeated members included.
struct Walk<'w, 'c>(&'w mut Count<'c>);

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_, '_> {
    fn see<E: serde::de::Error>(&mut self, token: &Token<'_>) -> Result<(), E> {
        match self.0.see(token) {
            true => Ok(()),
            false => Err(E::custom("above a limit")),
        }
    }
}

/// The name of a member.
struct Name<'w, 'c>(&'w mut Count<'c>);

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<(), E> {
        Walk(self.0).see(&Token::Name(name))
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.see(&Token::StartObject)?;
        while members.next_key_seed(Name(self.0))?.is_some() {
            members.next_value_seed(Walk(self.0))?;
        }
        self.see(&Token::EndObject)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.see(&Token::StartArray)?;
        while items.next_element_seed(Walk(self.0))?.is_some() {}
        self.see(&Token::EndArray)
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.see(&Token::Text(text))
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.see(&Token::Other)
    }

    fn visit_bool<E: serde::de::Error>(mut self, _: bool) -> Result<(), E> {
        self.see(&Token::Other)
    }

    fn visit_i64<E: serde::de::Error>(mut self, _: i64) -> Result<(), E> {
        self.see(&Token::Other)
    }

    fn visit_u64<E: serde::de::Error>(mut self, _: u64) -> Result<(), E> {
        self.see(&Token::Other)
    }

    fn visit_f64<E: serde::de::Error>(mut self, _: f64) -> Result<(), E> {
        self.see(&Token::Other)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XmlLimits {
    pub(crate) depth: usize,
    pub(crate) elements: usize,
    /// Of one element.
    pub(crate) attributes: usize,
    pub(crate) attribute_length: usize,
    /// Of one element.
    pub(crate) children: usize,
}

impl XmlLimits {
    /// # Errors
    /// What the document breaks.
    pub(crate) fn check(&self, document: &Document) -> Result<(), String> {
        let above =
            |what: &str, most: usize| Err(format!("Maximum {what} limit ({most}) exceeded"));
        let mut elements = 0;
        let mut open = vec![(0, 0)];
        while let Some((node, depth)) = open.pop() {
            if let NodeKind::Element { attributes, .. } = document.kind(node) {
                elements += 1;
                if elements > self.elements {
                    return above("Element Count", self.elements);
                }
                if depth > self.depth {
                    return above("Element Depth", self.depth);
                }
                if attributes.len() > self.attributes {
                    return above("Attribute", self.attributes);
                }
                let longest = attributes.iter().map(|(_, value)| length(value)).max();
                if longest > Some(self.attribute_length) {
                    return above("attribute size", self.attribute_length);
                }
            }
            let children = open.len();
            open.extend(document.elements(node).map(|child| (child, depth + 1)));
            if node != 0 && open.len() - children > self.children {
                return above("Number of Child Elements", self.children);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: JsonLimits = JsonLimits {
        properties: 3,
        string_length: 4,
        array_elements: 4,
        key_length: 5,
        depth: 2,
    };

    #[test]
    fn json_is_counted_as_the_original_counts() {
        let check = |text: &str| JSON.check(text, "/a/1").err().unwrap_or_default();
        for fine in [
            r#"{"a":"abcd","b":{"c":null}}"#,
            "[1,2,3]",
            r#"{"abcde":true}"#,
            // An array's objects are not counted as properties, but as elements.
            r#"{"a":[{"x":1}]}"#,
        ] {
            assert_eq!(check(fine), "", "{fine}");
        }
        for (text, broken) in [
            (r#"{"a":"abcde"}"#, "Max String Length"),
            (r#"["abcde"]"#, "Max String Length"),
            (r#"{"abcdef":1}"#, "Max Key Length"),
            (r#"{"a":1,"a":1,"a":1,"a":1}"#, "Max Property Count"),
            ("[1,2,3,4,5]", "Max Array Length"),
            (r#"{"a":{"b":{"c":1}}}"#, "/a/1 - Depth Limit"),
            (r#"{"a":"#, "parsing"),
            ("{} {}", "parsing"),
        ] {
            assert!(check(text).contains(broken), "{text}: {}", check(text));
        }
        let deep = "[".repeat(5000);
        assert!(check(&deep).contains("Max Array Length"));
    }

    #[test]
    fn xml_is_counted() {
        let limits = XmlLimits {
            depth: 2,
            elements: 3,
            attributes: 1,
            attribute_length: 2,
            children: 2,
        };
        let check = |text: &str| {
            let document = Document::parse(text).unwrap();
            limits.check(&document).err().unwrap_or_default()
        };
        assert_eq!(check("<a k='12'><b/><c/></a>"), "");
        for (text, broken) in [
            ("<a><b><c/></b></a>", "Element Depth limit (2)"),
            ("<a><b/><c/><d/></a>", "Child Elements limit (2)"),
            ("<a><b/><c><d/></c></a>", "Element"),
            ("<a k='1' l='2'/>", "Attribute limit (1)"),
            ("<a k='123'/>", "attribute size limit (2)"),
        ] {
            assert!(check(text).contains(broken), "{text}: {}", check(text));
        }
    }
}
