//! Internal data API, watch stream, gateway registry.
