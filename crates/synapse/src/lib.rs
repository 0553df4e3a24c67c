//! Synapse XML: read with limits, check, compile to an executable plan, dispatch and mediate.
//!
//! No I/O, no clock: the gateway's data plane moves the bytes and tells the time.

pub mod xml;
