//! The tree that the reader makes.

use std::borrow::Cow;

/// An element. Names are local names: artifacts repeat, omit and vary their namespace, and no
/// Synapse element is told from another by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    /// The prefix as written; empty for none.
    pub prefix: String,
    /// Attributes by their name as written, namespace declarations included.
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
    /// 1-based place of the start tag.
    pub line: usize,
    pub column: usize,
    /// Byte range in the text that was read.
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    /// Character data, entities resolved, CDATA included.
    Text(String),
}

impl Element {
    /// The attribute's value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The attribute's value unless it is blank: artifacts write `transports=""` for "not set".
    #[must_use]
    pub fn set_attribute(&self, name: &str) -> Option<&str> {
        self.attribute(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// The child elements in document order.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child element of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.name == name)
    }

    /// The character data directly inside, trimmed.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let mut pieces = self.children.iter().filter_map(|node| match node {
            Node::Text(piece) => Some(piece.as_str()),
            Node::Element(_) => None,
        });
        let first = pieces.next().unwrap_or_default();
        match pieces.next() {
            None => Cow::Borrowed(first.trim()),
            Some(second) => {
                let text: String = [first, second].into_iter().chain(pieces).collect();
                Cow::Owned(text.trim().to_owned())
            }
        }
    }

    /// The element and all elements below it, parents first.
    pub fn descendants(&self) -> impl Iterator<Item = &Element> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let element = stack.pop()?;
            let at = stack.len();
            stack.extend(element.elements());
            stack[at..].reverse();
            Some(element)
        })
    }

    /// "line L, column C", as messages name a place.
    #[must_use]
    pub fn place(&self) -> String {
        format!("line {}, column {}", self.line, self.column)
    }
}
