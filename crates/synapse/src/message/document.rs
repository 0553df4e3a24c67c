//! An XML document with namespaces, as expressions walk through it: nodes in document order.

use std::collections::HashSet;

use crate::xml::{Element, Limits, Node as XmlNode, XmlError, read};

/// Bytes, depth and attributes of a message that is looked into.
const LIMITS: Limits = Limits {
    size: 16 * 1024 * 1024,
    depth: 256,
    attributes: 256,
};

/// A node's index; smaller ones come first in the document. 0 is the root.
pub(crate) type NodeId = usize;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) prefix: String,
    pub(crate) local: String,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Root,
    Element {
        name: Name,
        /// Without namespace declarations.
        attributes: Vec<(Name, String)>,
        /// Prefixes declared here with their namespaces; the empty prefix is the default.
        namespaces: Vec<(String, String)>,
    },
    Text(String),
}

#[derive(Clone, Debug)]
struct Node {
    kind: NodeKind,
    parent: NodeId,
    children: Vec<NodeId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
}

impl Document {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![Node {
                kind: NodeKind::Root,
                parent: 0,
                children: Vec::new(),
            }],
        }
    }

    /// # Errors
    /// When the text is not well-formed or above the limits of messages.
    pub(crate) fn parse(text: &str) -> Result<Self, XmlError> {
        let root = read(text, &LIMITS)?;
        let mut document = Self::new();
        document.append(0, &root);
        Ok(document)
    }

    fn push(&mut self, parent: NodeId, kind: NodeKind) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node {
            kind,
            parent,
            children: Vec::new(),
        });
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children.push(id);
        }
        id
    }

    /// Adds an element without attributes behind the others.
    pub(crate) fn element(&mut self, parent: NodeId, name: Name) -> NodeId {
        let mut namespaces = Vec::new();
        if self.namespace(parent, &name.prefix).unwrap_or_default() != name.namespace {
            namespaces.push((name.prefix.clone(), name.namespace.clone()));
        }
        let kind = NodeKind::Element {
            name,
            attributes: Vec::new(),
            namespaces,
        };
        self.push(parent, kind)
    }

    pub(crate) fn text(&mut self, parent: NodeId, text: &str) {
        if !text.is_empty() {
            self.push(parent, NodeKind::Text(text.to_owned()));
        }
    }

    /// Adds an element that was read, with all below it. The reader bounds the depth.
    pub(crate) fn append(&mut self, parent: NodeId, element: &Element) -> NodeId {
        let mut namespaces = Vec::new();
        for (name, value) in &element.attributes {
            if name == "xmlns" {
                namespaces.push((String::new(), value.clone()));
            } else if let Some(prefix) = name.strip_prefix("xmlns:") {
                namespaces.push((prefix.to_owned(), value.clone()));
            }
        }
        let kind = NodeKind::Element {
            name: Name::default(),
            attributes: Vec::new(),
            namespaces,
        };
        let id = self.push(parent, kind);
        let own_name = Name {
            namespace: self.namespace(id, &element.prefix).unwrap_or_default(),
            prefix: element.prefix.clone(),
            local: element.name.clone(),
        };
        let own_attributes = element
            .attributes
            .iter()
            .filter(|(name, _)| name != "xmlns" && !name.starts_with("xmlns:"))
            .map(|(name, value)| {
                let (prefix, local) = name.split_once(':').unwrap_or(("", name));
                let namespace = match prefix {
                    "" => None,
                    prefix => self.namespace(id, prefix),
                };
                let name = Name {
                    namespace: namespace.unwrap_or_default(),
                    prefix: prefix.to_owned(),
                    local: local.to_owned(),
                };
                (name, value.clone())
            })
            .collect();
        if let Some(Node {
            kind: NodeKind::Element {
                name, attributes, ..
            },
            ..
        }) = self.nodes.get_mut(id)
        {
            *name = own_name;
            *attributes = own_attributes;
        }
        for child in &element.children {
            match child {
                XmlNode::Element(child) => {
                    self.append(id, child);
                }
                XmlNode::Text(text) => self.text(id, text),
            }
        }
        id
    }

    /// Copies a node of another document with all below it, and with the namespaces around it.
    pub(crate) fn copy(&mut self, parent: NodeId, from: &Self, node: NodeId) {
        let id = self.copy_alone(parent, from, node);
        for child in from.children(node) {
            self.copy_as_it_is(id, from, *child);
        }
    }

    fn copy_as_it_is(&mut self, parent: NodeId, from: &Self, node: NodeId) {
        let id = self.push(parent, from.kind(node).clone());
        for child in from.children(node) {
            self.copy_as_it_is(id, from, *child);
        }
    }

    /// Copies a node of another document without what is below it.
    pub(super) fn copy_alone(&mut self, parent: NodeId, from: &Self, node: NodeId) -> NodeId {
        let mut kind = from.kind(node).clone();
        if let NodeKind::Element { namespaces, .. } = &mut kind {
            for (prefix, uri) in from.namespaces_in_scope(node) {
                let known = self.namespace(parent, &prefix).unwrap_or_default();
                if known != uri && !namespaces.iter().any(|(own, _)| *own == prefix) {
                    namespaces.push((prefix, uri));
                }
            }
        }
        self.push(parent, kind)
    }

    pub(super) fn set_attribute(&mut self, node: NodeId, index: usize, text: &str) {
        if let Some(Node {
            kind: NodeKind::Element { attributes, .. },
            ..
        }) = self.nodes.get_mut(node)
            && let Some((_, value)) = attributes.get_mut(index)
        {
            text.clone_into(value);
        }
    }

    pub(crate) fn kind(&self, node: NodeId) -> &NodeKind {
        self.nodes
            .get(node)
            .map_or(&NodeKind::Root, |node| &node.kind)
    }

    pub(crate) fn children(&self, node: NodeId) -> &[NodeId] {
        self.nodes.get(node).map_or(&[], |node| &node.children)
    }

    /// `None` for the root.
    pub(crate) fn parent(&self, node: NodeId) -> Option<NodeId> {
        let found = self.nodes.get(node)?;
        (node != 0).then_some(found.parent)
    }

    pub(crate) fn name(&self, node: NodeId) -> Option<&Name> {
        match self.kind(node) {
            NodeKind::Element { name, .. } => Some(name),
            _ => None,
        }
    }

    pub(crate) fn attributes(&self, node: NodeId) -> &[(Name, String)] {
        match self.kind(node) {
            NodeKind::Element { attributes, .. } => attributes,
            _ => &[],
        }
    }

    pub(crate) fn elements(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.children(node)
            .iter()
            .copied()
            .filter(|child| self.name(*child).is_some())
    }

    /// The node and all below it, in document order.
    pub(crate) fn descendants(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut open = vec![node];
        std::iter::from_fn(move || {
            let next = open.pop()?;
            open.extend(self.children(next).iter().rev());
            Some(next)
        })
    }

    /// All text below the node.
    pub(crate) fn string_value(&self, node: NodeId) -> String {
        let mut text = String::new();
        for node in self.descendants(node) {
            if let NodeKind::Text(piece) = self.kind(node) {
                text.push_str(piece);
            }
        }
        text
    }

    /// The text directly inside an element.
    pub(crate) fn own_text(&self, node: NodeId) -> String {
        let children = self.children(node).iter();
        children
            .filter_map(|child| match self.kind(*child) {
                NodeKind::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    fn namespace(&self, node: NodeId, prefix: &str) -> Option<String> {
        if prefix == "xml" {
            return Some("http://www.w3.org/XML/1998/namespace".to_owned());
        }
        let mut at = Some(node);
        while let Some(node) = at {
            if let NodeKind::Element { namespaces, .. } = self.kind(node)
                && let Some((_, uri)) = namespaces.iter().find(|(own, _)| own == prefix)
            {
                return Some(uri.clone());
            }
            at = self.parent(node);
        }
        None
    }

    fn namespaces_in_scope(&self, node: NodeId) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut known: HashSet<&str> = HashSet::new();
        let mut at = Some(node);
        while let Some(node) = at {
            if let NodeKind::Element { namespaces, .. } = self.kind(node) {
                for (prefix, uri) in namespaces {
                    if known.insert(prefix) {
                        found.push((prefix.clone(), uri.clone()));
                    }
                }
            }
            at = self.parent(node);
        }
        found
    }

    /// The node as XML that stands alone.
    pub(crate) fn to_xml(&self, node: NodeId) -> String {
        let mut xml = String::new();
        // Of what is declared further out, only what is used below has to come along.
        let used = self.prefixes_below(node);
        let mut scope = self.namespaces_in_scope(node);
        scope.retain(|(prefix, _)| used.contains(prefix.as_str()));
        self.write(node, &scope, &mut xml);
        xml
    }

    fn write(&self, node: NodeId, scope: &[(String, String)], xml: &mut String) {
        match self.kind(node) {
            NodeKind::Root => {
                for child in self.children(node) {
                    self.write(*child, &[], xml);
                }
            }
            NodeKind::Text(text) => xml.push_str(&quick_xml::escape::partial_escape(text)),
            NodeKind::Element {
                name,
                attributes,
                namespaces,
            } => {
                let mut declared: Vec<&(String, String)> = namespaces.iter().collect();
                for outer in scope {
                    if !namespaces.iter().any(|(own, _)| *own == outer.0) {
                        declared.push(outer);
                    }
                }
                let qualified = |name: &Name| match name.prefix.as_str() {
                    "" => name.local.clone(),
                    prefix => format!("{prefix}:{}", name.local),
                };
                let tag = qualified(name);
                xml.push('<');
                xml.push_str(&tag);
                for (prefix, uri) in declared {
                    let uri = in_attribute(uri);
                    match prefix.as_str() {
                        "" => xml.push_str(&format!(" xmlns=\"{uri}\"")),
                        prefix => xml.push_str(&format!(" xmlns:{prefix}=\"{uri}\"")),
                    }
                }
                for (name, value) in attributes {
                    let value = in_attribute(value);
                    xml.push_str(&format!(" {}=\"{value}\"", qualified(name)));
                }
                let children = self.children(node);
                if children.is_empty() {
                    xml.push_str("/>");
                    return;
                }
                xml.push('>');
                for child in children {
                    self.write(*child, &[], xml);
                }
                xml.push_str(&format!("</{tag}>"));
            }
        }
    }

    /// The prefixes of names at or below a node.
    fn prefixes_below(&self, node: NodeId) -> HashSet<&str> {
        let mut found = HashSet::new();
        for node in self.descendants(node) {
            found.extend(self.name(node).map(|name| name.prefix.as_str()));
            let attributes = self.attributes(node).iter();
            // The default namespace is none of an attribute's.
            let prefixes = attributes.map(|(name, _)| name.prefix.as_str());
            found.extend(prefixes.filter(|prefix| !prefix.is_empty()));
        }
        found
    }
}

/// A value as it stands in an attribute; line ends and tabs would be read as blanks.
fn in_attribute(value: &str) -> String {
    let escaped = quick_xml::escape::escape(value);
    escaped.replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_travel_with_what_is_taken_out() {
        let text = "<a xmlns=\"urn:d\" xmlns:p=\"urn:p\" xmlns:q=\"urn:q\"><p:b x=\"1&amp;2\"><c/>t&lt;</p:b></a>";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.to_xml(0), text);
        let b = document.descendants(0).nth(2).unwrap();
        assert_eq!(document.name(b).unwrap().namespace, "urn:p");
        assert_eq!(
            document.to_xml(b),
            "<p:b xmlns=\"urn:d\" xmlns:p=\"urn:p\" x=\"1&amp;2\"><c/>t&lt;</p:b>"
        );
        assert_eq!(document.string_value(0), "t<");
        let mut other = Document::new();
        let parent = other.element(0, Name::default());
        other.copy(parent, &document, b);
        let copied = other.elements(parent).next().unwrap();
        assert_eq!(
            other.to_xml(copied),
            "<p:b xmlns=\"urn:d\" xmlns:p=\"urn:p\" xmlns:q=\"urn:q\" x=\"1&amp;2\"><c/>t&lt;</p:b>"
        );
    }

    #[test]
    fn line_ends_that_were_written_as_references_stay() {
        let text = "<a b=\"1&#10;2&#9;3&#13;\">&#13;</a>";
        assert_eq!(Document::parse(text).unwrap().to_xml(0), text);
    }
}
