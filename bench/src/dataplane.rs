//! The scenario `dataplane`: what a request costs on its way through a gateway.

mod engine;
mod memory;
mod proxying;
pub mod routes;
mod site;

use clap::{Args, ValueEnum};

use crate::Options;
use crate::ours::Ground;
use crate::ours::apis::Plain;
use crate::report::Report;
use site::Site;

#[derive(Debug, Default, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PART")]
    part: Vec<Part>,
}

impl Arguments {
    /// All of it.
    pub fn of(options: &Options) -> Self {
        Self {
            options: options.clone(),
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests through the gateway, nginx and Envoy, and directly.
    Proxy,
    /// What an API costs a gateway in memory.
    Memory,
    /// Finding the API of a request.
    Dispatch,
    /// Making plans of artifacts.
    Compile,
}

/// Bytes of the body of each answer.
const ANSWER: usize = 1024;
/// How many APIs there are, on the two sizes of each side.
const FEW: usize = 10;
const MANY: usize = 10_000;
const MIB: f64 = 1024.0 * 1024.0;

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
    if asked(Part::Dispatch) {
        engine::dispatch(if quick { 3 } else { 15 }, 200, &mut report)?;
    }
    if asked(Part::Compile) {
        engine::compile(if quick { 2 } else { 7 }, &mut report)?;
    }
    if asked(Part::Memory) || asked(Part::Proxy) {
        let ground = Ground::new().await?;
        let Some(site) = Site::start(&ground, &mut report).await? else {
            return Ok(report);
        };
        if asked(Part::Memory) {
            memory::measure(&site, &mut report).await?;
        }
        if asked(Part::Proxy) {
            proxying::measure(&site, quick, &mut report).await?;
        }
        site.stop().await;
    }
    Ok(report)
}

fn plain(number: usize, back_end: u16) -> Plain {
    Plain {
        number,
        revision: 1,
        back_end,
    }
}

/// A path of each API, in an order that jumps from one to another far away.
fn paths(apis: &[Plain]) -> Vec<String> {
    // Without a common divisor with 10 or 10,000: each comes once.
    let step = 7919;
    let order = (0..apis.len()).map(|at| &apis[at * step % apis.len()]);
    order.map(|api| format!("{}/menu", api.prefix())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_api_is_asked_once_in_a_turn() {
        for count in [FEW, MANY] {
            let apis: Vec<Plain> = (0..count).map(|number| plain(number, 1)).collect();
            let paths: BTreeSet<String> = paths(&apis).into_iter().collect();
            assert_eq!(paths.len(), count);
        }
    }
}
