//! An operator's commands between batches.

use super::super::fixture::{Fixture, api, entry, removal};
use super::super::{Input, Output};
use super::*;
use crate::snapshot::ledger::{Ledger, Recorder};
use crate::snapshot::state::State;

fn asked(name: &str) -> Asked {
    Asked {
        tenant: "carbon.super".into(),
        name: name.into(),
        version: "1".into(),
        labels: Vec::new(),
        by: "olga".into(),
    }
}

struct Test {
    fixture: Fixture,
}

impl Test {
    fn of(names: &[&str]) -> Self {
        Self {
            fixture: Fixture::of(names),
        }
    }

    fn undeploy(&mut self, asked: &Asked) -> bool {
        let asked = asked.clone();
        self.fixture.handle(Input::Undeploy { command: 1, asked });
        match self.fixture.asked.pop() {
            Some(Output::Undeployed { known, .. }) => known,
            other => panic!("{other:?}"),
        }
    }

    fn redeploy(&mut self, asked: &Asked) -> Redeployed {
        let asked = asked.clone();
        self.fixture.handle(Input::Redeploy { command: 1, asked });
        match self.fixture.asked.pop() {
            Some(Output::Redeployed { outcome, .. }) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// What the ledger makes of what was to be noted.
    fn noted(&mut self, ledger: &mut Ledger) -> State {
        for record in self.fixture.records.drain(..) {
            ledger.applied(record);
        }
        ledger.recorder.take().packed()
    }
}

#[test]
fn an_api_goes_with_its_default_route_and_comes_back_with_it() {
    let mut test = Test::of(&["a", "b"]);
    assert!(test.undeploy(&asked("a")));
    assert_eq!(
        (
            test.fixture.answers("/a"),
            test.fixture.answers("/default-a")
        ),
        (None, None)
    );
    assert_eq!(test.fixture.answers("/b"), Some(2), "others are untouched");
    let notice = test.fixture.last_notice();
    assert!(notice.overridden && notice.deployed_revision_id.is_none());
    assert_eq!(notice.action, DeploymentAction::Undeploy);
    assert_eq!(
        notice.error_message.unwrap(),
        "undeployed on the gateway by olga"
    );
    assert!(test.undeploy(&asked("a")), "again is no failure");
    assert!(test.fixture.notices.is_empty(), "and says nothing new");
    let shown = test.fixture.core.show(&asked("a")).unwrap();
    assert!(shown.live.is_none());
    assert_eq!(shown.newest.entry.revision, 1);

    assert_eq!(test.redeploy(&asked("a")), Redeployed::Done);
    assert_eq!(
        (
            test.fixture.answers("/a"),
            test.fixture.answers("/default-a")
        ),
        (Some(1), Some(1))
    );
    let notice = test.fixture.last_notice();
    assert!(!notice.overridden && notice.deployed_revision_id.is_some());
}

#[test]
fn the_next_revision_ends_an_override() {
    let mut test = Test::of(&["a"]);
    test.undeploy(&asked("a"));
    test.fixture.pull(entry("a", 2, &api("a")));
    assert_eq!(test.fixture.answers("/a"), Some(2));
    test.fixture.pull(removal("a", 3));
    assert!(!test.undeploy(&asked("a")), "it is gone");
    assert_eq!(test.redeploy(&asked("a")), Redeployed::Unknown);
    assert!(test.fixture.core.newest.is_empty(), "nothing is kept of it");
}

#[test]
fn a_refused_revision_is_tried_again_and_nothing_is_lost_by_it() {
    let mut test = Test::of(&["a"]);
    test.fixture.pull(entry("a", 2, "<api"));
    let refused = test.fixture.last_notice().error_message.unwrap();
    assert_eq!(test.fixture.answers("/a"), Some(1));
    let again = test.redeploy(&asked("a"));
    assert_eq!(again, Redeployed::Refused(refused.clone()));
    assert_eq!(test.fixture.answers("/a"), Some(1));
    let shown = test.fixture.core.show(&asked("a")).unwrap();
    assert_eq!(shown.newest.entry.revision, 2);
    assert_eq!(shown.live.unwrap().entry.revision, 1);
    // Taken down and put back, the older one answers again.
    test.undeploy(&asked("a"));
    assert_eq!(test.fixture.answers("/a"), None);
    assert!(test.fixture.last_notice().overridden);
    let again = test.redeploy(&asked("a"));
    assert_eq!(again, Redeployed::Refused(refused));
    assert_eq!(test.fixture.answers("/a"), Some(1));
    let notice = test.fixture.last_notice();
    assert_eq!(notice.deployment_status, "FAILURE");
    assert!(notice.deployed_revision_id.is_some());
}

#[test]
fn a_refused_revision_does_not_bring_back_what_was_taken_down_but_redeploying_does() {
    let mut test = Test::of(&["a"]);
    test.undeploy(&asked("a"));
    test.fixture.pull(entry("a", 2, "<api"));
    assert_eq!(test.fixture.answers("/a"), None);
    let notice = test.fixture.last_notice();
    assert_eq!(notice.deployment_status, "FAILURE");
    assert!(!notice.overridden && notice.deployed_revision_id.is_none());
    let again = test.redeploy(&asked("a"));
    assert!(matches!(again, Redeployed::Refused(_)), "{again:?}");
    assert_eq!(test.fixture.answers("/a"), Some(1));
    test.fixture.pull(entry("a", 3, &api("a")));
    assert_eq!(test.fixture.answers("/a"), Some(3));
    assert!(test.fixture.core.taken.is_empty(), "nothing is kept of it");
}

#[test]
fn what_answered_before_comes_back_where_the_newest_one_has_no_route() {
    let mut test = Test::of(&["a", "b"]);
    // The next revision of a wants the route of b.
    let moved = api("a").replace("context='/a'", "context='/b'");
    test.fixture.pull(entry("a", 3, &moved));
    assert_eq!(
        (test.fixture.answers("/a"), test.fixture.answers("/b")),
        (Some(1), Some(2))
    );
    assert!(test.undeploy(&asked("a")));
    assert_eq!(test.fixture.answers("/a"), None);
    let again = test.redeploy(&asked("a"));
    assert!(matches!(again, Redeployed::Refused(_)), "{again:?}");
    assert_eq!(test.fixture.answers("/a"), Some(1));
    let notice = test.fixture.last_notice();
    assert_eq!(notice.deployment_status, "FAILURE");
    assert!(notice.deployed_revision_id.is_some());
    assert!(test.fixture.core.taken.is_empty());
    // The newest one waits on, and comes in when its route is free.
    test.fixture.pull(entry(
        "b",
        4,
        &api("b").replace("context='/b'", "context='/c'"),
    ));
    assert_eq!(
        (test.fixture.answers("/a"), test.fixture.answers("/b")),
        (None, Some(3))
    );
}

#[test]
fn what_was_taken_down_is_still_noted_as_what_served() {
    let mut test = Test::of(&[]);
    let recorder = Recorder::default();
    let mut ledger = Ledger::new(recorder);
    test.fixture.pull(entry("a", 1, &api("a")));
    test.fixture.pull(entry("a", 2, "<api"));
    assert!(test.undeploy(&asked("a")));
    test.fixture.pull(entry("b", 3, &api("b")));
    let state = test.noted(&mut ledger);
    let noted = &state.apis["a"];
    assert_eq!(noted.serving.as_ref().unwrap().revision, 1);
    assert_eq!(noted.wanted.as_ref().unwrap().revision, 2);
    assert_eq!(state.texts.len(), 3, "of both revisions of a, and of b");
    for seq in 4..9 {
        let other = api("b").replace("<respond/>", &format!("<log/>{seq}<respond/>"));
        test.fixture.pull(entry("b", seq, &other));
    }
    let state = test.noted(&mut ledger);
    assert_eq!(state.texts.len(), 1, "what has been replaced is not kept");
}

#[test]
fn what_the_asker_may_not_see_is_not_there() {
    let mut test = Test::of(&["a"]);
    let mut other = asked("a");
    other.tenant = "other".into();
    assert!(!test.undeploy(&other));
    let mut blind = asked("a");
    blind.labels = vec!["L2".into()];
    assert!(!test.undeploy(&blind));
    assert!(test.fixture.core.show(&blind).is_none());
    blind.labels.push("L".into());
    assert!(test.undeploy(&blind));
}
