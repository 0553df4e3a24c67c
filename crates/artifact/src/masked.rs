//! An artifact as it may be shown: without its secrets. Pure.
//!
//! It rather masks too much. A value goes when its name, the name of its element or a `name` beside
//! it sounds like a secret, when it mentions one itself, when it holds an address with credentials,
//! and when it repeats a password of the artifact. XML that cannot be read goes as a whole.

use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};
use serde_json::Value;

use crate::{Artifact, Content};

/// What stands where a secret was.
const MASK: &str = "********";
/// Shorter passwords are not looked for elsewhere: they are parts of ordinary words.
const LEAST: usize = 4;

/// Parts of names, without case and punctuation, of things that are secret.
const SECRET_NAMES: &[&str] = &[
    "auth",
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "cookie",
    "jwt",
    "signature",
    "apikey",
    "passphrase",
    "private",
    "security",
];
/// Parts of texts, without case, that stand beside a secret.
const SECRET_TEXTS: &[&str] = &[
    "basic ",
    "bearer ",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "authorization",
    "credential",
    "private key",
    "-----begin",
];
/// Attributes that name their element, so that it can be seen what was masked.
const NAMING: &[&str] = &["name", "key", "id", "scope", "type", "action"];

impl Artifact {
    /// The artifact with every secret replaced by asterisks: passwords, certificates, and what
    /// looks like a secret in its definitions and other members.
    #[must_use]
    pub fn masked(&self) -> Self {
        let credentials = self.credentials_to_be_add.iter();
        let known: Vec<&str> = credentials
            .map(|credential| credential.password.as_str())
            .filter(|password| password.len() >= LEAST)
            .collect();
        let mask = Mask { known };
        let mut masked = self.clone();
        for credential in &mut masked.credentials_to_be_add {
            MASK.clone_into(&mut credential.password);
        }
        for certificate in &mut masked.client_certificates_to_be_add {
            MASK.clone_into(&mut certificate.content);
        }
        for definition in [
            &mut masked.api_definition,
            &mut masked.default_api_definition,
        ] {
            *definition = definition.take().map(|text| mask.definition(&text));
        }
        for contents in [
            &mut masked.sequence_to_be_add,
            &mut masked.local_entries_to_be_add,
            &mut masked.endpoint_entries_to_be_add,
        ] {
            for Content { name, content } in contents {
                *content = if is_secret_name(name) {
                    MASK.to_owned()
                } else {
                    mask.definition(content)
                };
            }
        }
        for (name, value) in &mut masked.other {
            mask.member(name, value);
        }
        masked
    }
}

/// What is secret in one artifact.
struct Mask<'a> {
    /// Passwords that the artifact itself names as such.
    known: Vec<&'a str>,
}

/// An open element.
#[derive(Clone, Copy, Default)]
struct Open {
    /// Its texts are secret, and all that stands in it.
    secret: bool,
}

impl Mask<'_> {
    fn member(&self, name: &str, value: &mut Value) {
        if is_secret_name(name) && !value.is_null() {
            *value = Value::String(MASK.to_owned());
            return;
        }
        match value {
            Value::String(text) => *text = self.definition(text),
            // What is called a name and what is called a value may stand beside each other.
            Value::Array(items) => items.iter_mut().for_each(|item| self.member("", item)),
            Value::Object(members) => {
                let named = members.values().any(|value| {
                    let text = value.as_str();
                    text.is_some_and(|text| text.len() < 100 && is_secret_name(text))
                });
                for (name, value) in members {
                    let naming = NAMING.contains(&name.as_str());
                    if named && !naming && !value.is_null() {
                        *value = Value::String(MASK.to_owned());
                    } else {
                        self.member(name, value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// XML, or a plain text.
    fn definition(&self, text: &str) -> String {
        if !text.contains('<') {
            return self.value(text);
        }
        self.xml(text).unwrap_or_else(|| MASK.to_owned())
    }

    /// `None` where it cannot be read.
    fn xml(&self, text: &str) -> Option<String> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        let mut writer = Writer::new(Vec::new());
        let mut open: Vec<Open> = vec![Open::default()];
        // A text comes in pieces: characters, references, CDATA.
        let mut run: Option<String> = None;
        loop {
            let event = reader.read_event().ok()?;
            match event {
                Event::Text(piece) => run.get_or_insert_default().push_str(&piece.xml10_content()),
                Event::CData(piece) => run.get_or_insert_default().push_str(&piece.xml10_content()),
                Event::GeneralRef(reference) => {
                    let name = reference.xml10_content();
                    let resolved = format!("&{name};");
                    let resolved = unescape(&resolved).ok()?;
                    run.get_or_insert_default().push_str(&resolved);
                }
                // What is said in them is for nobody who reads this.
                Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return None,
                event => {
                    if let Some(text) = run.take() {
                        self.text(&text, &mut open, &mut writer)?;
                    }
                    match event {
                        Event::Start(tag) => {
                            let inside = self.tag(&tag, *open.last()?, &mut writer, false)?;
                            open.push(inside);
                        }
                        Event::Empty(tag) => {
                            self.tag(&tag, *open.last()?, &mut writer, true)?;
                        }
                        Event::End(_) if open.len() < 2 => return None,
                        Event::Eof if open.len() > 1 => return None,
                        Event::Eof => break,
                        event => {
                            if matches!(event, Event::End(_)) {
                                open.pop();
                            }
                            writer.write_event(event).ok()?;
                        }
                    }
                }
            }
        }
        String::from_utf8(writer.into_inner()).ok()
    }

    /// Writes a text. One that mentions a secret makes what follows beside its element secret:
    /// `<name>password</name><value>…</value>`.
    fn text(&self, text: &str, open: &mut [Open], out: &mut Writer<Vec<u8>>) -> Option<()> {
        let here = open.last()?.secret;
        let blank = text.trim().is_empty();
        let masked = if here && !blank {
            MASK.to_owned()
        } else {
            self.value(text)
        };
        if let [.., parent, _] = open
            && (masked != text || text.len() < 100 && is_secret_name(text))
            && !blank
        {
            parent.secret = true;
        }
        let written = quick_xml::events::BytesText::from_escaped(escape(&masked));
        out.write_event(Event::Text(written)).ok()
    }

    /// Writes a tag with its attributes; what stands in the element is as secret as is returned.
    fn tag(
        &self,
        tag: &BytesStart<'_>,
        outside: Open,
        out: &mut Writer<Vec<u8>>,
        empty: bool,
    ) -> Option<Open> {
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.ok()?;
            let value = unescape(&attribute.value).ok()?.into_owned();
            attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        let named = attributes
            .iter()
            .any(|(key, value)| NAMING.contains(&local(key)) && is_secret_name(value));
        let element = is_secret_name(tag.local_name().as_ref());
        let inside = Open {
            secret: outside.secret || named || element,
        };
        let mut written = BytesStart::new(tag.name().as_ref().to_owned());
        for (key, value) in attributes {
            let declares = key == "xmlns" || key.starts_with("xmlns:");
            // A name stays where it says what was masked; elsewhere it is a value like others.
            let naming = NAMING.contains(&local(&key)) && !outside.secret;
            let shown = if declares || naming {
                self.known_or_address(&value)
            } else if inside.secret || is_secret_name(&key) {
                MASK.to_owned()
            } else {
                self.value(&value)
            };
            written.push_attribute((key.as_str(), shown.as_str()));
        }
        let event = if empty {
            Event::Empty(written)
        } else {
            Event::Start(written)
        };
        out.write_event(event).ok()?;
        Some(inside)
    }

    /// A text that has no name.
    fn value(&self, text: &str) -> String {
        let lower = text.to_lowercase();
        if SECRET_TEXTS.iter().any(|part| lower.contains(part)) {
            return MASK.to_owned();
        }
        self.known_or_address(text)
    }

    fn known_or_address(&self, text: &str) -> String {
        if self.known.iter().any(|secret| text.contains(secret)) {
            return MASK.to_owned();
        }
        without_parameters(&without_user(text))
    }
}

/// Names of parameters of an address that hold a secret, besides those of [`is_secret_name`].
const SECRET_PARAMETERS: &[&str] = &["key", "sig", "sign", "code", "auth", "hmac"];

/// Masks the values of such parameters in addresses.
fn without_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends_address) {
        let Some((before, query)) = piece.split_once('?').filter(|_| piece.contains("://")) else {
            shown.push_str(piece);
            continue;
        };
        shown.push_str(before);
        for (index, part) in query.split('&').enumerate() {
            shown.push(if index == 0 { '?' } else { '&' });
            let (value, end) = match part.char_indices().last().filter(|(_, c)| ends_address(*c)) {
                Some((at, _)) => part.split_at(at),
                None => (part, ""),
            };
            match value.split_once('=') {
                Some((name, value)) if !value.is_empty() && is_secret_parameter(name) => {
                    shown.extend([name, "=", MASK, end]);
                }
                _ => shown.push_str(part),
            }
        }
    }
    shown
}

fn is_secret_parameter(name: &str) -> bool {
    // An ampersand may be written as in XML.
    let name = name.trim_start_matches("amp;");
    let mut known = SECRET_PARAMETERS.iter();
    known.any(|known| known.eq_ignore_ascii_case(name)) || is_secret_name(name)
}

fn ends_address(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')
}

/// Masks `user:password@` of addresses: all between `://` and the last `@` of the word.
fn without_user(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let word = after.find(ends_address).unwrap_or(after.len());
        let (word, behind) = after.split_at(word);
        match word.rfind('@') {
            Some(at) => {
                shown.push_str(MASK);
                // The word may hold another address behind it.
                rest = &after[at..];
            }
            None => {
                shown.push_str(word);
                rest = behind;
            }
        }
    }
    shown.push_str(rest);
    shown
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn is_secret_name(name: &str) -> bool {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    let key = plain.ends_with("key") && plain != "key";
    key || SECRET_NAMES.iter().any(|part| plain.contains(part))
}

#[cfg(test)]
mod tests;
