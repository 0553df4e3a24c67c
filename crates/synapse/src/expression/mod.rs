//! Expressions: XPath 1.0 over properties and the message, JSONPath in `json-eval()`, and of `${…}`
//! what names one value.
//!
//! Of XPath: all axes but `namespace`, all operators, the core functions but `id` and `lang`, and
//! `get-property`, `base64Encode`, `base64Decode`, `url-encode`, `vault-lookup`, `upper-case`,
//! `lower-case`, `ends-with`, whatever their prefix. Variables: `$ctx:` `$axis2:` `$trp:` `$url:`
//! `$operation:` `$func:` and `$body`, `$header`. What else an expression uses is refused when it is
//! parsed, with the reason, and reported.
//!
//! No XPath library carries this: those that are maintained know neither functions and variables
//! of their host nor how the original engine turns results into text.

mod date;
mod evaluate;
mod function;
mod json_path;
mod number;
mod parse;
mod path;
mod synapse;
#[cfg(test)]
mod tests;
mod token;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub(crate) use evaluate::MAX_TEXT;

use crate::message::{Envelope, NodeId};
use function::Function;
pub(crate) use json_path::JsonPath;
use path::Path;

/// Bytes of one expression.
const MAX_LENGTH: usize = 64 * 1024;

/// Where a property lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// `default`, also called synapse scope.
    Default,
    Axis2,
    /// Headers of the current message.
    Transport,
    Operation,
    Axis2Client,
    /// Query parameters of the request (`$url:`).
    Url,
    /// Parameters of the template that is running (`$func:`).
    Function,
}

impl Scope {
    /// The scope of a `scope` attribute or of `get-property`'s first argument.
    pub(crate) fn parse(text: &str) -> Option<Self> {
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
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum Expression {
    Literal(String),
    Number(Constant),
    Property(Scope, String),
    /// `get-property` with a computed name.
    PropertyOf(Scope, Box<Expression>),
    /// `$body`.
    Body,
    /// `$header`.
    Header,
    Call(Function, Vec<Expression>),
    Negated(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Path(Box<Path>),
    Json(JsonPath),
}

/// A number that is written in an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constant(pub(crate) f64);

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
    Union,
}

/// A node of an envelope, or one of an element's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeRef {
    pub(crate) node: NodeId,
    pub(crate) attribute: Option<usize>,
}

/// What an expression evaluates to.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A property that is not there.
    Null,
    Text(String),
    Number(f64),
    Boolean(bool),
    /// In document order, without doubles.
    Nodes(Arc<Envelope>, Vec<NodeRef>),
    Json(serde_json::Value),
}

/// What expressions ask.
pub(crate) trait Context {
    fn property(&self, scope: Scope, name: &str) -> Option<String>;
    /// The message as XML; `None` when it cannot be seen as such.
    fn envelope(&self) -> Option<Arc<Envelope>>;
    /// The message as JSON; `None` when it cannot be seen as such.
    fn json(&self) -> Option<Arc<serde_json::Value>>;
    /// A secret by its alias.
    fn secret(&self, alias: &str) -> Option<String>;
    /// Milliseconds since the epoch.
    fn now(&self) -> i64;
    /// The expression cannot be evaluated; what it gives is not to be used.
    fn fail(&self, reason: &str);
}

/// An expression that this engine does not execute, or that is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct ExpressionError {
    pub(crate) reason: String,
    /// The original engine would not read it either.
    pub(crate) malformed: bool,
}

impl Expression {
    /// Compiles the text of an `expression`, `source` or `xpath` attribute. `namespaces` are the
    /// `xmlns:` attributes in scope, the innermost last.
    ///
    /// # Errors
    /// When it uses what this engine does not execute; the reason names it.
    pub(crate) fn parse(
        text: &str,
        namespaces: &[(String, String)],
    ) -> Result<Self, ExpressionError> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(beyond("it has more than 65536 bytes"));
        }
        if let Some(path) = text
            .strip_prefix("json-eval(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            return JsonPath::parse(path).map(Self::Json);
        }
        if let Some(inside) = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            return synapse::read(inside, namespaces);
        }
        parse::parse(text, namespaces)
    }

    /// Compiles a JSONPath without `json-eval()` around it.
    ///
    /// # Errors
    /// When it uses what this engine does not execute; the reason names it.
    pub(crate) fn parse_json(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_LENGTH {
            return Err(beyond("it has more than 65536 bytes"));
        }
        JsonPath::parse(text).map(Self::Json)
    }

    /// Whether it looks into the message's body.
    pub(crate) fn reads_body(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Number(_) | Self::Property(..) => false,
            Self::Body | Self::Header | Self::Path(_) | Self::Json(_) => true,
            Self::PropertyOf(_, inner) | Self::Negated(inner) => inner.reads_body(),
            Self::Call(_, arguments) => arguments.iter().any(Self::reads_body),
            Self::Binary(_, left, right) => left.reads_body() || right.reads_body(),
        }
    }

    /// The aliases that it looks up in the vault, as far as they are written in it.
    pub(crate) fn aliases(&self) -> Vec<&str> {
        match self {
            Self::Call(Function::VaultLookup, arguments) => match arguments.first() {
                Some(Self::Literal(alias)) => vec![alias],
                _ => Vec::new(),
            },
            Self::Call(_, arguments) => arguments.iter().flat_map(Self::aliases).collect(),
            Self::Binary(_, left, right) => [left.aliases(), right.aliases()].concat(),
            Self::PropertyOf(_, inner) | Self::Negated(inner) => inner.aliases(),
            _ => Vec::new(),
        }
    }

    /// Evaluates it.
    pub(crate) fn evaluate(&self, context: &dyn Context) -> Value {
        evaluate::Evaluation::new(context).run(self)
    }
}

fn unsupported(what: &str) -> ExpressionError {
    ExpressionError {
        reason: format!("the expression uses {what}"),
        malformed: false,
    }
}

fn malformed(what: &str) -> ExpressionError {
    ExpressionError {
        reason: format!("the expression is not well-formed: {what}"),
        malformed: true,
    }
}

/// Beyond what is read here, whatever the original does with it.
fn beyond(what: &str) -> ExpressionError {
    ExpressionError {
        malformed: false,
        ..malformed(what)
    }
}
