//! Held repairs: what gateways say that they hold, what operators have accepted of it, and what a
//! heartbeat is told.

use std::collections::BTreeMap;

use artifact::{
    Acceptance, Digest, GatewayNotice, HeldRepair, Label, NoticeKind, RepairOverview, held_repairs,
};
use store::{AcceptedRepair, GatewayRow, Store};

/// What a gateway holds of the labels that it carries.
pub(crate) fn held(row: &GatewayRow) -> BTreeMap<Label, HeldRepair> {
    let mut held = held_repairs(&row.properties);
    held.retain(|label, _| row.labels.contains(label));
    held
}

/// The same of what it is just saying. One that starts or ends holds nothing.
pub(crate) fn held_now(notice: &GatewayNotice) -> BTreeMap<Label, HeldRepair> {
    match notice.payload_type {
        NoticeKind::Heartbeat => held_repairs(&notice.gateway_properties),
        NoticeKind::Register | NoticeKind::Deregister => BTreeMap::new(),
    }
}

/// Which of these repairs operators have accepted. The database is asked only where something is
/// held; where it fails, the gateway asks again soon.
pub(crate) async fn accepted(
    store: &Store,
    gateway_id: &str,
    held: &BTreeMap<Label, HeldRepair>,
) -> Vec<Digest> {
    if held.is_empty() {
        return Vec::new();
    }
    match store.accepted_repairs(&[gateway_id]).await {
        Ok(rows) => {
            let held = held.values().filter(|held| word(held, &rows).is_some());
            held.map(|held| held.repair).collect()
        }
        Err(error) => {
            tracing::warn!(%error, gateway_id, "accepted repairs cannot be read");
            Vec::new()
        }
    }
}

/// What operators are told of a gateway; the rows are what was accepted for it.
pub(crate) fn overview(
    row: &GatewayRow,
    online: bool,
    accepted: &[AcceptedRepair],
) -> Vec<RepairOverview> {
    let mine: Vec<AcceptedRepair> = accepted
        .iter()
        .filter(|accepted| accepted.gateway_id == row.gateway_id)
        .cloned()
        .collect();
    held(row)
        .into_iter()
        .map(|(label, held)| RepairOverview {
            gateway_id: row.gateway_id.clone(),
            label,
            online,
            accepted: word(&held, &mine).map(|accepted| Acceptance {
                by: accepted.by.clone(),
                time: accepted.accepted,
            }),
            held,
        })
        .collect()
}

/// The word for exactly what is held: the same repair, held without a break since an operator saw it.
fn word<'a>(held: &HeldRepair, accepted: &'a [AcceptedRepair]) -> Option<&'a AcceptedRepair> {
    let mut accepted = accepted.iter();
    accepted.find(|row| (row.repair, row.since) == (held.repair, held.since))
}

#[cfg(test)]
mod tests {
    use store::{Database, StoreOptions};

    use super::*;

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn accepted_row(gateway: &str, what: &str, since: i64) -> AcceptedRepair {
        AcceptedRepair {
            gateway_id: gateway.into(),
            repair: Digest::of(what.as_bytes()),
            since,
            by: "olga".into(),
            accepted: 9,
        }
    }

    fn properties(held: &[(&str, &str, i64)]) -> serde_json::Map<String, serde_json::Value> {
        let one = |(label, what, since): &(&str, &str, i64)| {
            let repair = Digest::of(what.as_bytes());
            let held = serde_json::json!({"repair": repair, "reason": "r", "removes": 11,
                "puts": 0, "since": since});
            ((*label).to_owned(), held)
        };
        let held: serde_json::Map<_, _> = held.iter().map(one).collect();
        let said = serde_json::json!({"reconciliation": {"held": held}});
        serde_json::from_value(said).unwrap()
    }

    fn gateway(held: &[(&str, &str, i64)]) -> GatewayRow {
        GatewayRow {
            gateway_id: "g".into(),
            labels: vec![label("L1"), label("L2")],
            urls: Vec::new(),
            tenants: Vec::new(),
            properties: properties(held),
            applied: BTreeMap::new(),
            registered: 0,
            last_seen: 0,
        }
    }

    #[test]
    fn a_word_counts_for_what_the_operator_saw_only() {
        let row = gateway(&[("L1", "x", 5), ("L2", "y", 6), ("L3", "z", 7)]);
        let accepted = |rows: &[AcceptedRepair]| -> Vec<(String, bool)> {
            let told = overview(&row, true, rows).into_iter();
            told.map(|told| (told.label.to_string(), told.accepted.is_some()))
                .collect()
        };
        let both = |first, second| vec![("L1".to_owned(), first), ("L2".to_owned(), second)];
        assert_eq!(accepted(&[]), both(false, false), "labels that it carries");
        assert_eq!(accepted(&[accepted_row("g", "x", 5)]), both(true, false));
        assert_eq!(accepted(&[accepted_row("h", "x", 5)]), both(false, false));
        assert_eq!(accepted(&[accepted_row("g", "x", 4)]), both(false, false));
        assert_eq!(accepted(&[accepted_row("g", "y", 5)]), both(false, false));
    }

    #[tokio::test]
    async fn a_heartbeat_is_told_what_was_accepted_of_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::file(&directory.path().join("lockstep.db")).unwrap(),
            dc: "DC1".into(),
            history_size: 1,
        };
        let store = Store::open(&options).await.unwrap();
        let row = accepted_row("g", "x", 5);
        store.accept_repair(&row).await.unwrap();
        let told = async |kind: &str, held: &[(&str, &str, i64)]| {
            let notice = serde_json::json!({"payloadType": kind, "gatewayId": "g", "timeStamp": 1,
                "environmentLabels": ["L1"], "gatewayProperties": properties(held)});
            let notice: GatewayNotice = serde_json::from_value(notice).unwrap();
            accepted(&store, "g", &held_now(&notice)).await
        };
        assert_eq!(told("HEARTBEAT", &[("L1", "x", 5)]).await, [row.repair]);
        assert!(told("HEARTBEAT", &[("L1", "x", 6)]).await.is_empty());
        assert!(told("HEARTBEAT", &[("L1", "y", 5)]).await.is_empty());
        assert!(told("REGISTER", &[("L1", "x", 5)]).await.is_empty());
        store.close().await;
        assert!(told("HEARTBEAT", &[("L1", "x", 5)]).await.is_empty());
    }
}
