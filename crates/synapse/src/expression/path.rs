//! Location paths: axes, tests and predicates.

use std::sync::Arc;

use super::evaluate::{At, Evaluation};
use super::{Expression, NodeRef, Value};
use crate::message::{Document, Envelope, NodeKind};

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Path {
    pub(super) start: Start,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) enum Start {
    Root,
    /// The node that a predicate is about, else the envelope.
    Here,
    Of(Expression, Vec<Expression>),
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Step {
    pub(super) axis: Axis,
    pub(super) test: Test,
    pub(super) predicates: Vec<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Axis {
    Child,
    Descendant,
    DescendantOrSelf,
    Itself,
    Parent,
    Ancestor,
    AncestorOrSelf,
    Following,
    FollowingSibling,
    Preceding,
    PrecedingSibling,
    Attribute,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// `*`.
    Any,
    /// `p:*`, by its namespace.
    AnyOf(String),
    /// Namespace and local name.
    Named(String, String),
    Text,
    Node,
    Nothing,
}

impl Axis {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "child" => Self::Child,
            "descendant" => Self::Descendant,
            "descendant-or-self" => Self::DescendantOrSelf,
            "self" => Self::Itself,
            "parent" => Self::Parent,
            "ancestor" => Self::Ancestor,
            "ancestor-or-self" => Self::AncestorOrSelf,
            "following" => Self::Following,
            "following-sibling" => Self::FollowingSibling,
            "preceding" => Self::Preceding,
            "preceding-sibling" => Self::PrecedingSibling,
            "attribute" => Self::Attribute,
            _ => return None,
        })
    }

    /// Whether positions count against the document's order.
    fn is_reverse(self) -> bool {
        matches!(
            self,
            Self::Parent
                | Self::Ancestor
                | Self::AncestorOrSelf
                | Self::Preceding
                | Self::PrecedingSibling
        )
    }
}

impl Step {
    pub(super) fn plain(axis: Axis) -> Self {
        Self {
            axis,
            test: Test::Node,
            predicates: Vec::new(),
        }
    }

    /// What `//` stands for.
    pub(super) fn anywhere() -> Self {
        Self::plain(Axis::DescendantOrSelf)
    }
}

impl Evaluation<'_> {
    pub(super) fn path(&self, path: &Path, at: Option<&At>) -> Value {
        let (envelope, mut nodes) = match (&path.start, at) {
            (Start::Of(expression, predicates), at) => match self.value(expression, at) {
                Value::Nodes(envelope, nodes) => {
                    let nodes = self.filter(&envelope, nodes, predicates);
                    (envelope, nodes)
                }
                _ => return Value::Null,
            },
            (Start::Here, Some(at)) => (Arc::clone(&at.envelope), vec![at.node]),
            (start, _) => match self.envelope() {
                None => return Value::Null,
                Some(envelope) => {
                    let node = match start {
                        Start::Root => 0,
                        _ => envelope.envelope,
                    };
                    (envelope, vec![NodeRef::of(node)])
                }
            },
        };
        for step in &path.steps {
            let mut found = Vec::new();
            for node in nodes {
                let mut reached = Vec::new();
                self.reach(&envelope.document, step, node, &mut reached);
                found.extend(self.filter(&envelope, reached, &step.predicates));
                if self.is_spent() {
                    break;
                }
            }
            found.sort_unstable();
            found.dedup();
            nodes = found;
        }
        Value::Nodes(envelope, nodes)
    }

    /// The nodes for which all predicates hold; positions count in the order given.
    fn filter(
        &self,
        envelope: &Arc<Envelope>,
        mut nodes: Vec<NodeRef>,
        predicates: &[Expression],
    ) -> Vec<NodeRef> {
        for predicate in predicates {
            let size = nodes.len();
            let mut kept = Vec::new();
            for (index, node) in nodes.into_iter().enumerate() {
                if self.is_spent() {
                    break;
                }
                let at = At {
                    envelope: Arc::clone(envelope),
                    node,
                    position: index + 1,
                    size,
                };
                let holds = match self.value(predicate, Some(&at)) {
                    Value::Number(number) => number == (index + 1) as f64,
                    value => value.truth(),
                };
                if holds {
                    kept.push(node);
                }
            }
            nodes = kept;
        }
        nodes
    }

    /// The nodes on a step's axis that pass its test, nearest first.
    fn reach(&self, document: &Document, step: &Step, from: NodeRef, found: &mut Vec<NodeRef>) {
        if from.attribute.is_some() {
            match step.axis {
                Axis::Itself | Axis::AncestorOrSelf | Axis::DescendantOrSelf => {
                    if step.test.takes(document, from, false) {
                        found.push(from);
                    }
                    if step.axis == Axis::AncestorOrSelf {
                        self.reach(document, step, NodeRef::of(from.node), found);
                    }
                }
                Axis::Parent => self.note(document, step, from.node, found),
                Axis::Ancestor => {
                    let up = Step {
                        axis: Axis::AncestorOrSelf,
                        ..step.clone()
                    };
                    self.reach(document, &up, NodeRef::of(from.node), found);
                }
                _ => {}
            }
            return;
        }
        let node = from.node;
        match step.axis {
            Axis::Child => {
                for child in document.children(node) {
                    self.note(document, step, *child, found);
                }
            }
            Axis::Descendant | Axis::DescendantOrSelf => {
                let skip = usize::from(step.axis == Axis::Descendant);
                for below in document.descendants(node).skip(skip) {
                    self.note(document, step, below, found);
                    if self.is_spent() {
                        return;
                    }
                }
            }
            Axis::Itself => self.note(document, step, node, found),
            Axis::Parent => {
                if let Some(parent) = document.parent(node) {
                    self.note(document, step, parent, found);
                }
            }
            Axis::Ancestor | Axis::AncestorOrSelf => {
                let mut at = match step.axis {
                    Axis::Ancestor => document.parent(node),
                    _ => Some(node),
                };
                while let Some(node) = at {
                    self.note(document, step, node, found);
                    at = document.parent(node);
                }
            }
            Axis::FollowingSibling | Axis::PrecedingSibling => {
                self.siblings(document, step, node, found);
            }
            Axis::Following | Axis::Preceding => {
                let mut at = node;
                let siblings = Step {
                    axis: match step.axis {
                        Axis::Following => Axis::FollowingSibling,
                        _ => Axis::PrecedingSibling,
                    },
                    test: Test::Node,
                    predicates: Vec::new(),
                };
                let mut tops = Vec::new();
                loop {
                    self.siblings(document, &siblings, at, &mut tops);
                    match document.parent(at) {
                        Some(parent) => at = parent,
                        None => break,
                    }
                }
                for top in tops {
                    for below in document.descendants(top.node) {
                        self.note(document, step, below, found);
                    }
                }
                found.sort_unstable();
                if step.axis.is_reverse() {
                    found.reverse();
                }
            }
            Axis::Attribute => {
                for index in 0..document.attributes(node).len() {
                    let attribute = NodeRef {
                        node,
                        attribute: Some(index),
                    };
                    self.spend();
                    if step.test.takes(document, attribute, true) {
                        found.push(attribute);
                    }
                }
            }
        }
    }

    fn siblings(&self, document: &Document, step: &Step, node: usize, found: &mut Vec<NodeRef>) {
        let Some(parent) = document.parent(node) else {
            return;
        };
        let all = document.children(parent);
        let Some(own) = all.iter().position(|sibling| *sibling == node) else {
            return;
        };
        if step.axis == Axis::FollowingSibling {
            for sibling in all.iter().skip(own + 1) {
                self.note(document, step, *sibling, found);
            }
        } else {
            for sibling in all.iter().take(own).rev() {
                self.note(document, step, *sibling, found);
            }
        }
    }

    fn note(&self, document: &Document, step: &Step, node: usize, found: &mut Vec<NodeRef>) {
        self.spend();
        let node = NodeRef::of(node);
        if step.test.takes(document, node, false) {
            found.push(node);
        }
    }
}

impl NodeRef {
    pub(super) fn of(node: usize) -> Self {
        Self {
            node,
            attribute: None,
        }
    }
}

impl Test {
    fn takes(&self, document: &Document, node: NodeRef, on_attributes: bool) -> bool {
        let name = match node.attribute {
            Some(index) => document
                .attributes(node.node)
                .get(index)
                .map(|(name, _)| name),
            None => document.name(node.node),
        };
        // Names are those of the axis's own kind of node.
        let name = name.filter(|_| node.attribute.is_some() == on_attributes);
        match self {
            Self::Node => true,
            Self::Nothing => false,
            Self::Text => {
                node.attribute.is_none() && matches!(document.kind(node.node), NodeKind::Text(_))
            }
            Self::Any => name.is_some(),
            Self::AnyOf(namespace) => name.is_some_and(|name| name.namespace == *namespace),
            Self::Named(namespace, local) => {
                name.is_some_and(|name| name.namespace == *namespace && name.local == *local)
            }
        }
    }
}
