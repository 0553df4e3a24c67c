//! Label logs and status.

use artifact::Digest;

use super::*;
use crate::Filter;

pub(super) async fn the_log_gives_back_the_bytes_that_were_saved(fixture: &Fixture) {
    let store = &fixture.store;
    let wanted = save("a", "<api context='/ä'>\n</api>", &["L1"]);
    let text = wanted.text.clone();
    saved(store, wanted).await;
    let (entries, newest) = behind(store, "L1", 0).await;
    assert_eq!((entries.len(), newest), (1, 1));
    assert_eq!(entries[0].digest, Digest::of(text.as_bytes()));
    assert_eq!(entries[0].bytes, text.len() as u64);
    assert_eq!(texts(store, &entries).await, [Some(text)]);
}

pub(super) async fn what_has_come_since_is_read_of_all_labels_at_once(fixture: &Fixture) {
    let store = &fixture.store;
    for n in 0..5 {
        saved(store, save(&format!("a{n}"), "1", &["L1", "L2"])).await;
    }
    saved(store, save("b", "1", &["L3"])).await;
    let since = [(label("L1"), 3), (label("L2"), 5), (label("L3"), 9)];
    let logs = store.label_logs(&since.into()).await.unwrap();
    let seqs: Vec<u64> = logs.seqs.values().copied().collect();
    assert_eq!(seqs, [5, 5, 1]);
    let entries: Vec<(&str, Vec<u64>)> = logs
        .entries
        .iter()
        .map(|(label, entries)| (label.as_str(), entries.iter().map(|e| e.seq).collect()))
        .collect();
    assert_eq!(
        entries,
        [("L1", vec![4, 5]), ("L3", vec![1])],
        "a log that ends before the position asked about is read from its start"
    );
}

pub(super) async fn artifacts_come_in_the_order_asked_for(fixture: &Fixture) {
    let store = &fixture.store;
    let names: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    for name in &names {
        saved(store, save(name, "1", &["L1"])).await;
    }
    let (mut entries, _) = behind(store, "L1", 0).await;
    entries.reverse();
    entries[0].revision = 7;
    let found = texts(store, &entries).await;
    assert_eq!(found[0], None, "a revision that is not kept");
    for (entry, text) in entries.iter().zip(&found).skip(1) {
        let text = text.as_deref().unwrap();
        assert_eq!(entry.digest, Digest::of(text.as_bytes()), "{}", entry.name);
    }
}

pub(super) async fn apis_are_read_page_by_page(fixture: &Fixture) {
    let store = &fixture.store;
    for name in ["c", "a", "d", "b"] {
        saved(store, save(name, "1", &["L1"])).await;
    }
    let mut behind: Option<String> = None;
    let mut names = Vec::new();
    loop {
        let which = Which::Behind(behind.as_deref(), 3);
        let snapshot = store.snapshot(which).await.unwrap();
        assert_eq!(snapshot.labels.len(), snapshot.apis.len());
        let Some(last) = snapshot.apis.last() else {
            break;
        };
        behind = Some(last.api_id.clone());
        names.extend(snapshot.apis.into_iter().map(|api| api.name));
    }
    assert_eq!(names, ["a", "b", "c", "d"]);
    let revisions = store.revisions("id-a").await.unwrap();
    assert_eq!((revisions.len(), revisions[0].revision), (1, 1));
    assert!(store.revisions("nobody's").await.unwrap().is_empty());
}

pub(super) async fn apis_that_match_are_read_page_by_page(fixture: &Fixture) {
    let store = &fixture.store;
    for (name, version, label) in [("a", "1", "L1"), ("b", "2", "L2"), ("b", "1", "L1")] {
        saved(store, save(&format!("{name}{version}"), version, &[label])).await;
    }
    let names = async |filter: Filter<'_>, behind: Option<&str>, limit: u32| {
        let which = Which::Matching(filter, behind, limit);
        let apis = store.snapshot(which).await.unwrap().apis;
        apis.into_iter().map(|api| api.name).collect::<Vec<_>>()
    };
    let all = Filter::default();
    assert_eq!(names(all, None, 9).await, ["a1", "b1", "b2"]);
    assert_eq!(names(all, Some("id-a1"), 1).await, ["b1"]);
    let label = Filter { label: "L1", ..all };
    assert_eq!(names(label, None, 9).await, ["a1", "b1"]);
    assert_eq!(names(label, Some("id-a1"), 9).await, ["b1"]);
    let name = Filter { name: "b2", ..all };
    assert_eq!(names(name, None, 9).await, ["b2"]);
    assert!(
        names(
            Filter {
                label: "L1",
                ..name
            },
            None,
            9
        )
        .await
        .is_empty()
    );
    let tenant = |tenant_domain| Filter {
        tenant_domain,
        ..all
    };
    assert_eq!(names(tenant("carbon.super"), None, 9).await.len(), 3);
    assert!(names(tenant("nobody's"), None, 9).await.is_empty());
}

pub(super) async fn the_database_tells_of_growth_where_it_can(fixture: &Fixture) {
    let store = &fixture.store;
    let tells = fixture.options.database.dialect() == Dialect::PostgreSql;
    let growing = store.growing().await.unwrap();
    assert_eq!(growing.is_some(), tells);
    saved(store, save("a", "1", &["L1"])).await;
    if let Some(mut growing) = growing {
        growing.next().await.unwrap();
        assert_eq!(behind(store, "L1", 0).await.1, 1, "told after the commit");
    }
}

pub(super) async fn a_status_that_was_said_earlier_changes_nothing(fixture: &Fixture) {
    let store = &fixture.store;
    let row = |since: i64, state| DeploymentRow {
        gateway_id: "g".into(),
        api_id: "a".into(),
        revision: 7,
        received: artifact::Digest::of(b"x"),
        deployed: None,
        state,
        reason: None,
        since,
    };
    use artifact::DeploymentState::{Deployed, Failed};
    for rows in [
        vec![row(2, Deployed)],
        vec![row(1, Failed)],
        vec![row(1, Failed), row(2, Deployed), row(1, Failed)],
    ] {
        record(store, Vec::new(), rows).await;
    }
    let found = deployments(store).await;
    assert_eq!(
        (found.len(), found[0].since, found[0].state),
        (1, 2, Deployed)
    );
}

pub(super) async fn a_gateway_that_registers_again_says_anew_what_it_runs(fixture: &Fixture) {
    let store = &fixture.store;
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
    record(store, Vec::new(), vec![row.clone()]).await;
    let seen = Said {
        seen: vec![gateway(7, 7)],
        ..Said::default()
    };
    store.record(&seen).await.unwrap();
    assert_eq!(
        deployments(store).await.len(),
        1,
        "a heartbeat forgets nothing"
    );
    record(store, vec![gateway(8, 8)], Vec::new()).await;
    assert_eq!(deployments(store).await.len(), 0);
    let seen = Said {
        seen: vec![gateway(9, 9)],
        ..Said::default()
    };
    store.record(&seen).await.unwrap();
    assert_eq!(store.gateways().await.unwrap(), [gateway(8, 9)]);
    assert!(store.forget_gateway("g").await.unwrap());
    assert!(!store.forget_gateway("g").await.unwrap());
    // One batch of what a gateway said before it ended and after it started again.
    let said = Said {
        ended: vec!["g".into()],
        started: vec![gateway(10, 10)],
        seen: Vec::new(),
        deployments: vec![row],
    };
    store.record(&said).await.unwrap();
    assert_eq!(store.gateways().await.unwrap().len(), 1);
    assert_eq!(deployments(store).await.len(), 1);
}

fn gateway(registered: i64, last_seen: i64) -> GatewayRow {
    GatewayRow {
        gateway_id: "g".into(),
        labels: vec![label("L1")],
        urls: vec!["http://localhost:8280".into()],
        tenants: vec!["carbon.super".into()],
        properties: serde_json::from_str(r#"{"os":"Linux"}"#).unwrap(),
        applied: [(label("L1"), 3)].into(),
        registered,
        last_seen,
    }
}

async fn record(store: &Store, started: Vec<GatewayRow>, deployments: Vec<DeploymentRow>) {
    let said = Said {
        started,
        deployments,
        ..Said::default()
    };
    store.record(&said).await.unwrap();
}

async fn deployments(store: &Store) -> Vec<DeploymentRow> {
    let which = Which::These(&["a"]);
    store.snapshot(which).await.unwrap().deployments
}
