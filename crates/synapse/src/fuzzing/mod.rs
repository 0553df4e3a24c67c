//! What has to hold for any input: one property for each thing that strangers write. libFuzzer
//! (`fuzz/`) and the tests below run the same functions; a property that does not hold panics.
//!
//! Inputs are text in parts, so that a found one can be read and kept as a file.

mod artifact;
mod conversion;
mod exchange;
mod json_path;
mod payload_factory;
#[cfg(test)]
mod tests;
mod uri_template;
mod xml;
mod xpath;

pub use artifact::artifact;
pub use conversion::conversion;
pub use json_path::json_path;
pub use payload_factory::payload_factory;
pub use uri_template::uri_template;
pub use xml::xml;
pub use xpath::xpath;

/// Stands alone on a line between the parts of an input.
const SEPARATOR: &str = "\n%%\n";

/// The first line of an input, and the rest.
fn first_line(input: &str) -> (&str, &str) {
    input.split_once('\n').unwrap_or((input, ""))
}
