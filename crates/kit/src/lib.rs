//! What every process gets for free: configuration, telemetry, TLS, access control, HTTP problem
//! answers, shutdown, backoff, the clock.

pub mod access;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod http_client;
mod in_flight;
pub mod metrics;
pub mod problem;
pub mod process;
pub mod secret;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod time_limit;
pub mod tls;
