//! The scenario `propagation`: from the commit of a change to the first answer by it.

mod sides;
mod subscriber;

use std::time::Instant;

use tokio::task::spawn_blocking;

use crate::Options;
use crate::ours::apis::Plain;
use crate::probe;
use crate::report::{Aim, Measured, Report, Unit};
use crate::rounds::turns;
use crate::samples::Samples;
use sides::{Change, Site, Way};

/// How much is measured.
struct Effort {
    rounds: usize,
    /// In each turn.
    changes: usize,
    /// How many APIs are deployed.
    sizes: &'static [usize],
}

const FULL: Effort = Effort {
    rounds: 10,
    changes: 20,
    sizes: &[10, 1000, 10_000],
};
const QUICK: Effort = Effort {
    rounds: 2,
    changes: 10,
    sizes: &[10, 1000],
};

/// One way at one size.
struct Side {
    way: Way,
    size: usize,
    /// Milliseconds since the commit, as the one who changes is told.
    since_commit: Samples,
    /// Milliseconds since the change was begun.
    since_begin: Samples,
}

/// Measures.
///
/// # Errors
/// When a side fails while it is measured. One that is not there is reported as missing.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let effort = if options.quick { QUICK } else { FULL };
    let mut report = Report::new();
    let Some((site, ways)) = Site::start(effort.sizes, &mut report).await? else {
        return Ok(report);
    };
    let mut sides: Vec<Side> = ways
        .into_iter()
        .map(|(size, way)| Side {
            way,
            size,
            since_commit: Samples::default(),
            since_begin: Samples::default(),
        })
        .collect();
    let mut revision = FIRST_REVISION;
    for turn in turns(sides.len(), effort.rounds) {
        let side = &mut sides[turn.side];
        let (mut since_commit, mut since_begin) = (Vec::new(), Vec::new());
        for change in 0..effort.changes {
            revision += 1;
            let (commit, begin) = site.change(side, change, revision).await?;
            since_commit.push(commit);
            since_begin.push(begin);
        }
        if turn.counts {
            side.since_commit.round(since_commit);
            side.since_begin.round(since_begin);
        }
    }
    tell(&sides, &mut report);
    let ways = sides.into_iter().map(|side| side.way).collect();
    site.stop(ways).await;
    Ok(report)
}

/// All have as many digits, so that none is the beginning of another.
const FIRST_REVISION: usize = 1_000_000;

impl Site {
    /// Changes one API and waits until it answers by the change. Milliseconds since the commit and since
    /// the beginning.
    async fn change(
        &self,
        side: &Side,
        number: usize,
        revision: usize,
    ) -> anyhow::Result<(f64, f64)> {
        let apis = side.way.apis(side.size);
        let api = Plain {
            // Another one each time, far from the last.
            number: apis.start + (revision * 7919 + number) % side.size,
            revision,
            back_end: self.back_end.port,
        };
        let change = Change::new(api, &side.way, side.size)?;
        if let Way::Floor = side.way {
            let time = self.floor(&change).await?;
            return Ok((time, time));
        }
        let port = side.way.port();
        let path = format!("{}/menu", api.prefix());
        let (asked, asking) = tokio::sync::oneshot::channel();
        let answered = spawn_blocking(move || {
            probe::until(port, &path, &format!("/revision-{revision}"), asked)
        });
        // An error of the probe is told by its result.
        let _ = asking.await;
        let begun = Instant::now();
        let committed = self.commit(&side.way, &change).await?;
        let answered = answered.await??;
        let since = |start| answered.saturating_duration_since(start).as_secs_f64() * 1000.0;
        Ok((since(committed), since(begun)))
    }
}

/// One kind of figure.
type Choice = fn(&Side) -> &Samples;

fn tell(sides: &[Side], report: &mut Report) {
    let kinds: [(&str, bool, Choice); 2] = [
        ("commit to answer", true, |side| &side.since_commit),
        ("save to answer", false, |side| &side.since_begin),
    ];
    for (what, has_aims, samples) in kinds {
        for side in sides.iter().filter(|side| side.way.is_ours()) {
            let on = side.way.name();
            let what = format!("{what}, {} APIs", side.size);
            let mut measured = Measured::alone(what, on, Unit::Milliseconds, samples(side));
            for other in sides {
                let same_way = other.way.name() == on;
                let name = match (&other.way, same_way) {
                    (_, true) if other.size == 10 && side.size != 10 => "10 APIs".to_owned(),
                    (Way::Floor, _) => "floor".to_owned(),
                    (way, false) if other.size == side.size => way.name().to_owned(),
                    _ => continue,
                };
                measured = measured.beside_peer(&name, samples(other));
                let aim = match &other.way {
                    _ if !has_aims => continue,
                    Way::Floor => Aim::Under(2.0),
                    Way::Envoy { .. } if side.size == 10_000 => Aim::Under(0.25),
                    _ if same_way && side.size == 10_000 => Aim::Under(1.3),
                    _ => continue,
                };
                measured = measured.with_aim(aim);
            }
            report.measured.push(measured);
        }
    }
}
