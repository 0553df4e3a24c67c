//! Changing a document where a JSONPath leads.

use serde_json::Value;

use super::{Found, JsonPath, MAX_VISITS, Step, walk};

impl JsonPath {
    /// Names one place at most.
    pub(crate) fn is_definite(&self) -> bool {
        self.definite
    }

    pub(crate) fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    /// Changes each value that the path leads to. Whether there is any.
    pub(crate) fn edit(&self, root: &mut Value, change: &mut dyn FnMut(&mut Value)) -> bool {
        let places = self.places(root);
        for place in &places {
            if let Some(value) = root.pointer_mut(place) {
                change(value);
            }
        }
        !places.is_empty()
    }

    /// Takes each value out that the path leads to.
    pub(crate) fn remove(&self, root: &mut Value) {
        let mut places = self.places(root);
        // Later items of an array first, so that the others keep their places.
        places.reverse();
        for place in places {
            let Some((parent, key)) = place.rsplit_once('/') else {
                continue;
            };
            match root.pointer_mut(parent) {
                Some(Value::Array(items)) => {
                    if let Some(index) = key.parse().ok().filter(|index| *index < items.len()) {
                        items.remove(index);
                    }
                }
                Some(Value::Object(members)) => {
                    let key = key.replace("~1", "/").replace("~0", "~");
                    members.shift_remove(&key);
                }
                _ => {}
            }
        }
    }

    /// JSON pointers (RFC 6901) of what the path leads to, in document order, none twice.
    fn places(&self, root: &Value) -> Vec<String> {
        if self.steps.contains(&Step::Length) {
            return Vec::new();
        }
        let mut visits = 0;
        let found = walk(&self.steps, root, &mut visits);
        if visits > MAX_VISITS {
            return Vec::new();
        }
        let mut wanted: Vec<*const Value> = found
            .into_iter()
            .filter_map(|found| match found {
                Found::There(value) => Some(std::ptr::from_ref(value)),
                Found::Length(_) => None,
            })
            .collect();
        wanted.sort_unstable();
        let mut places = Vec::new();
        search(root, &wanted, &mut Vec::new(), &mut places);
        places
    }
}

/// A step of a JSON pointer.
#[derive(Clone, Copy)]
enum Key<'v> {
    Name(&'v str),
    Index(usize),
}

/// The reader of JSON bounds the depth.
fn search<'v>(
    value: &'v Value,
    wanted: &[*const Value],
    above: &mut Vec<Key<'v>>,
    places: &mut Vec<String>,
) {
    if wanted.binary_search(&std::ptr::from_ref(value)).is_ok() {
        let place = above.iter().map(|key| match key {
            Key::Name(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            Key::Index(index) => format!("/{index}"),
        });
        places.push(place.collect());
    }
    let mut below = |key, value: &'v Value| {
        above.push(key);
        search(value, wanted, above, places);
        above.pop();
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                below(Key::Index(index), item);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                below(Key::Name(name), member);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({"a": {"b/c": 1, "d": [10, 20, 30]}, "list": [{"n": 1}, {"n": 2}, {"n": 1}]})
    }

    #[test]
    fn values_are_changed_where_they_are() {
        let changed = |path: &str| {
            let mut value = document();
            let path = JsonPath::parse(path).unwrap();
            let found = path.edit(&mut value, &mut |value| *value = json!("x"));
            (found, value)
        };
        assert_eq!(changed("$.a['b/c']").1["a"]["b/c"], "x");
        assert_eq!(changed("$.a.d[-1]").1["a"]["d"], json!([10, 20, "x"]));
        assert_eq!(
            changed("$.list[*].n").1["list"],
            json!([{"n": "x"}, {"n": "x"}, {"n": "x"}])
        );
        assert_eq!(changed("$"), (true, json!("x")));
        assert_eq!(changed("$.nowhere"), (false, document()));
        assert_eq!(changed("$.a.d.length()"), (false, document()));
    }

    #[test]
    fn values_are_removed_and_the_others_keep_their_order() {
        let removed = |path: &str| {
            let mut value = document();
            JsonPath::parse(path).unwrap().remove(&mut value);
            value
        };
        assert_eq!(removed("$.a.d[0,2]")["a"]["d"], json!([20]));
        assert_eq!(removed("$.list[?(@.n == 1)]")["list"], json!([{"n": 2}]));
        assert_eq!(
            removed("$.a['b/c']").to_string(),
            r#"{"a":{"d":[10,20,30]},"list":[{"n":1},{"n":2},{"n":1}]}"#
        );
        assert_eq!(removed("$.nowhere"), document());
    }
}
