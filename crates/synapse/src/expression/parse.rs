//! Reading XPath: precedence by recursive descent with a depth limit.

use super::function::Function;
use super::path::{Axis, Path, Start, Step, Test};
use super::token::{Token, tokenize};
use super::{
    Constant, Expression, ExpressionError, Operator, Scope, beyond, malformed, unsupported,
};

/// Levels of brackets and the like.
const MAX_DEPTH: usize = 32;
/// Operators of one expression: each is a level for those who walk through it.
const MAX_OPERATORS: usize = 256;

pub(super) fn parse(
    text: &str,
    namespaces: &[(String, String)],
) -> Result<Expression, ExpressionError> {
    let tokens = tokenize(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        depth: 0,
        operators: 0,
        namespaces,
    };
    let expression = parser.or()?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => Err(malformed(&format!("unexpected {token}"))),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    depth: usize,
    operators: usize,
    namespaces: &'a [(String, String)],
}

type Parsed = Result<Expression, ExpressionError>;

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(found)) if found == name);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), ExpressionError> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(malformed(&match self.peek() {
            Some(found) => format!("{sign} expected, found {found}"),
            None => format!("{sign} expected, found the end"),
        }))
    }

    fn or(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(beyond("more than 32 levels"));
        }
        let found = self.chain(&[("or", Operator::Or)], Self::and);
        self.depth -= 1;
        found
    }

    fn and(&mut self) -> Parsed {
        self.chain(&[("and", Operator::And)], Self::equality)
    }

    fn equality(&mut self) -> Parsed {
        let operators = [("=", Operator::Equal), ("!=", Operator::NotEqual)];
        self.chain(&operators, Self::relation)
    }

    fn relation(&mut self) -> Parsed {
        let operators = [
            ("<", Operator::Less),
            ("<=", Operator::LessOrEqual),
            (">", Operator::Greater),
            (">=", Operator::GreaterOrEqual),
        ];
        self.chain(&operators, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        let operators = [("+", Operator::Plus), ("-", Operator::Minus)];
        self.chain(&operators, Self::product)
    }

    fn product(&mut self) -> Parsed {
        let operators = [
            ("*", Operator::Times),
            ("div", Operator::Divide),
            ("mod", Operator::Modulo),
        ];
        self.chain(&operators, Self::unary)
    }

    /// Operators of one precedence, from the left. Words are names where no operator can be.
    fn chain(
        &mut self,
        operators: &[(&str, Operator)],
        operand: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut left = operand(self)?;
        'more: loop {
            for (text, operator) in operators {
                if self.takes(text) || self.takes_name(text) {
                    self.operators += 1;
                    if self.operators > MAX_OPERATORS {
                        return Err(beyond("more than 256 operators"));
                    }
                    left = Expression::Binary(*operator, Box::new(left), Box::new(operand(self)?));
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Parsed {
        let mut negations = 0;
        while self.takes("-") {
            negations += 1;
        }
        let operand = self.chain(&[("|", Operator::Union)], Self::path)?;
        Ok(match negations {
            0 => operand,
            even if even % 2 == 0 => {
                let negated = Expression::Negated(Box::new(operand));
                Expression::Negated(Box::new(negated))
            }
            _ => Expression::Negated(Box::new(operand)),
        })
    }

    fn path(&mut self) -> Parsed {
        let start = match self.peek() {
            None => return Err(malformed("it ends too early")),
            Some(Token::Sign("/")) => {
                self.next += 1;
                if !self.begins_step() {
                    return Ok(path(Start::Root, Vec::new()));
                }
                let steps = self.steps(Vec::new())?;
                return Ok(path(Start::Root, steps));
            }
            Some(Token::Sign("//")) => {
                self.next += 1;
                let steps = self.steps(vec![Step::anywhere()])?;
                return Ok(path(Start::Root, steps));
            }
            Some(Token::Name(name)) if self.is_call(name) => None,
            Some(Token::Name(_) | Token::Sign("." | ".." | "@" | "*")) => Some(Start::Here),
            _ => None,
        };
        if let Some(start) = start {
            let steps = self.steps(Vec::new())?;
            return Ok(path(start, steps));
        }
        let primary = self.primary()?;
        let predicates = self.predicates()?;
        let steps = if self.takes("//") {
            self.steps(vec![Step::anywhere()])?
        } else if self.takes("/") {
            self.steps(Vec::new())?
        } else {
            Vec::new()
        };
        if predicates.is_empty() && steps.is_empty() {
            return Ok(primary);
        }
        if !primary.gives_nodes() {
            return Err(unsupported("a path into what is no part of the message"));
        }
        Ok(path(Start::Of(primary, predicates), steps))
    }

    /// Whether the name that comes next is a function's.
    fn is_call(&self, name: &str) -> bool {
        let called = matches!(self.tokens.get(self.next + 1), Some(Token::Sign("(")));
        called && !matches!(name, "text" | "node" | "comment" | "processing-instruction")
    }

    fn begins_step(&self) -> bool {
        matches!(
            self.peek(),
            Some(Token::Name(_) | Token::Sign("." | ".." | "@" | "*"))
        )
    }

    fn steps(&mut self, mut steps: Vec<Step>) -> Result<Vec<Step>, ExpressionError> {
        loop {
            steps.push(self.step()?);
            if self.takes("//") {
                steps.push(Step::anywhere());
            } else if !self.takes("/") {
                return Ok(steps);
            }
        }
    }

    fn step(&mut self) -> Result<Step, ExpressionError> {
        if self.takes(".") {
            return Ok(Step::plain(Axis::Itself));
        }
        if self.takes("..") {
            return Ok(Step::plain(Axis::Parent));
        }
        let axis = if self.takes("@") {
            Axis::Attribute
        } else if let (Some(Token::Name(name)), Some(Token::Sign("::"))) =
            (self.peek(), self.tokens.get(self.next + 1))
        {
            let axis = Axis::parse(name).ok_or_else(|| unsupported(&format!("axis {name}")))?;
            self.next += 2;
            axis
        } else {
            Axis::Child
        };
        let test = match self.take() {
            Some(Token::Sign("*")) => Test::Any,
            Some(Token::Name(name)) if self.is_sign("(") => {
                self.next += 1;
                let test = match name.as_str() {
                    "text" => Test::Text,
                    "node" => Test::Node,
                    // The reader drops comments and instructions.
                    "comment" | "processing-instruction" => Test::Nothing,
                    _ => return Err(beyond(&format!("{name}() is no step"))),
                };
                if name == "processing-instruction"
                    && matches!(self.peek(), Some(Token::Literal(_)))
                {
                    self.next += 1;
                }
                self.expect(")")?;
                test
            }
            Some(Token::Name(name)) => self.named(&name)?,
            Some(other) => return Err(malformed(&format!("unexpected {other}"))),
            None => return Err(malformed("it ends too early")),
        };
        let predicates = self.predicates()?;
        Ok(Step {
            axis,
            test,
            predicates,
        })
    }

    fn named(&self, name: &str) -> Result<Test, ExpressionError> {
        let Some((prefix, local)) = name.split_once(':') else {
            return Ok(Test::Named(String::new(), name.to_owned()));
        };
        let declared = self
            .namespaces
            .iter()
            .rev()
            .find(|(name, _)| name.strip_prefix("xmlns:") == Some(prefix))
            .map(|(_, uri)| uri.as_str())
            .or(match prefix {
                "s11" | "soapenv" => Some("http://schemas.xmlsoap.org/soap/envelope/"),
                "s12" => Some("http://www.w3.org/2003/05/soap-envelope"),
                _ => None,
            })
            .ok_or_else(|| beyond(&format!("prefix {prefix} is not declared")))?;
        Ok(match local {
            "*" => Test::AnyOf(declared.to_owned()),
            local => Test::Named(declared.to_owned(), local.to_owned()),
        })
    }

    fn predicates(&mut self) -> Result<Vec<Expression>, ExpressionError> {
        let mut predicates = Vec::new();
        while self.takes("[") {
            predicates.push(self.or()?);
            self.expect("]")?;
        }
        Ok(predicates)
    }

    fn primary(&mut self) -> Parsed {
        match self.take() {
            None => Err(malformed("it ends too early")),
            Some(Token::Literal(text)) => Ok(Expression::Literal(text)),
            Some(Token::Number(number)) => Ok(Expression::Number(Constant(number))),
            Some(Token::Variable(name)) => variable(&name),
            Some(Token::Sign("(")) => {
                let inner = self.or()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Name(name)) => {
                let arguments = self.arguments()?;
                call(&name, arguments)
            }
            Some(other) => Err(malformed(&format!("unexpected {other}"))),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, ExpressionError> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        if self.takes(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.or()?);
            if self.takes(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }
}

impl Expression {
    fn gives_nodes(&self) -> bool {
        match self {
            Self::Body | Self::Header | Self::Path(_) => true,
            Self::Binary(Operator::Union, left, right) => left.gives_nodes() && right.gives_nodes(),
            _ => false,
        }
    }
}

fn path(start: Start, steps: Vec<Step>) -> Expression {
    Expression::Path(Box::new(Path { start, steps }))
}

fn variable(name: &str) -> Parsed {
    let (scope, property) = match name.split_once(':') {
        None if name == "body" => return Ok(Expression::Body),
        None if name == "header" => return Ok(Expression::Header),
        Some(("ctx", property)) => (Scope::Default, property),
        Some(("axis2", property)) => (Scope::Axis2, property),
        Some(("trp", property)) => (Scope::Transport, property),
        Some(("url", property)) => (Scope::Url, property),
        Some(("operation", property)) => (Scope::Operation, property),
        Some(("func", property)) => (Scope::Function, property),
        _ => return Err(unsupported(&format!("${name}"))),
    };
    if property.is_empty() {
        return Err(beyond(&format!("${name} names no property")));
    }
    Ok(Expression::Property(scope, property.to_owned()))
}

fn call(name: &str, mut arguments: Vec<Expression>) -> Parsed {
    let local = name.rsplit(':').next().unwrap_or(name);
    if local == "get-property" {
        return get_property(arguments);
    }
    let found = Function::find(local, arguments.len());
    let Some(function) = found else {
        let count = arguments.len();
        return Err(unsupported(&format!("{name}() with {count} argument(s)")));
    };
    if arguments.is_empty() && function.is_of_context() {
        arguments.push(path(Start::Here, vec![Step::plain(Axis::Itself)]));
    }
    Ok(Expression::Call(function, arguments))
}

fn get_property(mut arguments: Vec<Expression>) -> Parsed {
    let Some(last) = arguments.pop() else {
        return Err(beyond("get-property() names no property"));
    };
    let scope = match arguments.pop() {
        _ if arguments.len() > 1 => return Err(beyond("get-property() with so many arguments")),
        None => Scope::Default,
        Some(Expression::Literal(first)) => match Scope::parse(&first) {
            Some(scope) => scope,
            None if first == "SYSTEM_DATE" => {
                return Ok(Expression::Call(Function::SystemDate, vec![last]));
            }
            None => return Err(unsupported(&format!("get-property of scope {first:?}"))),
        },
        Some(_) => return Err(unsupported("get-property with a computed scope")),
    };
    if !arguments.is_empty() {
        return Err(unsupported("get-property of the registry"));
    }
    Ok(match last {
        Expression::Literal(name) if scope == Scope::Default && name == "SYSTEM_DATE" => {
            Expression::Call(Function::SystemDate, Vec::new())
        }
        Expression::Literal(name) => {
            if name.is_empty() {
                return Err(beyond("get-property() names no property"));
            }
            Expression::Property(scope, name)
        }
        computed => Expression::PropertyOf(scope, Box::new(computed)),
    })
}
