//! Programs of others, each on a free port with what it needs in a directory that goes with it.

pub mod envoy;
pub mod etcd;
pub mod nats;
pub mod nginx;
pub mod rabbitmq;
pub mod rsync;
pub mod wrk;
