//! Lists in parts: `limit` and an opaque `after`. Pure.

use artifact::Page;
use kit::problem::Problem;

use crate::parameters::{Parameters, bad};

const MOST: u64 = 1000;
const DEFAULT: u64 = 100;

/// The part of a list that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The key of the last item of the part before.
    pub(crate) after: Option<String>,
    /// 1 to 1000.
    pub(crate) limit: usize,
}

impl Part {
    pub(crate) fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let limit = parameters.between("limit", 1..=MOST)?.unwrap_or(DEFAULT);
        let key = |cursor: &str| {
            let bytes = hex::decode(cursor).ok()?;
            String::from_utf8(bytes).ok().filter(|key| !key.is_empty())
        };
        let after = match parameters.text("after")? {
            Some(cursor) => Some(key(cursor).ok_or_else(not_ours)?),
            None => None,
        };
        Ok(Self {
            after,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }

    /// This part of a list that is all there. Its keys are what it is sorted by.
    pub(crate) fn cut<T>(&self, mut list: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        list.sort_by_cached_key(&key);
        if let Some(after) = &self.after {
            let first = list.partition_point(|item| key(item) <= *after);
            list.drain(..first);
        }
        self.page(list, key)
    }

    /// The list, which begins with this part, cut to its length.
    pub(crate) fn page<T>(&self, mut list: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        let more = list.len() > self.limit;
        list.truncate(self.limit);
        let last = list.last().filter(|_| more);
        let next = last.map(|item| hex::encode(key(item)));
        Page { list, next }
    }
}

/// The cursor names nothing that this list could have given.
pub(crate) fn not_ours() -> Problem {
    bad("after", "is none that this list gave as next")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    fn part(query: &str) -> Result<Part, Problem> {
        let uri = format!("/x?{query}");
        Part::of(&Parameters::of(
            &TestRequest::with_uri(&uri).to_http_request(),
        ))
    }

    #[test]
    fn bad_parameters_are_named() {
        for (query, detail) in [
            (
                "limit=0",
                "limit: \"0\" is not a whole number from 1 to 1000",
            ),
            (
                "limit=1001",
                "limit: \"1001\" is not a whole number from 1 to 1000",
            ),
            ("after=", "after: is none that this list gave as next"),
            ("after=xyz", "after: is none that this list gave as next"),
            ("after=ff", "after: is none that this list gave as next"),
        ] {
            assert_eq!(part(query).unwrap_err().detail, detail);
        }
        let expected = Part {
            after: None,
            limit: 100,
        };
        assert_eq!(part("").unwrap(), expected);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            keys in prop::collection::btree_set("[a-z/: ä]{1,8}", 0..40), limit in 1..9_usize,
        ) {
            let all: Vec<String> = keys.into_iter().collect();
            let mut walked = Vec::new();
            let mut query = format!("limit={limit}");
            loop {
                let mut shuffled = all.clone();
                shuffled.reverse();
                let page = part(&query).unwrap().cut(shuffled, Clone::clone);
                prop_assert!(page.list.len() <= limit);
                walked.extend(page.list);
                match page.next {
                    Some(next) => query = format!("limit={limit}&after={next}"),
                    None => break,
                }
            }
            prop_assert_eq!(walked, all);
        }
    }
}
