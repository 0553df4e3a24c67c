//! The notification: an event as the body of a message on the AMQP topic.
//!
//! It is a map of `eventType` (string), `event` (string: the base64 of the event's JSON text) and
//! `timestamp` (int64, milliseconds since the epoch). API Manager 3.2.0 sends it as a JMS
//! MapMessage; 4.x sends the same three in the JSON text of a JMS TextMessage.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use crate::event::{Event, EventType};
use crate::map_message::{
    AMQP_MAP, JMS_MAP, MapMessage, MapMessageError, Value, read_amqp_map, read_jms_map,
    write_amqp_map,
};
use crate::members::{JsonError, Members};

const EVENT_TYPE: &str = "eventType";
const EVENT: &str = "event";
const TIMESTAMP: &str = "timestamp";

/// Reads the standard alphabet with or without padding, and what other writers leave in the bits
/// behind the last byte.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A message's body with the content type by which receivers choose their decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// Why an event cannot be written; in practice only a size beyond 32 bits.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("the event cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the event cannot be written as a map: {0}")]
    Map(#[from] MapMessageError),
}

/// What came in on the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "made for one message and taken apart at once"
)]
pub enum Received {
    /// Deploy or remove.
    Event(Event),
    /// One of the many types that are for others (subscriptions, policies, …); its event was not
    /// looked at.
    Other { event_type: String },
}

/// Why a message is not a notification. No variant holds a part of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the message has no content type")]
    NoContentType,
    /// With the first 80 characters of the content type.
    #[error("no notification has content type {0:?}")]
    ContentType(String),
    #[error("the message: {0}")]
    Map(#[from] MapMessageError),
    #[error("{member}: missing in the map")]
    Missing { member: &'static str },
    #[error("{member}: must be {expected}")]
    WrongType {
        member: &'static str,
        expected: &'static str,
    },
    #[error("the message: {0}")]
    Message(JsonError),
    /// `at` counts bytes, in the body for the message, behind base64 for the event.
    #[error("{what}: not UTF-8 at byte {at}")]
    NotUtf8 { what: &'static str, at: usize },
    #[error("the event is not base64 at character {at}")]
    Base64 { at: usize },
    #[error("the event: {0}")]
    Event(JsonError),
}

/// Encodes an event as API Manager 3.2.0 does by default.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode(event: &Event) -> Result<Encoded, EncodeError> {
    let text = STANDARD.encode(event.to_text()?);
    // The order of the original's hash map; its readers do not depend on it.
    let message: MapMessage = [
        (
            EVENT_TYPE,
            Value::String(event.event_type.as_str().to_owned()),
        ),
        (EVENT, Value::String(text)),
        (TIMESTAMP, Value::Long(event.time_stamp)),
    ]
    .into_iter()
    .collect();
    Ok(Encoded {
        content_type: AMQP_MAP,
        body: write_amqp_map(&message)?,
    })
}

/// Decodes a message by its content type, which is compared exactly, as the original does:
/// `amqp/map`, `jms/map-message`, and for 4.x's JSON `text/plain` or `application/json`.
///
/// An event without a `timeStamp` gets the message's.
///
/// # Errors
/// Another content type, a body that does not follow its encoding, a member that is missing or of
/// a type that a gateway refuses, and an event that is not base64 of a readable JSON object.
pub fn decode(content_type: Option<&str>, body: &[u8]) -> Result<Received, DecodeError> {
    match content_type {
        Some(AMQP_MAP) => of_map(&read_amqp_map(body)?),
        Some(JMS_MAP) => of_map(&read_jms_map(body)?),
        Some("text/plain" | "application/json") => of_text(utf8("the message", body)?),
        Some(other) => Err(DecodeError::ContentType(other.chars().take(80).collect())),
        None => Err(DecodeError::NoContentType),
    }
}

fn of_map(message: &MapMessage) -> Result<Received, DecodeError> {
    let member = |member| message.get(member).ok_or(DecodeError::Missing { member });
    let text = |name| {
        member(name)?.as_str().ok_or(DecodeError::WrongType {
            member: name,
            expected: "a string",
        })
    };
    let name = text(EVENT_TYPE)?;
    let Some(event_type) = EventType::parse(name) else {
        return Ok(Received::Other {
            event_type: name.to_owned(),
        });
    };
    let timestamp = member(TIMESTAMP)?.as_long();
    let timestamp = timestamp.ok_or(DecodeError::WrongType {
        member: TIMESTAMP,
        expected: "an int64, uint64, uint32 or datetime",
    })?;
    read_event(event_type, text(EVENT)?, timestamp)
}

fn of_text(text: &str) -> Result<Received, DecodeError> {
    let payload = payload_of(text).map_err(DecodeError::Message)?;
    let text = |name| payload.required_text(name).map_err(DecodeError::Message);
    let name = text(EVENT_TYPE)?;
    let Some(event_type) = EventType::parse(&name) else {
        return Ok(Received::Other { event_type: name });
    };
    let timestamp = payload.long(TIMESTAMP).map_err(DecodeError::Message)?;
    let timestamp = timestamp.ok_or_else(|| DecodeError::Message(payload.missing(TIMESTAMP)))?;
    read_event(event_type, &text(EVENT)?, timestamp)
}

fn payload_of(text: &str) -> Result<Members<'_>, JsonError> {
    let message = Members::read(text)?;
    message
        .required_object(EVENT)?
        .required_object("payloadData")
}

fn read_event(
    event_type: EventType,
    base64: &str,
    timestamp: i64,
) -> Result<Received, DecodeError> {
    let bytes = decode_base64(base64)?;
    let text = utf8("the event", &bytes)?;
    let mut event = Event::read(text, event_type).map_err(DecodeError::Event)?;
    if event.time_stamp == 0 {
        event.time_stamp = timestamp;
    }
    Ok(Received::Event(event))
}

/// Takes the standard and the URL-safe alphabet, also mixed, with and without padding.
fn decode_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    let standard: Vec<u8> = text
        .bytes()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            _ => byte,
        })
        .collect();
    LENIENT
        .decode(&standard)
        .map_err(|error| DecodeError::Base64 {
            at: match error {
                base64::DecodeError::InvalidByte(at, _) => at,
                _ => standard.len(),
            },
        })
}

fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|error| DecodeError::NotUtf8 {
        what,
        at: error.valid_up_to(),
    })
}

#[cfg(test)]
mod tests;
