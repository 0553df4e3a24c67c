//! What an API costs a gateway in memory: two gateways, with few and with many APIs, each of which
//! has answered a request.

use super::site::{LABELS, Site, answers};
use super::{FEW, MANY, MIB};
use crate::report::{Aim, Measured, Report, Unit};
use crate::samples::Samples;

/// Measures.
///
/// # Errors
/// When a program fails while it is measured.
pub async fn measure(site: &Site<'_>, report: &mut Report) -> anyhow::Result<()> {
    let all = &site.all;
    let mut own = 0;
    for api in all {
        own += api.artifact().to_text()?.len();
    }
    let own = own as f64 / all.len() as f64;
    let mut memory = Vec::with_capacity(LABELS.len());
    for (apis, label) in LABELS {
        let gateway = site.gateway("memory", label).await?;
        answers(gateway.port, &all[..apis]).await?;
        let bytes = gateway.process.memory()?;
        gateway.process.stop().await;
        let what = format!("memory with {apis} APIs");
        let samples = one(bytes / MIB);
        report
            .measured
            .push(Measured::alone(what, "Lockstep", Unit::Mebibytes, &samples));
        memory.push(bytes);
    }
    if let [few, many] = memory[..] {
        let each = (many - few) / (MANY - FEW) as f64;
        let samples = one((each - own) / 1024.0);
        let what = format!("memory of an API above its own {:.1} KiB", own / 1024.0);
        let measured = Measured::alone(what, "Lockstep", Unit::Kibibytes, &samples);
        report
            .measured
            .push(measured.with_own_aim(Aim::Under(12.0)));
    }
    Ok(())
}

fn one(sample: f64) -> Samples {
    let mut samples = Samples::default();
    samples.round(vec![sample]);
    samples
}
