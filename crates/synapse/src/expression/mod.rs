//! Expressions over message properties: the part of XPath that gateway artifacts use on them.
//!
//! Literals, numbers, `get-property([scope,] name)`, `$ctx:` `$axis2:` `$trp:` `$url:` variables,
//! `fn:concat`/`concat`, `boolean`, `not`, `string`, `true()`, `false()`, comparisons, `and`, `or`.
//! Whatever looks into the message body is refused here with the reason, and reported.

mod parse;

/// Where a property lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `default`, also called synapse scope.
    Default,
    Axis2,
    /// Headers of the current message.
    Transport,
    Operation,
    Axis2Client,
    /// Query parameters of the request (`$url:`).
    Url,
}

impl Scope {
    /// The scope of a `scope` attribute or of `get-property`'s first argument.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "default" | "synapse" => Some(Self::Default),
            "axis2" => Some(Self::Axis2),
            "transport" => Some(Self::Transport),
            "operation" => Some(Self::Operation),
            "axis2-client" => Some(Self::Axis2Client),
            _ => None,
        }
    }
}

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Literal(String),
    Number(f64),
    Boolean(bool),
    Property(Scope, String),
    Concat(Vec<Expression>),
    Text(Box<Expression>),
    Truth(Box<Expression>),
    Not(Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What an expression evaluates to. `Null` is a property that is not there.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// An expression that this engine does not execute, or that is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ExpressionError {
    pub reason: String,
}

impl Value {
    /// XPath's string value; null where there is no value.
    #[must_use]
    pub fn into_text(self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number_text(number)),
            Self::Boolean(flag) => Some(flag.to_string()),
        }
    }

    /// XPath's boolean value.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Boolean(flag) => *flag,
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Null => f64::NAN,
            Self::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
            Self::Number(number) => *number,
            Self::Boolean(flag) => f64::from(u8::from(*flag)),
        }
    }
}

fn number_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned()
    } else {
        format!("{number}")
    }
}

impl Expression {
    /// Compiles the text of an `expression`, `source` or `xpath` attribute.
    ///
    /// # Errors
    /// When it uses what this engine does not execute; the reason names it.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        parse::parse(text)
    }

    /// Evaluates over the properties that `lookup` finds.
    pub fn evaluate(&self, lookup: &dyn Fn(Scope, &str) -> Option<String>) -> Value {
        match self {
            Self::Literal(text) => Value::Text(text.clone()),
            Self::Number(number) => Value::Number(*number),
            Self::Boolean(flag) => Value::Boolean(*flag),
            Self::Property(scope, name) => lookup(*scope, name).map_or(Value::Null, Value::Text),
            Self::Concat(parts) => Value::Text(
                parts
                    .iter()
                    .filter_map(|part| part.evaluate(lookup).into_text())
                    .collect(),
            ),
            Self::Text(inner) => {
                Value::Text(inner.evaluate(lookup).into_text().unwrap_or_default())
            }
            Self::Truth(inner) => Value::Boolean(inner.evaluate(lookup).truth()),
            Self::Not(inner) => Value::Boolean(!inner.evaluate(lookup).truth()),
            Self::Compare(comparison, left, right) => Value::Boolean(compare(
                *comparison,
                &left.evaluate(lookup),
                &right.evaluate(lookup),
            )),
            Self::And(left, right) => {
                Value::Boolean(left.evaluate(lookup).truth() && right.evaluate(lookup).truth())
            }
            Self::Or(left, right) => {
                Value::Boolean(left.evaluate(lookup).truth() || right.evaluate(lookup).truth())
            }
        }
    }
}

/// XPath 1.0, section 3.4, for values that are no node sets; an absent property is an empty set,
/// which equals nothing and differs from nothing.
fn compare(comparison: Comparison, left: &Value, right: &Value) -> bool {
    let equal = match (left, right) {
        (Value::Boolean(_), _) | (_, Value::Boolean(_)) => left.truth() == right.truth(),
        (Value::Null, _) | (_, Value::Null) => return false,
        (Value::Number(_), _) | (_, Value::Number(_)) => left.number() == right.number(),
        (Value::Text(left), Value::Text(right)) => left == right,
    };
    match comparison {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
        Comparison::Less => left.number() < right.number(),
        Comparison::LessOrEqual => left.number() <= right.number(),
        Comparison::Greater => left.number() > right.number(),
        Comparison::GreaterOrEqual => left.number() >= right.number(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(scope: Scope, name: &str) -> Option<String> {
        match (scope, name) {
            (Scope::Default, "AM_KEY_TYPE") => Some("PRODUCTION".into()),
            (Scope::Default, "n") => Some("10".into()),
            (Scope::Transport, "X-A") => Some(String::new()),
            (Scope::Axis2, "HTTP_METHOD") => Some("GET".into()),
            _ => None,
        }
    }

    fn text(expression: &str) -> Option<String> {
        Expression::parse(expression)
            .unwrap()
            .evaluate(&lookup)
            .into_text()
    }

    #[test]
    fn reads_properties_of_each_scope() {
        assert_eq!(text("$ctx:AM_KEY_TYPE").as_deref(), Some("PRODUCTION"));
        assert_eq!(
            text("get-property('AM_KEY_TYPE')").as_deref(),
            Some("PRODUCTION")
        );
        assert_eq!(
            text("get-property(\"axis2\", 'HTTP_METHOD')").as_deref(),
            Some("GET")
        );
        assert_eq!(text("$ctx:not-there"), None);
        assert_eq!(
            text("fn:concat($axis2:HTTP_METHOD, '_', $ctx:missing, 1.5)").as_deref(),
            Some("GET_1.5")
        );
    }

    #[test]
    fn compares_as_xpath_does() {
        for (expression, expected) in [
            ("$ctx:n = 10", "true"),
            ("$ctx:n > 9 and $ctx:n < 11", "true"),
            ("$ctx:n = '10.0'", "false"),
            ("boolean($trp:X-A) = false()", "true"),
            ("boolean($ctx:missing)", "false"),
            ("not($ctx:missing = 'x') or true()", "true"),
            ("$ctx:missing != 'x'", "false"),
            ("('a' = 'a')", "true"),
        ] {
            assert_eq!(text(expression).as_deref(), Some(expected), "{expression}");
        }
    }

    #[test]
    fn refuses_with_a_reason_what_it_does_not_execute() {
        for (expression, reason) in [
            ("//m0:getQuote", "the message body"),
            ("$body", "$body"),
            ("$body/*", "the message body"),
            ("json-eval($.a.b)", "$.a.b"),
            ("$ctx:", "names no property"),
            ("'open", "closing quote"),
            ("", "ends too early"),
            ("get-property('registry', 'x')", "scope \"registry\""),
            ("count(//a)", "the message body"),
        ] {
            let error = Expression::parse(expression).unwrap_err().to_string();
            assert!(error.contains(reason), "{expression}: {error}");
        }
        assert!(Expression::parse(&"(".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[$a-c:'\"()=<>!, /.0-9-]{0,40}") {
            let _ = Expression::parse(&text);
        }
    }
}
