//! Reading expressions: tokens, then precedence by recursive descent with a depth limit.

use std::fmt;

use super::{Comparison, Expression, ExpressionError, Scope};

/// Names that the original computes and this engine does not.
const COMPUTED: [&str; 4] = ["SYSTEM_DATE", "From", "Action", "FAULT"];

pub(super) fn parse(text: &str) -> Result<Expression, ExpressionError> {
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
