//! Query parameters of a request target, as Synapse exposes them under `query.param.<name>`.
//!
//! Source of the rules: `ApiUtils.populateQueryParamsToMessageContext`.

use std::collections::HashMap;

use super::percent::{self, Plus};

/// Why the query of a request could not be read; the engine answers such a request with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The value holds a `%` without two hexadecimal digits after it.
    #[error("query parameter {name:?} has a malformed percent escape")]
    MalformedEscape {
        /// Name of the parameter as received.
        name: String,
    },
}

/// The parameters of `target` (path and query as received) as `(name, value)` pairs, names
/// without the `query.param.` prefix and not decoded, values decoded.
///
/// The last of several equal names wins. A piece without `=` belongs to the value before it: it
/// is appended, undecoded, together with its `&`. Such a piece before any parameter has nothing
/// to belong to and is left out, as are empty pieces at the end of the query.
pub fn query_parameters(target: &str) -> Result<Vec<(String, String)>, QueryError> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let Some((_, query)) = target.split_once('?') else {
        return Ok(parameters);
    };
    let mut known: HashMap<&str, usize> = HashMap::new();
    // Index of the parameter a piece without `=` belongs to.
    let mut current: Option<usize> = None;
    for piece in query.trim_end_matches('&').split('&') {
        let Some((name, encoded)) = piece.split_once('=') else {
            if let Some((_, value)) = current.and_then(|index| parameters.get_mut(index)) {
                value.push('&');
                value.push_str(piece);
            }
            continue;
        };
        let Some(value) = percent::decode(encoded, Plus::Space) else {
            return Err(QueryError::MalformedEscape {
                name: name.to_owned(),
            });
        };
        let value = value.into_owned();
        let index = *known.entry(name).or_insert_with(|| {
            parameters.push((name.to_owned(), String::new()));
            parameters.len() - 1
        });
        if let Some((_, known)) = parameters.get_mut(index) {
            *known = value;
        }
        current = Some(index);
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(target: &str, expected: &[(&str, &str)]) {
        let found = query_parameters(target).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected, "{target}");
    }

    #[test]
    fn values_are_decoded_and_names_are_not() {
        check(
            "/a?x%20=Hello%20World&y=a+b",
            &[("x%20", "Hello World"), ("y", "a b")],
        );
        check("/a", &[]);
        check("/a?", &[]);
    }

    #[test]
    fn a_piece_without_equals_belongs_to_the_value_before_it() {
        check("/a?x=1&2&y=3", &[("x", "1&2"), ("y", "3")]);
        check("/a?x=R&&y=3&&", &[("x", "R&"), ("y", "3")]);
        check("/a?lost&x=1", &[("x", "1")]);
    }

    #[test]
    fn the_last_of_equal_names_wins_and_keeps_what_follows() {
        check("/a?x=1&y=2&x=3&4", &[("x", "3&4"), ("y", "2")]);
    }

    #[test]
    fn a_malformed_escape_is_an_error() {
        assert_eq!(
            query_parameters("/a?x=%zz"),
            Err(QueryError::MalformedEscape { name: "x".into() })
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(target in ".{0,60}") {
            let _ = query_parameters(&target);
        }
    }
}
