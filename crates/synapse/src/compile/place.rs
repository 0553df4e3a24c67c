//! Where a finding is: the member of the artifact and the path of the element in it.

use std::collections::BTreeMap;
use std::fmt;

use crate::xml::Element;

/// A chain of elements from the root, `api/resource[2]/inSequence/filter`.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    name: &'a str,
    /// 1-based among siblings of the same name; 0 where there is only one.
    index: usize,
}

impl<'a> Place<'a> {
    pub(crate) fn root(name: &'a str) -> Self {
        Self {
            parent: None,
            name,
            index: 0,
        }
    }

    pub(crate) fn child(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            name,
            index: 0,
        }
    }

    /// The child elements of `element`, each with its place.
    pub(crate) fn children(
        &'a self,
        element: &'a Element,
    ) -> impl Iterator<Item = (Place<'a>, &'a Element)> {
        // Of each name: how many there are, and how many have been passed.
        let mut names: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for child in element.elements() {
            names.entry(&child.name).or_default().0 += 1;
        }
        element.elements().map(move |child| {
            let (total, passed) = names.entry(&child.name).or_default();
            *passed += 1;
            let place = Place {
                parent: Some(self),
                name: &child.name,
                index: if *total == 1 { 0 } else { *passed },
            };
            (place, child)
        })
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}/")?;
        }
        f.write_str(self.name)?;
        match self.index {
            0 => Ok(()),
            index => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, read};

    #[test]
    fn numbers_siblings_of_one_name() {
        let root = read("<api><a/><b/><a><c/></a></api>", &Limits::default()).unwrap();
        let api = Place::root("api");
        let places: Vec<String> = api.children(&root).map(|(p, _)| p.to_string()).collect();
        assert_eq!(places, ["api/a[1]", "api/b", "api/a[2]"]);
    }
}
