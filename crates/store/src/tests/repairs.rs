//! Accepted repairs.

use artifact::{Digest, Label};

use super::*;

fn accepted(gateway: &str, what: &str, since: i64, time: i64) -> AcceptedRepair {
    AcceptedRepair {
        gateway_id: gateway.into(),
        repair: Digest::of(what.as_bytes()),
        since,
        by: "olga ä".into(),
        accepted: time,
    }
}

fn gateway(id: &str) -> GatewayRow {
    GatewayRow {
        gateway_id: id.into(),
        labels: Vec::<Label>::new(),
        urls: Vec::new(),
        tenants: Vec::new(),
        properties: serde_json::Map::new(),
        applied: std::collections::BTreeMap::new(),
        registered: 1,
        last_seen: 1,
    }
}

pub(super) async fn an_accepted_repair_is_kept_for_its_gateway_and_forgotten_with_it(
    fixture: &Fixture,
) {
    let (store, other) = (&fixture.store, fixture.another().await);
    let (first, second) = (accepted("g", "x", 5, 10), accepted("h", "x", 6, 11));
    for row in [&first, &second, &accepted("i", "x", 7, 12)] {
        store.accept_repair(row).await.unwrap();
    }
    let of = async |gateways: &[&str]| other.accepted_repairs(gateways).await.unwrap();
    assert_eq!(of(&["g"]).await, std::slice::from_ref(&first));
    assert_eq!(of(&["g", "h", "k"]).await, [first, second]);
    assert!(of(&[]).await.is_empty());
    // The newest word about a repair counts.
    let again = accepted("g", "x", 20, 21);
    store.accept_repair(&again).await.unwrap();
    assert_eq!(of(&["g"]).await, std::slice::from_ref(&again));
    // A heartbeat forgets nothing; who starts, ends or is forgotten holds nothing any more.
    let said = Said {
        seen: vec![gateway("g")],
        started: vec![gateway("h")],
        ended: vec!["i".into()],
        ..Said::default()
    };
    store.record(&said).await.unwrap();
    assert_eq!(of(&["g", "h", "i"]).await, [again]);
    assert!(store.forget_gateway("g").await.unwrap());
    assert!(of(&["g", "h", "i"]).await.is_empty());
    other.close().await;
}

pub(super) async fn old_acceptances_are_pruned(fixture: &Fixture) {
    let store = &fixture.store;
    let day = 24 * 3600 * 1000;
    let rows = [
        accepted("g", "old", 1, 0),
        accepted("g", "young", 1, 1),
        accepted("g", "new", 1, day + 1),
    ];
    for row in &rows {
        store.accept_repair(row).await.unwrap();
    }
    let mut kept = store.accepted_repairs(&["g"]).await.unwrap();
    kept.sort_by_key(|row| row.accepted);
    assert_eq!(kept, rows[1..]);
}
