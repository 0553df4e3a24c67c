//! The default encoding, `amqp/map`: the map of AMQP 0-10 with the type codes that the Java
//! client writes (among them `str32`, 0x98, which the standard does not have).
//!
//! A map is a u32 size of the rest, a u32 count, then per entry a key (u8 length, UTF-8), a type
//! code and the value. A list has no keys; an array has one type code before its count.

use super::cursor::Cursor;
use super::{MAX_DEPTH, MapMessage, MapMessageError, Value};

const MAP: u8 = 0xa8;
const LIST: u8 = 0xa9;
const ARRAY: u8 = 0xaa;

/// Encodes a map with the types that Java's writer uses; a `Char` above 0xff, which does not fit
/// its one-byte type, as `char-utf32`.
///
/// # Errors
/// A key of more than [`MAX_KEY_BYTES`](super::MAX_KEY_BYTES), more than [`MAX_DEPTH`] levels, or a size beyond 32 bits.
pub fn write_amqp_map(message: &MapMessage) -> Result<Vec<u8>, MapMessageError> {
    let mut out = Vec::new();
    write_map(&mut out, message, 0)?;
    Ok(out)
}

/// Reads a body of content type `amqp/map`. Of the size field only 0 matters, which is the null
/// map and read as an empty one; bytes behind the last counted entry are passed over.
///
/// All types that the Java reader knows are taken, but for `struct32`, whose layout is not in
/// the body. Decimals, wide binaries, bits and strings in other character sets than UTF-8 come out
/// as their bytes, arrays as lists, nested null maps and lists as `Null`.
///
/// # Errors
/// Names what ends early, is unknown, too deep or not UTF-8, and at which byte.
pub fn read_amqp_map(body: &[u8]) -> Result<MapMessage, MapMessageError> {
    let message = read_map(&mut Cursor::new(body), 0)?;
    Ok(message.unwrap_or_default())
}

fn write_map(out: &mut Vec<u8>, map: &MapMessage, depth: usize) -> Result<(), MapMessageError> {
    write_sized(out, "a map", depth, |out| {
        write_size(out, "the number of entries", map.entries.len())?;
        for (key, value) in &map.entries {
            let length = key.len();
            let size = u8::try_from(length).map_err(|_| MapMessageError::KeyTooLong { length })?;
            out.push(size);
            out.extend_from_slice(key.as_bytes());
            write_value(out, value, depth + 1)?;
        }
        Ok(())
    })
}

fn write_list(out: &mut Vec<u8>, items: &[Value], depth: usize) -> Result<(), MapMessageError> {
    write_sized(out, "a list", depth, |out| {
        write_size(out, "the number of items", items.len())?;
        items
            .iter()
            .try_for_each(|item| write_value(out, item, depth + 1))
    })
}

/// Writes what `content` writes, with its size before it.
fn write_sized(
    out: &mut Vec<u8>,
    what: &'static str,
    depth: usize,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), MapMessageError>,
) -> Result<(), MapMessageError> {
    let at = out.len();
    if depth > MAX_DEPTH {
        return Err(MapMessageError::TooDeep { at });
    }
    out.extend_from_slice(&[0; 4]);
    content(out)?;
    let start = at + 4;
    let size = size_of(what, out.len() - start)?;
    out[at..start].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

fn size_of(what: &'static str, length: usize) -> Result<u32, MapMessageError> {
    u32::try_from(length).map_err(|_| MapMessageError::TooLarge { what, length })
}

fn write_size(out: &mut Vec<u8>, what: &'static str, length: usize) -> Result<(), MapMessageError> {
    out.extend_from_slice(&size_of(what, length)?.to_be_bytes());
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), MapMessageError> {
    let mut fixed = |code: u8, bytes: &[u8]| {
        out.push(code);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Null => fixed(0xf0, &[]),
        Value::Boolean(flag) => fixed(0x08, &[u8::from(*flag)]),
        Value::Byte(number) => fixed(0x01, &number.to_be_bytes()),
        Value::UnsignedByte(number) => fixed(0x02, &[*number]),
        Value::Short(number) => fixed(0x11, &number.to_be_bytes()),
        Value::UnsignedShort(number) => fixed(0x12, &number.to_be_bytes()),
        Value::Int(number) => fixed(0x21, &number.to_be_bytes()),
        Value::UnsignedInt(number) => fixed(0x22, &number.to_be_bytes()),
        Value::Long(number) => fixed(0x31, &number.to_be_bytes()),
        Value::UnsignedLong(number) => fixed(0x32, &number.to_be_bytes()),
        Value::DateTime(number) => fixed(0x38, &number.to_be_bytes()),
        Value::Float(number) => fixed(0x23, &number.to_be_bytes()),
        Value::Double(number) => fixed(0x33, &number.to_be_bytes()),
        Value::Char(unit) => match u8::try_from(*unit) {
            Ok(byte) => fixed(0x04, &[byte]),
            Err(_) => fixed(0x27, &u32::from(*unit).to_be_bytes()),
        },
        Value::Uuid(bytes) => fixed(0x48, bytes),
        Value::Bytes(bytes) => {
            out.push(0xa0);
            write_size(out, "a byte array", bytes.len())?;
            out.extend_from_slice(bytes);
        }
        Value::String(text) => {
            out.push(0x98);
            write_size(out, "a string", text.len())?;
            out.extend_from_slice(text.as_bytes());
        }
        Value::Map(map) => {
            out.push(MAP);
            write_map(out, map, depth)?;
        }
        Value::List(items) => {
            out.push(LIST);
            write_list(out, items, depth)?;
        }
    }
    Ok(())
}

/// Reads a size or count. Where a `usize` is too small for it, so is the body.
fn read_size(cursor: &mut Cursor<'_>, what: &'static str) -> Result<usize, MapMessageError> {
    Ok(usize::try_from(cursor.u32(what)?).unwrap_or(usize::MAX))
}

/// Reads the size field of a map, list or array; false where it says that there is none.
fn read_presence(cursor: &mut Cursor<'_>, depth: usize) -> Result<bool, MapMessageError> {
    if depth > MAX_DEPTH {
        return Err(MapMessageError::TooDeep { at: cursor.at() });
    }
    Ok(cursor.u32("a size")? != 0)
}

fn read_map(cursor: &mut Cursor<'_>, depth: usize) -> Result<Option<MapMessage>, MapMessageError> {
    if !read_presence(cursor, depth)? {
        return Ok(None);
    }
    let count = read_size(cursor, "the number of entries")?;
    cursor.check_count(count, 2, "entries")?;
    let mut map = MapMessage::new();
    for _ in 0..count {
        let length = usize::from(cursor.u8("the length of a key")?);
        let key = cursor.text(length, "a key")?;
        let value = read_typed(cursor, depth + 1)?;
        map.push(key, value);
    }
    Ok(Some(map))
}

fn read_list(cursor: &mut Cursor<'_>, depth: usize) -> Result<Option<Vec<Value>>, MapMessageError> {
    if !read_presence(cursor, depth)? {
        return Ok(None);
    }
    let count = read_size(cursor, "the number of items")?;
    cursor.check_count(count, 1, "items")?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(read_typed(cursor, depth + 1)?);
    }
    Ok(Some(items))
}

fn read_array(
    cursor: &mut Cursor<'_>,
    depth: usize,
) -> Result<Option<Vec<Value>>, MapMessageError> {
    if !read_presence(cursor, depth)? {
        return Ok(None);
    }
    let code_at = cursor.at();
    let code = cursor.u8("a type code")?;
    let count = read_size(cursor, "the number of items")?;
    // Items of a type without bytes count as one byte each, or few bytes could claim billions.
    cursor.check_count(count, 1, "items")?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(read_value(cursor, code, code_at, depth + 1)?);
    }
    Ok(Some(items))
}

fn read_typed(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, MapMessageError> {
    let code_at = cursor.at();
    let code = cursor.u8("a type code")?;
    read_value(cursor, code, code_at, depth)
}

fn read_value(
    cursor: &mut Cursor<'_>,
    code: u8,
    code_at: usize,
    depth: usize,
) -> Result<Value, MapMessageError> {
    let bytes = |cursor: &mut Cursor<'_>, length: usize| {
        let bytes = cursor.take(length, "a byte array")?;
        Ok(Value::Bytes(bytes.to_vec()))
    };
    Ok(match code {
        // The first of two codes is the binary of that width, which Java takes for a number.
        0x00 | 0x02 => Value::UnsignedByte(cursor.u8("a uint8")?),
        0x01 => Value::Byte(cursor.u8("an int8")?.cast_signed()),
        0x04 => Value::Char(u16::from(cursor.u8("a char")?)),
        0x08 => Value::Boolean(cursor.u8("a boolean")? != 0),
        0x10 | 0x12 => Value::UnsignedShort(cursor.u16("a uint16")?),
        0x11 => Value::Short(cursor.u16("an int16")?.cast_signed()),
        0x20 | 0x22 => Value::UnsignedInt(cursor.u32("a uint32")?),
        0x21 => Value::Int(cursor.u32("an int32")?.cast_signed()),
        0x23 => Value::Float(f32::from_bits(cursor.u32("a float")?)),
        0x27 => {
            let character = cursor.u32("a char-utf32")?;
            u16::try_from(character).map_or(Value::Int(character.cast_signed()), Value::Char)
        }
        0x30 | 0x32 => Value::UnsignedLong(cursor.u64("a uint64")?),
        0x31 => Value::Long(cursor.u64("an int64")?.cast_signed()),
        0x33 => Value::Double(f64::from_bits(cursor.u64("a double")?)),
        0x38 => Value::DateTime(cursor.u64("a datetime")?.cast_signed()),
        0x48 => Value::Uuid(cursor.array("a uuid")?),
        // bin128, bin256, bin512, bin1024; bin40, dec32; bin72, dec64; bit.
        0x40 => bytes(cursor, 16)?,
        0x50 => bytes(cursor, 32)?,
        0x60 => bytes(cursor, 64)?,
        0x70 => bytes(cursor, 128)?,
        0xc0 | 0xc8 => bytes(cursor, 5)?,
        0xd0 | 0xd8 => bytes(cursor, 9)?,
        0xf1 => bytes(cursor, 0)?,
        // vbin8, vbin16, vbin32, and the strings in Latin-9 and UTF-16.
        0x80 | 0x84 | 0x86 => {
            let length = usize::from(cursor.u8("the length of a byte array")?);
            bytes(cursor, length)?
        }
        0x90 | 0x94 | 0x96 => {
            let length = usize::from(cursor.u16("the length of a byte array")?);
            bytes(cursor, length)?
        }
        0xa0 => {
            let length = read_size(cursor, "the length of a byte array")?;
            bytes(cursor, length)?
        }
        0x85 => {
            let length = usize::from(cursor.u8("the length of a string")?);
            Value::String(cursor.text(length, "a string")?)
        }
        0x95 => {
            let length = usize::from(cursor.u16("the length of a string")?);
            Value::String(cursor.text(length, "a string")?)
        }
        0x98 => {
            let length = read_size(cursor, "the length of a string")?;
            Value::String(cursor.text(length, "a string")?)
        }
        MAP => read_map(cursor, depth)?.map_or(Value::Null, Value::Map),
        LIST => read_list(cursor, depth)?.map_or(Value::Null, Value::List),
        ARRAY => read_array(cursor, depth)?.map_or(Value::Null, Value::List),
        0xf0 => Value::Null,
        _ => return Err(MapMessageError::UnknownType { code, at: code_at }),
    })
}
