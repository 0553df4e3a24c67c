//! The XML reader.

use crate::message::{Document, NodeId, NodeKind};
use crate::xml::{Element, Limits, Node, read};

/// Limits that small inputs reach.
const SMALL: Limits = Limits {
    size: 400,
    depth: 4,
    attributes: 3,
};

/// What was read and written reads the same; places lie in the text; a limit refuses exactly what
/// is beyond it.
pub fn xml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let limits = Limits::default();
    let root = match read(text, &limits) {
        Ok(root) => root,
        Err(error) => {
            let lines = text.matches('\n').count() + 1;
            assert!((1..=lines).contains(&error.line), "no such line: {error}");
            assert!(read(text, &SMALL).is_err(), "read with smaller limits only");
            return;
        }
    };
    places(&root, text, 0..text.len());
    let size = text.trim_start_matches('\u{feff}').len();
    let fits = size <= SMALL.size
        && depth(&root) <= SMALL.depth
        && root
            .descendants()
            .all(|element| element.attributes.len() <= SMALL.attributes);
    match read(text, &SMALL) {
        Ok(again) => assert!(fits && again == root, "a limit has no effect"),
        Err(error) => assert!(!fits, "within the limits: {error}"),
    }
    let Ok(document) = Document::parse(text) else {
        return;
    };
    let written = document.to_xml(0);
    let again = match Document::parse(&written) {
        Ok(again) => again,
        Err(error) => panic!("what was written cannot be read: {error}\n{written}"),
    };
    assert!(
        equal(&document, 0, &again, 0),
        "reads as another: {written}"
    );
    // Any part stands alone, with the namespaces that it has inside.
    for node in document.descendants(0).skip(1).take(20) {
        if document.name(node).is_none() {
            continue;
        }
        let written = document.to_xml(node);
        match Document::parse(&written) {
            Ok(alone) => {
                let root = alone.elements(0).next().unwrap_or_default();
                assert!(
                    equal(&document, node, &alone, root),
                    "another part: {written}"
                );
            }
            Err(error) => panic!("a part cannot be read: {error}\n{written}"),
        }
    }
}

/// Elements lie inside the range of their parents, in order, from `<` to `>`.
fn places(element: &Element, text: &str, within: std::ops::Range<usize>) {
    let mut open = vec![(element, within)];
    while let Some((element, within)) = open.pop() {
        let (start, end) = (element.start, element.end);
        assert!(
            within.start <= start && end <= within.end,
            "outside of its parent"
        );
        let written = text.get(start..end).unwrap_or_default();
        assert!(
            written.starts_with('<') && written.ends_with('>'),
            "{written}"
        );
        let mut from = start;
        for child in element.elements() {
            assert!(from <= child.start, "overlapping elements");
            from = child.end;
            open.push((child, start..end));
        }
    }
}

fn depth(element: &Element) -> usize {
    let below = element.children.iter().filter_map(|node| match node {
        Node::Element(child) => Some(depth(child)),
        Node::Text(_) => None,
    });
    1 + below.max().unwrap_or(0)
}

/// Whether two nodes have the same names, attributes and text, whatever their prefixes are
/// declared on.
fn equal(a: &Document, at: NodeId, b: &Document, bt: NodeId) -> bool {
    let same = match (a.kind(at), b.kind(bt)) {
        (NodeKind::Root, NodeKind::Root) => true,
        (NodeKind::Text(one), NodeKind::Text(other)) => one == other,
        (NodeKind::Element { .. }, NodeKind::Element { .. }) => {
            a.name(at) == b.name(bt) && a.attributes(at) == b.attributes(bt)
        }
        _ => false,
    };
    let (of_a, of_b) = (a.children(at), b.children(bt));
    let mut pairs = of_a.iter().zip(of_b);
    same && of_a.len() == of_b.len() && pairs.all(|(one, other)| equal(a, *one, b, *other))
}
