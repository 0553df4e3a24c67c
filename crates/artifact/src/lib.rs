//! The domain words that two processes must agree on: artifact, label, revision, digest, change, status.
