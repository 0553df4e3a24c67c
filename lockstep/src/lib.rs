//! The operator's command: up, publish, remove, list, explain, wait, gateways, repair, forget,
//! db, user.

pub mod control;
pub mod db;
pub mod explain;
pub mod forget;
pub mod gateways;
pub mod list;
pub mod print;
pub mod publish;
pub mod remove;
pub mod repair;
pub mod rollout;
pub mod sample_back_end;
pub mod samples;
pub mod source;
pub mod up;
pub mod user;
pub mod wait;
