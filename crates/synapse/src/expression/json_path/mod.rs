//! JSONPath as `json-eval()` takes it: the dialect of the original engine's library, in which
//! names may hold hyphens and a path that names one place gives a value, any other a list.
//!
//! `$`, `.name`, `['name']`, `[n]`, `[a,b]`, `[from:to]`, `*`, `..`, `[?(@.name op literal)]` with
//! `== != < <= > >=`, `&&` between them, `[?(@.name)]`, and `.length()`.

mod edit;
mod parse;

use serde_json::Value;

use crate::message::json;

/// Values that one path may look at.
const MAX_VISITS: usize = 1_000_000;

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct JsonPath {
    steps: Vec<Step>,
    /// Names one place at most.
    definite: bool,
}

#[derive(Clone, Debug, PartialEq, Hash)]
enum Step {
    Names(Vec<String>),
    Indices(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    All,
    /// `..`: the value and all below it.
    Below,
    Filter(Vec<Test>),
    Length,
}

/// One condition of a filter.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Test {
    path: Vec<Step>,
    /// `None`: it has to be there.
    is: Option<(Comparison, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Hash)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// `Ok(None)` where a path that names one place leads nowhere, `Err` where it would take more
    /// than one path may.
    pub(super) fn read(&self, root: &Value) -> Result<Option<Value>, TooMuch> {
        let mut visits = 0;
        let found = walk(&self.steps, root, &mut visits);
        for value in &found {
            weigh(value, &mut visits);
        }
        if visits > MAX_VISITS {
            return Err(TooMuch);
        }
        if self.definite {
            return Ok(found.into_iter().next().map(Found::into_value));
        }
        let values = found.into_iter().map(Found::into_value).collect();
        Ok(Some(Value::Array(values)))
    }
}

/// A path looks at more values than one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// A value of the document, or one that was computed.
enum Found<'v> {
    There(&'v Value),
    Length(usize),
}

impl Found<'_> {
    fn into_value(self) -> Value {
        match self {
            Self::There(value) => value.clone(),
            Self::Length(length) => length.into(),
        }
    }
}

/// Counts a value with all below it, until it is too much.
fn weigh(found: &Found<'_>, visits: &mut usize) {
    let mut open = match found {
        Found::There(value) => vec![*value],
        Found::Length(_) => Vec::new(),
    };
    while let Some(value) = open.pop() {
        *visits += 1;
        if *visits > MAX_VISITS {
            return;
        }
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            // Long texts count, too.
            Value::String(text) => *visits += text.len() / 64,
            _ => {}
        }
    }
}

fn walk<'v>(steps: &[Step], root: &'v Value, visits: &mut usize) -> Vec<Found<'v>> {
    let mut at = vec![root];
    for (index, step) in steps.iter().enumerate() {
        if *step == Step::Length {
            // The last step, or it leads nowhere.
            if index + 1 < steps.len() {
                return Vec::new();
            }
            let lengths = at.into_iter().filter_map(length);
            return lengths.map(Found::Length).collect();
        }
        let mut found = Vec::new();
        for value in at {
            let before = found.len();
            reach(step, value, &mut found, visits);
            // What is looked for counts where it is not found, too.
            *visits += step.selectors().max(found.len() - before);
            if *visits > MAX_VISITS {
                return Vec::new();
            }
        }
        at = found;
    }
    at.into_iter().map(Found::There).collect()
}

impl Step {
    /// How much it looks for in one value.
    fn selectors(&self) -> usize {
        match self {
            Self::Names(names) => names.len(),
            Self::Indices(indices) => indices.len(),
            _ => 1,
        }
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => Some(items.len()),
        Value::Object(members) => Some(members.len()),
        Value::String(_) => json::as_text(value).map(|text| text.chars().count()),
        _ => None,
    }
}

fn reach<'v>(step: &Step, value: &'v Value, found: &mut Vec<&'v Value>, visits: &mut usize) {
    match (step, value) {
        (Step::Names(names), Value::Object(members)) => {
            found.extend(names.iter().filter_map(|name| members.get(name)));
        }
        (Step::Indices(indices), Value::Array(items)) => {
            let index = |index: &i64| {
                let index = if *index < 0 {
                    index.checked_add(i64::try_from(items.len()).ok()?)?
                } else {
                    *index
                };
                items.get(usize::try_from(index).ok()?)
            };
            found.extend(indices.iter().filter_map(index));
        }
        (Step::Slice(from, to), Value::Array(items)) => {
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let bound = |bound: Option<i64>, absent: i64| {
                let bound = bound.unwrap_or(absent);
                let bound = if bound < 0 {
                    bound.saturating_add(length)
                } else {
                    bound
                };
                usize::try_from(bound.clamp(0, length)).unwrap_or(0)
            };
            let (from, to) = (bound(*from, 0), bound(*to, length));
            found.extend(items.get(from..to).unwrap_or_default());
        }
        (Step::All, Value::Array(items)) => found.extend(items),
        (Step::All, Value::Object(members)) => found.extend(members.values()),
        (Step::Below, value) => {
            let mut open = vec![value];
            while let Some(next) = open.pop() {
                *visits += 1;
                if *visits > MAX_VISITS {
                    return;
                }
                found.push(next);
                match next {
                    Value::Array(items) => open.extend(items.iter().rev()),
                    Value::Object(members) => {
                        let values: Vec<_> = members.values().collect();
                        open.extend(values.into_iter().rev());
                    }
                    _ => {}
                }
            }
        }
        (Step::Filter(tests), Value::Array(items)) => {
            for item in items {
                if tests.iter().all(|test| test.holds(item, visits)) {
                    found.push(item);
                }
            }
        }
        (Step::Filter(tests), value @ Value::Object(_))
            if tests.iter().all(|test| test.holds(value, visits)) =>
        {
            found.push(value);
        }
        _ => {}
    }
}

impl Test {
    fn holds(&self, value: &Value, visits: &mut usize) -> bool {
        let found = walk(&self.path, value, visits);
        let Some((comparison, expected)) = &self.is else {
            return !found.is_empty();
        };
        let Some(found) = found.into_iter().next() else {
            return *comparison == Comparison::NotEqual;
        };
        let length;
        let found = match found {
            Found::There(value) => value,
            Found::Length(count) => {
                length = Value::from(count);
                &length
            }
        };
        let order = match (json::as_number(found), json::as_number(expected)) {
            (Some(found), Some(expected)) => found.partial_cmp(&expected),
            _ => json::as_text(found)
                .zip(json::as_text(expected))
                .map(|(found, expected)| found.cmp(expected)),
        };
        let equal = order.map_or(found == expected, std::cmp::Ordering::is_eq);
        match comparison {
            Comparison::Equal => equal,
            Comparison::NotEqual => !equal,
            Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(path: &str) -> Option<Value> {
        let document = json!({
            "a": {"b-c": 1, "d": [10, 20, 30]},
            "list": [{"t": "C", "n": 1}, {"t": "D", "n": 2}, {"n": 3}],
            "odd name": null
        });
        JsonPath::parse(path).unwrap().read(&document).unwrap()
    }

    #[test]
    fn a_path_to_one_place_gives_a_value() {
        assert_eq!(read("$.a.b-c"), Some(json!(1)));
        assert_eq!(read("a.d[1]"), Some(json!(20)));
        assert_eq!(read("$.a.d[-1]"), Some(json!(30)));
        assert_eq!(read("$['odd name']"), Some(json!(null)));
        assert_eq!(read("$.a.d.length()"), Some(json!(3)));
        assert_eq!(read("$.nowhere.b"), None);
        assert_eq!(read("$").unwrap()["a"]["b-c"], 1);
    }

    #[test]
    fn other_paths_give_lists() {
        assert_eq!(read("$..n"), Some(json!([1, 2, 3])));
        assert_eq!(read("$.list[*].t"), Some(json!(["C", "D"])));
        assert_eq!(read("$.list[?(@.t == 'C')].n"), Some(json!([1])));
        assert_eq!(read("$.list[?(@.n >= 2 && @.t)].n"), Some(json!([2])));
        assert_eq!(read("$.a.d[0:2]"), Some(json!([10, 20])));
        assert_eq!(read("$.a.d[0,2]"), Some(json!([10, 30])));
        assert_eq!(read("$.a['b-c','x']"), Some(json!([1])));
    }

    #[test]
    fn what_is_not_executed_is_refused() {
        for path in [
            "$.a[(@.length-1)]",
            "$.a.max()",
            "",
            "$.a[",
            "$.",
            "$x",
            "$[?(@.a =~ /x/)]",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_repeats_itself_is_bounded_before_it_is_made() {
        let thousand = format!("[{}]", vec!["0"; 1000].join(","));
        let path = JsonPath::parse(&format!("${}", thousand.repeat(4))).unwrap();
        assert_eq!(path.read(&json!([[[[1]]]])), Err(TooMuch));
        let names = format!("$..[{}]", vec!["'x'"; 10_000].join(","));
        let path = JsonPath::parse(&names).unwrap();
        assert_eq!(path.read(&json!(vec![json!({}); 1000])), Err(TooMuch));
    }

    #[test]
    fn filters_inside_each_other_are_bounded() {
        let nested = |depth: usize| format!("$.a{}{}", "[?(@.b".repeat(depth), ")]".repeat(depth));
        assert!(JsonPath::parse(&nested(16)).is_ok());
        let error = JsonPath::parse(&nested(10_000)).unwrap_err();
        assert!(error.reason.contains("more than 16 deep"), "{error}");
    }

    #[test]
    fn a_path_that_would_take_too_much_is_told() {
        let mut value = json!("x".repeat(1_000_000));
        for _ in 0..100 {
            value = json!([value]);
        }
        assert_eq!(JsonPath::parse("$..*").unwrap().read(&value), Err(TooMuch));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[$.a-c\\[\\]'*:?()@=&0-9 ,-]{0,30}") {
            if let Ok(path) = JsonPath::parse(&text) {
                let _ = path.read(&json!({"a": [{"b": 1}, "c"]}));
            }
        }
    }
}
