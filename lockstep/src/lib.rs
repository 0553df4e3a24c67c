//! The operator's command: up, publish, remove, list.
