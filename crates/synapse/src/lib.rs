//! Synapse XML: read with limits, check, compile to an executable plan, dispatch and mediate.
