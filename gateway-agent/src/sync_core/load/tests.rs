use artifact::{DeploymentAction, TenantList};

use super::super::fixture::{Fixture, api, entry, label, removal, settings};
use super::super::{Input, Lazy, Settings, Told, Wanted};
use super::*;
use crate::snapshot::ledger::Record;

fn lazy() -> Settings {
    Settings {
        lazy: Some(Lazy {
            eager: TenantList::parse("").unwrap(),
            idle: Duration::from_secs(1000),
        }),
        ..settings(&["L"])
    }
}

/// An API of the tenant `t`.
fn its(name: &str, seq: u64) -> LabelLogEntry {
    LabelLogEntry {
        tenant_domain: "t".into(),
        ..entry(name, seq, &api(name))
    }
}

fn without_artifact(entry: &LabelLogEntry) -> LabelLogEntry {
    LabelLogEntry {
        artifact: None,
        ..entry.clone()
    }
}

/// What is fetched for a tenant.
struct Fetch {
    id: u64,
    ranges: Vec<Range>,
}

impl Fixture {
    /// Without tenants that are loaded at the start, with `a` and `b` of `t` and `s` of carbon.super.
    fn lazy() -> Self {
        let mut test = Self::with(lazy());
        test.pull(without_artifact(&its("a", 1)));
        test.pull(entry("s", 2, &api("s")));
        test.pull(without_artifact(&its("b", 3)));
        test
    }

    fn fetch(&mut self) -> Option<Fetch> {
        let its = |output: &Output| {
            matches!(
                output,
                Output::Fetch {
                    tenant: Some(_),
                    ..
                }
            )
        };
        let place = self.asked.iter().position(its)?;
        match self.asked.remove(place) {
            Output::Fetch { id, ranges, .. } => Some(Fetch { id, ranges }),
            _ => None,
        }
    }

    fn give(&mut self, id: u64, entries: Vec<LabelLogEntry>) {
        let last = true;
        let label = label("L");
        self.handle(Input::Fetched {
            label,
            id,
            entries,
            last,
        });
    }

    fn needed(&mut self) {
        self.handle(Input::Needed("t".into()));
    }

    fn loaded(&mut self) {
        self.needed();
        let Fetch { id, .. } = self.fetch().unwrap();
        self.give(id, vec![its("a", 1), its("b", 3)]);
    }

    fn fail(&mut self, id: u64) {
        let error = PullError::Failed("no answer".into());
        let label = label("L");
        self.handle(Input::AskFailed { label, id, error });
    }

    /// Whether `t` is loaded; `None` where nobody knows it.
    fn is_loaded(&self) -> Option<bool> {
        self.core.tenants().known.get("t").copied()
    }

    fn last_record(&self) -> &Record {
        self.records.last().unwrap()
    }
}

#[test]
fn what_a_tenant_publishes_is_known_and_nothing_of_it_is_here_until_it_is_needed() {
    let mut test = Fixture::lazy();
    let answers = ["/a", "/b", "/s"].map(|path| test.answers(path));
    assert_eq!(answers, [None, None, Some(2)]);
    assert_eq!(test.is_loaded(), Some(false));
    assert!(test.fetch().is_none());
    // Of `s` only.
    assert_eq!(test.notices.len(), 1, "{:?}", test.notices);
    let digest = test.core.standings().digest(&label("L"));
    assert_eq!(digest.count, 3);
    let (api_id, outcome) = &test.last_record().apis[0];
    assert_eq!(api_id, "b");
    assert!(outcome.wanted.is_some() && outcome.serving.is_none() && outcome.reason.is_none());

    test.needed();
    test.needed();
    let Fetch { id, ranges } = test.fetch().unwrap();
    let one = |after| Range { after, limit: 1 };
    assert_eq!(ranges, [one(0), one(2)]);
    assert!(test.fetch().is_none(), "one load");
    assert_eq!(test.is_loaded(), Some(false));
    test.give(id, vec![its("a", 1), its("b", 3)]);
    assert_eq!(test.is_loaded(), Some(true));
    assert_eq!((test.answers("/a"), test.answers("/b")), (Some(1), Some(3)));
    assert_eq!(test.core.tenants().loads, 1);
    assert_eq!(test.core.tenants().loaded, ["carbon.super", "t"]);
    let noted = test.last_record();
    assert_eq!(noted.entries.len(), 2);
    assert_eq!(noted.texts.len(), 2);
    assert!(noted.apis.iter().all(|(_, it)| it.serving.is_some()));
}

#[test]
fn nobody_asks_for_tenants_that_publish_nothing_or_are_there() {
    let mut test = Fixture::lazy();
    for tenant in ["nobody", "carbon.super"] {
        test.handle(Input::Needed(tenant.into()));
        assert!(test.fetch().is_none(), "{tenant}");
    }
    assert_eq!(test.core.tenants().known.len(), 1);
}

#[test]
fn a_new_revision_of_a_loaded_tenant_is_fetched_while_the_older_one_answers() {
    let mut test = Fixture::lazy();
    test.loaded();
    test.pull(without_artifact(&its("a", 4)));
    assert_eq!(test.answers("/a"), Some(1));
    let Fetch { id, ranges } = test.fetch().unwrap();
    assert_eq!(ranges, [Range { after: 3, limit: 1 }]);
    // It stays loaded, whatever becomes of that.
    test.fail(id);
    assert_eq!(
        (test.is_loaded(), test.answers("/a")),
        (Some(true), Some(1))
    );
    assert!(test.fetch().is_none(), "not at once");
    test.pass(250);
    let Fetch { id, .. } = test.fetch().unwrap();
    test.give(id, vec![its("a", 4)]);
    assert_eq!(test.answers("/a"), Some(4));
    assert_eq!(test.core.tenants().loads, 1);
    // One that comes with its artifact needs no second question.
    test.pull(its("b", 5));
    assert_eq!(test.answers("/b"), Some(5));
    assert!(test.fetch().is_none());
}

#[test]
fn an_idle_tenant_is_unloaded_in_one_swap_and_loaded_again() {
    let mut test = Fixture::lazy();
    test.loaded();
    test.notices.clear();
    test.pass(999_000);
    assert_eq!(test.is_loaded(), Some(true));
    test.handle(Input::Used(vec![("t".into(), 500_000)]));
    test.pass(1000);
    assert_eq!(test.is_loaded(), Some(true));
    assert_eq!(test.core.tenants.due(false), Some(1_500_000));
    test.pass(500_000);
    assert_eq!(test.is_loaded(), Some(false));
    let answers = ["/a", "/b", "/s"].map(|path| test.answers(path));
    assert_eq!(answers, [None, None, Some(2)]);
    let told: Told = test.core.tenants();
    assert_eq!(
        (told.unloads, told.loaded),
        (1, vec!["carbon.super".into()])
    );
    assert!(test.notices.is_empty(), "{:?}", test.notices);
    assert_eq!(test.core.standings().digest(&label("L")).count, 3);
    let noted = &test.last_record().apis;
    assert_eq!(noted.len(), 2);
    assert!(
        noted
            .iter()
            .all(|(_, it)| it.serving.is_none() && it.wanted.is_some())
    );
    test.loaded();
    assert_eq!((test.answers("/a"), test.answers("/b")), (Some(1), Some(3)));
    assert_eq!(test.core.tenants().loads, 2);
}

#[test]
fn a_tenant_with_a_last_good_revision_is_not_unloaded() {
    let mut test = Fixture::lazy();
    test.loaded();
    let bad = LabelLogEntry {
        tenant_domain: "t".into(),
        ..entry("a", 4, "<api")
    };
    test.pull(bad);
    test.pass(3_000_000);
    assert_eq!(
        (test.is_loaded(), test.answers("/a")),
        (Some(true), Some(1))
    );
    test.pull(its("a", 5));
    test.pass(3_000_000);
    assert_eq!(test.is_loaded(), Some(false));
}

#[test]
fn a_load_that_fails_is_tried_again_while_somebody_waits() {
    let mut test = Fixture::lazy();
    test.needed();
    let mut tries = 0;
    for second in 1..=10 {
        while let Some(Fetch { id, .. }) = test.fetch() {
            tries += 1;
            test.fail(id);
        }
        test.handle(Input::Used(vec![("t".into(), second * 1000)]));
        test.pass(1000);
    }
    assert!((4..=8).contains(&tries), "{tries}");
    assert_eq!(test.core.tenants().loading, 1);
    // Nobody waits any more.
    for _ in 0..60 {
        if let Some(Fetch { id, .. }) = test.fetch() {
            test.fail(id);
        }
        test.pass(1000);
    }
    assert!(test.fetch().is_none());
    let told = test.core.tenants();
    assert_eq!((told.loading, told.unloads), (0, 0));
    test.loaded();
    assert_eq!(test.answers("/a"), Some(1));
}

#[test]
fn what_has_been_superseded_comes_with_the_pull() {
    let mut test = Fixture::lazy();
    test.needed();
    let Fetch { id, .. } = test.fetch().unwrap();
    // The log has grown: `b` has another position, which has not been pulled.
    test.give(id, vec![its("a", 1), its("b", 4)]);
    assert_eq!((test.answers("/a"), test.answers("/b")), (Some(1), None));
    assert_eq!(test.is_loaded(), Some(false));
    test.pull(without_artifact(&its("b", 4)));
    test.pass(1000);
    let Fetch { id, ranges } = test.fetch().unwrap();
    assert_eq!(ranges, [Range { after: 3, limit: 1 }]);
    test.give(id, vec![its("b", 4)]);
    assert_eq!(
        (test.is_loaded(), test.answers("/b")),
        (Some(true), Some(4))
    );
}

#[test]
fn a_tenant_is_not_held_up_for_ever_by_what_does_not_come() {
    let mut test = Fixture::lazy();
    test.needed();
    for _ in 0..ROUNDS {
        let Fetch { id, .. } = test.fetch().unwrap();
        assert_eq!(test.is_loaded(), Some(false));
        test.give(id, vec![its("a", 1)]);
        test.pass(1000);
    }
    assert_eq!(
        (test.is_loaded(), test.answers("/a")),
        (Some(true), Some(1))
    );
    // It is looked for all the same.
    let Fetch { id, .. } = test.fetch().unwrap();
    test.give(id, vec![its("b", 3)]);
    assert_eq!(test.answers("/b"), Some(3));
}

#[test]
fn many_entries_are_fetched_as_one_stretch_of_the_log() {
    let mut test = Fixture::with(lazy());
    for seq in 1..=40 {
        let name = format!("api{seq}");
        let mut it = without_artifact(&its(&name, seq));
        if seq % 2 == 0 {
            it.tenant_domain = "u".into();
        }
        test.pull(it);
    }
    test.needed();
    let Fetch { ranges, .. } = test.fetch().unwrap();
    assert_eq!(
        ranges,
        [Range {
            after: 0,
            limit: 39
        }]
    );
}

#[test]
fn a_removal_is_told_and_takes_the_tenant_with_its_last_api() {
    let mut test = Fixture::lazy();
    test.notices.clear();
    for (name, seq) in [("a", 4), ("b", 5)] {
        test.pull(LabelLogEntry {
            tenant_domain: "t".into(),
            ..removal(name, seq)
        });
        assert_eq!(test.last_notice().action, DeploymentAction::Undeploy);
    }
    assert_eq!(test.is_loaded(), None);
    // While it is being loaded, too.
    let mut test = Fixture::lazy();
    test.needed();
    let Fetch { id, .. } = test.fetch().unwrap();
    for (name, seq) in [("a", 4), ("b", 5)] {
        test.pull(LabelLogEntry {
            tenant_domain: "t".into(),
            ..removal(name, seq)
        });
    }
    assert_eq!(test.is_loaded(), Some(true), "there is nothing to wait for");
    test.give(id, vec![its("a", 1)]);
    assert_eq!(test.answers("/a"), None);
}

#[test]
fn what_an_operator_has_taken_down_stays_down_when_its_tenant_comes_back() {
    let mut test = Fixture::lazy();
    test.loaded();
    let asked = crate::commands::Asked {
        tenant: "t".into(),
        name: "a".into(),
        version: "1".into(),
        labels: Vec::new(),
        by: "olga".into(),
    };
    let command = 1;
    test.handle(Input::Undeploy {
        command,
        asked: asked.clone(),
    });
    test.pass(2_000_000);
    test.loaded();
    assert_eq!((test.answers("/a"), test.answers("/b")), (None, Some(3)));
    test.handle(Input::Redeploy { command, asked });
    assert_eq!(test.answers("/a"), Some(1));
}

#[test]
fn pulls_go_on_as_they_were() {
    let mut test = Fixture::lazy();
    let before = test.open();
    test.loaded();
    assert_eq!(test.open(), before, "the stream is not asked anew");
    let pulls = test.asked.iter().filter_map(|output| match output {
        Output::Pull { wanted, .. } => Some(*wanted),
        _ => None,
    });
    let pulls: Vec<Wanted> = pulls.collect();
    assert_eq!(pulls.len(), 1);
}
