//! A cluster in one thread and no time: publishers, an outbox, a bus, traffic managers and agents
//! around real synchronization cores, with faults that a seed decides.
//!
//! `LOCKSTEP_SEED=17 cargo test -p gateway-agent simulation -- --nocapture` replays one seed and tells
//! what happens; `LOCKSTEP_SEEDS=20000` runs as many.

mod agent;
mod chance;
mod manager;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Seeds that every run of the tests tries.
const SEEDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_agent_ends_with_what_is_published_whatever_happens() {
    let seeds: Vec<u64> = match number("LOCKSTEP_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("LOCKSTEP_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let tell = seeds.len() == 1;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = seeds.len().div_ceil(threads);
    let failed: Vec<(u64, String)> = std::thread::scope(|scope| {
        let running: Vec<_> = seeds
            .chunks(share)
            .map(|part| {
                scope.spawn(move || part.iter().filter_map(|seed| run(*seed, tell)).collect())
            })
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap());
        ended.flat_map(|part: Vec<(u64, String)>| part).collect()
    });
    let first: Vec<String> = failed
        .iter()
        .take(5)
        .map(|(seed, why)| format!("LOCKSTEP_SEED={seed}: {why}"))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed\n{}",
        failed.len(),
        seeds.len(),
        first.join("\n")
    );
}

/// What went wrong with a seed, if anything.
fn run(seed: u64, tell: bool) -> Option<(u64, String)> {
    let ran = catch_unwind(AssertUnwindSafe(|| World::new(seed, tell).run()));
    let why = match ran {
        Ok(Ok(())) => return None,
        Ok(Err(why)) => why,
        Err(_) => "panicked".to_owned(),
    };
    Some((seed, why))
}
