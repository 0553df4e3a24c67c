//! Saves: one, a thousand, and those of sixteen publishers at once.

use std::time::{Duration, Instant};

use anyhow::ensure;
use store::{Save, SaveMode, SaveOutcome, Store};

use super::Kind;
use super::floor::Floor;
use super::site::Site;
use crate::data::{Maker, Rows};
use crate::report::{Aim, Measured, Report, Unit};
use crate::samples::Samples;

/// The text of each artifact.
const BYTES: usize = 8 * 1024;
/// Single saves of one round.
const SINGLES: usize = 20;
/// Artifacts of one batch.
const BATCH: usize = 1000;
const PUBLISHERS: usize = 16;
/// Saves of each publisher in one round.
const EACH: usize = 20;

/// One new artifact to one label; the rows of one, plainly inserted, as the floor.
pub async fn single(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (mut maker, mut floor) = (site.maker.lock().await, site.floor.lock().await);
    let (mut measured, mut under) = (Samples::default(), Samples::default());
    // The first round only prepares statements.
    for round in 0..=rounds {
        let mut times = Vec::with_capacity(SINGLES);
        for save in maker.new_saves(SINGLES, BYTES)? {
            times.push(milliseconds(saved(&site.store, &[save]).await?));
        }
        let mut floor_times = Vec::with_capacity(SINGLES);
        for save in maker.new_saves(SINGLES, BYTES)? {
            let rows = rows(&maker, &floor, vec![save])?;
            floor_times.push(milliseconds(written(&mut floor, &rows).await?));
        }
        if round > 0 {
            measured.round(times);
            under.round(floor_times);
        }
    }
    let name = site.kind.name();
    let single = Measured::alone("single save", name, Unit::Milliseconds, &measured);
    let mut single = single.beside(&under);
    if site.kind == Kind::Postgresql {
        single = single.with_aim(Aim::Under(3.0));
    }
    report.measured.push(single);
    Ok(())
}

/// A batch of new artifacts to one label; their rows, plainly inserted, as the floor; then the
/// batch once more with other texts.
pub async fn bulk(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (mut maker, mut floor) = (site.maker.lock().await, site.floor.lock().await);
    let mut measured = Samples::default();
    let (mut under, mut again) = (Samples::default(), Samples::default());
    // The first round only prepares statements.
    for round in 0..=rounds {
        let saves = maker.new_saves(BATCH, BYTES)?;
        let time = saved(&site.store, &saves).await?;
        let for_floor = maker.new_saves(BATCH, BYTES)?;
        let rows = rows(&maker, &floor, for_floor)?;
        let floor_time = written(&mut floor, &rows).await?;
        let revised = maker.revised(&saves, BYTES)?;
        let revised_time = saved(&site.store, &revised).await?;
        if round > 0 {
            measured.round(vec![rate(BATCH, time)]);
            under.round(vec![rate(BATCH, floor_time)]);
            again.round(vec![rate(BATCH, revised_time)]);
        }
    }
    let name = site.kind.name();
    let what = format!("bulk save of {BATCH}, artifacts");
    let bulk = Measured::alone(what, name, Unit::PerSecond, &measured);
    let bulk = bulk.beside(&under).with_aim(Aim::AtLeast(0.7));
    report.measured.push(bulk);
    let what = format!("second revision of {BATCH}, artifacts");
    let again = Measured::alone(what, name, Unit::PerSecond, &again);
    report.measured.push(again);
    Ok(())
}

/// Publishers at once, each with single saves; beside them as many saves one after another.
pub async fn publishers(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut maker = site.maker.lock().await;
    let (mut together, mut waits) = (Samples::default(), Samples::default());
    let mut alone = Samples::default();
    // The first round only opens connections.
    for round in 0..=rounds {
        let count = PUBLISHERS * EACH;
        let mut batches = Vec::with_capacity(PUBLISHERS);
        for _ in 0..PUBLISHERS {
            batches.push(maker.new_saves(EACH, BYTES)?);
        }
        let start = Instant::now();
        let publishing: Vec<_> = batches
            .into_iter()
            .map(|saves| tokio::spawn(publish(site.store.clone(), saves)))
            .collect();
        let mut times = Vec::with_capacity(count);
        for publisher in publishing {
            times.extend(publisher.await??);
        }
        let time = start.elapsed();
        let saves = maker.new_saves(count, BYTES)?;
        let start = Instant::now();
        // Of a task, too.
        tokio::spawn(publish(site.store.clone(), saves)).await??;
        let time_alone = start.elapsed();
        if round > 0 {
            together.round(vec![rate(count, time)]);
            waits.round(times);
            alone.round(vec![rate(count, time_alone)]);
        }
    }
    let name = site.kind.name();
    for (what, unit, samples) in [
        ("1 publisher, single saves", Unit::PerSecond, &alone),
        ("16 publishers, single saves", Unit::PerSecond, &together),
        ("16 publishers, one save", Unit::Milliseconds, &waits),
    ] {
        report
            .measured
            .push(Measured::alone(what, name, unit, samples));
    }
    Ok(())
}

/// Single saves, one after another; how many milliseconds each has taken.
async fn publish(store: Store, saves: Vec<Save>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(saves.len());
    for save in saves {
        times.push(milliseconds(saved(&store, &[save]).await?));
    }
    Ok(times)
}

/// How long the store takes for a batch, of which everything has to be new.
async fn saved(store: &Store, batch: &[Save]) -> anyhow::Result<Duration> {
    let now = kit::clock::now_ms();
    let start = Instant::now();
    let outcomes = store.save(batch, SaveMode::Atomic, now).await?;
    let time = start.elapsed();
    let saved = |outcome: &SaveOutcome| matches!(outcome, SaveOutcome::Saved { .. });
    ensure!(outcomes.iter().all(saved), "not everything was saved");
    Ok(time)
}

fn rows(maker: &Maker, floor: &Floor, saves: Vec<Save>) -> anyhow::Result<Vec<Rows>> {
    let now = kit::clock::now_ms();
    let numbered = (floor.seq + 1..).zip(saves);
    numbered
        .map(|(seq, save)| maker.rows(save, seq, now))
        .collect()
}

async fn written(floor: &mut Floor, rows: &[Rows]) -> anyhow::Result<Duration> {
    let now = kit::clock::now_ms();
    let start = Instant::now();
    floor.write(rows, now).await?;
    let time = start.elapsed();
    floor.seq += rows.len() as u64;
    Ok(time)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
