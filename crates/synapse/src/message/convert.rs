//! JSON as XML and XML as JSON, as the original engine's message builders and formatters do it:
//! members are elements, arrays are repeated elements, attributes are members with `@`. A root
//! array is `jsonArray` with `jsonElement`s. Namespaces are not carried over.

use serde_json::{Map, Value};

use super::json;
use super::{Document, Envelope, Name, NodeId, NodeKind};

/// Values inside each other.
const MAX_DEPTH: usize = 200;

/// An envelope around the XML that stands for a JSON value.
pub(crate) fn xml_of(value: &Value) -> Envelope {
    let mut made = Envelope::new();
    if let Some(body) = made.body {
        match value {
            Value::Array(_) => add(&mut made.document, body, "jsonArray", value, 0),
            _ => add(&mut made.document, body, "jsonObject", value, 0),
        }
    }
    made
}

fn add(document: &mut Document, parent: NodeId, name: &str, value: &Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    let name = Name {
        local: element_name(name),
        ..Name::default()
    };
    let element = document.element(parent, name);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::Array(items) => {
                        for item in items {
                            add(document, element, name, item, depth + 1);
                        }
                    }
                    value => add(document, element, name, value, depth + 1),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                add(document, element, "jsonElement", item, depth + 1);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            document.text(element, json::digits(text).unwrap_or(text));
        }
        other => document.text(element, &other.to_string()),
    }
}

/// A member's name as an element can have it.
fn element_name(name: &str) -> String {
    let fits = |(at, c): (usize, char)| match c {
        '_' => '_',
        c if c.is_alphabetic() => c,
        '-' | '.' if at > 0 => c,
        c if c.is_numeric() && at > 0 => c,
        _ => '_',
    };
    let made: String = name.chars().enumerate().map(fits).collect();
    if made.is_empty() {
        "_".to_owned()
    } else {
        made
    }
}

/// The JSON value that an element stands for, with its name as the only member unless it is one
/// of those that stand for JSON.
pub(crate) fn json_of(document: &Document, element: NodeId) -> Value {
    let value = value_of(document, element, 0);
    let name = document.name(element).map(|name| name.local.as_str());
    match name {
        Some("jsonObject") => match value {
            Value::Null => Value::Object(Map::new()),
            value => value,
        },
        Some("jsonArray") => match value {
            Value::Object(mut members) => match members.remove("jsonElement") {
                Some(Value::Array(items)) => Value::Array(items),
                Some(item) => Value::Array(vec![item]),
                None => Value::Array(Vec::new()),
            },
            _ => Value::Array(Vec::new()),
        },
        Some(name) => Value::Object(Map::from_iter([(name.to_owned(), value)])),
        None => value,
    }
}

fn value_of(document: &Document, element: NodeId, depth: usize) -> Value {
    let mut members = Map::new();
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    for (name, value) in document.attributes(element) {
        members.insert(format!("@{}", name.local), Value::from(value.as_str()));
    }
    let mut text = String::new();
    let mut elements = 0;
    for child in document.children(element) {
        match document.kind(*child) {
            NodeKind::Text(piece) => text.push_str(piece),
            NodeKind::Element { name, .. } => {
                elements += 1;
                let value = value_of(document, *child, depth + 1);
                match members.get_mut(&name.local) {
                    None => {
                        members.insert(name.local.clone(), value);
                    }
                    Some(Value::Array(items)) => items.push(value),
                    Some(one) => *one = Value::Array(vec![one.take(), value]),
                }
            }
            NodeKind::Root => {}
        }
    }
    match (elements, members.is_empty(), text.is_empty()) {
        (0, true, true) => Value::Null,
        (0, true, false) => primitive(&text),
        (0, false, false) => {
            members.insert("$".to_owned(), primitive(&text));
            Value::Object(members)
        }
        _ => Value::Object(members),
    }
}

/// Numbers, with their digits, and truth values are written without quotes.
fn primitive(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        text => json::number_of(text).unwrap_or_else(|| Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn as_json(xml: &str) -> Value {
        let document = Document::parse(xml).unwrap();
        let root = document.elements(0).next().unwrap();
        json_of(&document, root)
    }

    #[test]
    fn xml_becomes_json() {
        assert_eq!(
            as_json("<m:q xmlns:m='urn:m' k='v'><m:s>1</m:s><m:s>01</m:s><e/><t>true</t></m:q>"),
            json!({"q": {"@k": "v", "s": [1, "01"], "e": null, "t": true}})
        );
        assert_eq!(
            as_json("<jsonArray><jsonElement>a</jsonElement></jsonArray>"),
            json!(["a"])
        );
        assert_eq!(as_json("<jsonObject/>"), json!({}));
    }

    #[test]
    fn json_becomes_xml_and_json_again() {
        for value in [
            json!({"a": {"b": [1, 2.5, {"c": "x<y"}]}, "n": null, "t": false}),
            json!([{"a": 1}, {"a": 2}]),
            json!({}),
        ] {
            let made = xml_of(&value);
            let payload = made.payload().unwrap();
            assert_eq!(json_of(&made.document, payload), value);
        }
        let ordered = r#"{"z":1,"a":{"y":2,"b":3}}"#;
        let made = xml_of(&serde_json::from_str(ordered).unwrap());
        let xml = made.document.to_xml(made.payload().unwrap());
        assert_eq!(
            xml,
            "<jsonObject><z>1</z><a><y>2</y><b>3</b></a></jsonObject>"
        );
        assert_eq!(as_json(&xml).to_string(), ordered);
        let odd = xml_of(&json!({"1 a": 1}));
        let xml = odd.document.to_xml(odd.payload().unwrap());
        assert_eq!(xml, "<jsonObject><__a>1</__a></jsonObject>");
    }
}
