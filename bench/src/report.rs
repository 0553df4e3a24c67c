//! What was measured, beside its floor and its aim: as Markdown for people, as JSON for programs.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::machine::Machine;
use crate::samples::{Figures, Samples};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub command: String,
    pub machine: Machine,
    /// The servers that took part, with their versions.
    pub servers: Vec<String>,
    pub measured: Vec<Measured>,
    /// What should have been measured and was not.
    pub missing: Vec<Missing>,
    /// Left out because it was not asked for.
    pub left_out: Vec<String>,
}

/// A server that is not there.
#[derive(Debug, Serialize)]
pub struct Missing {
    pub what: String,
    pub reason: String,
}

/// One figure, with its floor where there is one.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub what: String,
    pub on: String,
    pub unit: Unit,
    pub figures: Figures,
    pub floor: Option<Figures>,
    /// Of the medians: measured to floor.
    pub ratio: Option<f64>,
    pub aim: Option<Aim>,
    pub met: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Milliseconds,
    PerSecond,
    MebibytesPerSecond,
    Mebibytes,
    Count,
}

/// What the ratio should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    Under(f64),
    AtLeast(f64),
}

impl Report {
    #[must_use]
    pub fn new() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            command: format!("cargo run --release -p bench -- {}", arguments.join(" ")),
            machine: Machine::here(),
            servers: Vec::new(),
            measured: Vec::new(),
            missing: Vec::new(),
            left_out: Vec::new(),
        }
    }
}

impl Measured {
    #[must_use]
    pub fn alone(what: impl Into<String>, on: &str, unit: Unit, samples: &Samples) -> Self {
        Self {
            what: what.into(),
            on: on.to_owned(),
            unit,
            figures: samples.figures(),
            floor: None,
            ratio: None,
            aim: None,
            met: None,
        }
    }

    #[must_use]
    pub fn beside(self, floor: &Samples) -> Self {
        let floor = floor.figures();
        Self {
            ratio: Some(self.figures.median / floor.median),
            floor: Some(floor),
            ..self
        }
    }

    #[must_use]
    pub fn with_aim(self, aim: Aim) -> Self {
        Self {
            met: self.ratio.map(|ratio| aim.is_met(ratio)),
            aim: Some(aim),
            ..self
        }
    }

    fn cells(&self) -> [String; 9] {
        let number = |value: f64| self.unit.number(value);
        let spread = |figures: &Figures| {
            let (least, most) = figures.spread();
            format!("{} … {}", number(least), number(most))
        };
        let p99 = |figures: &Figures| figures.p99.map_or("–".into(), number);
        let floor = self.floor.as_ref();
        let aim = match (self.aim, self.met) {
            (Some(aim), Some(true)) => format!("{aim}: met"),
            (Some(aim), _) => format!("{aim}: **missed**"),
            (None, _) => "–".into(),
        };
        let mut p99 = p99(&self.figures);
        if let Some(floor) = floor.and_then(|floor| floor.p99) {
            p99 = format!("{p99} ({} beside)", number(floor));
        }
        [
            self.what.clone(),
            self.on.clone(),
            self.unit.to_string(),
            number(self.figures.median),
            p99,
            spread(&self.figures),
            floor.map_or("–".into(), |floor| {
                format!("{} ({})", number(floor.median), spread(floor))
            }),
            self.ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")),
            aim,
        ]
    }
}

impl Aim {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::Under(limit) => ratio < limit,
            Self::AtLeast(limit) => ratio >= limit,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Under(limit) => write!(f, "under {limit}"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
        }
    }
}

impl Unit {
    fn number(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{value:.2}"),
            Self::PerSecond | Self::MebibytesPerSecond | Self::Mebibytes | Self::Count => {
                format!("{value:.0}")
            }
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => "ms",
            Self::PerSecond => "1/s",
            Self::MebibytesPerSecond => "MiB/s",
            Self::Mebibytes => "MiB",
            Self::Count => "",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(f, "    {}\n", self.command)?;
        writeln!(
            f,
            "- machine: {} cores ({}), {} MiB, {}; load before the run {}",
            machine.cores, machine.processor, machine.memory_mib, machine.kernel, machine.load
        )?;
        if !machine.optimized {
            writeln!(
                f,
                "- **built without optimization: the figures mean little**"
            )?;
        }
        for server in &self.servers {
            writeln!(f, "- {server}")?;
        }
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header([
            "measured",
            "on",
            "unit",
            "median",
            "p99",
            "rounds",
            "floor or peer (rounds)",
            "ratio",
            "aim",
        ]);
        for measured in &self.measured {
            table.add_row(measured.cells());
        }
        for column in table.column_iter_mut().skip(3).take(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if !self.measured.is_empty() {
            writeln!(f, "\n{table}")?;
        }
        for left_out in &self.left_out {
            writeln!(f, "\nLeft out: {left_out}.")?;
        }
        for Missing { what, reason } in &self.missing {
            writeln!(f, "\nMISSING: {what}, not measured: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: f64) -> Samples {
        let mut samples = Samples::default();
        samples.round(vec![value]);
        samples
    }

    #[test]
    fn a_ratio_is_judged_by_its_aim() {
        let met = |measured: f64, aim| {
            Measured::alone("x", "y", Unit::Milliseconds, &samples(measured))
                .beside(&samples(1.0))
                .with_aim(aim)
                .met
        };
        assert_eq!(met(2.9, Aim::Under(3.0)), Some(true));
        assert_eq!(met(3.0, Aim::Under(3.0)), Some(false));
        assert_eq!(met(0.7, Aim::AtLeast(0.7)), Some(true));
        assert_eq!(met(0.6, Aim::AtLeast(0.7)), Some(false));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut report = Report::new();
        report.missing.push(Missing {
            what: "PostgreSQL".into(),
            reason: "no engine".into(),
        });
        report.measured.push(
            Measured::alone("save", "SQLite", Unit::PerSecond, &samples(10.0))
                .beside(&samples(20.0))
                .with_aim(Aim::AtLeast(0.7)),
        );
        let text = report.to_string();
        assert!(text.contains("MISSING: PostgreSQL, not measured: no engine"));
        assert!(text.contains("at least 0.7: **missed**"), "{text}");
    }
}
