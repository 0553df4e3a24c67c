//! The outbox.

use super::*;

pub(super) async fn each_announcement_goes_to_one_relay_until_its_lease_ends(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1"])).await;
    saved(store, save("a", "1", &["L2"])).await;
    let claimed = store.claim_outbox(100, 150, 10).await.unwrap();
    let what: Vec<_> = claimed
        .iter()
        .map(|row| {
            (
                row.announcement.instruction,
                row.announcement.labels[0].label.as_str(),
            )
        })
        .collect();
    assert_eq!(what, [(Publish, "L1"), (Remove, "L1"), (Publish, "L2")]);
    assert!(store.claim_outbox(120, 170, 10).await.unwrap().is_empty());
    assert_eq!(
        store.claim_outbox(200, 250, 10).await.unwrap().len(),
        3,
        "the lease has ended"
    );
    store.mark_announced(&claimed, 210).await.unwrap();
    assert_eq!(store.outbox_length().await.unwrap(), 0);
    let api = &store.snapshot(Which::These(&["id-a"])).await.unwrap().apis[0];
    assert_eq!(api.announced, Some((api.digest, 210)));
}

/// Apis and instructions of claimed rows.
fn what(rows: &[OutboxRow]) -> Vec<(String, Instruction)> {
    rows.iter()
        .map(|row| (row.announcement.name.clone(), row.announcement.instruction))
        .collect()
}

fn ids(rows: &[OutboxRow]) -> Vec<i64> {
    rows.iter().map(|row| row.id).collect()
}

pub(super) async fn relays_share_the_work_and_keep_the_order_of_each_api(fixture: &Fixture) {
    let (store, other) = (&fixture.store, fixture.another().await);
    for (name, content) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")] {
        saved(store, save(name, content, &["L1"])).await;
    }
    let first = store.claim_outbox(100, 150, 2).await.unwrap();
    assert_eq!(what(&first), [("a".into(), Publish), ("b".into(), Publish)]);
    // The second announcement of a has to wait for the first.
    let second = other.claim_outbox(110, 160, 10).await.unwrap();
    assert_eq!(what(&second), [("c".into(), Publish)]);
    assert!(other.claim_outbox(120, 170, 10).await.unwrap().is_empty());
    store.mark_announced(&first, 1).await.unwrap();
    let third = other.claim_outbox(130, 180, 10).await.unwrap();
    assert_eq!(what(&third), [("a".into(), Publish)]);
    other.mark_announced(&second, 1).await.unwrap();
    other.mark_announced(&third, 1).await.unwrap();
    assert_eq!(store.outbox_length().await.unwrap(), 0);

    // Many at once: nothing twice, nothing left, nothing overtaken.
    for n in 0..60 {
        saved(store, save(&format!("n{}", n % 7), &n.to_string(), &["L1"])).await;
    }
    let relay = |store: Store| async move {
        let mut sent: Vec<(String, u64)> = Vec::new();
        while store.outbox_length().await.unwrap() > 0 {
            let rows = store.claim_outbox(1000, 1_001_000, 5).await.unwrap();
            let announcements = rows.iter().map(|row| &row.announcement);
            sent.extend(announcements.map(|a| (a.name.clone(), a.labels[0].seq)));
            store.mark_announced(&rows, 1).await.unwrap();
        }
        sent
    };
    let relays = (0..3).map(|_| tokio::spawn(relay(store.clone())));
    let mut sent = Vec::new();
    for relay in relays.collect::<Vec<_>>() {
        let one = relay.await.unwrap();
        for name in (0..7).map(|n| format!("n{n}")) {
            let seqs: Vec<u64> = one.iter().filter(|s| s.0 == name).map(|s| s.1).collect();
            assert!(seqs.is_sorted(), "{name}: {seqs:?}");
        }
        sent.extend(one);
    }
    assert_eq!(sent.len(), 60, "nothing twice");
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 60, "nothing left");
    other.close().await;
}

pub(super) async fn what_is_given_back_is_claimed_again_at_once(fixture: &Fixture) {
    let store = &fixture.store;
    saved(store, save("a", "1", &["L1"])).await;
    let claimed = store.claim_outbox(100, 1100, 10).await.unwrap();
    // Not what another relay has claimed.
    let given = store.give_back(&ids(&claimed), 1099, 0).await.unwrap();
    assert_eq!(given, 0);
    assert!(store.claim_outbox(101, 1100, 10).await.unwrap().is_empty());
    let given = store.give_back(&ids(&claimed), 1100, 0).await.unwrap();
    assert_eq!(given, 1);
    let again = store.claim_outbox(101, 1101, 10).await.unwrap();
    assert_eq!(ids(&again), ids(&claimed));
}
