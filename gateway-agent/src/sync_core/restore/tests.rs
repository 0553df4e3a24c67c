use super::super::fixture::{Fixture, api, entry, label, settings};
use super::super::{Input, Output};
use super::*;
use crate::snapshot::ledger::{Ledger, Recorder};
use crate::text::Text;

/// What is stored of a gateway with the APIs `a`, `b` and `c`.
fn stored() -> State {
    let mut ledger = Ledger::new(Recorder::default());
    for record in Fixture::of(&["a", "b", "c"]).records {
        ledger.applied(record);
    }
    ledger.recorder.take().packed()
}

fn digest_of(state: &State, api_id: &str) -> artifact::Digest {
    state.apis[api_id].wanted.as_ref().unwrap().digest
}

#[test]
fn what_was_stored_serves_again() {
    let mut test = Fixture::restored(settings(&["L"]), &stored());
    let answers = ["/a", "/b", "/c"].map(|path| test.answers(path));
    assert_eq!(answers, [Some(1), Some(2), Some(3)]);
    assert!(
        !test
            .asked
            .iter()
            .any(|it| matches!(it, Output::Fetch { .. }))
    );
    assert_eq!(test.last_notice().deployment_status, "SUCCESS");
}

#[test]
fn a_text_that_its_digest_does_not_name_never_answers_and_is_fetched_again() {
    let mut state = stored();
    let (a, b) = (digest_of(&state, "a"), digest_of(&state, "b"));
    let other = entry("a", 1, &api("other")).artifact.unwrap();
    state.texts.insert(a, Text::of(&other));
    state.texts.insert(b, Text::from_frame(b"damaged".to_vec()));
    let mut test = Fixture::restored(settings(&["L"]), &state);
    let answers = ["/a", "/other", "/b", "/c"].map(|path| test.answers(path));
    assert_eq!(answers, [None, None, None, Some(3)]);
    let mut refused = test
        .notices
        .iter()
        .filter(|it| it.deployment_status == "FAILURE");
    let reason = "the artifact does not match its digest";
    assert!(refused.all(|it| it.error_message.as_deref() == Some(reason)));

    let fetch = |output: &Output| match output {
        Output::Fetch { id, .. } => Some(*id),
        _ => None,
    };
    let id = test.asked.iter().find_map(fetch).unwrap();
    let good = ["a", "b"].into_iter().zip(1..);
    test.handle(Input::Fetched {
        label: label("L"),
        id,
        entries: good
            .map(|(name, seq)| entry(name, seq, &api(name)))
            .collect(),
        last: true,
    });
    assert_eq!((test.answers("/a"), test.answers("/b")), (Some(1), Some(2)));
    // And the disk has the right ones from now on.
    let texts = test.records.iter().flat_map(|record| &record.texts);
    let good = texts.filter(|(digest, text)| {
        let text = text.unpack().unwrap();
        [a, b].contains(digest) && artifact::Digest::of(text.as_bytes()) == *digest
    });
    assert_eq!(good.count(), 2);
}
