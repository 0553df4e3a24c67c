//! The event bus: hints that a label log has grown.
