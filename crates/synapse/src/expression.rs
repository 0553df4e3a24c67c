//! Expressions over message properties: the part of XPath that gateway artifacts use on them.
//!
//! Literals, numbers, `get-property([scope,] name)`, `$ctx:` `$axis2:` `$trp:` `$url:` variables,
//! `fn:concat`/`concat`, `boolean`, `not`, `string`, `true()`, `false()`, comparisons, `and`, `or`.
//! Whatever looks into the message body is refused here with the reason, and reported.

use std::fmt;

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

/// Names that the original computes and this engine does not.
const COMPUTED: [&str; 4] = ["SYSTEM_DATE", "From", "Action", "FAULT"];

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
        let tokens = tokenize(text)?;
        let mut parser = Parser {
            tokens: &tokens,
            next: 0,
            depth: 0,
        };
        let expression = parser.or()?;
        match parser.peek() {
            None => Ok(expression),
            Some(token) => Err(unsupported(&token.to_string())),
        }
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

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Literal(String),
    Number(f64),
    Name(String),
    Variable(String),
    Open,
    Close,
    Comma,
    Compare(Comparison),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => write!(f, "'{text}'"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Open => f.write_str("("),
            Self::Close => f.write_str(")"),
            Self::Comma => f.write_str(","),
            Self::Compare(_) => f.write_str("a comparison"),
        }
    }
}

fn unsupported(what: &str) -> ExpressionError {
    ExpressionError {
        reason: format!("the expression uses {what}"),
    }
}

fn malformed(what: &str) -> ExpressionError {
    ExpressionError {
        reason: format!("the expression is not well-formed: {what}"),
    }
}

fn tokenize(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let take = |test: &dyn Fn(char) -> bool, from: usize| {
            rest[from..]
                .find(|c| !test(c))
                .map_or(rest.len(), |length| from + length)
        };
        let (token, length) = match first {
            '\'' | '"' => {
                let end = rest[1..]
                    .find(first)
                    .ok_or_else(|| malformed("a literal without its closing quote"))?;
                (Token::Literal(rest[1..=end].to_owned()), end + 2)
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '=' => (Token::Compare(Comparison::Equal), 1),
            '!' if rest.starts_with("!=") => (Token::Compare(Comparison::NotEqual), 2),
            '<' if rest.starts_with("<=") => (Token::Compare(Comparison::LessOrEqual), 2),
            '>' if rest.starts_with(">=") => (Token::Compare(Comparison::GreaterOrEqual), 2),
            '<' => (Token::Compare(Comparison::Less), 1),
            '>' => (Token::Compare(Comparison::Greater), 1),
            '$' => {
                let end = take(&is_name, 1);
                (Token::Variable(rest[1..end].to_owned()), end)
            }
            '0'..='9' => {
                let end = take(&|c| c.is_ascii_digit() || c == '.', 0);
                let number = rest[..end].parse().map_err(|_| malformed("a number"))?;
                (Token::Number(number), end)
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = take(&is_name, 0);
                (Token::Name(rest[..end].to_owned()), end)
            }
            '/' | '*' | '@' | '.' => return Err(unsupported("the message body")),
            other => return Err(unsupported(&format!("{other:?}"))),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(found)) if found == name);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), ExpressionError> {
        match self.take() {
            Some(found) if found == *token => Ok(()),
            Some(found) => Err(malformed(&format!("{token} expected, found {found}"))),
            None => Err(malformed(&format!("{token} expected, found the end"))),
        }
    }

    fn or(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > 32 {
            return Err(malformed("more than 32 levels"));
        }
        let mut left = self.and()?;
        while self.takes_name("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.comparison()?;
        while self.takes_name("and") {
            left = Expression::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, ExpressionError> {
        let left = self.primary()?;
        let Some(Token::Compare(comparison)) = self.peek() else {
            return Ok(left);
        };
        let comparison = *comparison;
        self.next += 1;
        let right = self.primary()?;
        Ok(Expression::Compare(
            comparison,
            Box::new(left),
            Box::new(right),
        ))
    }

    fn primary(&mut self) -> Result<Expression, ExpressionError> {
        match self.take() {
            None => Err(malformed("it ends too early")),
            Some(Token::Literal(text)) => Ok(Expression::Literal(text)),
            Some(Token::Number(number)) => Ok(Expression::Number(number)),
            Some(Token::Variable(name)) => variable(&name),
            Some(Token::Open) => {
                let inner = self.or()?;
                self.expect(&Token::Close)?;
                Ok(inner)
            }
            Some(Token::Name(name)) if matches!(self.peek(), Some(Token::Open)) => {
                let arguments = self.arguments()?;
                function(&name, arguments)
            }
            Some(Token::Name(_)) => Err(unsupported("the message body")),
            Some(other) => Err(malformed(&format!("unexpected {other}"))),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, ExpressionError> {
        self.expect(&Token::Open)?;
        let mut arguments = Vec::new();
        if matches!(self.peek(), Some(Token::Close)) {
            self.next += 1;
            return Ok(arguments);
        }
        loop {
            arguments.push(self.or()?);
            match self.take() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(arguments),
                _ => return Err(malformed("an argument list without its end")),
            }
        }
    }
}

fn variable(name: &str) -> Result<Expression, ExpressionError> {
    let scope = match name.split_once(':') {
        Some(("ctx", _)) => Scope::Default,
        Some(("axis2", _)) => Scope::Axis2,
        Some(("trp", _)) => Scope::Transport,
        Some(("url", _)) => Scope::Url,
        Some(("operation", _)) => Scope::Operation,
        _ => return Err(unsupported(&format!("${name}"))),
    };
    let (_, property) = name.split_once(':').unwrap_or_default();
    if property.is_empty() {
        return Err(malformed(&format!("${name} names no property")));
    }
    Ok(Expression::Property(scope, property.to_owned()))
}

fn function(name: &str, arguments: Vec<Expression>) -> Result<Expression, ExpressionError> {
    let count = arguments.len();
    let local = name.rsplit(':').next().unwrap_or(name);
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().map(Box::new);
    match (local, count) {
        ("get-property", 1) => match next().map(|argument| *argument) {
            Some(Expression::Literal(property)) if COMPUTED.contains(&property.as_str()) => {
                Err(unsupported(&format!("get-property('{property}')")))
            }
            Some(Expression::Literal(property)) => {
                Ok(Expression::Property(Scope::Default, property))
            }
            _ => Err(unsupported("get-property with a computed name")),
        },
        ("get-property", 2) => match (next().map(|a| *a), next().map(|a| *a)) {
            (Some(Expression::Literal(scope)), Some(Expression::Literal(property))) => {
                Scope::parse(&scope)
                    .map(|scope| Expression::Property(scope, property))
                    .ok_or_else(|| unsupported(&format!("get-property of scope {scope:?}")))
            }
            _ => Err(unsupported("get-property with a computed name")),
        },
        ("concat", 2..) => Ok(Expression::Concat(arguments.collect())),
        ("boolean", 1) => next().map(Expression::Truth).ok_or_else(|| malformed("")),
        ("not", 1) => next().map(Expression::Not).ok_or_else(|| malformed("")),
        ("string", 1) => next().map(Expression::Text).ok_or_else(|| malformed("")),
        ("true", 0) => Ok(Expression::Boolean(true)),
        ("false", 0) => Ok(Expression::Boolean(false)),
        _ => Err(unsupported(&format!("{name}() with {count} argument(s)"))),
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
