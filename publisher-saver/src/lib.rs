//! Saves artifacts in one transaction and relays the outbox.
