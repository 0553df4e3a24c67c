//! Charts of a report: bars of medians with the spread of the rounds, one SVG file for each thing
//! that was measured.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::report::{Report, Unit};
use crate::samples::Figures;

const WIDTH: f64 = 760.0;
/// Where the bars begin: names stand left of it.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 660.0;
const TOP: f64 = 48.0;
const ROW: f64 = 26.0;

/// What was measured on all sides.
#[derive(Debug)]
struct Chart {
    what: String,
    unit: Unit,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    name: String,
    ours: bool,
    figures: Figures,
}

/// Writes the charts into a directory, which is made; their names begin with the scenario's.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &Report, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for chart in charts(report) {
        let file = directory.join(format!(
            "{}-{}.svg",
            report.scenario,
            file_name(&chart.what)
        ));
        std::fs::write(&file, svg(&chart)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// What stands beside each other in one chart has the same name and unit.
fn charts(report: &Report) -> Vec<Chart> {
    let mut charts: Vec<Chart> = Vec::new();
    for measured in &report.measured {
        let same = |chart: &Chart| chart.what == measured.what && chart.unit == measured.unit;
        let at = charts.iter().position(same).unwrap_or_else(|| {
            charts.push(Chart {
                what: measured.what.clone(),
                unit: measured.unit,
                bars: Vec::new(),
            });
            charts.len() - 1
        });
        let mut add = |name: &str, ours: bool, figures: &Figures| {
            let bars = &mut charts[at].bars;
            if !bars.iter().any(|bar| bar.name == name) {
                bars.push(Bar {
                    name: name.to_owned(),
                    ours,
                    figures: figures.clone(),
                });
            }
        };
        add(&measured.on, true, &measured.figures);
        for beside in &measured.beside {
            add(&beside.name, false, &beside.figures);
        }
    }
    charts
}

fn svg(chart: &Chart) -> String {
    let height = TOP + ROW * chart.bars.len() as f64 + 16.0;
    let most = chart
        .bars
        .iter()
        .map(|bar| bar.figures.spread().1)
        .fold(0.0, f64::max);
    let scale = |value: f64| {
        let part = if most > 0.0 { value / most } else { 0.0 };
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"16\">{} ({})</text>\n",
        escaped(&chart.what),
        chart.unit
    );
    let mut top = TOP;
    for bar in &chart.bars {
        let (least, most) = bar.figures.spread();
        let (end, middle) = (scale(bar.figures.median), top + ROW / 2.0);
        let color = if bar.ours { "#2563a8" } else { "#9aa5b1" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{color}\"/>\n\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(&bar.name),
            top + 4.0,
            end - LEFT,
            ROW - 8.0,
            scale(least),
            scale(most),
            scale(most) + 8.0,
            middle + 4.0,
            chart.unit.number(bar.figures.median),
        );
        top += ROW;
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Letters and digits with a dash for what is between them.
fn file_name(what: &str) -> String {
    let words = what.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use crate::report::Measured;
    use crate::samples::Samples;

    use super::*;

    #[test]
    fn sides_of_one_thing_stand_in_one_chart_once() {
        let samples = |value: f64| {
            let mut samples = Samples::default();
            samples.round(vec![value]);
            samples
        };
        let mut report = Report::new();
        for (on, value) in [("10 APIs", 10.0), ("10,000 APIs & more", 20.0)] {
            let measured =
                Measured::alone("CPU / request", on, Unit::Microseconds, &samples(value));
            report
                .measured
                .push(measured.beside_peer("nginx", &samples(40.0)));
        }
        let directory = tempfile::tempdir().unwrap();
        report.scenario = "dataplane".into();
        write(&report, directory.path()).unwrap();
        let file = directory.path().join("dataplane-cpu-request.svg");
        let text = std::fs::read_to_string(file).unwrap();
        let mut reader = quick_xml::Reader::from_str(&text);
        let mut bars = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Empty(element) => {
                    if let Some(width) = element.try_get_attribute("width").unwrap() {
                        bars.push(width.value.into_owned());
                    }
                }
                _ => {}
            }
        }
        // The ground, and bars as long as their values.
        assert_eq!(bars, ["100%", "97.5", "390.0", "195.0"], "{text}");
        assert!(text.contains("10,000 APIs &amp; more"), "{text}");
    }
}
