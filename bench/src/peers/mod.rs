//! Programs of others, each on a free port with what it needs in a directory that goes with it.

pub mod envoy;
pub mod nginx;
pub mod wrk;
