//! Faults: programs and servers that are killed, a network that fails, a disk that is full, gateways
//! that are mistaken for each other – while requests flow.
//!
//! `cluster` is what fails, `changes` are published meanwhile and remembered once acknowledged, `load`
//! sends requests at a fixed pace and judges every answer, `proxy` is the network. A fault comes at a
//! change, not at a time.

mod alone;
mod changes;
mod cluster;
mod disk;
mod killed;
mod load;
mod network;
mod proxy;
mod redeploy;
mod twins;
mod verdicts;

/// Whether the long versions are asked for.
fn long() -> bool {
    std::env::var_os("LOCKSTEP_LONG").is_some()
}
