//! `uri-template` patterns of a resource: parsed once, matched against a sub path with its query.
//!
//! Matching never backtracks: each part takes what its rule gives it, so the cost is linear in the
//! path. Source of the rules: `templates/uri/URITemplate`, `Literal`, `SimpleStringExpression`,
//! `ReservedStringExpression`, `FragmentExpression`, `LabelExpression`, `PathSegmentExpression`.

use super::percent::{self, Plus};

mod parse;

/// Why a text is not a URI template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriTemplateError {
    /// Nothing to match against.
    #[error("the URI template is empty")]
    Empty,
    /// `{` at the start, at the end, or inside an expression.
    #[error("illegal opening brace at byte {at} of URI template {template:?}")]
    OpeningBrace {
        /// The template.
        template: String,
        /// Byte offset of the brace.
        at: usize,
    },
    /// `}` without an expression before it, or after an empty one.
    #[error("illegal closing brace at byte {at} of URI template {template:?}")]
    ClosingBrace {
        /// The template.
        template: String,
        /// Byte offset of the brace.
        at: usize,
    },
    /// The text between the braces is not a list of variables.
    #[error("invalid expression {{{expression}}} in a URI template")]
    Expression {
        /// The text between the braces.
        expression: String,
    },
}

/// What matching a path against a template gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateMatch {
    /// The path matches and its variables were stored.
    Yes,
    /// The path does not match.
    No,
    /// A variable would take a text with a malformed percent escape: the request is at fault.
    Malformed,
}

/// A compiled URI template.
#[derive(Debug, Clone)]
pub struct UriTemplate {
    text: String,
    parts: Vec<Part>,
    /// The template has no `?`, so any query string is allowed behind the path.
    allows_any_query: bool,
}

#[derive(Debug, Clone)]
enum Part {
    /// Text that must be there character by character; with `open_end`, a trailing `*` that
    /// swallows the rest has been taken off.
    Literal {
        text: String,
        open_end: bool,
    },
    Expression(Expression),
}

#[derive(Debug, Clone)]
struct Expression {
    kind: Kind,
    variables: Vec<Variable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `{v}`: ends at a reserved character.
    Simple,
    /// `{+v}`: reserved characters included.
    Reserved,
    /// `{#v}`: `#`, then as `{+v}`.
    Fragment,
    /// `{.v}`: `.`, then as `{v}`, values separated by `.`.
    Label,
    /// `{/v}`: `/`, then as `{v}`, values separated by `/`.
    PathSegment,
}

#[derive(Debug, Clone)]
struct Variable {
    name: String,
    /// `{v:n}`: the value must have exactly this many characters.
    length: Option<usize>,
}

impl UriTemplate {
    /// Reads the value of a `uri-template` attribute. One trailing slash is dropped, twice.
    pub fn parse(template: &str) -> Result<Self, UriTemplateError> {
        let mut body = template;
        for _ in 0..2 {
            if body != "/" {
                body = body.strip_suffix('/').unwrap_or(body);
            }
        }
        if body.is_empty() {
            return Err(UriTemplateError::Empty);
        }
        let parts = parse::parts(body)?;
        let allows_any_query = !parts
            .iter()
            .any(|part| matches!(part, Part::Literal { text, .. } if text.contains('?')));
        Ok(Self {
            text: template.to_owned(),
            parts,
            allows_any_query,
        })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `path` (sub path with query, not decoded) matches. On a match the variables are
    /// appended to `variables` without the `uri.var.` prefix, percent-decoded with `+` kept; a
    /// variable that is already there must have the same value. Without a match `variables` is
    /// left as it was.
    pub fn matches(&self, path: &str, variables: &mut Vec<(String, String)>) -> bool {
        self.try_match(path, variables) == TemplateMatch::Yes
    }

    /// As [`UriTemplate::matches`], telling a malformed percent escape from a mere mismatch.
    pub fn try_match(&self, path: &str, variables: &mut Vec<(String, String)>) -> TemplateMatch {
        let before = variables.len();
        let outcome = match self.matched_length(path, variables) {
            Err(MalformedEscape) => TemplateMatch::Malformed,
            Ok(Some(length)) if length == path.len() => TemplateMatch::Yes,
            Ok(Some(length))
                if self.allows_any_query
                    && length > 0
                    && path.as_bytes().get(length) == Some(&b'?') =>
            {
                TemplateMatch::Yes
            }
            Ok(_) => TemplateMatch::No,
        };
        if outcome != TemplateMatch::Yes {
            variables.truncate(before);
        }
        outcome
    }

    /// How many bytes of `path` the template accounts for. A part that fails takes one back from
    /// what was matched before it, as in the engine: a `?` swallowed by `{+v}` right before the
    /// failing part then counts as the start of an optional query.
    fn matched_length(
        &self,
        path: &str,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Option<usize>, MalformedEscape> {
        let mut taken = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let rest = path.get(taken..).unwrap_or_default();
            let next = self.parts.get(index + 1);
            let length = match part {
                Part::Literal { text, open_end } => match_literal(text, *open_end, rest),
                Part::Expression(expression) => expression.matched(rest, next, variables)?,
            };
            let Some(length) = length else {
                return Ok(taken.checked_sub(1));
            };
            if length < rest.len() {
                if next.is_none() {
                    taken += length;
                    // One character is forgiven when the path ends with a slash.
                    if rest.ends_with('/') {
                        taken += path
                            .get(taken..)
                            .and_then(|left| left.chars().next())
                            .map_or(0, char::len_utf8);
                    }
                    return Ok(Some(taken));
                }
            } else {
                match next {
                    None => return Ok(Some(taken + length)),
                    Some(Part::Literal {
                        text,
                        open_end: true,
                    }) if text.is_empty() || text == "/" => {
                        return Ok(Some(taken + length));
                    }
                    // `...&b={v}` accepts `...&b=`: a query parameter without a value.
                    Some(Part::Expression(_)) if rest.contains('=') => {}
                    Some(_) => return Ok(taken.checked_sub(1)),
                }
            }
            taken += length;
        }
        Ok(Some(taken))
    }
}

/// A percent escape that cannot be decoded.
struct MalformedEscape;

/// How much of `rest` the literal takes, `None` if it is not there.
fn match_literal(text: &str, open_end: bool, rest: &str) -> Option<usize> {
    if !rest.starts_with(text) {
        None
    } else if open_end {
        Some(rest.len())
    } else {
        Some(text.len())
    }
}

impl Part {
    /// The character at which a variable right before this part ends.
    fn first_character(&self) -> Option<char> {
        match self {
            Self::Literal { text, .. } => Some(text.chars().next().unwrap_or('*')),
            Self::Expression(expression) => expression.kind.prefix(),
        }
    }
}

impl Kind {
    /// The operator character the value is introduced by in the path.
    fn prefix(self) -> Option<char> {
        match self {
            Self::Simple | Self::Reserved => None,
            Self::Fragment => Some('#'),
            Self::Label => Some('.'),
            Self::PathSegment => Some('/'),
        }
    }

    fn separator(self) -> char {
        match self {
            Self::Label => '.',
            Self::PathSegment => '/',
            Self::Simple | Self::Reserved | Self::Fragment => ',',
        }
    }

    fn ends_at(self, character: char) -> bool {
        !matches!(self, Self::Reserved | Self::Fragment) && is_reserved(character)
    }
}

/// The gen-delims and sub-delims of RFC 3986.
fn is_reserved(character: char) -> bool {
    matches!(
        character,
        ':' | '/'
            | '?'
            | '#'
            | '['
            | ']'
            | '@'
            | '!'
            | '$'
            | '&'
            | '\''
            | '('
            | ')'
            | '*'
            | '+'
            | ','
            | ';'
            | '='
    )
}

impl Expression {
    /// How much of `rest` the expression takes; `None` if its values do not fit.
    fn matched(
        &self,
        rest: &str,
        next: Option<&Part>,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Option<usize>, MalformedEscape> {
        let Some(prefix) = self.kind.prefix() else {
            return self.matched_value(rest, next, variables);
        };
        let Some(value) = rest.strip_prefix(prefix) else {
            return Ok(Some(0));
        };
        // Values that do not fit leave the prefix unmatched instead of failing.
        let length = self.matched_value(value, next, variables)?;
        Ok(Some(length.map_or(0, |length| length + prefix.len_utf8())))
    }

    fn matched_value(
        &self,
        rest: &str,
        next: Option<&Part>,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Option<usize>, MalformedEscape> {
        let stop = next.and_then(Part::first_character);
        let separator = (self.variables.len() > 1).then(|| self.kind.separator());
        let mut last = None;
        for (index, character) in rest.char_indices() {
            last = Some(character);
            let ends = self.kind.ends_at(character) || stop == Some(character);
            if ends && separator != Some(character) {
                let value = rest.get(..index).unwrap_or_default();
                return Ok(self.store(value, variables)?.then_some(index));
            }
        }
        match last {
            None => Ok(Some(0)),
            // A list that ends with a separator at which it could have ended takes nothing.
            Some(last)
                if separator == Some(last) && (self.kind.ends_at(last) || stop == Some(last)) =>
            {
                Ok(Some(0))
            }
            Some(_) => Ok(self.store(rest, variables)?.then_some(rest.len())),
        }
    }

    /// Stores the values of the variables; false if there are too many, one has the wrong length,
    /// or a variable has another value already. Missing values are empty.
    fn store(
        &self,
        text: &str,
        variables: &mut Vec<(String, String)>,
    ) -> Result<bool, MalformedEscape> {
        if let (Kind::Reserved | Kind::Fragment, [variable]) = (self.kind, &*self.variables) {
            return variable.store(text, variables);
        }
        let separator = self.kind.separator();
        // Empty values at the end do not count, but an empty text is one empty value.
        let trimmed = text.trim_end_matches(separator);
        let count = match (trimmed.is_empty(), text.is_empty()) {
            (true, false) => 0,
            _ => trimmed
                .split(separator)
                .take(self.variables.len() + 1)
                .count(),
        };
        if count > self.variables.len() {
            return Ok(false);
        }
        let mut values = trimmed.split(separator).take(count);
        for variable in &self.variables {
            if !variable.store(values.next().unwrap_or_default(), variables)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Variable {
    fn store(
        &self,
        encoded: &str,
        variables: &mut Vec<(String, String)>,
    ) -> Result<bool, MalformedEscape> {
        let value = percent::decode(encoded, Plus::Literal).ok_or(MalformedEscape)?;
        if let Some(length) = self.length
            && value.encode_utf16().count() != length
        {
            return Ok(false);
        }
        if let Some((_, known)) = variables.iter().find(|(name, _)| *name == self.name) {
            return Ok(*known == *value);
        }
        variables.push((self.name.clone(), value.into_owned()));
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
