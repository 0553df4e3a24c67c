//! The store: artifacts, label logs, outbox, revisions and gateway status in SQL.
