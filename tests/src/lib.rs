//! System tests: real processes on real ports.
