//! Repairs that gateways hold until an operator accepts them: as a gateway tells of them among its
//! properties, and as operators are told of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, Label};

/// A repair of a label that a gateway holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldRepair {
    /// Names exactly this repair of this label: what it would take away and replace.
    pub repair: Digest,
    /// Why it is held.
    pub reason: String,
    /// APIs that would be taken away.
    pub removes: u64,
    /// APIs that would be deployed or replaced.
    pub puts: u64,
    /// The ids of the first of them, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apis: Vec<String>,
    /// Since when it is held without a break, by the gateway's clock.
    pub since: i64,
}

impl HeldRepair {
    /// Whether it concerns an API; `None` where not all of those that it concerns are told.
    #[must_use]
    pub fn concerns(&self, api_id: &str) -> Option<bool> {
        let all = self.apis.len() as u64 >= self.removes.saturating_add(self.puts);
        match self.apis.iter().any(|known| known == api_id) {
            true => Some(true),
            false => all.then_some(false),
        }
    }
}

/// A held repair as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepairOverview {
    pub gateway_id: String,
    pub label: Label,
    #[serde(flatten)]
    pub held: HeldRepair,
    /// Whether the gateway still sends heartbeats.
    pub online: bool,
    /// Who has accepted it, where the gateway has not carried it out yet.
    pub accepted: Option<Acceptance>,
}

/// An operator's word for a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Acceptance {
    pub by: String,
    pub time: i64,
}

/// The member of a gateway's properties that tells what comparing has found …
const RECONCILIATION: &str = "reconciliation";
/// … and in it the held repairs by label.
const HELD: &str = "held";

/// What a gateway says in its properties that it holds. What is not in the shape of it is passed
/// over: other kinds of gateways may say anything.
#[must_use]
pub fn held_repairs(properties: &Map<String, Value>) -> BTreeMap<Label, HeldRepair> {
    let reconciliation = properties.get(RECONCILIATION);
    let held = reconciliation.and_then(|found| found.get(HELD)?.as_object());
    let one = |(label, value): (&String, &Value)| {
        let label = Label::parse(label.as_str()).ok()?;
        Some((label, HeldRepair::deserialize(value).ok()?))
    };
    held.into_iter().flatten().filter_map(one).collect()
}

/// Leaves of what a gateway says that it holds the labels that may be told, and the ids of APIs only
/// where they may be.
pub fn retain_held(properties: &mut Map<String, Value>, keep: impl Fn(&Label) -> bool, ids: bool) {
    let reconciliation = properties.get_mut(RECONCILIATION);
    let held = reconciliation.and_then(|found| found.get_mut(HELD)?.as_object_mut());
    if let Some(held) = held {
        held.retain(|label, _| Label::parse(label.as_str()).is_ok_and(|label| keep(&label)));
        for one in held.values_mut().filter_map(Value::as_object_mut) {
            if !ids {
                one.remove("apis");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> Map<String, Value> {
        let repair = Digest::of(b"x");
        let held = |removes: i64| {
            serde_json::json!({"repair": repair, "reason": "r", "removes": removes, "puts": 0,
                "since": 7})
        };
        let said = serde_json::json!({"version": "1", "reconciliation": {"same": 3, "held": {
            "L1": held(12), "L2": held(-1), "": held(1), "L3": "x", "L4": held(2)}}});
        serde_json::from_value(said).unwrap()
    }

    #[test]
    fn what_is_no_held_repair_is_passed_over() {
        let found = held_repairs(&properties());
        let labels: Vec<&str> = found.keys().map(Label::as_str).collect();
        assert_eq!(labels, ["L1", "L4"]);
        let first = &found[&Label::parse("L1").unwrap()];
        assert_eq!((first.removes, first.since), (12, 7));
        for said in [
            "{}",
            r#"{"reconciliation": 1}"#,
            r#"{"reconciliation": {"held": []}}"#,
        ] {
            assert!(held_repairs(&serde_json::from_str(said).unwrap()).is_empty());
        }
    }

    #[test]
    fn whom_it_concerns_is_known_where_all_are_told() {
        let mut found = held_repairs(&properties());
        let mut held = found.remove(&Label::parse("L4").unwrap()).unwrap();
        assert_eq!(held.concerns("a"), None);
        held.apis = vec!["a".into()];
        assert_eq!((held.concerns("a"), held.concerns("b")), (Some(true), None));
        held.apis.push("c".into());
        assert_eq!(held.concerns("b"), Some(false));
    }

    #[test]
    fn labels_that_may_not_be_told_are_left_out() {
        let mut said = properties();
        said["reconciliation"]["held"]["L4"]["apis"] = serde_json::json!(["a"]);
        retain_held(&mut said, |label| label.as_str() == "L4", true);
        assert_eq!(said["reconciliation"]["held"]["L4"]["apis"][0], "a");
        retain_held(&mut said, |_| true, false);
        assert!(said["reconciliation"]["held"]["L4"].get("apis").is_none());
        let held = said["reconciliation"]["held"].as_object().unwrap();
        assert_eq!(held.keys().collect::<Vec<_>>(), ["L4"]);
        assert_eq!(said["reconciliation"]["same"], 3);
        assert_eq!(said["version"], "1");
    }
}
