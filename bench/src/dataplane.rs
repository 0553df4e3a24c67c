//! The scenario `dataplane`: what a request costs on its way through a gateway.

mod proxying;
mod routes;

use clap::{Args, ValueEnum};

use crate::Options;
use crate::report::Report;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PART")]
    part: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests through the gateway, nginx and Envoy, and directly.
    Proxy,
}

/// Bytes of the body of each answer.
const ANSWER: usize = 1024;

/// Measures.
///
/// # Errors
/// When a side fails while it is measured. One that is not there is reported as missing.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let quick = arguments.options.quick;
    let asked = |part| arguments.part.is_empty() || arguments.part.contains(&part);
    let mut report = Report::new();
    if !arguments.part.is_empty() {
        let left_out = "the parts that were not asked for";
        report.left_out.push(left_out.into());
    }
    if asked(Part::Proxy) {
        proxying::measure(quick, &mut report).await?;
    }
    Ok(report)
}
