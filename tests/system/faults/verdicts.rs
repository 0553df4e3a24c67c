//! The verdict on requests finds what it has to find.

use std::panic::catch_unwind;
use std::time::Duration;

use tokio::time::Instant;

use super::load::{Away, Record, Requests, Target};

/// Requests to one API at one gateway, each from and until so many milliseconds after the first.
fn passes(requests: &[(u64, u64, Result<u64, &str>)], away: &[(u64, u64)]) -> bool {
    let zero = Instant::now();
    let at = |ms| zero + Duration::from_millis(ms);
    let target = Target {
        gateway: 7,
        base: "http://gateway".into(),
        api: "api".into(),
        may_be_absent: false,
    };
    let record = |(start, end, outcome): &(u64, u64, Result<u64, &str>)| Record {
        target: 0,
        start: at(*start),
        end: at(*end),
        outcome: outcome.map(Some).map_err(str::to_owned),
    };
    let requests = Requests::new(vec![target], requests.iter().map(record).collect());
    let away: Vec<Away> = away
        .iter()
        .map(|(from, until)| Away {
            gateway: 7,
            from: at(*from),
            until: at(*until),
        })
        .collect();
    catch_unwind(|| requests.judge(&away)).is_ok()
}

#[test]
fn a_failure_is_excused_by_a_gateway_that_is_away_only() {
    let requests = [(0, 1, Ok(1)), (10, 12, Err("cut")), (20, 21, Ok(1))];
    assert!(!passes(&requests, &[]));
    assert!(passes(&requests, &[(11, 15)]), "it was under way");
    assert!(passes(&requests, &[(5, 10)]), "it came in the last moment");
    assert!(!passes(&requests, &[(13, 19)]));
}

#[test]
fn an_older_revision_after_a_newer_one_is_found() {
    let newer_first = [(0, 1, Ok(2)), (2, 3, Ok(1))];
    assert!(!passes(&newer_first, &[]));
    assert!(passes(&[(0, 1, Ok(1)), (2, 3, Ok(2))], &[]));
    // Requests side by side may be answered in any order.
    assert!(passes(&[(0, 5, Ok(2)), (2, 6, Ok(1))], &[]));
    // A gateway that was killed may be a moment behind itself.
    assert!(passes(&[(0, 1, Ok(2)), (9, 10, Ok(1))], &[(4, 6)]));
}
