//! Parts of plans that are written alike, and are one in memory.
//!
//! API Manager renders the APIs of an installation from the same templates: their resources run the
//! same mediators, behind the same handlers. A gateway with thousands of APIs keeps one copy of
//! them, which is at hand whichever API a request is for.

use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{Handler, Mediator};

/// Entries before those that nobody has any more are looked for.
const FEW: usize = 64;

static BLOCKS: Common<Mediator> = Common::new();
static HANDLERS: Common<Handler> = Common::new();

/// The block of those that are like this one that is kept.
pub(crate) fn block(block: Arc<[Mediator]>) -> Arc<[Mediator]> {
    BLOCKS.one_of(block)
}

/// The handlers of those that are like these that are kept.
pub(crate) fn handlers(handlers: Vec<Handler>) -> Arc<[Handler]> {
    HANDLERS.one_of(handlers.into())
}

/// Lists without two that are alike; they go when nobody has them any more.
struct Common<T>(Mutex<Option<Table<T>>>);

struct Table<T> {
    lists: HashTable<Weak<[T]>>,
    hasher: DefaultHashBuilder,
    /// How many there may be before those that nobody has any more go.
    most: usize,
}

impl<T: Hash + PartialEq> Common<T> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn one_of(&self, list: Arc<[T]>) -> Arc<[T]> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get_or_insert_with(Table::default).one_of(list)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            lists: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            most: FEW,
        }
    }
}

impl<T: Hash + PartialEq> Table<T> {
    fn one_of(&mut self, list: Arc<[T]>) -> Arc<[T]> {
        let hash = self.hasher.hash_one(&*list);
        let alike = |other: &Weak<[T]>| other.upgrade().is_some_and(|other| *other == *list);
        if let Some(found) = self.lists.find(hash, alike).and_then(Weak::upgrade) {
            return found;
        }
        if self.lists.len() >= self.most {
            self.lists.retain(|list| list.strong_count() > 0);
            self.most = (self.lists.len() * 2).max(FEW);
        }
        let again = |list: &Weak<[T]>| match list.upgrade() {
            Some(list) => self.hasher.hash_one(&*list),
            None => 0,
        };
        self.lists.insert_unique(hash, Arc::downgrade(&list), again);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &[u32]) -> Arc<[u32]> {
        Arc::from(numbers)
    }

    #[test]
    fn what_is_alike_is_one() {
        let common = Common::new();
        let one = common.one_of(list(&[1, 2]));
        assert!(Arc::ptr_eq(&one, &common.one_of(list(&[1, 2]))));
        assert!(!Arc::ptr_eq(&one, &common.one_of(list(&[2, 1]))));
        assert!(common.one_of(list(&[])).is_empty());
    }

    #[test]
    fn what_nobody_has_goes() {
        let common = Common::new();
        let kept = common.one_of(list(&[0]));
        for number in 1..10_000 {
            common.one_of(list(&[number]));
        }
        let table = common.0.lock().unwrap();
        assert!(table.as_ref().unwrap().lists.len() <= FEW);
        drop(table);
        assert!(Arc::ptr_eq(&kept, &common.one_of(list(&[0]))));
    }

    #[test]
    fn many_that_live_are_all_found() {
        let common = Common::new();
        let kept: Vec<_> = (0..1000).map(|n| common.one_of(list(&[n]))).collect();
        for (number, kept) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(kept, &common.one_of(list(&[number]))));
        }
    }
}
