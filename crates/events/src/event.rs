//! The event: WSO2's `DeployAPIInGatewayEvent` with the announced positions added.

use artifact::{Announcement, Digest, Instruction, Label, SavedTo};
use serde::{Deserialize, Serialize};

/// Which change is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    DeployApiInGateway,
    RemoveApiFromGateway,
}

/// A hint that label logs have grown. Members up to `tenantDomain` are those of API Manager
/// 3.2.0 in its order; the others are Lockstep's, which its readers ignore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub api_id: String,
    pub gateway_labels: Vec<Label>,
    pub event_id: String,
    /// Milliseconds since the epoch.
    pub time_stamp: i64,
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Never set by the original either.
    #[serde(default)]
    pub tenant_id: i32,
    pub tenant_domain: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub dc: String,
    /// How far each label's log has grown.
    #[serde(default)]
    pub positions: Vec<SavedTo>,
    #[serde(default)]
    pub digest: Option<Digest>,
}

impl Event {
    /// The event for what a save left in the outbox.
    #[must_use]
    pub fn of(announcement: &Announcement) -> Self {
        let labels = announcement.labels.iter();
        Self {
            api_id: announcement.api_id.clone(),
            gateway_labels: labels.map(|saved| saved.label.clone()).collect(),
            event_id: uuid::Uuid::new_v4().to_string(),
            time_stamp: announcement.time,
            event_type: match announcement.instruction {
                Instruction::Publish => EventType::DeployApiInGateway,
                Instruction::Remove => EventType::RemoveApiFromGateway,
            },
            tenant_id: 0,
            tenant_domain: announcement.tenant_domain.clone(),
            name: announcement.name.clone(),
            version: announcement.version.clone(),
            dc: announcement.dc.clone(),
            positions: announcement.labels.clone(),
            digest: Some(announcement.digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_original_writes() {
        let event: Event = serde_json::from_str(
            r#"{"apiId":"u","gatewayLabels":["Label1"],"eventId":"e","timeStamp":1597929892000,
                "type":"DEPLOY_API_IN_GATEWAY","tenantId":0,"tenantDomain":"carbon.super"}"#,
        )
        .unwrap();
        assert_eq!(event.event_type, EventType::DeployApiInGateway);
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.starts_with(r#"{"apiId":"u","gatewayLabels":["Label1"],"eventId":"e","#));
        assert!(text.contains(r#""type":"DEPLOY_API_IN_GATEWAY","tenantId":0"#));
    }
}
