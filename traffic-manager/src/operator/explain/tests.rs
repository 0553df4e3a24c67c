use Instruction::{Publish, Remove};

use super::super::rollout::tests::label;
use super::*;

fn digest(revision: u64) -> Digest {
    Digest::of(revision.to_string().as_bytes())
}

fn entry(name: &str, instruction: Instruction, revision: u64) -> LabelRow {
    LabelRow {
        label: label(name),
        api_id: "u".into(),
        seq: revision + 10,
        instruction,
        revision,
        digest: digest(revision),
    }
}

fn said(revision: u64, state: DeploymentState, deployed: Option<u64>) -> DeploymentRow {
    DeploymentRow {
        gateway_id: "g".into(),
        api_id: "u".into(),
        revision,
        received: digest(revision),
        deployed: deployed.map(digest),
        state,
        reason: (state != DeploymentState::Deployed).then(|| "why".into()),
        since: 5,
    }
}

/// Revision 2 of an API in these logs, announced up to a revision, on a gateway of L1.
struct Case {
    labels: Vec<LabelRow>,
    announced: Option<u64>,
    applied: u64,
    said: Option<DeploymentRow>,
    online: bool,
    /// Of these labels it holds repairs, each with the API that it concerns; `?`: not told.
    held: &'static [(&'static str, &'static str)],
    /// Those that the gateway has loaded.
    tenants: &'static [&'static str],
    outcome: Conclusion,
    conclusion: &'static str,
    /// published, registered, label, announced, pulled, deployed, online: `+`, `-` or `?`.
    steps: &'static str,
}

fn check(case: &Case) {
    let removed = case.labels.iter().all(|row| row.instruction == Remove);
    let api = ApiRow {
        api_id: "u".into(),
        name: "A".into(),
        version: "1".into(),
        tenant_domain: "a.example".into(),
        context: "/a".into(),
        instruction: if removed { Remove } else { Publish },
        revision: 2,
        digest: digest(2),
        saved: 1,
        announced: case.announced.map(|revision| (digest(revision), 2)),
    };
    let gateway = GatewayRow {
        gateway_id: "g".into(),
        labels: vec![label("L1")],
        urls: Vec::new(),
        tenants: case.tenants.iter().map(|it| (*it).to_owned()).collect(),
        properties: holding(case.held),
        applied: [(label("L1"), case.applied), (label("L2"), 99)].into(),
        registered: 3,
        last_seen: 4,
    };
    let revision = |revision| RevisionRow {
        revision,
        instruction: Publish,
        digest: digest(revision),
        bytes: 1,
        saved: 0,
    };
    let made = explain(&Facts {
        api: &api,
        labels: &case.labels,
        gateway: &gateway,
        said: case.said.as_ref(),
        revisions: &[revision(2), revision(1)],
        online: case.online,
    });
    let steps: String = made
        .steps
        .iter()
        .map(|step| match step.ok {
            Some(true) => '+',
            Some(false) => '-',
            None => '?',
        })
        .collect();
    assert_eq!(
        (made.outcome, made.conclusion.as_str(), steps.as_str()),
        (case.outcome, case.conclusion, case.steps)
    );
}

fn holding(held: &[(&str, &str)]) -> serde_json::Map<String, serde_json::Value> {
    let repair = Digest::of(b"");
    let one = |(label, api): &(&str, &str)| {
        let removes = if *api == "?" { 12 } else { 1 };
        let held = serde_json::json!({"repair": repair, "reason": "why not",
            "removes": removes, "puts": 0, "apis": [api], "since": 1});
        ((*label).to_owned(), held)
    };
    let held: serde_json::Map<_, _> = held.iter().map(one).collect();
    let said = serde_json::json!({"reconciliation": {"held": held}});
    serde_json::from_value(said).unwrap()
}

/// Deployed as it should be.
fn fine() -> Case {
    Case {
        labels: vec![entry("L1", Publish, 2)],
        announced: Some(2),
        applied: 12,
        said: Some(said(2, DeploymentState::Deployed, Some(2))),
        online: true,
        held: &[],
        tenants: &[],
        outcome: Conclusion::Deployed,
        conclusion: "g answers requests with revision 2 of A 1",
        steps: "+++++++",
    }
}

#[test]
fn each_conclusion_has_its_sentence_and_its_steps() {
    use DeploymentState::{Deployed, Failed, Overridden, Undeployed};
    let cases = [
        fine(),
        Case {
            online: false,
            outcome: Conclusion::DeployedButOffline,
            conclusion: "g is offline; when it was last heard of, it had revision 2 of A 1",
            steps: "++++++-",
            ..fine()
        },
        Case {
            labels: vec![entry("L2", Publish, 2), entry("L3", Publish, 2)],
            said: None,
            outcome: Conclusion::NotCarried,
            conclusion: "A 1 is published to L2, L3, but g carries L1",
            steps: "++-+??+",
            ..fine()
        },
        Case {
            labels: vec![entry("L2", Remove, 2)],
            said: None,
            outcome: Conclusion::NotCarried,
            conclusion: "A 1 was removed (revision 2), and no label of g ever had it",
            steps: "-+-+??+",
            ..fine()
        },
        Case {
            said: Some(said(2, Failed, Some(1))),
            outcome: Conclusion::Refused,
            conclusion: "g refused revision 2 of A 1: why; it serves revision 1",
            steps: "+++++-+",
            ..fine()
        },
        Case {
            said: Some(said(2, Failed, None)),
            outcome: Conclusion::Refused,
            conclusion: "g refused revision 2 of A 1: why; it serves no revision of the API",
            steps: "+++++-+",
            ..fine()
        },
        Case {
            said: None,
            tenants: &["carbon.super"],
            outcome: Conclusion::NotLoaded,
            conclusion: "g has not loaded the tenant a.example; the next request to \
                         /t/a.example/ brings revision 2 of A 1",
            steps: "+++++?+",
            ..fine()
        },
        Case {
            said: Some(said(2, Overridden, Some(1))),
            outcome: Conclusion::Overridden,
            conclusion: "an operator has overridden revision 2 of A 1 on g: why",
            steps: "+++++-+",
            ..fine()
        },
        Case {
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            online: false,
            outcome: Conclusion::Offline,
            conclusion: "g is offline and has not got revision 2 of A 1; it last said that it \
                         serves revision 1",
            steps: "++++---",
            ..fine()
        },
        Case {
            announced: Some(1),
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            outcome: Conclusion::NotAnnounced,
            conclusion: "revision 2 of A 1 is not announced yet, and g has not pulled it",
            steps: "+++---+",
            ..fine()
        },
        Case {
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            held: &[("L1", "?"), ("L2", "u")],
            outcome: Conclusion::RepairHeld,
            conclusion: "g has not done revision 2 of A 1: a repair of L1 (e3b0c44298fc) is \
                         held until an operator accepts it: why not; it last said that it serves revision 1",
            steps: "++++--+",
            ..fine()
        },
        // What it said was said to a database that is gone.
        Case {
            held: &[("L1", "u")],
            outcome: Conclusion::RepairHeld,
            conclusion: "g has not done revision 2 of A 1: a repair of L1 (e3b0c44298fc) is \
                         held until an operator accepts it: why not; it last said that it \
                         serves revision 2",
            steps: "+++++-+",
            ..fine()
        },
        // What is held may concern other APIs, concerns another one, or is of a label that the
        // gateway does not carry.
        Case {
            held: &[("L1", "?")],
            ..fine()
        },
        Case {
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            held: &[("L1", "v")],
            outcome: Conclusion::NotPulled,
            conclusion: "revision 2 of A 1 is announced, but g has not pulled it yet; it \
                         serves revision 1",
            steps: "++++--+",
            ..fine()
        },
        Case {
            labels: vec![entry("L1", Publish, 2), entry("L2", Publish, 2)],
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            held: &[("L2", "u")],
            outcome: Conclusion::NotPulled,
            conclusion: "revision 2 of A 1 is announced, but g has not pulled it yet; it \
                         serves revision 1",
            steps: "++++--+",
            ..fine()
        },
        Case {
            announced: None,
            applied: 0,
            said: None,
            outcome: Conclusion::NotAnnounced,
            conclusion: "revision 2 of A 1 is not announced yet, and g has not pulled it",
            steps: "+++--?+",
            ..fine()
        },
        Case {
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            outcome: Conclusion::NotPulled,
            conclusion: "revision 2 of A 1 is announced, but g has not pulled it yet; it \
                         serves revision 1",
            steps: "++++--+",
            ..fine()
        },
        Case {
            announced: None,
            said: None,
            outcome: Conclusion::NotReported,
            conclusion: "g has pulled revision 2 of A 1 and has not said yet what it did with it",
            steps: "+++-+?+",
            ..fine()
        },
        Case {
            labels: vec![entry("L1", Remove, 2)],
            said: Some(said(2, Undeployed, None)),
            outcome: Conclusion::Removed,
            conclusion: "g has done the removal of A 1 (revision 2): it is taken down",
            steps: "-+-++++",
            ..fine()
        },
        Case {
            labels: vec![entry("L1", Remove, 2), entry("L2", Publish, 2)],
            applied: 11,
            said: Some(said(1, Deployed, Some(1))),
            outcome: Conclusion::NotPulled,
            conclusion: "the removal of A 1 (revision 2) is announced, but g has not pulled it \
                         yet; it serves revision 1",
            steps: "++-+--+",
            ..fine()
        },
    ];
    for case in &cases {
        check(case);
    }
}
