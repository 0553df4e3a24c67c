use super::*;

/// What the Java client writes for a deploy event.
const SAMPLE: &str = "0000004a00000003096576656e7454797065980000001544\
    45504c4f595f4150495f494e5f474154455741590974696d657374616d7031000001740c0b28a0\
    056576656e74980000000465794a39";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
    hex::decode(digits).unwrap()
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn sample() -> MapMessage {
    MapMessage::from_iter([
        ("eventType", string("DEPLOY_API_IN_GATEWAY")),
        ("timestamp", Value::Long(1_597_929_892_000)),
        ("event", string("eyJ9")),
    ])
}

fn amqp_error(hex: &str) -> String {
    read_amqp_map(&bytes(hex)).unwrap_err().to_string()
}

fn jms_error(hex: &str) -> String {
    read_jms_map(&bytes(hex)).unwrap_err().to_string()
}

/// The value of the only entry, whose key is empty.
fn amqp_value(hex: &str) -> Value {
    let map = read_amqp_map(&bytes(&format!("000000ff 00000001 00 {hex}"))).unwrap();
    map.get("").unwrap().clone()
}

#[test]
fn writes_and_reads_what_the_java_client_does() {
    assert_eq!(write_amqp_map(&sample()).unwrap(), bytes(SAMPLE));
    assert_eq!(read_amqp_map(&bytes(SAMPLE)).unwrap(), sample());
}

#[test]
fn the_last_of_doubled_keys_counts() {
    let mut map = sample();
    map.push("event", string("again"));
    assert_eq!(map.get("event"), Some(&string("again")));
    assert_eq!(map.get("Event"), None);
    let read = read_amqp_map(&write_amqp_map(&map).unwrap()).unwrap();
    assert_eq!(read.entries().len(), 4);
    assert_eq!(read.get("event"), Some(&string("again")));
}

#[test]
fn tolerates_what_the_java_reader_tolerates() {
    let empty = MapMessage::new();
    assert_eq!(read_amqp_map(&bytes("00000000")).unwrap(), empty);
    assert_eq!(read_amqp_map(&bytes("00000004 00000000")).unwrap(), empty);
    assert_eq!(write_amqp_map(&empty).unwrap(), bytes("00000004 00000000"));
    // A wrong size, bytes behind the end, a count that is too small.
    let mut body = bytes(SAMPLE);
    body[0] = 0x7f;
    body.extend_from_slice(b"more");
    assert_eq!(read_amqp_map(&body).unwrap(), sample());
    body[7] = 2;
    assert_eq!(read_amqp_map(&body).unwrap().entries().len(), 2);
}

#[test]
fn reads_every_type_of_the_java_reader() {
    for (hex, value) in [
        ("00 ff", Value::UnsignedByte(255)),
        ("01 ff", Value::Byte(-1)),
        ("02 ff", Value::UnsignedByte(255)),
        ("04 41", Value::Char(0x41)),
        ("08 02", Value::Boolean(true)),
        ("10 fffe", Value::UnsignedShort(65534)),
        ("11 fffe", Value::Short(-2)),
        ("12 fffe", Value::UnsignedShort(65534)),
        ("20 fffffffd", Value::UnsignedInt(4_294_967_293)),
        ("21 fffffffd", Value::Int(-3)),
        ("22 fffffffd", Value::UnsignedInt(4_294_967_293)),
        ("23 3fc00000", Value::Float(1.5)),
        ("27 00002028", Value::Char(0x2028)),
        ("27 0001f600", Value::Int(0x1f600)),
        ("30 fffffffffffffffc", Value::UnsignedLong(u64::MAX - 3)),
        ("31 fffffffffffffffc", Value::Long(-4)),
        ("32 fffffffffffffffc", Value::UnsignedLong(u64::MAX - 3)),
        ("33 3ff8000000000000", Value::Double(1.5)),
        ("38 0000000000000005", Value::DateTime(5)),
        (
            "48 000102030405060708090a0b0c0d0e0f",
            Value::Uuid(std::array::from_fn(|i| i as u8)),
        ),
        ("80 02 0102", Value::Bytes(vec![1, 2])),
        ("84 02 e9e8", Value::Bytes(vec![0xe9, 0xe8])),
        ("86 02 0041", Value::Bytes(vec![0, 0x41])),
        ("90 0001 07", Value::Bytes(vec![7])),
        ("94 0001 07", Value::Bytes(vec![7])),
        ("96 0001 07", Value::Bytes(vec![7])),
        ("a0 00000001 07", Value::Bytes(vec![7])),
        ("85 02 c3a9", string("é")),
        ("95 0001 61", string("a")),
        ("98 00000000", string("")),
        ("a8 00000000", Value::Null),
        (
            "a8 00000007 00000001 01 61 f0",
            Value::Map(MapMessage::from_iter([("a", Value::Null)])),
        ),
        ("a9 00000000", Value::Null),
        (
            "a9 00000007 00000002 f0 01 05",
            Value::List(vec![Value::Null, Value::Byte(5)]),
        ),
        ("aa 00000000", Value::Null),
        (
            "aa 00000007 01 00000002 05 06",
            Value::List(vec![Value::Byte(5), Value::Byte(6)]),
        ),
        ("c8 0102030405", Value::Bytes(vec![1, 2, 3, 4, 5])),
        ("f0", Value::Null),
        ("f1", Value::Bytes(vec![])),
    ] {
        assert_eq!(amqp_value(hex), value, "{hex}");
    }
    for (code, width) in [
        (0x40, 16),
        (0x50, 32),
        (0x60, 64),
        (0x70, 128),
        (0xc0, 5),
        (0xd0, 9),
        (0xd8, 9),
    ] {
        let hex = format!("{code:02x}{}", "07".repeat(width));
        assert_eq!(amqp_value(&hex), Value::Bytes(vec![7; width]));
    }
}

#[test]
fn refuses_with_the_place_and_the_reason() {
    for (hex, error) in [
        ("", "byte 0: a size needs 4 bytes, 0 are left"),
        (
            "00000001 0000",
            "byte 4: the number of entries needs 4 bytes, 2 are left",
        ),
        (
            "00000004 ffffffff 0000",
            "byte 8: 4294967295 entries cannot be in the 2 bytes that are left",
        ),
        (
            "00000004 00000001 05 6162",
            "byte 9: a key needs 5 bytes, 2 are left",
        ),
        (
            "00000004 00000001 01 61",
            "byte 10: a type code needs 1 bytes, 0 are left",
        ),
        ("00000004 00000001 01 ff f0", "byte 9: a key is not UTF-8"),
        ("00000004 00000001 00 99", "byte 9: unknown type code 0x99"),
        (
            "00000004 00000001 00 ab 00000000",
            "byte 9: unknown type code 0xab",
        ),
        (
            "00000004 00000001 00 31 0000",
            "byte 10: an int64 needs 8 bytes, 2 are left",
        ),
        (
            "00000004 00000001 00 98 ffffffff 61",
            "byte 14: a string needs 4294967295 bytes, 1 are left",
        ),
        (
            "00000004 00000001 00 98 00000002 61ff",
            "byte 15: a string is not UTF-8",
        ),
        (
            "00000004 00000001 00 a0 80000000",
            "byte 14: a byte array needs 2147483648 bytes, 0 are left",
        ),
        (
            "00000004 00000001 00 a9 ffffffff ffffffff",
            "byte 18: 4294967295 items cannot be in the 0 bytes that are left",
        ),
        (
            "00000004 00000001 00 aa 00000005 f0 7fffffff f0",
            "byte 19: 2147483647 items cannot be in the 1 bytes that are left",
        ),
        (
            "00000004 00000001 00 aa 00000005 99 00000001 00",
            "byte 14: unknown type code 0x99",
        ),
    ] {
        assert_eq!(amqp_error(hex), error, "{hex}");
    }
    let long = MapMessage::from_iter([("k".repeat(256), Value::Null)]);
    assert_eq!(
        write_amqp_map(&long).unwrap_err().to_string(),
        "a key has 256 bytes, at most 255 can be written"
    );
    let longest = MapMessage::from_iter([("k".repeat(255), Value::Null)]);
    let body = write_amqp_map(&longest).unwrap();
    assert_eq!(read_amqp_map(&body).unwrap(), longest);
}

#[test]
fn every_end_before_the_last_byte_is_refused() {
    let body = bytes(SAMPLE);
    for length in 0..body.len() {
        assert!(read_amqp_map(&body[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn refuses_deep_nesting_in_both_directions() {
    let nested = |levels| {
        let value = (0..levels).fold(Value::Null, |value, _| Value::List(vec![value]));
        MapMessage::from_iter([("a", value)])
    };
    let body = write_amqp_map(&nested(MAX_DEPTH)).unwrap();
    assert_eq!(read_amqp_map(&body).unwrap(), nested(MAX_DEPTH));
    assert!(matches!(
        write_amqp_map(&nested(MAX_DEPTH + 1)),
        Err(MapMessageError::TooDeep { .. })
    ));
    for (start, level) in [
        ("", "a8 00000001 00000001 00"),
        ("", "a9 00000001 00000001"),
        ("aa", "00000001 aa 00000001"),
    ] {
        let levels = level.repeat(100_000);
        let error = amqp_error(&format!("00000001 00000001 00 {start} {levels}"));
        assert!(
            error.ends_with("nested more than 16 levels deep"),
            "{error}"
        );
    }
}

#[test]
fn reads_every_type_of_the_legacy_encoding() {
    let map = read_jms_map(&bytes(
        "0000000e 6100 01 ff  6200 02 ff  6300 03 00000002 0102  6400 03 ffffffff  6500 04 fffe
         6600 05 2028  6700 06 fffffffd  6800 07 000001740c0b28a0  6900 08 3fc00000
         6a00 09 3ff8000000000000  6b00 0a c3a900  6c00 0b  00 0a 00  6100 0a 656e64",
    ))
    .unwrap();
    let values: Vec<_> = map
        .entries()
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(
        values,
        [
            Value::Boolean(true),
            Value::Byte(-1),
            Value::Bytes(vec![1, 2]),
            Value::Null,
            Value::Short(-2),
            Value::Char(0x2028),
            Value::Int(-3),
            Value::Long(1_597_929_892_000),
            Value::Float(1.5),
            Value::Double(1.5),
            string("é"),
            Value::Null,
            string(""),
            // The NUL at the end of the body is missing.
            string("end"),
        ]
    );
    assert_eq!(map.get("a"), Some(&string("end")));
}

#[test]
fn the_legacy_reader_refuses_with_the_place_and_the_reason() {
    assert_eq!(
        read_jms_map(&bytes("00000000 0102")).unwrap(),
        MapMessage::new()
    );
    for (hex, error) in [
        (
            "0000",
            "byte 0: the number of entries needs 4 bytes, 2 are left",
        ),
        ("ffffffff", "byte 0: the number of entries is negative"),
        (
            "7fffffff 6100",
            "byte 4: 2147483647 entries cannot be in the 2 bytes that are left",
        ),
        (
            "00000001 6162",
            "byte 6: a type code needs 1 bytes, 0 are left",
        ),
        ("00000001 61ff00 0b", "byte 5: a key is not UTF-8"),
        ("00000001 6100 0c", "byte 6: unknown type code 0x0c"),
        ("00000001 6100 00", "byte 6: unknown type code 0x00"),
        (
            "00000001 6100 07 00",
            "byte 7: a long needs 8 bytes, 1 are left",
        ),
        (
            "00000001 6100 03 fffffffe",
            "byte 7: the length of a byte array is negative",
        ),
        (
            "00000001 6100 03 7fffffff",
            "byte 11: a byte array needs 2147483647 bytes, 0 are left",
        ),
    ] {
        assert_eq!(jms_error(hex), error, "{hex}");
    }
}
