//! The data plane: clients' HTTP traffic, served from memory.
//!
//! A request's way: `listen` accepts it, `refuse` judges its head, `handle` finds its API in the
//! current route table and runs the plan, `admission` says who may use it, `back_end` makes the
//! calls that the plan asks for, `answers` go to the client; small writes in either direction go out
//! together (`batched`). `ending` tells connections when it is time. `bodies` stream through `source`,
//! where `coding` decodes what mediators look into; `hop` knows the headers that stay on one
//! connection. `forwarded` and `correlation` are what back ends are told besides, `tokens` gets the
//! access tokens that they want, `upgrade` makes tunnels of WebSockets, `transaction` is what
//! belongs to one request, and `access_log` tells of it. `endpoints` tells how the back ends of all
//! APIs stand.

pub mod access_log;
mod activity;
mod admission;
mod answers;
mod back_end;
mod batched;
mod bodies;
mod body;
mod coding;
mod correlation;
mod ending;
mod endpoints;
mod forwarded;
mod handle;
mod hop;
mod listen;
mod pieces;
mod refuse;
mod source;
#[cfg(test)]
mod tests;
mod tokens;
mod transaction;
mod upgrade;

pub use access_log::AccessLog;
pub use admission::{Admission, NoCredentials};
pub use back_end::{BackEndPolicy, BackEnds};
pub use correlation::Correlation;
pub(crate) use endpoints::measure;
pub use endpoints::{ApiEndpoints, endpoint_states, endpoints_of};
pub use handle::{Gateway, RequestLimits};
pub use listen::{Addresses, Listeners, bind};
pub(crate) use listen::{Limits, serve};
pub use upgrade::Tunnels;
