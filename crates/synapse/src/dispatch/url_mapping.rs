//! `url-mapping` patterns: an exact path, a path prefix `/a/*`, or an extension `*.ext`.
//!
//! Source of the rules: `URLMappingHelper` and `URLMappingBasedDispatcher`.

/// One parsed `url-mapping`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlMapping {
    /// The whole sub path; one trailing slash of the artifact is dropped (`/x/` is kept as `/x`).
    Exact(String),
    /// `/a/b/*`: the leading segments; none for `/*`.
    Prefix(Vec<String>),
    /// `*.ext`: the suffix with its dot.
    Extension(String),
}

impl UrlMapping {
    /// Reads the value of a `url-mapping` attribute; every text is some mapping.
    pub fn parse(mapping: &str) -> Self {
        let inner = mapping
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix("/*"));
        if let Some(segments) = inner {
            return Self::Prefix(split_segments(segments).map(str::to_owned).collect());
        }
        if mapping == "/*" {
            return Self::Prefix(Vec::new());
        }
        if let Some(extension) = mapping.strip_prefix('*').filter(|e| e.starts_with('.')) {
            return Self::Extension(extension.to_owned());
        }
        match mapping.strip_suffix('/') {
            Some(trimmed) if !trimmed.is_empty() => Self::Exact(trimmed.to_owned()),
            _ => Self::Exact(mapping.to_owned()),
        }
    }

    /// The pattern in the form Synapse reports and compares it.
    pub fn to_pattern(&self) -> String {
        match self {
            Self::Exact(path) => path.clone(),
            Self::Extension(extension) => format!("*{extension}"),
            Self::Prefix(segments) => {
                let mut pattern = String::new();
                for segment in segments {
                    pattern.push('/');
                    pattern.push_str(segment);
                }
                pattern.push_str("/*");
                pattern
            }
        }
    }

    /// Whether this is an exact mapping equal to `sub_path` without query and trailing slashes.
    pub fn is_exact_match(&self, sub_path: &str) -> bool {
        let Self::Exact(path) = self else {
            return false;
        };
        let trimmed = if sub_path == "/" {
            sub_path
        } else {
            sub_path.trim_end_matches('/')
        };
        let wanted = match trimmed.find('?') {
            Some(0) => "/",
            Some(index) => trimmed.get(..index).unwrap_or(trimmed),
            None => trimmed,
        };
        path == wanted
    }

    /// Whether `/*` stands in the pattern.
    pub fn has_catch_all(&self) -> bool {
        match self {
            Self::Prefix(_) => true,
            Self::Exact(path) => path.contains("/*"),
            Self::Extension(_) => false,
        }
    }

    /// How many leading segments a prefix mapping shares with `sub_path`, 0 if it does not match.
    /// `/*` always counts 1, the same as a mapping with one matching segment.
    pub fn prefix_length(&self, sub_path: &str) -> usize {
        let Self::Prefix(segments) = self else {
            return 0;
        };
        if segments.is_empty() {
            return 1;
        }
        let mut rest = sub_path.strip_prefix('/').unwrap_or(sub_path);
        // A second leading slash costs the last character: so does the engine's trimSlashes.
        if rest.starts_with('/') {
            rest = rest
                .char_indices()
                .next_back()
                .and_then(|(last, _)| rest.get(..last))
                .unwrap_or(rest);
        }
        let path = rest.split_once('?').map_or(rest, |(path, _)| path);
        let mut found = split_segments(path);
        if segments
            .iter()
            .all(|segment| found.next() == Some(segment.as_str()))
        {
            segments.len()
        } else {
            0
        }
    }

    /// Whether this is an extension mapping and the path of `sub_path` ends with it.
    pub fn is_extension_match(&self, sub_path: &str) -> bool {
        let path = sub_path.split_once('?').map_or(sub_path, |(path, _)| path);
        matches!(self, Self::Extension(extension) if path.ends_with(extension.as_str()))
    }

    /// The best of `mappings` (index, mapping) for `sub_path`: an exact match, else the prefix
    /// with most segments, else an extension; the first of equals.
    pub fn choose<'a, I>(mappings: I, sub_path: &str) -> Option<usize>
    where
        I: Iterator<Item = (usize, &'a UrlMapping)>,
    {
        let mut best_prefix: Option<(usize, usize)> = None;
        let mut first_extension = None;
        for (index, mapping) in mappings {
            if mapping.is_exact_match(sub_path) {
                return Some(index);
            }
            let length = mapping.prefix_length(sub_path);
            if length > best_prefix.map_or(0, |(best, _)| best) {
                best_prefix = Some((length, index));
            }
            if first_extension.is_none() && mapping.is_extension_match(sub_path) {
                first_extension = Some(index);
            }
        }
        best_prefix.map(|(_, index)| index).or(first_extension)
    }
}

/// Splits at `/`; empty segments at the end do not count, an empty text is one empty segment.
fn split_segments(path: &str) -> impl Iterator<Item = &str> {
    let trimmed = path.trim_end_matches('/');
    let none = trimmed.is_empty() && !path.is_empty();
    trimmed.split('/').filter(move |_| !none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choose(mappings: &[&str], sub_path: &str) -> Option<usize> {
        let parsed: Vec<_> = mappings.iter().map(|m| UrlMapping::parse(m)).collect();
        UrlMapping::choose(parsed.iter().enumerate(), sub_path)
    }

    #[test]
    fn exact_mappings_ignore_query_and_trailing_slashes() {
        let mapping = UrlMapping::parse("/x/");
        assert_eq!(mapping, UrlMapping::Exact("/x".into()));
        for path in ["/x", "/x/", "/x//", "/x?q=1"] {
            assert!(mapping.is_exact_match(path), "{path}");
        }
        for path in ["/x/y", "/X", "/", "/x/?q=1"] {
            assert!(!mapping.is_exact_match(path), "{path}");
        }
        assert!(UrlMapping::parse("/").is_exact_match("?q=1"));
    }

    #[test]
    fn the_catch_all_counts_as_one_segment_and_document_order_decides() {
        assert_eq!(choose(&["/*", "/a/*"], "/a/b"), Some(0));
        assert_eq!(choose(&["/a/*", "/*"], "/a/b"), Some(0));
        assert_eq!(choose(&["/*", "/a/b/*"], "/a/b/c"), Some(1));
    }

    #[test]
    fn exact_before_prefix_before_extension() {
        assert_eq!(choose(&["*.jsp", "/*", "/a.jsp"], "/a.jsp"), Some(2));
        assert_eq!(choose(&["*.jsp", "/*"], "/a.jsp"), Some(1));
        assert_eq!(choose(&["/b/*", "*.jsp"], "/a.jsp?x=1"), Some(1));
        assert_eq!(choose(&["/b/*", "*.jsp"], "/a.html"), None);
    }

    #[test]
    fn a_prefix_matches_its_own_path() {
        assert_eq!(choose(&["/a/*"], "/a"), Some(0));
        assert_eq!(choose(&["/a/*"], "/ab"), None);
    }

    proptest! {
        #[test]
        fn no_input_panics(mapping in ".{0,20}", path in ".{0,20}") {
            let mapping = UrlMapping::parse(&mapping);
            let _ = UrlMapping::choose(std::iter::once((0, &mapping)), &path);
            let _ = mapping.to_pattern();
        }

        #[test]
        fn slashes_and_stars_never_panic(mapping in "[/*.?a]{0,8}", path in "[/*.?aé]{0,8}") {
            let mapping = UrlMapping::parse(&mapping);
            let _ = UrlMapping::choose(std::iter::once((0, &mapping)), &path);
        }
    }
}
