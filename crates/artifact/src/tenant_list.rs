//! Lists of tenants as API Manager writes them: `*`, `a.example,b.example`, `*,!c.example`.

use std::collections::BTreeSet;
use std::fmt;

use crate::SUPER_TENANT;

/// The longest list that is read, bytes: it has to fit into the address of a request.
const MAX_BYTES: usize = 16 * 1024;
/// The longest name of a tenant, as in the database.
const MAX_NAME: usize = 255;

/// Some of the tenants, those that nobody knows yet included. `carbon.super` is always one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TenantList {
    /// Everyone but those excluded.
    all: bool,
    named: BTreeSet<String>,
    excluded: BTreeSet<String>,
}

/// Why a text is no list of tenants. No value is repeated: it may come from a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantListError {
    #[error("has an empty item; the items stand between commas")]
    Empty,
    #[error("has an item with a blank or a control character in it")]
    Blank,
    #[error("has an item of more than {MAX_NAME} bytes")]
    LongName,
    #[error("is longer than {MAX_BYTES} bytes")]
    Long,
    #[error("excludes every tenant (!*)")]
    ExcludesAll,
    #[error("excludes carbon.super, which is always one of them")]
    ExcludesSuperTenant,
    #[error("names a tenant and excludes it")]
    Both,
    #[error("says which tenants are excluded, but not from what; begin with *")]
    ExcludedOfNone,
}

impl TenantList {
    /// Every tenant.
    #[must_use]
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Reads a list whose items stand between commas; an empty text names nobody but `carbon.super`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, TenantListError> {
        if text.len() > MAX_BYTES {
            return Err(TenantListError::Long);
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::of(text.split(','))
    }

    /// The list of these items.
    ///
    /// # Errors
    /// When one of them, or all together, are none.
    pub fn of<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, TenantListError> {
        let mut list = Self::default();
        for item in items {
            let item = item.trim();
            let excluded = item.strip_prefix('!').map(str::trim);
            match (excluded, excluded.unwrap_or(item)) {
                (_, "") => return Err(TenantListError::Empty),
                (_, name) if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                    return Err(TenantListError::Blank);
                }
                (_, name) if name.len() > MAX_NAME => return Err(TenantListError::LongName),
                (Some(_), "*") => return Err(TenantListError::ExcludesAll),
                (Some(_), SUPER_TENANT) => return Err(TenantListError::ExcludesSuperTenant),
                (None, "*") => list.all = true,
                (Some(_), name) => drop(list.excluded.insert(name.to_owned())),
                (None, name) => drop(list.named.insert(name.to_owned())),
            }
        }
        if !list.named.is_disjoint(&list.excluded) {
            return Err(TenantListError::Both);
        }
        if !list.all && !list.excluded.is_empty() {
            return Err(TenantListError::ExcludedOfNone);
        }
        if list.all {
            list.named.clear();
        } else {
            list.named.remove(SUPER_TENANT);
        }
        Ok(list)
    }

    #[must_use]
    pub fn has(&self, tenant: &str) -> bool {
        tenant == SUPER_TENANT
            || if self.all {
                !self.excluded.contains(tenant)
            } else {
                self.named.contains(tenant)
            }
    }

    /// Whether nobody is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all && self.excluded.is_empty()
    }

    /// Takes one more in.
    pub fn add(&mut self, tenant: &str) {
        if self.all {
            self.excluded.remove(tenant);
        } else if tenant != SUPER_TENANT {
            self.named.insert(tenant.to_owned());
        }
    }

    /// Its items, which [`TenantList::of`] reads.
    #[must_use]
    pub fn items(&self) -> Vec<String> {
        let first = if self.all { "*" } else { SUPER_TENANT };
        let excluded = self.excluded.iter().map(|name| format!("!{name}"));
        std::iter::once(first.to_owned())
            .chain(self.named.iter().cloned())
            .chain(excluded)
            .collect()
    }
}

/// As [`TenantList::parse`] reads it.
impl fmt::Display for TenantList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.items().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_is_in_it_and_reads_what_it_writes() {
        for (text, written, inside, outside) in [
            ("", "carbon.super", &["carbon.super"][..], &["a", "*"][..]),
            ("*", "*", &["carbon.super", "a"], &[]),
            (
                " b ,a,carbon.super",
                "carbon.super,a,b",
                &["a", "b"],
                &["c"],
            ),
            ("* , ! c,!b", "*,!b,!c", &["a", "carbon.super"], &["b", "c"]),
        ] {
            let list = TenantList::parse(text).unwrap();
            assert_eq!(list.to_string(), written);
            assert_eq!(TenantList::parse(written).unwrap(), list);
            assert!(inside.iter().all(|tenant| list.has(tenant)), "{text}");
            assert!(!outside.iter().any(|tenant| list.has(tenant)), "{text}");
            assert_eq!(list.is_all(), text == "*");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        use TenantListError::*;
        let long = "a".repeat(MAX_NAME + 1);
        for (text, error) in [
            ("a,,b", Empty),
            ("!", Empty),
            ("a b", Blank),
            (long.as_str(), LongName),
            ("*,!*", ExcludesAll),
            ("*,!carbon.super", ExcludesSuperTenant),
            ("a,*,!a", Both),
            ("a,!b", ExcludedOfNone),
        ] {
            assert_eq!(TenantList::parse(text), Err(error), "{text}");
        }
        assert_eq!(TenantList::parse(&"a,".repeat(MAX_BYTES)), Err(Long));
    }

    #[test]
    fn grows() {
        let mut list = TenantList::parse("a").unwrap();
        list.add("b");
        list.add(SUPER_TENANT);
        assert_eq!(list.to_string(), "carbon.super,a,b");
        let mut list = TenantList::parse("*,!b,!c").unwrap();
        list.add("b");
        list.add("a");
        assert_eq!(list.to_string(), "*,!c");
    }
}
