//! What holds for every map and every body.

use proptest::prelude::*;

use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i8>().prop_map(Value::Byte),
        any::<u8>().prop_map(Value::UnsignedByte),
        any::<i16>().prop_map(Value::Short),
        any::<u16>().prop_map(Value::UnsignedShort),
        any::<i32>().prop_map(Value::Int),
        any::<u32>().prop_map(Value::UnsignedInt),
        any::<i64>().prop_map(Value::Long),
        any::<u64>().prop_map(Value::UnsignedLong),
        any::<i64>().prop_map(Value::DateTime),
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        any::<u16>().prop_map(Value::Char),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<String>().prop_map(Value::String),
        any::<[u8; 16]>().prop_map(Value::Uuid),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec(("[a-z]{0,3}", inner), 0..5)
                .prop_map(|entries| Value::Map(MapMessage::from_iter(entries))),
        ]
    })
}

fn any_map() -> impl Strategy<Value = MapMessage> {
    prop::collection::vec((".{0,20}", any_value()), 0..6).prop_map(MapMessage::from_iter)
}

/// Bytes that a map keeps on the heap, spare capacity included.
fn footprint(map: &MapMessage) -> usize {
    let entries = map.entries.capacity() * size_of::<(String, Value)>();
    let inner = map.entries.iter();
    entries
        + inner
            .map(|(key, value)| key.capacity() + held(value))
            .sum::<usize>()
}

fn held(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.capacity(),
        Value::String(text) => text.capacity(),
        Value::Map(map) => footprint(map),
        Value::List(items) => {
            items.capacity() * size_of::<Value>() + items.iter().map(held).sum::<usize>()
        }
        _ => 0,
    }
}

/// Reads with both readers; what is read stays in proportion, and is written and read alike.
fn check(body: &[u8]) -> Result<(), TestCaseError> {
    for read in [read_amqp_map(body), read_jms_map(body)] {
        let Ok(map) = read else { continue };
        prop_assert!(footprint(&map) <= 64 * body.len());
        match write_amqp_map(&map) {
            // Compared as bytes: a NaN is not equal to itself.
            Ok(written) => {
                let again = read_amqp_map(&written).unwrap();
                prop_assert_eq!(write_amqp_map(&again).unwrap(), written);
            }
            Err(error) => {
                let is_key = matches!(error, MapMessageError::KeyTooLong { .. });
                prop_assert!(is_key, "{}", error);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn reads_back_every_map_as_written(map in any_map()) {
        let body = write_amqp_map(&map).unwrap();
        let size = u32::from_be_bytes(body[..4].try_into().unwrap());
        prop_assert_eq!(size as usize, body.len() - 4);
        prop_assert_eq!(read_amqp_map(&body).unwrap(), map);
        for length in 0..body.len() {
            prop_assert!(read_amqp_map(&body[..length]).is_err());
        }
    }

    #[test]
    fn no_bytes_panic_or_take_much_memory(body in any::<Vec<u8>>()) {
        check(&body)?;
    }

    #[test]
    fn no_changed_body_panics_or_takes_much_memory(
        map in any_map(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        count in 0_u8..4,
    ) {
        let mut body = write_amqp_map(&map).unwrap();
        for (index, byte) in &changes {
            let at = index.index(body.len());
            body[at] = *byte;
        }
        check(&body)?;
        // The same bytes behind a count that the legacy reader can believe.
        body.splice(..4, [0, 0, 0, count]);
        check(&body)?;
    }
}
