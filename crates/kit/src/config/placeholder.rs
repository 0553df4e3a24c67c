//! `$env{NAME}`, `$sys{name}`, `$ref{a.b.c}` and `$secret{alias}` in the text of a value.

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Taken as it is.
    Plain(String),
    /// An environment variable.
    Env(String),
    /// A Java system property.
    Sys(String),
    /// Another key of the document.
    Ref(String),
    /// An entry of `[secrets]`.
    Secret(String),
}

/// A text cut at its placeholders.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// As it is written, for errors.
    pub written: String,
    pub parts: Vec<Part>,
}

/// How a placeholder begins, and what it is. It ends at the next `}`.
type Kind = (&'static str, fn(String) -> Part);

const KINDS: [Kind; 4] = [
    ("$env{", Part::Env),
    ("$sys{", Part::Sys),
    ("$ref{", Part::Ref),
    ("$secret{", Part::Secret),
];

impl Text {
    /// Cuts `written`. `$` and `{` stand for themselves where they begin no placeholder, or one
    /// that does not end.
    pub fn parse(written: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((before, part, after)) = next_placeholder(rest) {
            if !before.is_empty() {
                parts.push(Part::Plain(before.to_owned()));
            }
            parts.push(part);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Plain(rest.to_owned()));
        }
        Self {
            written: written.to_owned(),
            parts,
        }
    }

    /// Whether it has any.
    pub fn has_placeholders(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| !matches!(part, Part::Plain(_)))
    }
}

fn next_placeholder(text: &str) -> Option<(&str, Part, &str)> {
    let cut = |(start, kind): &Kind| {
        let (before, after) = text.split_once(start)?;
        let (name, after) = after.split_once('}')?;
        Some((before, kind(name.to_owned()), after))
    };
    let found = KINDS.iter().filter_map(cut);
    found.min_by_key(|(before, ..)| before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Part {
        Part::Plain(text.to_owned())
    }

    #[test]
    fn a_text_is_cut_at_its_placeholders() {
        let text = Text::parse("a$ref{b.c}$env{D}-$secret{e}$sys{f}");
        let expected = [
            plain("a"),
            Part::Ref("b.c".into()),
            Part::Env("D".into()),
            plain("-"),
            Part::Secret("e".into()),
            Part::Sys("f".into()),
        ];
        assert_eq!(text.parts, expected);
    }

    #[test]
    fn what_begins_no_placeholder_stands_for_itself() {
        for text in ["", "$", "a{b}$c", "${env}", "$env{OPEN", "$ENV{X}", "$$ {"] {
            assert!(!Text::parse(text).has_placeholders(), "{text}");
        }
        let text = Text::parse("$env{OPEN $secret{x}");
        assert_eq!(text.parts, [Part::Env("OPEN $secret{x".into())]);
        assert_eq!(
            Text::parse("$$env{X}}").parts,
            [plain("$"), Part::Env("X".into()), plain("}")]
        );
    }
}
