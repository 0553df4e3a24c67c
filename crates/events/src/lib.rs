//! The event bus: hints that a label log has grown.
//!
//! A hint never carries the artifact, and nothing rests on its arrival: lost, doubled, reordered
//! or late, it changes how soon a gateway converges, never where it ends.

mod amqp;
mod bus;
mod event;
mod in_process;
pub mod map_message;
mod members;
mod notification;

pub use amqp::{AmqpBus, AmqpOptions, AmqpTls};
pub use bus::{Bus, Counted, Counters, Heard, NotSent, Subscription};
pub use event::{Event, EventType};
pub use in_process::InProcessBus;
pub use members::JsonError;
pub use notification::{DecodeError, EncodeError, Encoded, Received, decode, encode};

#[cfg(test)]
mod tests;
