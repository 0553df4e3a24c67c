//! Endpoint states and the choice of a child in a group.
//!
//! No clock and no plan here: `suspension` holds the rules as the artifact states them, `state` is
//! the state machine, `balance` picks children, `session` remembers who went where, `tokens` keeps
//! access tokens. `shared` puts what changes behind locks, so that requests and redeploys share it.

mod balance;
mod plan;
mod session;
mod shared;
mod state;
mod suspension;
mod tokens;

pub(crate) use balance::{Algorithm, Balance};
pub(crate) use session::Sessions;
pub(crate) use shared::{Cell, Identity, Shared, lock};
pub use shared::{EndpointStatus, Kind};
pub use state::{State, StateMachine};
pub use suspension::{RetryCodes, Suspension};
pub use tokens::TokenOwner;
pub(crate) use tokens::{Ask, Tokens};
