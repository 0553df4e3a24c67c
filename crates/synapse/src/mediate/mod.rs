//! Mediation: runs a plan on one exchange, step by step, without doing any I/O itself.
//!
//!     start ──▶ Step::Call ──(the data plane calls the back end)──▶ response | failed ──▶ Step…
//!        ├────▶ Step::Ask ──(the gateway's security)──▶ answered ──▶ Step…
//!        └────▶ Step::Answer: the client gets it, the exchange is over

mod admission;
mod answers;
mod body;
mod cache;
mod choose;
mod content;
mod convert;
mod cors;
mod endpoint;
mod exchange;
mod formats;
mod handlers;
mod leave;
mod mediators;
mod part;
mod payload;
mod properties;
mod rewrite;
mod run;
mod session;
mod settings;
mod start;
#[cfg(test)]
mod tests;
mod threat;
mod token;

pub use admission::{Admitted, Asked, Question, Refused};
pub(crate) use answers::INSIDE;
pub use answers::{engine_answer, not_found, transport_denied};
pub use exchange::{
    Answer, BackendCall, BackendResponse, Body, Environment, Exchange, Fault, LogRecord, MessageId,
    Need, Request, Step, Target,
};
pub use settings::{CorsSettings, Security, Settings};
