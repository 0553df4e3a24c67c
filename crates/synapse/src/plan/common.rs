//! Parts of plans that are written alike, and are one in memory.
//!
//! API Manager renders the APIs of an installation from the same templates: their resources run the
//! same mediators, behind the same handlers. A gateway with thousands of APIs keeps one copy of
//! them, which is at hand whichever API a request is for.

use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{Handler, Mediator};

/// Entries before those that nobody has any more are looked for.
const FEW: usize = 64;

static BLOCKS: LazyLock<Common<Mediator>> = LazyLock::new(Common::default);
static HANDLERS: LazyLock<Common<Handler>> = LazyLock::new(Common::default);

/// The block of those that are like this one that is kept.
pub(crate) fn block(block: Arc<[Mediator]>) -> Arc<[Mediator]> {
    BLOCKS.one_of(block)
}

/// The handlers of those that are like these that are kept.
pub(crate) fn handlers(handlers: Vec<Handler>) -> Arc<[Handler]> {
    HANDLERS.one_of(handlers.into())
}

/// Lists without two that are alike. What nobody has any more goes by and by.
struct Common<T> {
    hasher: DefaultHashBuilder,
    table: Mutex<Table<T>>,
}

struct Table<T> {
    lists: HashTable<Weak<[T]>>,
    /// How many there may be before those that nobody has any more go.
    most: usize,
}

impl<T> Default for Common<T> {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            table: Mutex::new(Table {
                lists: HashTable::new(),
                most: FEW,
            }),
        }
    }
}

impl<T: Hash + PartialEq> Common<T> {
    fn one_of(&self, list: Arc<[T]>) -> Arc<[T]> {
        // Some are not even like themselves.
        if !alike(&list, &list) {
            return list;
        }
        let hash = self.hasher.hash_one(&*list);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |other: &Weak<[T]>| other.upgrade().is_some_and(|other| alike(&other, &list));
        if let Some(found) = table.lists.find(hash, is).and_then(Weak::upgrade) {
            return found;
        }
        let again = |list: &Weak<[T]>| match list.upgrade() {
            Some(list) => self.hasher.hash_one(&*list),
            None => 0,
        };
        if table.lists.len() >= table.most {
            table.lists.retain(|list| list.strong_count() > 0);
            table.lists.shrink_to_fit(again);
            table.most = (table.lists.len() * 2).max(FEW);
        }
        table
            .lists
            .insert_unique(hash, Arc::downgrade(&list), again);
        list
    }
}

fn alike<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &[u32]) -> Arc<[u32]> {
        Arc::from(numbers)
    }

    #[test]
    fn what_is_alike_is_one() {
        let common = Common::default();
        let one = common.one_of(list(&[1, 2]));
        assert!(Arc::ptr_eq(&one, &common.one_of(list(&[1, 2]))));
        assert!(!Arc::ptr_eq(&one, &common.one_of(list(&[2, 1]))));
        assert!(common.one_of(list(&[])).is_empty());
    }

    #[test]
    fn what_nobody_has_goes() {
        let common = Common::default();
        let kept = common.one_of(list(&[0]));
        for number in 1..10_000 {
            common.one_of(list(&[number]));
        }
        assert!(common.table.lock().unwrap().lists.len() <= FEW);
        assert!(Arc::ptr_eq(&kept, &common.one_of(list(&[0]))));
    }

    #[test]
    fn many_that_live_are_all_found() {
        let common = Common::default();
        let kept: Vec<_> = (0..1000).map(|n| common.one_of(list(&[n]))).collect();
        for (number, kept) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(kept, &common.one_of(list(&[number]))));
        }
    }
}
