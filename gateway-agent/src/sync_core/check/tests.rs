use super::super::fixture::{Fixture, api, entry, label};
use super::super::{IndexEntry, Input, Output};
use super::*;

/// Positions, names and whether published, as an index.
fn index(entries: &[LabelLogEntry]) -> Vec<IndexEntry> {
    let entries = entries.iter().map(|entry| IndexEntry {
        seq: entry.seq,
        api_id: entry.api_id.clone(),
        instruction: entry.instruction,
        digest: entry.digest,
        revision: entry.revision,
        published_to: Vec::new(),
    });
    entries.collect()
}

fn published(names: &[&str]) -> Vec<LabelLogEntry> {
    let entries = names.iter().zip(1..);
    entries
        .map(|(name, seq)| entry(name, seq, &api(name)))
        .collect()
}

/// Many APIs.
fn names() -> Vec<String> {
    (10..30).map(|number| format!("api{number}")).collect()
}

impl Fixture {
    fn take(&mut self, fits: fn(&Output) -> bool) -> Output {
        let place = self.asked.iter().rposition(fits).expect("asked");
        self.asked.remove(place)
    }

    /// The traffic manager's digest at a position is this.
    fn tell_digest(&mut self, seq: u64, entries: &[LabelLogEntry]) {
        let Output::AskDigest { label, id } =
            self.take(|it| matches!(it, Output::AskDigest { .. }))
        else {
            unreachable!()
        };
        let published = entries.iter().map(|it| (it.api_id.as_str(), it.digest));
        let digest = LabelDigest::of(published);
        self.handle(Input::Digest {
            label,
            id,
            seq,
            digest,
        });
    }

    fn tell_index(&mut self, seq: u64, entries: &[LabelLogEntry]) {
        let Output::AskIndex { label, id } = self.take(|it| matches!(it, Output::AskIndex { .. }))
        else {
            unreachable!()
        };
        let entries = index(entries);
        self.handle(Input::Index {
            label,
            id,
            seq,
            entries,
        });
    }

    fn compared(&mut self) -> Compared {
        match self.take(|it| matches!(it, Output::Compared { .. })) {
            Output::Compared { outcome, .. } => outcome,
            _ => unreachable!(),
        }
    }

    fn held(&mut self) -> Held {
        match self.compared() {
            Compared::Held(held) => held,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_label_that_is_as_it_should_be_is_looked_at_again_after_the_interval() {
    let mut test = Fixture::of(&["a", "b"]);
    test.tell_digest(2, &published(&["a", "b"]));
    assert_eq!(test.compared(), Compared::Same);
    test.asked.clear();
    test.pass(44_000);
    assert!(test.asked.is_empty(), "{:?}", test.asked);
    test.pass(16_000);
    test.tell_digest(2, &published(&["a", "b"]));
    assert_eq!(test.compared(), Compared::Same);
}

#[test]
fn what_is_missing_or_another_one_is_fetched_and_what_is_too_much_goes() {
    let mut test = Fixture::of(&["a", "b", "c"]);
    // b is another one, c is not there, d was missed.
    let mut truth = published(&["a", "b"]);
    truth[1] = LabelLogEntry {
        seq: 2,
        revision: 9,
        ..entry("b", 9, &api("b").replace("<respond/>", "<log/><respond/>"))
    };
    truth.push(LabelLogEntry {
        seq: 3,
        ..entry("d", 7, &api("d"))
    });
    test.tell_digest(3, &truth);
    test.tell_index(3, &truth);
    let Output::Fetch { id, ranges, .. } = test.take(|it| matches!(it, Output::Fetch { .. }))
    else {
        unreachable!()
    };
    assert_eq!(ranges, [Range { after: 1, limit: 2 }]);
    test.handle(Input::Fetched {
        label: label("L"),
        id,
        entries: truth[1..].to_vec(),
        last: true,
    });
    let repaired = Compared::Repaired { put: 2, removed: 1 };
    assert_eq!(test.compared(), repaired);
    let answers = ["/a", "/b", "/c", "/d"].map(|path| test.answers(path));
    assert_eq!(answers, [Some(1), Some(9), None, Some(7)]);
    // It is looked at once more, soon, and goes on from where it was.
    test.pass(2000);
    test.tell_digest(3, &truth);
    assert_eq!(test.compared(), Compared::Same);
    test.pull(entry("a", 4, &api("a")));
    assert_eq!(test.answers("/a"), Some(4));
}

#[test]
fn a_repair_that_would_take_much_away_waits_for_an_operator() {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut test = Fixture::of(&names);
    let few = published(&names[..9]);
    test.tell_digest(20, &few);
    test.tell_index(20, &few);
    let held = test.held();
    assert_eq!((held.removes, held.puts), (11, 0));
    assert_eq!(test.core.set().len(), 20);
    // Another one is not this one.
    test.asked.clear();
    test.handle(Input::Accept(Digest::of(b"another")));
    assert!(test.asked.is_empty());
    test.handle(Input::Accept(held.repair));
    test.tell_index(20, &few);
    assert_eq!(
        test.compared(),
        Compared::Repaired {
            put: 0,
            removed: 11
        }
    );
    assert_eq!(test.core.set().len(), 9);
    assert_eq!(test.core.held().count(), 0);
}

#[test]
fn what_was_accepted_is_not_what_has_become_of_it() {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut test = Fixture::of(&names);
    test.tell_digest(20, &published(&names[..9]));
    test.tell_index(20, &published(&names[..9]));
    let held = test.held();
    test.handle(Input::Accept(held.repair));
    // Meanwhile everything is gone.
    test.tell_index(20, &published(&names[..1]));
    assert_ne!(test.held().repair, held.repair);
    assert_eq!(test.core.set().len(), 20);
}

#[test]
fn ten_apis_may_go_without_being_asked_for() {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut test = Fixture::of(&names);
    test.tell_digest(20, &published(&names[..10]));
    test.tell_index(20, &published(&names[..10]));
    assert_eq!(
        test.compared(),
        Compared::Repaired {
            put: 0,
            removed: 10
        }
    );
}

#[test]
fn an_empty_or_failing_answer_removes_nothing() {
    let mut test = Fixture::of(&["a"]);
    test.tell_digest(1, &[]);
    test.tell_index(1, &[]);
    assert!(test.held().reason.contains("empty"));
    assert_eq!(test.answers("/a"), Some(1));
    test.pass(60_000);
    let Output::AskDigest { label, id } = test.take(|it| matches!(it, Output::AskDigest { .. }))
    else {
        unreachable!()
    };
    let error = PullError::Failed("500".into());
    test.handle(Input::AskFailed { label, id, error });
    assert!(matches!(test.compared(), Compared::Failed(_)));
    assert_eq!(test.core.held().count(), 1, "it is held still");
    // The traffic manager is well again.
    test.pass(60_000);
    test.tell_digest(1, &published(&["a"]));
    assert_eq!(test.compared(), Compared::Same);
    assert_eq!((test.core.held().count(), test.answers("/a")), (0, Some(1)));
}

#[test]
fn a_log_that_has_gone_back_changes_nothing_until_an_operator_accepts_it() {
    let mut test = Fixture::of(&["a", "b"]);
    test.tell_digest(2, &published(&["a", "b"]));
    test.compared();
    let older = published(&["a"]);
    // Each pull says so, for half a minute.
    while !test
        .asked
        .iter()
        .any(|it| matches!(it, Output::AskIndex { .. }))
    {
        if test.core.labels[&label("L")].pulling.open.is_some() {
            test.handle(Input::Pulled {
                label: label("L"),
                id: test.open(),
                entries: Vec::new(),
                complete_to: Some(1),
            });
        }
        test.pass(1000);
        assert!(test.now < 120_000);
    }
    assert!(
        test.now > 20_000,
        "a replica that lags gets time: {}",
        test.now
    );
    test.tell_index(1, &older);
    let held = test.held();
    assert!(
        held.reason.contains("ends at 1, before 2"),
        "{}",
        held.reason
    );
    assert_eq!(test.core.set().len(), 2);
    test.handle(Input::Accept(held.repair));
    test.tell_index(1, &older);
    assert_eq!(test.compared(), Compared::Repaired { put: 0, removed: 1 });
    // The log goes on from there.
    test.pull(entry("c", 2, &api("c")));
    assert_eq!((test.answers("/b"), test.answers("/c")), (None, Some(2)));
}

#[test]
fn a_repair_leaves_what_is_behind_the_cursor_to_the_pull() {
    let mut test = Fixture::of(&["a", "b"]);
    let mut truth = published(&["a", "b"]);
    truth[1] = LabelLogEntry {
        seq: 2,
        ..entry("b", 9, &api("b").replace("<respond/>", "<log/><respond/>"))
    };
    test.tell_digest(2, &truth);
    test.tell_index(2, &truth);
    let Output::Fetch { id, .. } = test.take(|it| matches!(it, Output::Fetch { .. })) else {
        unreachable!()
    };
    // Meanwhile it has been published again.
    let newer = entry("b", 10, &api("b"));
    test.handle(Input::Fetched {
        label: label("L"),
        id,
        entries: vec![LabelLogEntry { seq: 3, ..newer }],
        last: true,
    });
    let noted = test.records.iter();
    let beyond = noted.filter(|it| {
        let mut entries = it.entries.iter();
        entries.any(|entry| entry.seq > it.position.cursor)
    });
    assert_eq!(beyond.count(), 0, "such a snapshot is not believed");
    test.pull(LabelLogEntry {
        seq: 3,
        ..entry("b", 10, &api("b"))
    });
    assert_eq!(test.answers("/b"), Some(10));
}
