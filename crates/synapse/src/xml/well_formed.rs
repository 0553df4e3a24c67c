//! The rules of XML 1.0 (and of namespaces) that the event reader leaves to its user.

use std::collections::HashMap;

/// A name of an element or attribute: letters, digits, `.`, `-`, `_` and at most one `:` inside.
pub(crate) fn is_name(name: &str) -> bool {
    let mut parts = 0;
    name.split(':').all(|part| {
        parts += 1;
        let mut characters = part.chars();
        parts <= 2
            && characters
                .next()
                .is_some_and(|first| first == '_' || first.is_alphabetic())
            && characters.all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '·'))
    })
}

/// Whether a character may stand in a document at all (XML 1.0, production 2).
pub(crate) fn is_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// The namespace prefixes that are declared at a point of the document.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    declared: Vec<(usize, String)>,
    /// How often each prefix is declared around the current point.
    known: HashMap<String, usize>,
}

impl Prefixes {
    pub(super) fn declare(&mut self, depth: usize, prefix: &str) {
        self.declared.push((depth, prefix.to_owned()));
        *self.known.entry(prefix.to_owned()).or_default() += 1;
    }

    /// How many there are, those that are declared again further in included.
    pub(super) fn count(&self) -> usize {
        self.declared.len()
    }

    /// Forgets what was declared at `depth` or below.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.declared.last().is_some_and(|(at, _)| *at >= depth) {
            if let Some((_, prefix)) = self.declared.pop()
                && let Some(count) = self.known.get_mut(&prefix)
            {
                *count -= 1;
            }
        }
    }

    pub(super) fn knows(&self, prefix: &str) -> bool {
        matches!(prefix, "xml" | "xmlns") || self.known.get(prefix).is_some_and(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["api", "am:fault", "x.y-z_1", "größe"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1a", "-a", "a:", ":a", "a:b:c", "$a", "a b", "a<"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn prefixes_go_out_of_scope() {
        let mut prefixes = Prefixes::default();
        prefixes.declare(1, "am");
        prefixes.declare(2, "x");
        prefixes.leave(2);
        assert!(prefixes.knows("am") && !prefixes.knows("x") && prefixes.knows("xml"));
    }
}
