//! `rewrite` in a plan.

use super::Operand;
use crate::pattern::{Pattern, Whole};

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Rewrite {
    /// The property that is rewritten; `None`: To.
    pub(crate) input: Option<String>,
    pub(crate) output: Option<String>,
    pub(crate) rules: Vec<RewriteRule>,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct RewriteRule {
    pub(crate) condition: Option<Check>,
    pub(crate) actions: Vec<RewriteAction>,
}

/// A condition of a rewrite rule.
#[derive(Debug, PartialEq, Hash)]
pub(crate) enum Check {
    Equal(CheckSource, String),
    Match(CheckSource, Whole),
    All(Vec<Check>),
    Any(Vec<Check>),
    Not(Box<Check>),
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum CheckSource {
    Fragment(Fragment),
    Header(String),
    Parameter(String),
    Property(String),
}

/// A part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fragment {
    Protocol,
    User,
    Host,
    Port,
    Path,
    Query,
    Reference,
    Full,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct RewriteAction {
    pub(crate) fragment: Fragment,
    pub(crate) change: Change,
    pub(crate) value: Option<Operand>,
}

#[derive(Debug, PartialEq, Hash)]
pub(crate) enum Change {
    Set,
    Append,
    Prepend,
    Remove,
    Replace(Pattern),
}
