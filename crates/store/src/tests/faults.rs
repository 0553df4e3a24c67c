//! Databases that fail in the middle.
