use artifact::{Digest, Label, SavedTo};
use proptest::prelude::*;

use super::*;

const JSON: &str = r#"{"apiId":"u","gatewayLabels":["Label1"],"eventId":"e","timeStamp":1597929892000,"type":"DEPLOY_API_IN_GATEWAY","tenantId":0,"tenantDomain":"carbon.super"}"#;

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn string(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn map(event_type: Value, event: Value, timestamp: Value) -> MapMessage {
    MapMessage::from_iter([
        (EVENT_TYPE, event_type),
        (EVENT, event),
        (TIMESTAMP, timestamp),
    ])
}

fn deploy(event: &str) -> MapMessage {
    map(
        string("DEPLOY_API_IN_GATEWAY"),
        string(event),
        Value::Long(7),
    )
}

fn decode_map(message: &MapMessage) -> Result<Received, DecodeError> {
    decode(Some(AMQP_MAP), &write_amqp_map(message).unwrap())
}

fn error(result: Result<Received, DecodeError>) -> String {
    result.unwrap_err().to_string()
}

fn event() -> Event {
    Event::read(JSON, EventType::DeployApiInGateway).unwrap()
}

#[test]
fn encodes_as_the_original_does() {
    let encoded = encode(&event()).unwrap();
    assert_eq!(encoded.content_type, "amqp/map");
    let message = read_amqp_map(&encoded.body).unwrap();
    let keys: Vec<_> = message
        .entries()
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(keys, ["eventType", "event", "timestamp"]);
    assert_eq!(
        message.get(EVENT_TYPE),
        Some(&string("DEPLOY_API_IN_GATEWAY"))
    );
    assert_eq!(
        message.get(TIMESTAMP),
        Some(&Value::Long(1_597_929_892_000))
    );
    let text = STANDARD
        .decode(message.get(EVENT).unwrap().as_str().unwrap())
        .unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), event().to_text().unwrap());
    let received = decode(Some(encoded.content_type), &encoded.body);
    assert_eq!(received.unwrap(), Received::Event(event()));
}

#[test]
fn decodes_the_legacy_map_in_any_order() {
    let mut body = vec![0, 0, 0, 3];
    body.extend_from_slice(b"timestamp\0\x07\0\0\x01\x74\x0c\x0b\x28\xa0");
    body.extend_from_slice(b"event\0\x0a");
    body.extend_from_slice(base64(JSON).as_bytes());
    body.extend_from_slice(b"\0eventType\0\x0aDEPLOY_API_IN_GATEWAY\0");
    let received = decode(Some("jms/map-message"), &body).unwrap();
    assert_eq!(received, Received::Event(event()));
}

#[test]
fn decodes_the_json_text_of_4_x() {
    let json = r#"{"apiId":12,"uuid":"u-1","gatewayLabels":["Default"],"eventId":"e","tenantId":-1234,"tenantDomain":"carbon.super"}"#;
    let body = format!(
        r#"{{"event":{{"metaData":{{}},"payloadData":{{"eventType":"REMOVE_API_FROM_GATEWAY","timestamp":"9","event":"{}"}}}}}}"#,
        base64(json)
    );
    for content_type in ["text/plain", "application/json"] {
        let received = decode(Some(content_type), body.as_bytes()).unwrap();
        let Received::Event(event) = received else {
            panic!("{received:?}");
        };
        assert_eq!(event.api_id, "u-1");
        assert_eq!(event.event_type, EventType::RemoveApiFromGateway);
        assert_eq!(
            event.time_stamp, 9,
            "the message's, where the event has none"
        );
    }
}

#[test]
fn other_event_types_are_for_others() {
    let other = Received::Other {
        event_type: "POLICY_CREATE".to_owned(),
    };
    let message = map(string("POLICY_CREATE"), Value::Null, Value::Null);
    assert_eq!(decode_map(&message).unwrap(), other);
    let text = r#"{"event":{"payloadData":{"eventType":"POLICY_CREATE"}}}"#;
    assert_eq!(decode(Some("text/plain"), text.as_bytes()).unwrap(), other);
}

#[test]
fn takes_both_alphabets_with_and_without_padding() {
    let json = r#"{"apiId":"~~~???ü","eventId":">>>"}"#;
    let standard = base64(json);
    assert!(standard.contains('+') || standard.contains('/'));
    let url_safe = standard.replace('+', "-").replace('/', "_");
    for text in [&standard, &url_safe] {
        for text in [text.as_str(), text.trim_end_matches('=')] {
            let received = decode_map(&deploy(text)).unwrap();
            assert!(matches!(received, Received::Event(event) if event.api_id == "~~~???ü"));
        }
    }
}

#[test]
fn takes_the_timestamps_that_a_gateway_takes() {
    let with = |timestamp| {
        let event = string(base64(JSON));
        decode_map(&map(string("DEPLOY_API_IN_GATEWAY"), event, timestamp))
    };
    for timestamp in [
        Value::Long(1),
        Value::UnsignedLong(1),
        Value::DateTime(1),
        Value::UnsignedInt(1),
    ] {
        assert!(with(timestamp).is_ok());
    }
    for timestamp in [
        Value::Int(1),
        Value::Short(1),
        Value::UnsignedShort(1),
        Value::Double(1.0),
        string("1"),
        Value::Null,
    ] {
        let expected = "timestamp: must be an int64, uint64, uint32 or datetime";
        assert_eq!(error(with(timestamp)), expected);
    }
}

#[test]
fn content_types_are_compared_exactly() {
    let body = encode(&event()).unwrap().body;
    assert_eq!(
        error(decode(None, &body)),
        "the message has no content type"
    );
    for content_type in [
        "",
        "AMQP/MAP",
        "amqp/map; charset=utf-8",
        "application/octet-stream",
    ] {
        assert_eq!(
            error(decode(Some(content_type), &body)),
            format!("no notification has content type {content_type:?}")
        );
    }
}

#[test]
fn names_the_place_and_the_reason_but_never_the_content() {
    let secret = base64(r#"{"apiId":["secret"]}"#);
    let deploy_type = || string("DEPLOY_API_IN_GATEWAY");
    for (message, expected) in [
        (MapMessage::new(), "eventType: missing in the map"),
        (
            map(Value::Long(1), string(&secret), Value::Long(1)),
            "eventType: must be a string",
        ),
        (
            MapMessage::from_iter([(EVENT_TYPE, deploy_type())]),
            "timestamp: missing in the map",
        ),
        (
            MapMessage::from_iter([(EVENT_TYPE, deploy_type()), (TIMESTAMP, Value::Long(1))]),
            "event: missing in the map",
        ),
        (
            map(deploy_type(), Value::Null, Value::Long(1)),
            "event: must be a string",
        ),
        (
            deploy("abc$secret"),
            "the event is not base64 at character 3",
        ),
        (deploy("secre"), "the event is not base64 at character 5"),
        (deploy(""), "the event: line 1, column 0: not JSON"),
        (deploy("/w=="), "the event: not UTF-8 at byte 0"),
        (deploy(&base64("null")), "the event: must be a JSON object"),
        (deploy(&secret), "the event: apiId: must be a string"),
    ] {
        assert_eq!(error(decode_map(&message)), expected);
    }
    for (text, expected) in [
        ("", "the message: line 1, column 0: not JSON"),
        ("\"secret\"", "the message: must be a JSON object"),
        ("{}", "the message: event: missing"),
        (
            r#"{"event":"secret"}"#,
            "the message: event: must be an object",
        ),
        (
            r#"{"event":{"payloadData":{}}}"#,
            "the message: event.payloadData.eventType: missing",
        ),
        (
            r#"{"event":{"payloadData":{"eventType":"DEPLOY_API_IN_GATEWAY"}}}"#,
            "the message: event.payloadData.timestamp: missing",
        ),
    ] {
        assert_eq!(error(decode(Some("text/plain"), text.as_bytes())), expected);
    }
    assert_eq!(
        error(decode(Some("text/plain"), b"{\"a\":\xff}")),
        "the message: not UTF-8 at byte 5"
    );
    assert_eq!(
        error(decode(Some("amqp/map"), b"")),
        "the message: byte 0: a size needs 4 bytes, 0 are left"
    );
}

fn any_label() -> impl Strategy<Value = Label> {
    "[a-z][^\\p{Cc}]{0,10}[<>&'=é\u{2028}]{0,2}[a-z]".prop_map(|name| Label::parse(name).unwrap())
}

fn any_event() -> impl Strategy<Value = Event> {
    let labels = prop::collection::vec(any_label(), 0..4);
    let positions = prop::collection::vec((any_label(), any::<u64>()), 0..4);
    let texts = (".{1,20}", ".{1,20}", ".*", ".*", ".*", ".*");
    let deploys = any::<bool>();
    let rest = (any::<i64>(), any::<i32>(), any::<Option<[u8; 4]>>());
    (labels, positions, texts, deploys, rest).prop_map(
        |(gateway_labels, positions, texts, deploys, (time_stamp, tenant_id, digest))| {
            let (api_id, tenant_domain, event_id, name, version, dc) = texts;
            Event {
                api_id,
                gateway_labels,
                event_id,
                time_stamp,
                event_type: if deploys {
                    EventType::DeployApiInGateway
                } else {
                    EventType::RemoveApiFromGateway
                },
                tenant_id,
                tenant_domain,
                name,
                version,
                dc,
                positions: positions
                    .into_iter()
                    .map(|(label, seq)| SavedTo { label, seq })
                    .collect(),
                digest: digest.map(|bytes| Digest::of(&bytes)),
            }
        },
    )
}

const CONTENT_TYPES: [&str; 4] = [
    "amqp/map",
    "jms/map-message",
    "text/plain",
    "application/json",
];

proptest! {
    #[test]
    fn decodes_every_event_as_encoded(event in any_event()) {
        let encoded = encode(&event).unwrap();
        let received = decode(Some(encoded.content_type), &encoded.body).unwrap();
        prop_assert_eq!(received, Received::Event(event));
    }

    #[test]
    fn no_body_panics(body in any::<Vec<u8>>()) {
        for content_type in CONTENT_TYPES {
            let _ = decode(Some(content_type), &body);
        }
    }

    #[test]
    fn no_changed_body_panics(
        event in any_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        as_text in any::<bool>(),
    ) {
        let mut body = if as_text {
            let event = base64(&event.to_text().unwrap());
            let payload = format!(r#"{{"eventType":"DEPLOY_API_IN_GATEWAY","timestamp":1,"event":"{event}"}}"#);
            format!(r#"{{"event":{{"payloadData":{payload}}}}}"#).into_bytes()
        } else {
            encode(&event).unwrap().body
        };
        for (index, byte) in changes {
            let at = index.index(body.len());
            body[at] = byte;
        }
        for content_type in CONTENT_TYPES {
            let _ = decode(Some(content_type), &body);
        }
    }

    #[test]
    fn no_changed_event_panics(
        event in any_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut json = event.to_text().unwrap().into_bytes();
        for (index, byte) in changes {
            let at = index.index(json.len());
            json[at] = byte;
        }
        let _ = decode_map(&deploy(&STANDARD.encode(json)));
    }
}
