//! How far each label's log has been applied.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use artifact::Label;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Applied(Arc<Mutex<BTreeMap<Label, u64>>>);

impl Applied {
    /// The positions as of now.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<Label, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn reached(&self, label: &Label, seq: u64) {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        positions.insert(label.clone(), seq);
    }
}
