//! What an operator can publish, read from files already in memory.

pub mod archive;
pub mod openapi;
