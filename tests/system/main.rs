//! System tests: the real programs as processes, on ports that the operating system chooses.
//!
//! Nothing sleeps: `eventually` waits for a condition with one patience setting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod access;
mod announcing;
mod bad_input;
mod corpus;
mod data_api;
mod data_plane;
mod dependencies;
mod direct;
mod event_paths;
mod faults;
mod file_system;
mod gateway_rest;
mod kit_of_tests;
mod label_log;
mod many_gateways;
mod nodes;
mod operator;
mod overrides;
mod processes;
mod publish;
mod repair;
mod serving;
mod sidecar;
mod snapshot;
mod start_up;
mod tenants;
mod up;
