//! JSONPath.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Value, json};

use super::first_line;
use crate::expression::{self, Context, Expression, Scope};
use crate::message::{Document, Envelope, xml_of};

/// A message for expressions, as XML, as JSON, or both.
#[derive(Default)]
pub(super) struct Message {
    pub(super) envelope: Option<Arc<Envelope>>,
    pub(super) json: Option<Arc<Value>>,
    pub(super) failed: RefCell<Option<String>>,
}

impl Message {
    /// `None` for what is no XML.
    pub(super) fn of_xml(text: &str) -> Option<Self> {
        let document = Document::parse(text).ok()?;
        Some(Self {
            envelope: Some(Arc::new(Envelope::around(document))),
            ..Self::default()
        })
    }
}

impl Context for Message {
    fn property(&self, scope: Scope, name: &str) -> Option<String> {
        (scope == Scope::Default).then(|| format!("of {name}"))
    }

    fn envelope(&self) -> Option<Arc<Envelope>> {
        let of_json = || Some(Arc::new(xml_of(self.json.as_deref()?)));
        self.envelope.clone().or_else(of_json)
    }

    fn json(&self) -> Option<Arc<Value>> {
        self.json.clone()
    }

    fn secret(&self, alias: &str) -> Option<String> {
        (alias == "known").then(|| "secret".to_owned())
    }

    fn now(&self) -> i64 {
        1_600_000_000_000
    }

    fn fail(&self, reason: &str) {
        *self.failed.borrow_mut() = Some(reason.to_owned());
    }
}

/// First line: a path; then a JSON document. What is found is in the document, or a length.
pub fn json_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (path, document) = first_line(text);
    let Ok(expression) = Expression::parse_json(path) else {
        return;
    };
    let wrapped = Expression::parse(&format!("json-eval({path})"), &[]);
    assert_eq!(
        wrapped.as_ref(),
        Ok(&expression),
        "json-eval reads another path"
    );
    let document: Value = serde_json::from_str(document)
        .unwrap_or_else(|_| json!({"a": [{"b": 1, "c": "x"}, {"b": 2}, "x"], "b": {"c": null}}));
    let message = Message {
        json: Some(Arc::new(document.clone())),
        ..Message::default()
    };
    let found = match expression.evaluate(&message) {
        expression::Value::Json(found) => found,
        other => {
            assert!(other.text().is_empty(), "neither a value nor nothing");
            return;
        }
    };
    if path.contains("length()") {
        return;
    }
    let mut open = vec![&document];
    let mut all = Vec::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
        all.push(value);
        if all.len() > 500 {
            return;
        }
    }
    let is_there = all.contains(&&found);
    let are_there = match &found {
        Value::Array(items) => items.iter().all(|item| all.contains(&item)),
        _ => false,
    };
    assert!(is_there || are_there, "not in the document: {found}");
}
