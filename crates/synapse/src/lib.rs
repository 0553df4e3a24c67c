//! Synapse XML: read with limits, check, compile to an executable plan, dispatch and mediate.
//!
//! No I/O, no clock: the gateway's data plane moves the bytes and tells the time. The files stand
//! in the order of the flow: `xml` reads, `compile` checks and makes a `plan`, `dispatch` finds
//! the API and resource of a request, `mediate` runs the plan, `endpoint` keeps the states of back
//! ends.

mod cache;
pub mod compile;
pub mod dispatch;
pub mod endpoint;
pub mod example;
mod expression;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::panic)] // how a property fails
pub mod fuzzing;
pub mod mediate;
mod message;
mod pattern;
pub mod plan;
pub mod xml;

pub use compile::{Compilation, compile};
pub use plan::Plan;
