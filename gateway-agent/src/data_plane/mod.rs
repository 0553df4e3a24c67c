//! The data plane: clients' HTTP traffic, served from memory.
//!
//! A request's way: `listen` accepts it, `handle` finds its API in the current route table and
//! runs the plan, `back_end` makes the calls that the plan asks for, bodies stream through.

mod back_end;
mod body;
mod handle;
mod listen;

pub use back_end::{BackEndPolicy, BackEnds};
pub use handle::Gateway;
pub use listen::{Addresses, Listeners, bind};
pub(crate) use listen::{Limits, serve};
