//! Threat protection in a plan.

use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use super::{NotExecuted, SequenceRef};
use crate::pattern::Pattern;

/// Patterns of one mediator that are kept: they are properties, and mostly always the same.
const MAX_PATTERNS: usize = 4;

#[derive(Debug, PartialEq, Hash)]
pub(crate) struct Protection {
    pub(crate) threat: Threat,
    /// `_threat_fault_`.
    pub(crate) fault: SequenceRef,
    /// Where a schema is asked for.
    pub(crate) schema: NotExecuted,
}

#[derive(Debug)]
pub(crate) enum Threat {
    /// RegularExpressionProtector, with the patterns that it has been given so far.
    Pattern(Mutex<Vec<(String, Pattern)>>),
    /// JsonSchemaValidator.
    Json,
    /// XMLSchemaValidator.
    Xml,
}

/// Each is like itself alone: what it has kept is its own.
impl PartialEq for Threat {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Hash for Threat {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
    }
}

impl Threat {
    /// The pattern as the original reads it, without regard to case; `None` for what is none.
    pub(crate) fn pattern(&self, written: &str) -> Option<Pattern> {
        let Self::Pattern(kept) = self else {
            return None;
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pattern)) = kept.iter().find(|(own, _)| own == written) {
            return Some(pattern.clone());
        }
        let pattern = Pattern::anywhere(&format!("(?i){written}"))?;
        if kept.len() >= MAX_PATTERNS {
            kept.remove(0);
        }
        kept.push((written.to_owned(), pattern.clone()));
        Some(pattern)
    }
}
