//! The operator's command: up, publish, remove, list, db, user.

pub mod control;
pub mod db;
pub mod forget;
pub mod list;
pub mod print;
pub mod publish;
pub mod remove;
pub mod sample_back_end;
pub mod samples;
pub mod source;
pub mod up;
pub mod user;
pub mod wait;
