//! XML as artifacts hold it: a small tree with places, read with limits.

mod element;
mod places;
mod reader;
mod well_formed;

pub use element::{Element, Node};
pub use reader::{Limits, XmlError, read};
pub(crate) use well_formed::{is_char, is_name};
