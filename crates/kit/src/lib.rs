//! What every process gets for free: configuration, telemetry, TLS, HTTP problem answers, shutdown, backoff.
