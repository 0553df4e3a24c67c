use super::*;

fn pulling() -> (Pulling, Random) {
    let second = Duration::from_secs(1);
    let waits = Waits {
        retry: Backoff {
            first: 15 * second,
            most: 3600 * second,
        },
        event: second / 100,
        reconcile: 60 * second,
    };
    let mut pulling = Pulling::new(waits);
    pulling.at_once(0);
    (pulling, Random::new(1))
}

fn failed() -> Result<(), PullError> {
    Err(PullError::Failed("no answer".into()))
}

#[test]
fn waits_double_from_15_seconds_to_an_hour_and_begin_anew_after_a_success() {
    let (mut pulling, mut random) = pulling();
    let mut now = 0;
    let mut waits = Vec::new();
    for id in 0..11 {
        assert!(pulling.start(now, id).is_some());
        let trouble = pulling.ended(now, failed(), &mut random).unwrap();
        waits.push(trouble.wait_ms);
        assert!(pulling.start(now, id).is_none(), "not before it is time");
        now += trouble.wait_ms;
    }
    let bounds = [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600];
    for (wait, bound) in waits.iter().zip(bounds) {
        let most = bound * 1000;
        assert!((most * 3 / 4..=most).contains(wait), "{wait} of {most}");
    }
    pulling.start(now, 20);
    pulling.applied(1, true);
    let trouble = pulling.ended(now, failed(), &mut random).unwrap();
    assert_eq!(trouble.failures, 1);
}

#[test]
fn without_events_the_pull_stays_open_and_with_them_it_does_not() {
    let (mut pulling, mut random) = pulling();
    let stream = pulling.start(0, 1).unwrap();
    assert!(stream.follow && stream.least.is_none());
    // They can be heard: the stream is given up, and pulled once more, for what was missed.
    assert_eq!(pulling.subscribed(5, true).unwrap().id, 1);
    let pull = pulling.start(5, 2).unwrap();
    assert!(!pull.follow);
    pulling.applied(3, true);
    assert!(pulling.ended(6, Ok(()), &mut random).is_none());
    assert!(pulling.start(7, 3).is_none());
    // Many events become one pull, which has to reach the newest position.
    pulling.event(7, Some(5));
    pulling.event(8, Some(4));
    pulling.event(9, None);
    assert!(pulling.start(16, 3).is_none(), "event_waiting_time");
    let pull = pulling.start(17, 3).unwrap();
    assert_eq!((pull.after, pull.least), (3, Some(5)));
    // An event during the pull is a reason for the next one.
    pulling.event(18, Some(6));
    pulling.applied(6, true);
    assert!(pulling.ended(19, Ok(()), &mut random).is_none());
    let pull = pulling.start(29, 4).unwrap();
    assert_eq!((pull.after, pull.least), (6, None));
}

#[test]
fn a_database_that_lags_is_asked_again_soon_and_not_for_ever() {
    let (mut pulling, mut random) = pulling();
    pulling.subscribed(0, true);
    pulling.event(0, Some(9));
    let mut now = 0;
    let mut tries = 0;
    loop {
        let wanted = pulling.start(now, 1).unwrap();
        assert_eq!(wanted.least, Some(9));
        let behind = PullError::Behind {
            found: 4,
            wanted: 9,
        };
        assert!(pulling.ended(now, Err(behind), &mut random).is_none());
        // What there is, is taken.
        let wanted = pulling.start(now, 2).unwrap();
        assert_eq!(wanted.least, None);
        pulling.applied(4, true);
        let trouble = pulling.ended(now, Ok(()), &mut random).unwrap();
        assert_eq!(trouble.failures, 0);
        tries += 1;
        now += trouble.wait_ms;
        if trouble.wait_ms > 1000 {
            break;
        }
    }
    assert_eq!(tries, LAG_TRIES + 1);
    assert_eq!(pulling.start(now, 3).unwrap().least, None, "disbelieved");
}

#[test]
fn news_end_a_long_wait() {
    let (mut pulling, mut random) = pulling();
    pulling.subscribed(0, true);
    let mut now = 0;
    for _ in 0..5 {
        pulling.start(now, 1).unwrap();
        now += pulling.ended(now, failed(), &mut random).unwrap().wait_ms;
    }
    pulling.start(now, 1).unwrap();
    pulling.ended(now, failed(), &mut random);
    pulling.event(now + 10, Some(1));
    assert!(pulling.start(now + 900, 2).is_none(), "a second at least");
    assert!(pulling.start(now + 1000, 2).is_some());
}
