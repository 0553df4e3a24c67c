use artifact::SavedTo;

use super::super::fixture::{self, Fixture, label, settings};
use super::super::{Input, Output};
use super::*;

/// Revision `seq` of an API at `/name`.
fn entry(name: &str, seq: u64, body: &str) -> LabelLogEntry {
    let definition = format!(
        "<api name='{name}' context='/{name}'><resource><inSequence>{body}</inSequence></resource></api>"
    );
    fixture::entry(name, seq, &definition)
}

fn removal(of: &LabelLogEntry, seq: u64, published_to: &[SavedTo]) -> LabelLogEntry {
    LabelLogEntry {
        seq,
        instruction: Instruction::Remove,
        revision: seq,
        artifact: None,
        published_to: published_to.to_vec(),
        ..of.clone()
    }
}

fn gateway() -> Fixture {
    Fixture::with(settings(&["L", "M"]))
}

/// Sends entries, and gives the status of each with its reason.
fn send(gateway: &mut Fixture, entries: &[(&str, &LabelLogEntry)]) -> Vec<String> {
    let entries = entries.iter().map(|(name, entry)| DirectEntry {
        label: label(name),
        entry: (*entry).clone(),
    });
    gateway.handle(Input::Direct {
        command: 1,
        entries: entries.collect(),
    });
    let Some(Output::Direct { statuses, .. }) = gateway.asked.pop() else {
        panic!("{:?}", gateway.asked)
    };
    let told = statuses.into_iter().map(|status| {
        let reason = status.reason.map_or(String::new(), |it| format!(": {it}"));
        format!("{:?}{reason}", status.status)
    });
    told.collect()
}

#[test]
fn what_is_sent_answers_at_once_and_the_pull_changes_nothing() {
    let mut gateway = gateway();
    let (a, bad) = (
        entry("a", 1, "<respond/>"),
        entry("b", 2, "<send><endpoint/></send>"),
    );
    let bad = LabelLogEntry {
        artifact: bad
            .artifact
            .map(|text| text.replace("<resource>", "<resource methods='FETCH'>")),
        ..bad
    };
    let bad = LabelLogEntry {
        digest: Digest::of(bad.artifact.as_deref().unwrap().as_bytes()),
        ..bad
    };
    let told = send(&mut gateway, &[("L", &a), ("X", &a), ("L", &bad)]);
    assert_eq!(told[0], "Deployed");
    assert_eq!(
        told[1],
        "Refused: this gateway does not carry the label \"X\""
    );
    assert!(told[2].starts_with("Refused: apiDefinition"), "{told:?}");
    assert_eq!(
        gateway.core.standings.missing(),
        [label("L"), label("M")],
        "no log was pulled"
    );

    gateway.notices.clear();
    gateway.pull(a.clone());
    assert!(gateway.notices.is_empty(), "it is deployed already");
    assert_eq!(send(&mut gateway, &[("L", &a)]), ["Kept"]);
}

#[test]
fn what_is_sent_late_never_replaces_something_newer() {
    let mut gateway = gateway();
    let (old, new) = (entry("a", 1, "<respond/>"), entry("a", 2, "<drop/>"));
    gateway.pull(new.clone());
    assert_eq!(
        send(&mut gateway, &[("L", &old)]),
        ["Kept: revision 2 is newer"]
    );
    let gone = removal(&new, 3, &[]);
    assert_eq!(send(&mut gateway, &[("L", &gone)]), ["Removed"]);
    assert_eq!(send(&mut gateway, &[("L", &gone)]), ["Kept"]);
    assert_eq!(
        send(&mut gateway, &[("L", &new)]),
        ["Kept: it has been removed since"]
    );
    assert!(gateway.core.set.get("a").is_none());
}

#[test]
fn an_api_that_moves_between_labels_is_not_taken_down() {
    let mut gateway = gateway();
    let a = entry("a", 1, "<respond/>");
    assert_eq!(send(&mut gateway, &[("L", &a)]), ["Deployed"]);
    // Its entry in the log of M has not been sent: M is another environment.
    let moved = SavedTo {
        label: label("M"),
        seq: 1,
    };
    let told = send(&mut gateway, &[("L", &removal(&a, 2, &[moved]))]);
    assert!(told[0].starts_with("Kept"), "{told:?}");
    assert!(gateway.core.set.get("a").is_some());
}
