//! Follows the label logs, deploys what they say, serves traffic.
