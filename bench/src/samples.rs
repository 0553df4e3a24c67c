//! Samples taken in rounds, and the figures that stand for them.

use serde::Serialize;

/// Fewer samples have no meaningful 99th percentile.
const ENOUGH_FOR_P99: usize = 100;

/// What was measured, round by round.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    rounds: Vec<Vec<f64>>,
}

/// What stands for the samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub samples: usize,
    pub median: f64,
    /// Where there are enough samples.
    pub p99: Option<f64>,
    /// The median of each round, in the order of the rounds.
    pub rounds: Vec<f64>,
}

impl Samples {
    /// Adds a round.
    pub fn round(&mut self, samples: Vec<f64>) {
        if !samples.is_empty() {
            self.rounds.push(samples);
        }
    }

    #[must_use]
    pub fn rounds(&self) -> &[Vec<f64>] {
        &self.rounds
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        let all: Vec<f64> = self.rounds.iter().flatten().copied().collect();
        Figures {
            samples: all.len(),
            median: quantile(&all, 0.5),
            p99: (all.len() >= ENOUGH_FOR_P99).then(|| quantile(&all, 0.99)),
            rounds: self
                .rounds
                .iter()
                .map(|round| quantile(round, 0.5))
                .collect(),
        }
    }
}

impl Figures {
    /// The least and the greatest median of a round.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let rounds = self.rounds.iter().copied();
        rounds.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), round| (least.min(round), most.max(round)),
        )
    }
}

/// The value below which this part of the samples lies; between two samples where it falls there.
fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = part * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn figures_keep_the_rounds_apart() {
        let mut samples = Samples::default();
        samples.round(vec![1.0, 2.0, 3.0]);
        samples.round(vec![5.0]);
        samples.round(Vec::new());
        let figures = samples.figures();
        assert_eq!((figures.samples, figures.median), (4, 2.5));
        assert_eq!((figures.p99, figures.spread()), (None, (2.0, 5.0)));
    }

    #[test]
    fn a_hundred_samples_have_a_99th_percentile() {
        let mut samples = Samples::default();
        samples.round((0..=100).map(f64::from).collect());
        assert_eq!(samples.figures().p99, Some(99.0));
    }
}
