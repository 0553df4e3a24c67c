//! Regular expressions of artifacts, with Java's meaning as far as they have one here.
//!
//! Most run in linear time. Those with look-around or back references are matched by trying, with
//! a bound on the tries; one that comes to it does not match.

use std::hash::{Hash, Hasher};

use regex::{Regex, RegexBuilder};

/// Memory that the program of one may take.
const SIZE: usize = 128 * 1024;
/// Steps of one match that tries.
const TRIES: usize = 100_000;

/// A regular expression that has to match the whole text, as `Matcher.matches` does.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Whole {
    /// Most of them are a word, and the program of an expression takes kilobytes.
    Literal(Box<str>),
    Pattern(Pattern),
}

impl Whole {
    /// `None` for what is no regular expression.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        match literal(pattern) {
            Some(text) => Some(Self::Literal(text.into())),
            None => {
                Pattern::build(pattern, |pattern| format!(r"\A(?:{pattern})\z")).map(Self::Pattern)
            }
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

/// The only text that a pattern matches, where it has nothing but characters that stand for
/// themselves, some of them behind a backslash.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(
                characters
                    .next()
                    .filter(|next| ".*+?()[]{}^$|/-\\".contains(*next))?,
            ),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|' => {
                return None;
            }
            character => text.push(character),
        }
    }
    Some(text)
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Linear(Regex),
    Trying(Box<fancy_regex::Regex>),
}

/// Patterns are alike that are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written() == other.written()
    }
}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written().hash(state);
    }
}

impl Pattern {
    fn written(&self) -> &str {
        match &self.0 {
            Kind::Linear(regex) => regex.as_str(),
            Kind::Trying(regex) => regex.as_str(),
        }
    }

    /// One that is looked for in a text. `None` for what is no regular expression.
    pub(crate) fn anywhere(pattern: &str) -> Option<Self> {
        Self::build(pattern, str::to_owned)
    }

    fn build(pattern: &str, around: impl Fn(&str) -> String) -> Option<Self> {
        let linear = around(&ascii_classes(pattern, true));
        if let Ok(regex) = RegexBuilder::new(&linear).size_limit(SIZE).build() {
            return Some(Self(Kind::Linear(regex)));
        }
        let trying = around(&ascii_classes(pattern, false));
        let trying = fancy_regex::RegexBuilder::new(&trying)
            .delegate_size_limit(SIZE)
            .backtrack_limit(TRIES)
            .build();
        let trying = trying.ok()?;
        Some(Self(Kind::Trying(Box::new(trying))))
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Linear(regex) => regex.is_match(text),
            Kind::Trying(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// As [`Pattern::is_match`]; one that comes to its bound is taken for a match.
    pub(crate) fn may_match(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Linear(regex) => regex.is_match(text),
            Kind::Trying(regex) => regex.is_match(text).unwrap_or(true),
        }
    }

    /// The text of a group of the first match; 0 is the whole match.
    pub(crate) fn group(&self, text: &str, group: usize) -> Option<String> {
        match &self.0 {
            Kind::Linear(regex) => {
                let found = regex.captures(text)?;
                found.get(group).map(|found| found.as_str().to_owned())
            }
            Kind::Trying(regex) => {
                let found = regex.captures(text).ok()??;
                found.get(group).map(|found| found.as_str().to_owned())
            }
        }
    }

    /// All matches replaced; `$1` stands for a group, as in Java.
    pub(crate) fn replace_all(&self, text: &str, by: &str) -> String {
        // `$1a` is group 1 and a letter in Java, a group's name here.
        let mut replacement = String::with_capacity(by.len());
        let mut rest = by;
        while let Some(at) = rest.find('$') {
            let digits = rest[at + 1..].len()
                - rest[at + 1..]
                    .trim_start_matches(|c: char| c.is_ascii_digit())
                    .len();
            replacement.push_str(&rest[..at]);
            match &rest[at + 1..at + 1 + digits] {
                "" => replacement.push_str("$$"),
                group => replacement.push_str(&format!("${{{group}}}")),
            }
            rest = &rest[at + 1 + digits..];
        }
        replacement.push_str(rest);
        match &self.0 {
            Kind::Linear(regex) => regex.replace_all(text, replacement).into_owned(),
            Kind::Trying(regex) => match regex.try_replacen(text, 0, replacement) {
                Ok(replaced) => replaced.into_owned(),
                Err(_) => text.to_owned(),
            },
        }
    }
}

/// The pattern with Java's meaning of `\w`, `\d`, `\s` and `\b`: ASCII, which also keeps its program
/// small. `flags`: the syntax can change flags in the middle.
fn ascii_classes(pattern: &str, flags: bool) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        if character != '\\' {
            ascii.push(character);
            continue;
        }
        match (characters.next(), in_class) {
            (Some('w'), true) => ascii.push_str("A-Za-z0-9_"),
            (Some('d'), true) => ascii.push_str("0-9"),
            (Some(class @ ('w' | 'd' | 's' | 'b' | 'B')), false) if flags => {
                ascii.push_str(&format!("(?-u:\\{class})"));
            }
            (Some('w'), false) => ascii.push_str("[A-Za-z0-9_]"),
            (Some('d'), false) => ascii.push_str("[0-9]"),
            (Some('s'), false) => ascii.push_str("[ \\t\\n\\x0B\\f\\r]"),
            (Some('W'), false) => ascii.push_str("[^A-Za-z0-9_]"),
            (Some('D'), false) => ascii.push_str("[^0-9]"),
            (Some('S'), false) => ascii.push_str("[^ \\t\\n\\x0B\\f\\r]"),
            (Some(other), _) => ascii.extend(['\\', other]),
            (None, _) => ascii.push('\\'),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Whole::parse(pattern).unwrap().is_match(text)
    }

    #[test]
    fn classes_mean_what_they_mean_in_java() {
        assert!(matches(r"\w+@\w+\.\w+", "a@b.c"));
        assert!(!matches(r"\w", "ä"));
        assert!(matches(r"[\w-]+\/\d{3}", "a-b/123"));
        assert!(matches(r"\W\D\S\s", "äxy "));
        assert!(matches(r"GET_\/menu", "GET_/menu"));
        assert!(matches(r".*\bend\b.*", "the end."));
        assert!(matches(r"\\w", r"\w"));
    }

    #[test]
    fn looks_around_and_back() {
        let no_body = "^(?!.*(POST|PUT|PATCH)).*$";
        assert!(matches(no_body, "GET") && !matches(no_body, "POST"));
        assert!(matches(r"(\w)\1", "aa") && !matches(r"(\w)\1", "ab"));
        // More tries than are allowed.
        let slow = Whole::parse(r"(a*)*(?=b)").unwrap();
        assert!(!slow.is_match(&"a".repeat(5000)));
        assert!(Whole::parse("(").is_none());
    }

    #[test]
    fn a_literal_has_no_program_and_means_the_same() {
        for literal in [
            "",
            "PRODUCTION",
            "a b-c_1/ä",
            r"GET_\/menu",
            r"1\.0\\",
            "x\ny",
            "#a&~",
        ] {
            let whole = Whole::parse(literal).unwrap();
            assert!(matches!(whole, Whole::Literal(_)), "{literal:?}");
            let regex = Regex::new(&format!(r"\A(?:{literal})\z")).unwrap();
            let own = literal
                .replace(r"\/", "/")
                .replace(r"\.", ".")
                .replace(r"\\", r"\");
            for text in [
                "",
                "PRODUCTION",
                "PRODUCTION\n",
                "production",
                literal,
                &own,
                "xPRODUCTIONx",
            ] {
                assert_eq!(
                    whole.is_match(text),
                    regex.is_match(text),
                    "{literal:?} {text:?}"
                );
            }
            assert!(whole.is_match(&own));
        }
        for other in [
            r"\d", r"\A", r"\<", r"\", "a.b", "a|b", "^true$", "a{2}", "[a]",
        ] {
            assert_eq!(literal(other), None, "{other:?}");
        }
    }

    #[test]
    fn groups_are_found_and_replaced() {
        let query = Pattern::anywhere("(?<=[?&]client_id=)([^&#]*)").unwrap();
        assert_eq!(
            query.replace_all("?client_id=a&b=c", "x"),
            "?client_id=x&b=c"
        );
        let version = Pattern::anywhere("v([0-9]+)").unwrap();
        assert_eq!(version.group("/v12/x", 1).as_deref(), Some("12"));
        assert_eq!(version.replace_all("/v12/x", "$1a$"), "/12a$/x");
    }
}
