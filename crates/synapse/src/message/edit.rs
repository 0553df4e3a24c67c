//! A document with one change: an element, a text or an attribute replaced, or elements added.

use super::document::{Document, NodeId, NodeKind};
use super::envelope::Envelope;
use crate::plan::Action;

/// Where a change is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    /// The index of an attribute of the node.
    pub(crate) attribute: Option<usize>,
}

#[derive(Debug)]
pub(crate) enum Edit {
    /// The elements inside the document's root.
    Elements(Action, Document),
    /// Becomes the text of the element or attribute.
    Text(String),
}

impl Document {
    /// `None` where the change cannot be made there.
    pub(crate) fn edited(&self, place: Place, edit: &Edit) -> Option<Self> {
        let mut made = Self::new();
        let (place, edit) = match (self.kind(place.node), edit) {
            (NodeKind::Root, _) => return None,
            // A text is replaced by what is put into its element.
            (NodeKind::Text(_), Edit::Text(_)) => {
                let node = self.parent(place.node)?;
                (Place { node, ..place }, edit)
            }
            (_, Edit::Elements(..)) if place.attribute.is_some() => return None,
            _ => (place, edit),
        };
        for child in self.children(0) {
            made.copy_edited(0, self, *child, place, edit);
        }
        Some(made)
    }

    fn copy_edited(
        &mut self,
        parent: NodeId,
        from: &Self,
        node: NodeId,
        place: Place,
        edit: &Edit,
    ) {
        if node != place.node {
            let id = self.copy_alone(parent, from, node);
            for child in from.children(node) {
                self.copy_edited(id, from, *child, place, edit);
            }
            return;
        }
        match (edit, place.attribute) {
            (Edit::Text(text), Some(attribute)) => {
                let id = self.copy_alone(parent, from, node);
                self.set_attribute(id, attribute, text);
                for child in from.children(node) {
                    self.copy(id, from, *child);
                }
            }
            (Edit::Text(text), None) => {
                let id = self.copy_alone(parent, from, node);
                self.text(id, text);
            }
            (Edit::Elements(action, source), _) => {
                let inside = match action {
                    Action::Replace => parent,
                    Action::Sibling => {
                        self.copy(parent, from, node);
                        parent
                    }
                    Action::Child => {
                        let id = self.copy_alone(parent, from, node);
                        for child in from.children(node) {
                            self.copy(id, from, *child);
                        }
                        id
                    }
                };
                let root = source.elements(0).next();
                for element in root.into_iter().flat_map(|root| source.elements(root)) {
                    self.copy(inside, source, element);
                }
            }
        }
    }
}

impl Envelope {
    /// What a message has as its body whose envelope has become `document`: all of it for a SOAP
    /// message, else the payload. `None` without one.
    pub(crate) fn made_of(&self, document: Document) -> Option<String> {
        if self.is_soap {
            return Some(document.to_xml(0));
        }
        let made = Self::around(document);
        Some(made.document.to_xml(made.payload()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<a xmlns:p=\"urn:p\"><b k=\"1\">x</b><c/></a>";

    fn edited(node: NodeId, attribute: Option<usize>, edit: Edit) -> Option<String> {
        let document = Document::parse(TEXT).unwrap();
        let made = document.edited(Place { node, attribute }, &edit)?;
        Some(made.to_xml(0))
    }

    fn elements(action: Action) -> Edit {
        let source = "<source><p:n xmlns:p=\"urn:p\"/><m xmlns=\"urn:m\"/></source>";
        Edit::Elements(action, Document::parse(source).unwrap())
    }

    #[test]
    fn one_place_changes_and_the_rest_stays() {
        let (b, text) = (2, 3);
        let around = |inside: &str| Some(format!("<a xmlns:p=\"urn:p\">{inside}</a>"));
        let new = "<p:n xmlns:p=\"urn:p\"/><m xmlns=\"urn:m\"/>";
        assert_eq!(
            edited(b, None, elements(Action::Replace)),
            around(&format!("{new}<c/>"))
        );
        assert_eq!(
            edited(b, None, elements(Action::Sibling)),
            around(&format!("<b k=\"1\">x</b>{new}<c/>"))
        );
        assert_eq!(
            edited(b, None, elements(Action::Child)),
            around(&format!("<b k=\"1\">x{new}</b><c/>"))
        );
        assert_eq!(
            edited(text, None, elements(Action::Replace)),
            around(&format!("<b k=\"1\">{new}</b><c/>"))
        );
        for node in [b, text] {
            assert_eq!(
                edited(node, None, Edit::Text("<y>".into())),
                around("<b k=\"1\">&lt;y&gt;</b><c/>")
            );
        }
        assert_eq!(
            edited(b, Some(0), Edit::Text("2".into())),
            around("<b k=\"2\">x</b><c/>")
        );
        assert_eq!(edited(b, Some(0), elements(Action::Replace)), None);
        assert_eq!(edited(0, None, elements(Action::Child)), None);
    }
}
