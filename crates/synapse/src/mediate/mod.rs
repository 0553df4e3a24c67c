//! Mediation: runs a plan on one exchange, step by step, without doing any I/O itself.
//!
//!     start ──▶ Step::Call ──(the data plane calls the back end)──▶ response | failed ──▶ Step…
//!        └────▶ Step::Answer: the client gets it, the exchange is over

mod answers;
mod body;
mod cache;
mod choose;
mod content;
mod convert;
mod endpoint;
mod exchange;
mod leave;
mod mediators;
mod rewrite;
mod run;
mod start;
#[cfg(test)]
mod tests;

pub use answers::{engine_answer, method_not_allowed, not_found, options, transport_denied};
pub use exchange::{
    Answer, BackendCall, BackendResponse, Body, Environment, Exchange, Fault, LogRecord, Need,
    Request, Step, Target,
};
