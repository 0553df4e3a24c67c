//! The data plane: clients' HTTP traffic, served from memory.
//!
//! A request's way: `listen` accepts it, `handle` finds its API in the current route table and
//! runs the plan, `admission` says who may use it, `back_end` makes the calls that the plan asks
//! for, bodies stream through `source`. `tokens` gets the access tokens that back ends want.
//! `endpoints` tells how the back ends of all APIs stand.

mod admission;
mod back_end;
mod body;
mod endpoints;
mod handle;
mod listen;
mod source;
#[cfg(test)]
mod tests;
mod tokens;

pub use admission::{Admission, NoCredentials};
pub use back_end::{BackEndPolicy, BackEnds};
pub(crate) use endpoints::measure;
pub use endpoints::{ApiEndpoints, endpoint_states, endpoints_of};
pub use handle::Gateway;
pub use listen::{Addresses, Listeners, bind};
pub(crate) use listen::{Limits, serve};
