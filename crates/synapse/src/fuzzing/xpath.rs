//! XPath.

use super::first_line;
use super::json_path::Message;
use crate::expression::{Expression, MAX_TEXT, Value};

const SAMPLE: &str =
    "<m:a xmlns:m=\"urn:m\" k=\"v\"><b>1</b><b n=\"2\">two<c/></b><m:b> 3 </m:b></m:a>";

/// First line: an expression; then an XML document. Evaluating gives the same again, nodes in the
/// order of the document; brackets and `boolean()` around it change nothing.
pub fn xpath(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (written, document) = first_line(text);
    let namespaces = [
        ("xmlns:m".to_owned(), "urn:m".to_owned()),
        ("xmlns:n".to_owned(), "urn:n".to_owned()),
    ];
    let Ok(expression) = Expression::parse(written, &namespaces) else {
        return;
    };
    let Some(message) = Message::of_xml(document).or_else(|| Message::of_xml(SAMPLE)) else {
        return;
    };
    let value = expression.evaluate(&message);
    if let Value::Nodes(envelope, nodes) = &value {
        assert!(nodes.is_sorted_by(|a, b| a < b), "not in document order");
        for node in nodes {
            let document = &envelope.document;
            let attributes = document.attributes(node.node).len();
            assert!(node.attribute.is_none_or(|index| index < attributes));
            assert!(node.node == 0 || document.parent(node.node).is_some());
        }
    }
    let truth = value.truth();
    let text = value.into_text();
    if message.failed.borrow().is_some() {
        return;
    }
    let length = text.as_ref().map_or(0, String::len);
    assert!(length <= 2 * MAX_TEXT, "{length} bytes of text");
    assert_eq!(expression.evaluate(&message).into_text(), text);
    if let Ok(bracketed) = Expression::parse(&format!("({written})"), &namespaces) {
        assert_eq!(
            bracketed.evaluate(&message).into_text(),
            text,
            "in brackets"
        );
    }
    if let Ok(boolean) = Expression::parse(&format!("boolean({written})"), &namespaces) {
        assert_eq!(boolean.evaluate(&message).truth(), truth, "as boolean");
    }
}
