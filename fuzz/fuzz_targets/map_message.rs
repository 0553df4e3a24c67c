//! Bodies of messages on the AMQP topic: reading never panics, and what was read is written and
//! read back alike.

#![no_main]

use events::map_message::{
    MapMessage, MapMessageError, read_amqp_map, read_jms_map, write_amqp_map,
};
use events::{Received, decode, encode};
use libfuzzer_sys::fuzz_target;

const CONTENT_TYPES: [&str; 4] = [
    "amqp/map",
    "jms/map-message",
    "text/plain",
    "application/json",
];

fuzz_target!(|body: &[u8]| {
    if let Ok(map) = read_amqp_map(body) {
        assert!(round_trip(&map).is_ok());
    }
    if let Ok(map) = read_jms_map(body) {
        let written = round_trip(&map);
        assert!(matches!(
            written,
            Ok(()) | Err(MapMessageError::KeyTooLong { .. })
        ));
    }
    for content_type in CONTENT_TYPES {
        if let Ok(Received::Event(event)) = decode(Some(content_type), body) {
            let encoded = encode(&event).expect("an event that was read can be written");
            let again = decode(Some(encoded.content_type), &encoded.body);
            assert_eq!(again, Ok(Received::Event(event)));
        }
    }
});

/// Compares bytes, because a NaN is not equal to itself.
fn round_trip(map: &MapMessage) -> Result<(), MapMessageError> {
    let written = write_amqp_map(map)?;
    let again = read_amqp_map(&written).expect("a map that was written can be read");
    assert_eq!(write_amqp_map(&again).as_ref(), Ok(&written));
    Ok(())
}
