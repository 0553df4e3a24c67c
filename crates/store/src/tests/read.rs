//! Label logs and status.

use super::*;

pub(super) async fn the_log_gives_back_the_bytes_that_were_saved(fixture: &Fixture) {
    let store = &fixture.store;
    let wanted = save("a", "<api context='/ä'>\n</api>", &["L1"]);
    let text = wanted.text.clone();
    saved(store, wanted).await;
    let page = store.label_log(&label("L1"), 0, 10).await.unwrap();
    assert_eq!(page.entries[0].artifact.as_deref(), Some(text.as_str()));
    assert!(page.entries[0].is_genuine());
    assert_eq!((page.complete_to, page.more), (1, false));
}

pub(super) async fn a_log_is_read_in_pages(fixture: &Fixture) {
    let store = &fixture.store;
    for n in 0..5 {
        saved(store, save(&format!("a{n}"), "1", &["L1"])).await;
    }
    let page = store.label_log(&label("L1"), 1, 2).await.unwrap();
    let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!((seqs, page.complete_to, page.more), (vec![2, 3], 3, true));
    let page = store.label_log(&label("L1"), 3, 2).await.unwrap();
    assert_eq!(
        (page.entries.len(), page.complete_to, page.more),
        (2, 5, false)
    );
    let page = store.label_log(&label("L1"), 5, 2).await.unwrap();
    assert_eq!(
        (page.entries.len(), page.complete_to, page.more),
        (0, 5, false)
    );
}

pub(super) async fn a_status_about_an_older_revision_changes_nothing(fixture: &Fixture) {
    let store = &fixture.store;
    let row = |revision: u64, state| DeploymentRow {
        gateway_id: "g".into(),
        api_id: "a".into(),
        revision,
        received: artifact::Digest::of(b"x"),
        deployed: None,
        state,
        reason: None,
        since: 1,
    };
    use artifact::DeploymentState::{Deployed, Failed};
    for rows in [
        vec![row(2, Deployed)],
        vec![row(1, Failed)],
        vec![row(1, Failed), row(2, Deployed), row(1, Failed)],
    ] {
        store.record_deployments(&rows).await.unwrap();
    }
    let found = store.snapshot().await.unwrap().deployments;
    assert_eq!(
        (found.len(), found[0].revision, found[0].state),
        (1, 2, Deployed)
    );
}

pub(super) async fn a_gateway_that_registers_again_says_anew_what_it_runs(fixture: &Fixture) {
    let store = &fixture.store;
    let notice = |payload_type| artifact::GatewayNotice {
        payload_type,
        gateway_id: "g".into(),
        environment_labels: vec![label("L1")],
        time_stamp: 1,
        urls: Vec::new(),
    };
    let row = DeploymentRow {
        gateway_id: "g".into(),
        api_id: "a".into(),
        revision: 1,
        received: artifact::Digest::of(b"x"),
        deployed: None,
        state: artifact::DeploymentState::Deployed,
        reason: None,
        since: 1,
    };
    use artifact::NoticeKind::{Heartbeat, Register};
    for (kind, left) in [(Heartbeat, 1), (Register, 0)] {
        store
            .record_deployments(std::slice::from_ref(&row))
            .await
            .unwrap();
        store.record_gateway(&notice(kind), 5).await.unwrap();
        assert_eq!(store.snapshot().await.unwrap().deployments.len(), left);
    }
}

pub(super) async fn a_damaged_artifact_does_not_hold_up_the_log(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1"])).await;
    saved(store, save("b", "1", &["L1"])).await;
    sqlx::query("UPDATE LS_REVISION SET DIGEST = 'x', ARTIFACT = (SELECT r.ARTIFACT FROM (SELECT ARTIFACT FROM LS_REVISION WHERE API_ID = 'id-b') r) WHERE API_ID = 'id-a'")
        .execute(&store.write)
        .await
        .unwrap();
    let page = store.label_log(&label("L1"), 0, 10).await.unwrap();
    let genuine: Vec<bool> = page
        .entries
        .iter()
        .map(|entry| entry.is_genuine())
        .collect();
    assert_eq!(genuine, [false, true]);
}
