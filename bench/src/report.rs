//! What was measured, beside its floor and its aim: as Markdown for people, as JSON for programs.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use crate::machine::Machine;
use crate::samples::{Figures, Samples};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: String,
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

/// One figure, with the floor or the peers where there are some.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub what: String,
    pub on: String,
    pub unit: Unit,
    pub figures: Figures,
    /// What the median itself should be.
    pub aim: Option<Judged>,
    pub beside: Vec<Beside>,
}

/// The same figure of a floor or a peer.
#[derive(Debug, Serialize)]
pub struct Beside {
    pub name: String,
    pub figures: Figures,
    /// Of the medians: measured to this one.
    pub ratio: f64,
    pub aim: Option<Judged>,
}

/// An aim, and whether it was met.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub aim: Aim,
    pub met: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Milliseconds,
    PerSecond,
    MebibytesPerSecond,
    Mebibytes,
    Kibibytes,
    Microseconds,
    Nanoseconds,
    Bytes,
    Count,
}

/// What a ratio or a median should be.
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
            scenario: String::new(),
            command: format!("cargo run --release -p bench -- {}", arguments.join(" ")),
            machine: Machine::here(),
            servers: Vec::new(),
            measured: Vec::new(),
            missing: Vec::new(),
            left_out: Vec::new(),
        }
    }
}

impl Report {
    /// Names a server that is not there.
    pub fn missing(&mut self, what: &str, error: &anyhow::Error) {
        self.missing.push(Missing {
            what: what.to_owned(),
            reason: format!("{error:#}"),
        });
    }

    /// Names a server that takes part, once.
    pub fn server(&mut self, version: String) {
        if !self.servers.contains(&version) {
            self.servers.push(version);
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
            aim: None,
            beside: Vec::new(),
        }
    }

    /// Beside its floor.
    #[must_use]
    pub fn beside(self, floor: &Samples) -> Self {
        self.beside_peer("floor", floor)
    }

    /// Beside a peer, which may be one of several.
    #[must_use]
    pub fn beside_peer(mut self, name: &str, samples: &Samples) -> Self {
        let figures = samples.figures();
        self.beside.push(Beside {
            name: name.to_owned(),
            ratio: self.figures.median / figures.median,
            figures,
            aim: None,
        });
        self
    }

    /// An aim of the ratio to what was named last, if that is there.
    #[must_use]
    pub fn with_aim(mut self, aim: Aim) -> Self {
        if let Some(beside) = self.beside.last_mut() {
            beside.aim = Some(aim.judge(beside.ratio));
        }
        self
    }

    /// An aim of the median itself.
    #[must_use]
    pub fn with_own_aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim.judge(self.figures.median));
        self
    }

    /// Its lines of the table: one for what was measured, if that has an aim of its own or stands
    /// alone, and one for each that it stands beside. Only the first says what it is about.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut own = vec![
            self.what.clone(),
            self.on.clone(),
            self.unit.to_string(),
            self.unit.number(self.figures.median),
            self.unit.p99(&self.figures),
            self.unit.spread(&self.figures),
        ];
        let judged = |aim: Option<Judged>| aim.map_or("–".into(), |aim| aim.to_string());
        let mut rows = Vec::new();
        let mut add = |rest: [String; 3]| {
            let begin = std::mem::replace(&mut own, vec![String::new(); 6]);
            rows.push([begin, rest.to_vec()].concat());
        };
        if self.aim.is_some() || self.beside.is_empty() {
            add(["–".into(), "–".into(), judged(self.aim)]);
        }
        for beside in &self.beside {
            let figures = &beside.figures;
            let p99 = match figures.p99 {
                Some(p99) => format!(", p99 {}", self.unit.number(p99)),
                None => String::new(),
            };
            let (theirs, spread) = (self.unit.number(figures.median), self.unit.spread(figures));
            let peer = format!("{}: {theirs} ({spread}{p99})", beside.name);
            add([peer, ratio(beside.ratio), judged(beside.aim)]);
        }
        rows
    }
}

/// With two places, or two digits where these come later.
fn ratio(ratio: f64) -> String {
    if ratio >= 0.01 || ratio <= 0.0 {
        return format!("{ratio:.2}");
    }
    let places = (-ratio.log10()).ceil() as usize + 1;
    format!("{ratio:.places$}")
}

impl Aim {
    fn judge(self, value: f64) -> Judged {
        let met = match self {
            Self::Under(limit) => value < limit,
            Self::AtLeast(limit) => value >= limit,
        };
        Judged { aim: self, met }
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

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = if self.met { "met" } else { "**missed**" };
        write!(f, "{}: {result}", self.aim)
    }
}

impl Unit {
    /// With as many places as mean something.
    pub fn number(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{value:.2}"),
            Self::Microseconds | Self::Kibibytes => format!("{value:.1}"),
            Self::PerSecond
            | Self::MebibytesPerSecond
            | Self::Mebibytes
            | Self::Nanoseconds
            | Self::Bytes
            | Self::Count => format!("{value:.0}"),
        }
    }

    fn p99(self, figures: &Figures) -> String {
        figures.p99.map_or("–".into(), |p99| self.number(p99))
    }

    fn spread(self, figures: &Figures) -> String {
        let (least, most) = figures.spread();
        format!("{} … {}", self.number(least), self.number(most))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => "ms",
            Self::PerSecond => "1/s",
            Self::MebibytesPerSecond => "MiB/s",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
            Self::Microseconds => "µs",
            Self::Nanoseconds => "ns",
            Self::Bytes => "bytes",
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
            table.add_rows(measured.rows());
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
                .beside[0]
                .aim
                .map(|judged| judged.met)
        };
        assert_eq!(met(2.9, Aim::Under(3.0)), Some(true));
        assert_eq!(met(3.0, Aim::Under(3.0)), Some(false));
        assert_eq!(met(0.7, Aim::AtLeast(0.7)), Some(true));
        assert_eq!(met(0.6, Aim::AtLeast(0.7)), Some(false));
    }

    #[test]
    fn each_peer_has_a_line_and_an_aim_of_its_own() {
        let measured = Measured::alone("rate", "here", Unit::PerSecond, &samples(30.0))
            .beside_peer("A", &samples(10.0))
            .with_aim(Aim::AtLeast(1.0))
            .beside_peer("B", &samples(60.0))
            .with_aim(Aim::AtLeast(0.7));
        let mut report = Report::new();
        report.measured.push(measured);
        let text = report.to_string();
        let line = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!(line("A: 10 (10 … 10)"), 1, "{text}");
        assert_eq!(line("at least 1: met"), 1, "{text}");
        assert_eq!(line("at least 0.7: **missed**"), 1, "{text}");
        assert_eq!(line("rate"), 1, "{text}");
    }

    #[test]
    fn small_ratios_have_two_digits() {
        assert_eq!(ratio(12.345), "12.35");
        assert_eq!(ratio(0.0497), "0.05");
        assert_eq!(ratio(0.00158), "0.0016");
        assert_eq!(ratio(0.0), "0.00");
    }

    #[test]
    fn an_aim_without_a_peer_is_of_the_median() {
        let measured = Measured::alone("dispatch", "", Unit::Nanoseconds, &samples(800.0));
        let aim = measured.with_own_aim(Aim::Under(1000.0)).aim;
        assert_eq!(aim.map(|judged| judged.met), Some(true));
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
