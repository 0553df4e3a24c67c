//! Which process speaks for a gateway's id. Pure.
//!
//! Two processes may have one id by mistake. The one that has registered last is believed, as one that
//! was started again has to be, until it ends or falls silent. The other one is noted beside it and
//! told so; nothing that it says of APIs is kept.

use artifact::{INSTANCE, OtherInstance};
use serde_json::{Map, Value};
use store::GatewayRow;

use crate::truth::online;

/// The member of the properties that are stored in which the other one is noted.
const OTHER: &str = "otherInstance";

/// How a process stands that says something as a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It speaks for the id.
    Speaks,
    /// The id is not known, or who spoke for it has fallen silent: this one has to register.
    Unregistered,
    /// Another one speaks for the id.
    Conflict,
}

/// The process that says something, by the properties that it tells; `None` for another kind of
/// gateway.
pub(crate) fn instance(properties: &Map<String, Value>) -> Option<&str> {
    properties.get(INSTANCE)?.as_str()
}

/// How `instance` stands that does not register just now. `known` is what is stored of the id.
pub(crate) fn standing(
    known: Option<&GatewayRow>,
    instance: Option<&str>,
    now: i64,
    expiry: i64,
) -> Standing {
    let Some(found) = instance else {
        return Standing::Speaks;
    };
    let Some(known) = known else {
        return Standing::Unregistered;
    };
    match self::instance(&known.properties) {
        Some(speaker) if speaker != found => match online(known, now, expiry) {
            true => Standing::Conflict,
            false => Standing::Unregistered,
        },
        _ => Standing::Speaks,
    }
}

/// The other one that lives.
pub(crate) fn other(row: &GatewayRow, now: i64, expiry: i64) -> Option<OtherInstance> {
    let other = row.properties.get(OTHER)?;
    let other: OtherInstance = serde_json::from_value(other.clone()).ok()?;
    (now - other.last_seen <= expiry).then_some(other)
}

/// Notes beside the one that speaks that `other` has spoken as well.
pub(crate) fn note(known: &mut GatewayRow, other: &GatewayRow) {
    let note = OtherInstance {
        instance: instance(&other.properties).unwrap_or_default().to_owned(),
        urls: other.urls.clone(),
        last_seen: other.last_seen,
    };
    // Nothing in it cannot be written.
    if let Ok(note) = serde_json::to_value(note) {
        known.properties.insert(OTHER.to_owned(), note);
    }
}

/// Takes over what is noted beside the one that speaks to what it says now.
pub(crate) fn keep_note(row: &mut GatewayRow, known: &GatewayRow) {
    if let Some(note) = known.properties.get(OTHER) {
        row.properties.insert(OTHER.to_owned(), note.clone());
    }
}

/// The properties without what is noted here.
pub(crate) fn without_note(properties: &mut Map<String, Value>) {
    properties.remove(OTHER);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(instance: Option<&str>, last_seen: i64) -> GatewayRow {
        let mut properties = Map::new();
        properties.extend(instance.map(|name| (INSTANCE.to_owned(), name.into())));
        GatewayRow {
            gateway_id: "g".into(),
            labels: Vec::new(),
            urls: vec![format!("http://{}", instance.unwrap_or_default())],
            tenants: Vec::new(),
            properties,
            applied: std::collections::BTreeMap::new(),
            registered: 0,
            last_seen,
        }
    }

    #[test]
    fn who_has_registered_last_speaks_while_it_lives() {
        use Standing::{Conflict, Speaks, Unregistered};
        let known = row(Some("b"), 100);
        for (known, instance, now, expected) in [
            (None, None, 100, Speaks),
            (None, Some("a"), 100, Unregistered),
            (Some(&known), Some("b"), 100, Speaks),
            (Some(&known), Some("b"), 1000, Speaks),
            (Some(&known), Some("a"), 150, Conflict),
            (Some(&known), Some("a"), 151, Unregistered),
            (Some(&known), None, 100, Speaks),
            (Some(&row(None, 100)), Some("a"), 100, Speaks),
        ] {
            let found = standing(known, instance, now, 50);
            assert_eq!(found, expected, "{known:?} {instance:?} {now}");
        }
    }

    #[test]
    fn the_other_one_is_told_of_until_it_has_been_silent() {
        let mut known = row(Some("b"), 100);
        assert_eq!(other(&known, 100, 50), None);
        note(&mut known, &row(Some("a"), 100));
        let mut said = row(Some("b"), 120);
        keep_note(&mut said, &known);
        let told = other(&said, 150, 50).unwrap();
        assert_eq!((&*told.instance, &*told.urls[0]), ("a", "http://a"));
        assert_eq!(other(&said, 151, 50), None);
        without_note(&mut said.properties);
        assert_eq!(said, row(Some("b"), 120));
    }
}
