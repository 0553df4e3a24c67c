//! The event: WSO2's `DeployAPIInGatewayEvent` with the announced positions added, and its JSON
//! text, which API Manager's Gson can read and whose texts are read as Gson reads them.

use artifact::{Announcement, Digest, Instruction, Label, SUPER_TENANT, SavedTo, gson};
use serde::Serialize;

use crate::members::{JsonError, Members};

/// Which change is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    DeployApiInGateway,
    RemoveApiFromGateway,
}

impl EventType {
    /// The name in API Manager's `EventType`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeployApiInGateway => "DEPLOY_API_IN_GATEWAY",
            Self::RemoveApiFromGateway => "REMOVE_API_FROM_GATEWAY",
        }
    }

    /// Case-sensitive. Nothing for the many types that do not concern gateways' artifacts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::DeployApiInGateway, Self::RemoveApiFromGateway]
            .into_iter()
            .find(|event_type| event_type.as_str() == text)
    }
}

/// A hint that label logs have grown. Members up to `tenantDomain` are those of API Manager
/// 3.2.0 in its order; the others are Lockstep's, which its readers ignore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    pub tenant_id: i32,
    pub tenant_domain: String,
    pub name: String,
    pub version: String,
    pub dc: String,
    /// How far each label's log has grown.
    pub positions: Vec<SavedTo>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
            event_id: event_id(announcement),
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

    /// Reads an event of API Manager 3.2.0, of 4.x (where `uuid` is the API's id and `apiId` a row
    /// number) or of Lockstep. `event_type` is that of the message; the text's own `type` is not
    /// read.
    ///
    /// Only the API's id must be there; a missing tenant is `carbon.super`, other missing members
    /// are empty or 0. Gateway names that are no valid label are left out.
    ///
    /// # Errors
    /// A text that is not a JSON object, and the first member that is missing or of a wrong type.
    pub fn read(text: &str, event_type: EventType) -> Result<Self, JsonError> {
        let members = Members::read(text)?;
        let filled = |name| Ok(members.text(name)?.filter(|text| !text.is_empty()));
        let or_empty = |name| Ok(members.text(name)?.unwrap_or_default());
        let labels = members.texts("gatewayLabels")?.into_iter();
        Ok(Self {
            api_id: match filled("uuid")? {
                Some(id) => id,
                None => filled("apiId")?.ok_or_else(|| members.missing("apiId"))?,
            },
            gateway_labels: labels
                .filter_map(|label| Label::parse(label).ok())
                .collect(),
            event_id: or_empty("eventId")?,
            time_stamp: members.long("timeStamp")?.unwrap_or_default(),
            event_type,
            tenant_id: i32::try_from(members.long("tenantId")?.unwrap_or_default())
                .map_err(|_| members.wrong("tenantId", "a whole number of 32 bits"))?,
            tenant_domain: filled("tenantDomain")?.unwrap_or_else(|| SUPER_TENANT.to_owned()),
            name: or_empty("name")?,
            version: or_empty("version")?,
            dc: or_empty("dc")?,
            positions: positions(&members)?,
            digest: members
                .text("digest")?
                .map(|text| Digest::parse(&text))
                .transpose()
                .map_err(|_| members.wrong("digest", "64 hex digits"))?,
        })
    }

    /// The JSON text, as Gson would write it.
    ///
    /// # Errors
    /// None that an event can cause; the serializer's signature has one.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        gson::to_text(self)
    }
}

/// Those of valid labels.
fn positions(members: &Members<'_>) -> Result<Vec<SavedTo>, JsonError> {
    let mut result = Vec::new();
    for position in members.objects("positions")? {
        let label = position.required_text("label")?;
        let seq = position.unsigned("seq")?;
        let seq = seq.ok_or_else(|| position.missing("seq"))?;
        if let Ok(label) = Label::parse(label) {
            result.push(SavedTo { label, seq });
        }
    }
    Ok(result)
}

/// The same for the same announcement, so that one that is sent again can be told from another.
fn event_id(announcement: &Announcement) -> String {
    let Announcement { dc, labels, .. } = announcement;
    let name = match labels.first() {
        Some(first) => format!("{dc}/{}/{}", first.label, first.seq),
        None => format!("{dc}/{}/{}", announcement.api_id, announcement.time),
    };
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Event, JsonError> {
        Event::read(text, EventType::DeployApiInGateway)
    }

    fn labels(event: &Event) -> Vec<&str> {
        event.gateway_labels.iter().map(Label::as_str).collect()
    }

    #[test]
    fn reads_what_the_original_writes_and_writes_it_back() {
        let original = r#"{"apiId":"u","gatewayLabels":["Label1"],"eventId":"e","timeStamp":1597929892000,"type":"DEPLOY_API_IN_GATEWAY","tenantId":0,"tenantDomain":"carbon.super""#;
        let event = read(&format!("{original}}}")).unwrap();
        assert_eq!(event.time_stamp, 1_597_929_892_000);
        assert_eq!(
            event.to_text().unwrap(),
            format!(r#"{original},"name":"","version":"","dc":"","positions":[]}}"#)
        );
    }

    #[test]
    fn reads_what_later_versions_write() {
        let event = read(
            r#"{"apiId":7,"uuid":"u-1","name":"Pizza","version":1.0,"provider":"admin","apiType":"HTTP",
                "gatewayLabels":["Default"],"associatedApis":[],"context":"/pizza","deleted":false,
                "eventId":"e","timeStamp":"5","tenantId":-1234,"tenantDomain":"wso2.com"}"#,
        )
        .unwrap();
        assert_eq!(event.api_id, "u-1");
        assert_eq!(
            (event.name.as_str(), event.version.as_str()),
            ("Pizza", "1.0")
        );
        assert_eq!((event.time_stamp, event.tenant_id), (5, -1234));
        assert_eq!(event.tenant_domain, "wso2.com");
    }

    #[test]
    fn the_last_of_doubled_members_counts_and_the_type_of_the_message() {
        let event = Event::read(
            r#"{"type":"DEPLOY_API_IN_GATEWAY","apiId":"a","apiId":12}"#,
            EventType::RemoveApiFromGateway,
        )
        .unwrap();
        assert_eq!(event.api_id, "12");
        assert_eq!(event.event_type, EventType::RemoveApiFromGateway);
        assert_eq!(event.tenant_domain, SUPER_TENANT);
        assert!(
            event
                .to_text()
                .unwrap()
                .contains(r#""type":"REMOVE_API_FROM_GATEWAY""#)
        );
    }

    #[test]
    fn drops_names_that_are_no_labels() {
        let event = read(
            r#"{"apiId":"a","gatewayLabels":["", "A", null, "a\nb", 5],
                "positions":[{"label":" ","seq":1},null,{"seq":"3","label":"A"}]}"#,
        )
        .unwrap();
        assert_eq!(labels(&event), ["A", "5"]);
        assert_eq!(event.positions.len(), 1);
        assert_eq!(event.positions[0].seq, 3);
        assert!(read(r#"{"apiId":"a","gatewayLabels":[]}"#).is_ok());
        assert!(read(r#"{"apiId":"a","gatewayLabels":null}"#).is_ok());
    }

    #[test]
    fn names_the_member_and_the_rule_but_never_the_content() {
        for (text, error) in [
            ("", "line 1, column 0: not JSON"),
            ("{\n\"apiId\":secret", "line 2, column 9: not JSON"),
            ("null", "must be a JSON object"),
            ("\"secret\"", "must be a JSON object"),
            ("{}", "apiId: missing"),
            (r#"{"apiId":null}"#, "apiId: missing"),
            (r#"{"apiId":"","uuid":""}"#, "apiId: missing"),
            (r#"{"apiId":["secret"]}"#, "apiId: must be a string"),
            (
                r#"{"apiId":"a","timeStamp":"secret"}"#,
                "timeStamp: must be a whole number of 64 bits",
            ),
            (
                r#"{"apiId":"a","tenantId":2147483648}"#,
                "tenantId: must be a whole number of 32 bits",
            ),
            (
                r#"{"apiId":"a","gatewayLabels":"secret"}"#,
                "gatewayLabels: must be a list",
            ),
            (
                r#"{"apiId":"a","gatewayLabels":["x",{"secret":1}]}"#,
                "gatewayLabels[1]: must be a string",
            ),
            (
                r#"{"apiId":"a","positions":["secret"]}"#,
                "positions[0]: must be an object",
            ),
            (
                r#"{"apiId":"a","positions":[{"label":"L"}]}"#,
                "positions[0].seq: missing",
            ),
            (
                r#"{"apiId":"a","positions":[{"label":"L","seq":-1}]}"#,
                "positions[0].seq: must be a whole number that is not negative",
            ),
            (
                r#"{"apiId":"a","digest":"secret"}"#,
                "digest: must be 64 hex digits",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = read(&text);
        }
    }
}
