//! How long a gateway in mode `sync` waits for its label logs before it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use artifact::Label;

/// Shared by those who pull, those who serve and those who tell. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Mode `sync`; in mode `async` nothing is waited for.
    waits: bool,
    /// Failed tries of one label in a row.
    most: u32,
    over: Arc<AtomicBool>,
}

impl Patience {
    #[must_use]
    pub fn new(waits: bool, most: u32) -> Self {
        Self {
            waits,
            most,
            over: Arc::default(),
        }
    }

    /// Whether requests have to wait for label logs that have not been applied yet.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.waits && !self.over.load(Ordering::Relaxed)
    }

    /// Whether it has come to its end: the gateway serves without having applied its logs.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.waits && self.over.load(Ordering::Relaxed)
    }

    /// Notes that pulling a label's log has failed so many times in a row.
    pub(crate) fn failed(&self, label: &Label, failures: u32) {
        if self.waits && failures >= self.most && !self.over.swap(true, Ordering::Relaxed) {
            tracing::error!(
                %label,
                failures,
                "THE LABEL LOG CANNOT BE PULLED: the gateway serves with what it has, and goes on \
                 trying (max_retry_count)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_after_so_many_failures_in_a_row_and_only_in_mode_sync() {
        let label = Label::parse("L").unwrap();
        let patience = Patience::new(true, 2);
        patience.failed(&label, 1);
        assert!(patience.lasts() && !patience.is_over());
        patience.failed(&label, 2);
        assert!(!patience.lasts() && patience.is_over());
        let hasty = Patience::new(false, 2);
        hasty.failed(&label, 9);
        assert!(!hasty.lasts() && !hasty.is_over());
    }
}
