//! How far each label's log has been applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact::Label;
use tokio::sync::watch;

/// By label, the position up to which what was read from its log answers requests, or was refused.
pub type Positions = BTreeMap<Label, u64>;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Applied(Arc<watch::Sender<Positions>>);

impl Applied {
    /// The positions as of now.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.0.borrow().clone()
    }

    /// The positions, followed.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Positions> {
        self.0.subscribe()
    }

    pub(crate) fn reached(&self, label: &Label, seq: u64) {
        self.0
            .send_if_modified(|positions| positions.insert(label.clone(), seq) != Some(seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_progress_is_told() {
        let applied = Applied::default();
        let label = Label::parse("L").unwrap();
        let mut positions = applied.watch();
        applied.reached(&label, 3);
        assert!(positions.has_changed().unwrap());
        let seen = positions.borrow_and_update().clone();
        assert_eq!(seen, Positions::from([(label.clone(), 3)]));
        applied.reached(&label, 3);
        assert!(!positions.has_changed().unwrap());
        assert_eq!(applied.positions(), seen);
    }
}
