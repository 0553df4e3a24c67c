//! The legacy encoding, `jms/map-message`: an i32 count, then per entry a key that ends at NUL, a
//! type code and the value. It is read, never written: the default one is what a gateway expects.

use super::cursor::Cursor;
use super::{MapMessage, MapMessageError, Value};

/// Reads a body of content type `jms/map-message`. Bytes behind the last counted entry are passed
/// over, and the NUL of a string at the end of the body may be missing.
///
/// # Errors
/// Names what ends early, is negative, unknown or not UTF-8, and at which byte.
pub fn read_jms_map(body: &[u8]) -> Result<MapMessage, MapMessageError> {
    let mut cursor = Cursor::new(body);
    let count = read_size(&mut cursor, "the number of entries")?;
    cursor.check_count(count, 2, "entries")?;
    let mut map = MapMessage::new();
    for _ in 0..count {
        let key = cursor.text_to_nul("a key")?;
        let value = read_value(&mut cursor)?;
        map.push(key, value);
    }
    Ok(map)
}

fn read_size(cursor: &mut Cursor<'_>, what: &'static str) -> Result<usize, MapMessageError> {
    let at = cursor.at();
    let size = cursor.u32(what)?.cast_signed();
    usize::try_from(size).map_err(|_| MapMessageError::Negative { what, at })
}

fn read_value(cursor: &mut Cursor<'_>) -> Result<Value, MapMessageError> {
    let at = cursor.at();
    Ok(match cursor.u8("a type code")? {
        1 => Value::Boolean(cursor.u8("a boolean")? != 0),
        2 => Value::Byte(cursor.u8("a byte")?.cast_signed()),
        3 => read_bytes(cursor)?,
        4 => Value::Short(cursor.u16("a short")?.cast_signed()),
        5 => Value::Char(cursor.u16("a char")?),
        6 => Value::Int(cursor.u32("an int")?.cast_signed()),
        7 => Value::Long(cursor.u64("a long")?.cast_signed()),
        8 => Value::Float(f32::from_bits(cursor.u32("a float")?)),
        9 => Value::Double(f64::from_bits(cursor.u64("a double")?)),
        10 => Value::String(cursor.text_to_nul("a string")?),
        11 => Value::Null,
        code => return Err(MapMessageError::UnknownType { code, at }),
    })
}

/// A length of -1 is a null array.
fn read_bytes(cursor: &mut Cursor<'_>) -> Result<Value, MapMessageError> {
    const WHAT: &str = "the length of a byte array";
    let at = cursor.at();
    match cursor.u32(WHAT)?.cast_signed() {
        -1 => Ok(Value::Null),
        length => {
            let length = usize::try_from(length)
                .map_err(|_| MapMessageError::Negative { what: WHAT, at })?;
            Ok(Value::Bytes(cursor.take(length, "a byte array")?.to_vec()))
        }
    }
}
