//! The data plane: clients' HTTP traffic, served from memory.
//!
//! A request's way: `listen` accepts it, `handle` finds its API in the current route table and
//! runs the plan, `back_end` makes the calls that the plan asks for, bodies stream through `source`.
//! `endpoints` tells how the back ends of all APIs stand.

mod back_end;
mod body;
mod endpoints;
mod handle;
mod listen;
mod source;
#[cfg(test)]
mod tests;

pub use back_end::{BackEndPolicy, BackEnds};
pub use endpoints::{ApiEndpoints, endpoint_states};
pub use handle::Gateway;
pub use listen::{Addresses, Listeners, bind};
pub(crate) use listen::{Limits, serve};
