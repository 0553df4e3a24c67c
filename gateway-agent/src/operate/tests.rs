//! The deployer with an operator's commands between its batches.

use artifact::{Digest, Instruction, Label, LabelLogEntry};
use synapse::dispatch::{RequestHead, Selection};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::follow::Pulled;
use crate::snapshot::ledger::{Ledger, Recorder};
use crate::sync_core::SyncCore;

fn label() -> Label {
    Label::parse("L").unwrap()
}

fn asked(name: &str) -> Asked {
    Asked {
        tenant: "carbon.super".into(),
        name: name.into(),
        version: "1".into(),
        labels: Vec::new(),
        by: "olga".into(),
    }
}

/// Revision `seq` of an API at `/name` and, version-less, at `/default-name`.
fn entry(name: &str, seq: u64, definition: &str) -> LabelLogEntry {
    let text = serde_json::json!({
        "name": name, "version": "1", "apiId": name, "tenantDomain": "carbon.super",
        "apiDefinition": definition,
        "defaultAPIDefinition": api(&format!("default-{name}")),
    })
    .to_string();
    LabelLogEntry {
        seq,
        api_id: name.into(),
        name: name.into(),
        version: "1".into(),
        tenant_domain: "carbon.super".into(),
        instruction: Instruction::Publish,
        revision: seq,
        digest: Digest::of(text.as_bytes()),
        time: 0,
        artifact: Some(text),
        published_to: Vec::new(),
    }
}

fn api(name: &str) -> String {
    format!(
        "<api name='{name}' context='/{name}'><resource><inSequence><respond/></inSequence></resource></api>"
    )
}

struct Test {
    deployer: Deployer,
    notices: mpsc::UnboundedReceiver<DeploymentNotice>,
}

impl Test {
    /// With these APIs.
    async fn of(names: &[&str]) -> Self {
        let (sender, notices) = mpsc::unbounded_channel();
        let deployer = Deployer::new("g".into(), SyncCore::new([label()]), sender);
        let mut test = Self { deployer, notices };
        for (name, seq) in names.iter().zip(1..) {
            test.pull(entry(name, seq, &api(name))).await;
        }
        test
    }

    async fn pull(&mut self, entry: LabelLogEntry) {
        let (applied, _) = oneshot::channel();
        self.deployer
            .apply(Pulled {
                label: label(),
                reached: entry.seq,
                entries: vec![entry],
                complete: true,
                applied,
            })
            .await;
    }

    /// The revision that answers there.
    fn answers(&self, target: &str) -> Option<u64> {
        let head = RequestHead {
            method: "GET",
            target,
            ..RequestHead::default()
        };
        match self.deployer.routes.load().select(&head) {
            Selection::Api(selected) => Some(selected.attached.deployment.revision),
            _ => None,
        }
    }

    fn last_notice(&mut self) -> DeploymentNotice {
        let mut last = None;
        while let Ok(notice) = self.notices.try_recv() {
            last = Some(notice);
        }
        last.unwrap()
    }
}

#[tokio::test]
async fn an_api_goes_with_its_default_route_and_comes_back_with_it() {
    let mut test = Test::of(&["a", "b"]).await;
    assert!(test.deployer.undeploy(&asked("a")));
    assert_eq!(
        (test.answers("/a"), test.answers("/default-a")),
        (None, None)
    );
    assert_eq!(test.answers("/b"), Some(2), "others are untouched");
    let notice = test.last_notice();
    assert!(notice.overridden && notice.deployed_revision_id.is_none());
    assert_eq!(notice.action, DeploymentAction::Undeploy);
    assert_eq!(
        notice.error_message.unwrap(),
        "undeployed on the gateway by olga"
    );
    assert!(test.deployer.undeploy(&asked("a")), "again is no failure");
    assert!(test.notices.try_recv().is_err(), "and says nothing new");
    let shown = test.deployer.show(&asked("a")).unwrap();
    assert!(shown.live.is_none());
    assert_eq!(shown.newest.entry.revision, 1);

    assert_eq!(test.deployer.redeploy(&asked("a")).await, Redeployed::Done);
    assert_eq!(
        (test.answers("/a"), test.answers("/default-a")),
        (Some(1), Some(1))
    );
    let notice = test.last_notice();
    assert!(!notice.overridden && notice.deployed_revision_id.is_some());
}

#[tokio::test]
async fn the_next_revision_ends_an_override() {
    let mut test = Test::of(&["a"]).await;
    test.deployer.undeploy(&asked("a"));
    test.pull(entry("a", 2, &api("a"))).await;
    assert_eq!(test.answers("/a"), Some(2));
    let mut removed = entry("a", 3, "");
    removed.instruction = Instruction::Remove;
    test.pull(removed).await;
    assert!(!test.deployer.undeploy(&asked("a")), "it is gone");
    assert_eq!(
        test.deployer.redeploy(&asked("a")).await,
        Redeployed::Unknown
    );
    assert!(test.deployer.newest.is_empty(), "nothing is kept of it");
}

#[tokio::test]
async fn a_refused_revision_is_tried_again_and_nothing_is_lost_by_it() {
    let mut test = Test::of(&["a"]).await;
    test.pull(entry("a", 2, "<api")).await;
    let refused = test.last_notice().error_message.unwrap();
    assert_eq!(test.answers("/a"), Some(1));
    let again = test.deployer.redeploy(&asked("a")).await;
    assert_eq!(again, Redeployed::Refused(refused.clone()));
    assert_eq!(test.answers("/a"), Some(1));
    let shown = test.deployer.show(&asked("a")).unwrap();
    assert_eq!(shown.newest.entry.revision, 2);
    assert_eq!(shown.live.unwrap().entry.revision, 1);
    // Taken down and put back, the older one answers again.
    test.deployer.undeploy(&asked("a"));
    assert_eq!(test.answers("/a"), None);
    assert!(test.last_notice().overridden);
    let again = test.deployer.redeploy(&asked("a")).await;
    assert_eq!(again, Redeployed::Refused(refused));
    assert_eq!(test.answers("/a"), Some(1));
    let notice = test.last_notice();
    assert_eq!(notice.deployment_status, "FAILURE");
    assert!(notice.deployed_revision_id.is_some());
}

#[tokio::test]
async fn a_refused_revision_does_not_bring_back_what_was_taken_down_but_redeploying_does() {
    let mut test = Test::of(&["a"]).await;
    test.deployer.undeploy(&asked("a"));
    test.pull(entry("a", 2, "<api")).await;
    assert_eq!(test.answers("/a"), None);
    let notice = test.last_notice();
    assert_eq!(notice.deployment_status, "FAILURE");
    assert!(!notice.overridden && notice.deployed_revision_id.is_none());
    let again = test.deployer.redeploy(&asked("a")).await;
    assert!(matches!(again, Redeployed::Refused(_)), "{again:?}");
    assert_eq!(test.answers("/a"), Some(1));
    test.pull(entry("a", 3, &api("a"))).await;
    assert_eq!(test.answers("/a"), Some(3));
    assert!(test.deployer.taken.is_empty(), "nothing is kept of it");
}

#[tokio::test]
async fn what_answered_before_comes_back_where_the_newest_one_has_no_route() {
    let mut test = Test::of(&["a", "b"]).await;
    // The next revision of a wants the route of b.
    let moved = api("a").replace("context='/a'", "context='/b'");
    test.pull(entry("a", 3, &moved)).await;
    assert_eq!((test.answers("/a"), test.answers("/b")), (Some(1), Some(2)));
    assert!(test.deployer.undeploy(&asked("a")));
    assert_eq!(test.answers("/a"), None);
    let again = test.deployer.redeploy(&asked("a")).await;
    assert!(matches!(again, Redeployed::Refused(_)), "{again:?}");
    assert_eq!(test.answers("/a"), Some(1));
    let notice = test.last_notice();
    assert_eq!(notice.deployment_status, "FAILURE");
    assert!(notice.deployed_revision_id.is_some());
    assert!(test.deployer.taken.is_empty());
    // The newest one waits on, and comes in when its route is free.
    test.pull(entry(
        "b",
        4,
        &api("b").replace("context='/b'", "context='/c'"),
    ))
    .await;
    assert_eq!((test.answers("/a"), test.answers("/b")), (None, Some(3)));
}

#[tokio::test]
async fn what_was_taken_down_is_still_noted_as_what_served() {
    let mut test = Test::of(&[]).await;
    let recorder = Recorder::default();
    test.deployer.ledger = Some(Ledger::new(recorder.clone()));
    test.pull(entry("a", 1, &api("a"))).await;
    test.pull(entry("a", 2, "<api")).await;
    assert!(test.deployer.undeploy(&asked("a")));
    test.pull(entry("b", 3, &api("b"))).await;
    let state = recorder.take().packed();
    let noted = &state.apis["a"];
    assert_eq!(noted.serving.as_ref().unwrap().revision, 1);
    assert_eq!(noted.wanted.as_ref().unwrap().revision, 2);
    assert_eq!(state.texts.len(), 3, "of both revisions of a, and of b");
    for seq in 4..9 {
        let other = api("b").replace("<respond/>", &format!("<log/>{seq}<respond/>"));
        test.pull(entry("b", seq, &other)).await;
    }
    let state = recorder.take().packed();
    assert_eq!(state.texts.len(), 1, "what has been replaced is not kept");
}

#[tokio::test]
async fn what_the_asker_may_not_see_is_not_there() {
    let mut test = Test::of(&["a"]).await;
    let mut other = asked("a");
    other.tenant = "other".into();
    assert!(!test.deployer.undeploy(&other));
    let mut blind = asked("a");
    blind.labels = vec!["L2".into()];
    assert!(!test.deployer.undeploy(&blind));
    assert!(test.deployer.show(&blind).is_none());
    blind.labels.push("L".into());
    assert!(test.deployer.undeploy(&blind));
}
